package otlp

import (
	"unsafe"

	"github.com/atollhq/atoll/internal/telemetry"
)

const (
	spanSize  = int64(unsafe.Sizeof(telemetry.Span{}))
	eventSize = int64(unsafe.Sizeof(telemetry.SpanEvent{}))
	linkSize  = int64(unsafe.Sizeof(telemetry.Link{}))
)

// span decodes a Span.
func (d *Decoder) span(b []byte, o origin, where string) {
	n := len(d.batch.Spans)
	d.batch.Spans = append(d.batch.Spans, telemetry.Span{})
	s := &d.batch.Spans[n]
	s.Resource, s.Scope = o.resource, o.scope
	var end int64
	var events, links bool
	start := len(d.attrs)
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 1<<3 | wireLen:
			setID(s.TraceID[:], c.raw)
		case 2<<3 | wireLen:
			setID(s.SpanID[:], c.raw)
		case 3<<3 | wireLen:
			s.State = d.text(c.raw, d.limits.Value)
		case 4<<3 | wireLen:
			setID(s.Parent[:], c.raw)
		case 5<<3 | wireLen:
			s.Name = d.text(c.raw, d.limits.Value)
		case 6<<3 | wireVarint:
			if c.num <= uint64(telemetry.KindConsumer) {
				s.Kind = telemetry.SpanKind(c.num)
			}
		case 7<<3 | wireFixed64:
			s.Start = when(c.num)
		case 8<<3 | wireFixed64:
			end = when(c.num)
		case 9<<3 | wireLen:
			d.attr(c.raw, start, where)
		case 11<<3 | wireLen:
			events = true
		case 13<<3 | wireLen:
			links = true
		case 15<<3 | wireLen:
			d.status(s, c.raw, where)
		}
	}
	d.check(&c, where, "")
	s.Attrs = d.since(start)
	if s.Start == 0 {
		s.Start = d.or0(end)
	}
	s.Duration = max(end-s.Start, 0)
	d.charge(spanSize)
	if s.TraceID.IsZero() || s.SpanID.IsZero() {
		d.attrs, d.batch.Spans = d.attrs[:start], d.batch.Spans[:n]
		d.reject(1, func() string { return unidentified(s) })
		return
	}
	// Attributes of a span lie side by side in the slab, so those of events and links come after all of them.
	if events {
		s.Events = d.spanEvents(b, where)
	}
	if links {
		s.Links = d.spanLinks(b, where)
	}
}

// unidentified tells which of a span's ids is none.
func unidentified(s *telemetry.Span) string {
	if s.TraceID.IsZero() {
		return "a span of " + s.Resource.Service + " has no valid trace id (16 bytes, not all zero): " + s.Name
	}
	return "a span of " + s.Resource.Service + " has no valid span id (8 bytes, not all zero): " + s.Name
}

// setID sets an id, if it has the right length.
func setID(id, b []byte) {
	if len(b) == len(id) {
		copy(id, b)
	}
}

func (d *Decoder) status(s *telemetry.Span, b []byte, where string) {
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 2<<3 | wireLen:
			s.StatusText = d.text(c.raw, d.limits.Value)
		case 3<<3 | wireVarint:
			if c.num <= uint64(telemetry.StatusError) {
				s.Status = telemetry.Status(c.num)
			}
		}
	}
	d.check(&c, where, ".status")
}

// spanEvents decodes the events of a Span.
func (d *Decoder) spanEvents(b []byte, where string) []telemetry.SpanEvent {
	first := len(d.events)
	c := cursor{b: b}
	for d.fail == nil && c.next() {
		if c.tag != 11<<3|wireLen {
			continue
		}
		if len(d.events)-first >= d.limits.Events {
			d.partial.Cut++
			continue
		}
		d.events = append(d.events, d.spanEvent(c.raw, where))
		d.charge(eventSize)
	}
	return d.events[first:len(d.events):len(d.events)]
}

func (d *Decoder) spanEvent(b []byte, where string) (e telemetry.SpanEvent) {
	start := len(d.attrs)
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 1<<3 | wireFixed64:
			e.Time = when(c.num)
		case 2<<3 | wireLen:
			e.Name = d.text(c.raw, d.limits.Value)
		case 3<<3 | wireLen:
			d.attr(c.raw, start, where)
		}
	}
	d.check(&c, where, ".events")
	e.Attrs = d.since(start)
	return e
}

// spanLinks decodes the links of a Span. Those without valid ids are dropped.
func (d *Decoder) spanLinks(b []byte, where string) []telemetry.Link {
	first := len(d.links)
	c := cursor{b: b}
	for d.fail == nil && c.next() {
		if c.tag != 13<<3|wireLen {
			continue
		}
		l := d.spanLink(c.raw, where)
		if len(d.links)-first >= d.limits.Events || l.TraceID.IsZero() || l.SpanID.IsZero() {
			d.partial.Cut++
			continue
		}
		d.links = append(d.links, l)
		d.charge(linkSize)
	}
	if len(d.links) == first {
		return nil
	}
	return d.links[first:len(d.links):len(d.links)]
}

func (d *Decoder) spanLink(b []byte, where string) (l telemetry.Link) {
	start := len(d.attrs)
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 1<<3 | wireLen:
			setID(l.TraceID[:], c.raw)
		case 2<<3 | wireLen:
			setID(l.SpanID[:], c.raw)
		case 4<<3 | wireLen:
			d.attr(c.raw, start, where)
		}
	}
	d.check(&c, where, ".links")
	l.Attrs = d.since(start)
	return l
}
