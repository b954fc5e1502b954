package otlp

import (
	"encoding/binary"
	"math"

	"github.com/atollhq/atoll/internal/telemetry"
)

func appendMetric(b []byte, m *telemetry.Metric) []byte {
	b = appendText(b, 1, m.Name)
	b = appendText(b, 2, m.Help)
	b = appendText(b, 3, m.Unit)
	field, point := 5, appendNumber
	switch m.Kind {
	case telemetry.Sum:
		field = 7
	case telemetry.Histogram:
		field, point = 9, appendHistogram
	case telemetry.ExponentialHistogram:
		field, point = 10, appendExponential
	case telemetry.SummaryMetric:
		field, point = 11, appendSummary
	case telemetry.Gauge:
	}
	b, data := openMessage(b, field)
	for i := range m.Points {
		var at int
		b, at = openMessage(b, 1)
		b = closeMessage(point(b, &m.Points[i]), at)
	}
	if m.Kind == telemetry.Sum || m.Kind == telemetry.Histogram || m.Kind == telemetry.ExponentialHistogram {
		b = appendVarint(b, 2, 2-uint64(truth(m.Delta)))
	}
	if m.Kind == telemetry.Sum {
		b = appendVarint(b, 3, uint64(truth(m.Monotonic)))
	}
	return closeMessage(b, data)
}

func appendTimes(b []byte, p *telemetry.Point) []byte {
	b = appendFixed64(b, 2, uint64(p.Start))
	return appendFixed64(b, 3, uint64(p.Time))
}

func appendNumber(b []byte, p *telemetry.Point) []byte {
	b = appendTimes(b, p)
	if !p.Stale {
		b = appendDouble(b, 4, p.Value)
	}
	b = appendAttrs(b, 7, p.Attrs)
	return appendVarint(b, 8, uint64(truth(p.Stale)))
}

func appendHistogram(b []byte, p *telemetry.Point) []byte {
	b = appendTimes(b, p)
	b = appendFixed64(b, 4, p.Count)
	b = appendDouble(b, 5, p.Sum)
	if len(p.Buckets) > 0 {
		b = binary.AppendUvarint(appendTag(b, 6, wireLen), 8*uint64(len(p.Buckets)))
		for _, n := range p.Buckets {
			b = binary.LittleEndian.AppendUint64(b, n)
		}
	}
	if len(p.Bounds) > 0 {
		b = binary.AppendUvarint(appendTag(b, 7, wireLen), 8*uint64(len(p.Bounds)))
		for _, f := range p.Bounds {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
		}
	}
	b = appendAttrs(b, 9, p.Attrs)
	return appendVarint(b, 10, uint64(truth(p.Stale)))
}

func appendExponential(b []byte, p *telemetry.Point) []byte {
	b = appendAttrs(b, 1, p.Attrs)
	b = appendTimes(b, p)
	b = appendFixed64(b, 4, p.Count)
	b = appendDouble(b, 5, p.Sum)
	b = appendVarint(b, 6, zigzag(p.Scale))
	b = appendFixed64(b, 7, p.Zero)
	b = appendBuckets(b, 8, p.Positive)
	b = appendBuckets(b, 9, p.Negative)
	b = appendVarint(b, 10, uint64(truth(p.Stale)))
	return appendFixed64(b, 14, math.Float64bits(p.ZeroThreshold))
}

func appendBuckets(b []byte, field int, e telemetry.ExponentialBuckets) []byte {
	if e.Offset == 0 && len(e.Counts) == 0 {
		return b
	}
	b, at := openMessage(b, field)
	b = appendVarint(b, 1, zigzag(e.Offset))
	if len(e.Counts) > 0 {
		var packed int
		b, packed = openMessage(b, 2)
		for _, n := range e.Counts {
			b = binary.AppendUvarint(b, n)
		}
		b = closeMessage(b, packed)
	}
	return closeMessage(b, at)
}

func appendSummary(b []byte, p *telemetry.Point) []byte {
	b = appendTimes(b, p)
	b = appendFixed64(b, 4, p.Count)
	b = appendDouble(b, 5, p.Sum)
	for _, q := range p.Quantiles {
		var at int
		b, at = openMessage(b, 6)
		b = appendDouble(b, 1, q.Q)
		b = closeMessage(appendDouble(b, 2, q.Value), at)
	}
	b = appendAttrs(b, 7, p.Attrs)
	return appendVarint(b, 8, uint64(truth(p.Stale)))
}
