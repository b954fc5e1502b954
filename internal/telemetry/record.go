package telemetry

import "time"

// Record is a log record, or an event if it has a name: a line of output, what a service exported over OTLP, or what
// Atoll tells of a replica or a reload.
type Record struct {
	Resource *Resource
	Scope    *Scope // nil for none
	Time     int64  // nanoseconds since 1970 UTC
	Severity uint8  // 1 to 24 as in OTLP; 0 is not known
	Name     string // event name, or ""
	Body     Value  // KindString, or KindJSON
	TraceID  TraceID
	SpanID   SpanID
	Attrs    []Attr
}

// At is when it happened.
func (r *Record) At() time.Time { return time.Unix(0, r.Time) }

// Level is the record's level by its severity. One without severity is of level info.
func (r *Record) Level() Level {
	switch s := r.Severity; {
	case s == 0:
		return LevelInfo
	case s < SeverityInfo:
		return LevelDebug
	case s < SeverityWarn:
		return LevelInfo
	case s < SeverityError:
		return LevelWarn
	}
	return LevelError
}

// Severities of OTLP that levels begin at.
const (
	SeverityDebug uint8 = 5
	SeverityInfo  uint8 = 9
	SeverityWarn  uint8 = 13
	SeverityError uint8 = 17
	SeverityFatal uint8 = 21
)

// Severity is the number of OTLP for a level.
func (l Level) Severity() uint8 {
	switch l {
	case LevelDebug:
		return SeverityDebug
	case LevelWarn:
		return SeverityWarn
	case LevelError:
		return SeverityError
	case LevelInfo:
	}
	return SeverityInfo
}

// AttrStream is the attribute that says where a line of output came from: stdout, stderr, build, or atoll for what
// Atoll says of the replica (log.iostream of OpenTelemetry's conventions).
const AttrStream = "log.iostream"
