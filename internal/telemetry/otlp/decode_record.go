package otlp

import (
	"strings"
	"unsafe"

	"github.com/atollhq/atoll/internal/telemetry"
)

const recordSize = int64(unsafe.Sizeof(telemetry.Record{}))

// record decodes a LogRecord.
func (d *Decoder) record(b []byte, o origin, where string) {
	r := telemetry.Record{Resource: o.resource, Scope: o.scope}
	var observed int64
	var level []byte
	start := len(d.attrs)
	c := cursor{b: b}
	for c.next() {
		switch c.tag {
		case 1<<3 | wireFixed64:
			r.Time = when(c.num)
		case 2<<3 | wireVarint:
			if c.num <= 24 {
				r.Severity = uint8(c.num)
			}
		case 3<<3 | wireLen:
			level = c.raw
		case 5<<3 | wireLen:
			r.Body = body(d.value(c.raw, d.limits.Body, where))
		case 6<<3 | wireLen:
			d.attr(c.raw, start, where)
		case 9<<3 | wireLen:
			setID(r.TraceID[:], c.raw)
		case 10<<3 | wireLen:
			setID(r.SpanID[:], c.raw)
		case 11<<3 | wireFixed64:
			observed = when(c.num)
		case 12<<3 | wireLen:
			r.Name = d.text(c.raw, d.limits.Value)
		}
	}
	d.check(&c, where, "")
	r.Attrs = d.since(start)
	if r.Time == 0 {
		r.Time = d.or0(observed)
	}
	if r.Severity == 0 {
		r.Severity = severity(level)
	}
	d.charge(recordSize)
	d.batch.Records = append(d.batch.Records, r)
}

// body is a value as the body of a record: text, or JSON.
func body(v telemetry.Value) telemetry.Value {
	switch v.Kind() {
	case telemetry.KindInt, telemetry.KindBool:
		return telemetry.JSON(v.Text())
	case telemetry.KindFloat:
		f, _ := v.Number()
		return telemetry.JSON(string(appendFloat(nil, f)))
	case telemetry.KindNone, telemetry.KindString, telemetry.KindJSON:
	}
	return v
}

// severity is the number for a level's name, as loggers write it; 0 for one that is not known.
func severity(name []byte) uint8 {
	if len(name) == 0 || len(name) > 16 {
		return 0
	}
	switch strings.ToLower(string(name)) {
	case "trace", "verbose", "finest":
		return 1
	case "debug", "dbg", "fine":
		return telemetry.SeverityDebug
	case "info", "information", "informational", "notice":
		return telemetry.SeverityInfo
	case "warn", "warning":
		return telemetry.SeverityWarn
	case "error", "err", "severe":
		return telemetry.SeverityError
	case "fatal", "critical", "crit", "alert", "emerg", "emergency", "panic":
		return telemetry.SeverityFatal
	}
	return 0
}
