package otlp

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/atollhq/atoll/internal/telemetry"
)

const (
	metricSize   = int64(unsafe.Sizeof(telemetry.Metric{}))
	pointSize    = int64(unsafe.Sizeof(telemetry.Point{}))
	countSize    = 8
	quantileSize = int64(unsafe.Sizeof(telemetry.Quantile{}))
)

const temporalityDelta = 1

// metric decodes a Metric.
func (d *Decoder) metric(b []byte, o origin, where string) {
	m := telemetry.Metric{Resource: o.resource, Scope: o.scope}
	var data cursor
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 1<<3 | wireLen:
			m.Name = d.text(c.raw, d.limits.Value)
		case 2<<3 | wireLen:
			m.Help = d.text(c.raw, d.limits.Value)
		case 3<<3 | wireLen:
			m.Unit = d.text(c.raw, d.limits.Value)
		case 5<<3 | wireLen, 7<<3 | wireLen, 9<<3 | wireLen, 10<<3 | wireLen, 11<<3 | wireLen:
			data = c // the last of a oneof counts
		}
	}
	d.check(&c, where, "")
	switch data.tag >> 3 {
	case 5:
		m.Kind = telemetry.Gauge
		d.data(&m, data.raw, where, d.number)
	case 7:
		m.Kind = telemetry.Sum
		d.data(&m, data.raw, where, d.number)
	case 9:
		m.Kind = telemetry.Histogram
		d.data(&m, data.raw, where, d.histogram)
	case 10:
		m.Kind = telemetry.ExponentialHistogram
		d.data(&m, data.raw, where, d.exponential)
	case 11:
		m.Kind = telemetry.SummaryMetric
		d.data(&m, data.raw, where, d.summary)
	}
	if m.Name == "" {
		d.reject(int64(len(m.Points)), func() string { return "a metric of " + o.resource.Service + " has no name" })
		return
	}
	if len(m.Points) > 0 {
		d.charge(metricSize)
		d.batch.Metrics = append(d.batch.Metrics, m)
	}
}

// data decodes what the five kinds of metrics have in common: points, and how they are to be read.
func (d *Decoder) data(m *telemetry.Metric, b []byte, where string, point func(*telemetry.Point, []byte, string)) {
	first := len(d.points)
	c := cursor{b: b}
	for d.fail == nil && c.next() {
		switch c.tag {
		case 1<<3 | wireLen:
			var p telemetry.Point
			point(&p, c.raw, where)
			d.charge(pointSize)
			if n := len(p.Buckets); n > 0 && n != len(p.Bounds)+1 || n == 0 && len(p.Bounds) > 0 {
				d.reject(1, func() string {
					return "a point of " + m.Name + " of " + m.Resource.Service + " has not one bucket more than bounds"
				})
				continue
			}
			p.Time = d.or0(p.Time)
			d.points = append(d.points, p)
		case 2<<3 | wireVarint:
			m.Delta = c.num == temporalityDelta
		case 3<<3 | wireVarint:
			m.Monotonic = c.num != 0
		}
	}
	d.check(&c, where, ".data")
	m.Points = d.points[first:len(d.points):len(d.points)]
}

func stale(flags uint64) bool { return flags&1 != 0 }

func (d *Decoder) number(p *telemetry.Point, b []byte, where string) {
	start := len(d.attrs)
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 2<<3 | wireFixed64:
			p.Start = when(c.num)
		case 3<<3 | wireFixed64:
			p.Time = when(c.num)
		case 4<<3 | wireFixed64:
			p.Value = math.Float64frombits(c.num)
		case 6<<3 | wireFixed64:
			p.Value = float64(int64(c.num))
		case 7<<3 | wireLen:
			d.attr(c.raw, start, where)
		case 8<<3 | wireVarint:
			p.Stale = stale(c.num)
		}
	}
	d.check(&c, where, ".data_points")
	p.Attrs = d.since(start)
}

func (d *Decoder) histogram(p *telemetry.Point, b []byte, where string) {
	start, counts, floats := len(d.attrs), len(d.counts), len(d.floats)
	c := cursor{b: b}
	for d.fail == nil && c.next() {
		switch c.tag {
		case 2<<3 | wireFixed64:
			p.Start = when(c.num)
		case 3<<3 | wireFixed64:
			p.Time = when(c.num)
		case 4<<3 | wireFixed64:
			p.Count = c.num
		case 5<<3 | wireFixed64:
			p.Sum = math.Float64frombits(c.num)
		case 6<<3 | wireLen:
			d.fixed(&c, where, func(v uint64) { d.counts = append(d.counts, v) })
		case 6<<3 | wireFixed64:
			d.charge(countSize)
			d.counts = append(d.counts, c.num)
		case 7<<3 | wireLen:
			d.fixed(&c, where, func(v uint64) { d.floats = append(d.floats, math.Float64frombits(v)) })
		case 7<<3 | wireFixed64:
			d.charge(countSize)
			d.floats = append(d.floats, math.Float64frombits(c.num))
		case 9<<3 | wireLen:
			d.attr(c.raw, start, where)
		case 10<<3 | wireVarint:
			p.Stale = stale(c.num)
		}
	}
	d.check(&c, where, ".data_points")
	p.Attrs, p.Buckets, p.Bounds = d.since(start), tail(d.counts, counts), tail(d.floats, floats)
}

func (d *Decoder) exponential(p *telemetry.Point, b []byte, where string) {
	start := len(d.attrs)
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 1<<3 | wireLen:
			d.attr(c.raw, start, where)
		case 2<<3 | wireFixed64:
			p.Start = when(c.num)
		case 3<<3 | wireFixed64:
			p.Time = when(c.num)
		case 4<<3 | wireFixed64:
			p.Count = c.num
		case 5<<3 | wireFixed64:
			p.Sum = math.Float64frombits(c.num)
		case 6<<3 | wireVarint:
			p.Scale = unzigzag(c.num)
		case 7<<3 | wireFixed64:
			p.Zero = c.num
		case 8<<3 | wireLen:
			p.Positive = d.buckets(c.raw, where)
		case 9<<3 | wireLen:
			p.Negative = d.buckets(c.raw, where)
		case 10<<3 | wireVarint:
			p.Stale = stale(c.num)
		case 14<<3 | wireFixed64:
			p.ZeroThreshold = math.Float64frombits(c.num)
		}
	}
	d.check(&c, where, ".data_points")
	p.Attrs = d.since(start)
}

func (d *Decoder) buckets(b []byte, where string) (e telemetry.ExponentialBuckets) {
	start := len(d.counts)
	c := cursor{b: b}
	for d.fail == nil && c.next() {
		switch c.tag {
		case 1<<3 | wireVarint:
			e.Offset = unzigzag(c.num)
		case 2<<3 | wireLen:
			d.charge(countSize * int64(len(c.raw))) // There are as many numbers as bytes at most.
			for packed := (cursor{b: c.raw}); d.fail == nil && len(packed.b) > 0; {
				var v uint64
				if !packed.varint(&v) {
					d.check(&packed, where, ".buckets")
					break
				}
				d.counts = append(d.counts, v)
			}
		case 2<<3 | wireVarint:
			d.charge(countSize)
			d.counts = append(d.counts, c.num)
		}
	}
	d.check(&c, where, ".buckets")
	e.Counts = tail(d.counts, start)
	return e
}

func (d *Decoder) summary(p *telemetry.Point, b []byte, where string) {
	start, quants := len(d.attrs), len(d.quants)
	c := cursor{b: b}
	for d.fail == nil && c.next() {
		switch c.tag {
		case 2<<3 | wireFixed64:
			p.Start = when(c.num)
		case 3<<3 | wireFixed64:
			p.Time = when(c.num)
		case 4<<3 | wireFixed64:
			p.Count = c.num
		case 5<<3 | wireFixed64:
			p.Sum = math.Float64frombits(c.num)
		case 6<<3 | wireLen:
			d.charge(quantileSize)
			d.quants = append(d.quants, d.quantile(c.raw, where))
		case 7<<3 | wireLen:
			d.attr(c.raw, start, where)
		case 8<<3 | wireVarint:
			p.Stale = stale(c.num)
		}
	}
	d.check(&c, where, ".data_points")
	p.Attrs, p.Quantiles = d.since(start), tail(d.quants, quants)
}

func (d *Decoder) quantile(b []byte, where string) (q telemetry.Quantile) {
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 1<<3 | wireFixed64:
			q.Q = math.Float64frombits(c.num)
		case 2<<3 | wireFixed64:
			q.Value = math.Float64frombits(c.num)
		}
	}
	d.check(&c, where, ".quantile_values")
	return q
}

// fixed calls add with the numbers of a packed field of 64 bits each.
func (d *Decoder) fixed(c *cursor, where string, add func(uint64)) {
	if len(c.raw)%8 != 0 {
		d.check(&cursor{b: c.raw, why: "the message is truncated within a number"}, where, ".data_points")
		return
	}
	d.charge(int64(len(c.raw)))
	if d.fail != nil {
		return
	}
	for b := c.raw; len(b) > 0; b = b[8:] {
		add(binary.LittleEndian.Uint64(b))
	}
}

// tail is the part of a slab since start; nil for none.
func tail[T any](s []T, start int) []T {
	if len(s) == start {
		return nil
	}
	return s[start:len(s):len(s)]
}
