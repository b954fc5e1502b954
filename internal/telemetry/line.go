package telemetry

import (
	"regexp"
	"strings"
	"time"
)

// Line is a log record as people read it: one line of output of a replica, or a record that came by OTLP.
type Line struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service"`
	Replica string    `json:"replica"`
	Stream  string    `json:"stream"` // stdout, stderr, build, atoll for what Atoll says of the replica, or otlp
	Level   Level     `json:"level"`
	Text    string    `json:"text"` // the line as the replica wrote it
	Trace   string    `json:"trace_id,omitempty"`
	Missed  int64     `json:"missed,omitempty"` // lines before this one that came too fast to follow
}

// StreamOTLP is the stream of records that did not come from output.
const StreamOTLP = "otlp"

// LineOf is a record as a line.
func LineOf(r *Record) *Line {
	l := &Line{Time: r.At(), Level: r.Level(), Text: r.Body.Text(), Stream: StreamOTLP}
	if r.Resource != nil {
		l.Service, l.Replica = r.Resource.Service, r.Resource.Replica
	}
	if v, ok := find(AttrStream, r.Attrs); ok {
		l.Stream = v.Text()
	}
	if !r.TraceID.IsZero() {
		l.Trace = r.TraceID.String()
	}
	return l
}

// LineQuery chooses lines.
type LineQuery struct {
	Services []string       // of these services; none means all
	Since    time.Time      // not older than this
	Level    Level          // at least this level; empty means all
	Grep     *regexp.Regexp // text that matches, as it was written or as people see it; nil means all
	Query    *Query         // what it chooses; nil means all
	Last     int            // only the last so many before following; 0 means all
	Follow   bool           // go on with what comes
}

// Where is what a Store can be asked of the query: all but Grep. Events are left out that are no lines.
func (q *LineQuery) Where() Expr {
	var all Expr = &Or{&Not{&Has{Field{Name: FieldName}}}, &Has{Field{Name: AttrStream}}}
	and := func(e Expr) {
		if e != nil {
			all = &And{e, all}
		}
	}
	if q.Query != nil {
		and(q.Query.Where)
	}
	if q.Level != "" {
		and(&Compare{Field{Name: FieldLevel}, OpAtLeast, Int(int64(q.Level.Severity()))})
	}
	var services Expr
	for _, name := range q.Services {
		var one Expr = &Compare{Field{Name: FieldService}, OpEqual, String(name)}
		if services != nil {
			one = &Or{services, one}
		}
		services = one
	}
	and(services)
	return all
}

// Greps tells whether the text matches, as it was written or as people see it.
func (q *LineQuery) Greps(l *Line) bool {
	return q.Grep == nil || q.Grep.MatchString(l.Text) || strings.HasPrefix(l.Text, "{") && q.Grep.MatchString(Pretty(l))
}
