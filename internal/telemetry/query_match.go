package telemetry

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Match tells whether the query chooses a row. It is what Follow asks, and what any faster evaluation must agree with.
func (q *Query) Match(r Row) bool { return q.Where == nil || matches(q.Where, r) }

func matches(e Expr, r Row) bool {
	switch e := e.(type) {
	case *And:
		return matches(e.X, r) && matches(e.Y, r)
	case *Or:
		return matches(e.X, r) || matches(e.Y, r)
	case *Not:
		return !matches(e.X, r)
	case *Compare:
		v, _ := r.Field(e.Field.Name)
		return CompareValues(e.Op, v, e.Value)
	case *Matches:
		if e.Field.Name == "" {
			return e.Regex.MatchString(r.Text())
		}
		v, ok := r.Field(e.Field.Name)
		return ok && e.Regex.MatchString(v.Text())
	case *Has:
		_, ok := r.Field(e.Field.Name)
		return ok
	case OfTraces:
		return slices.Contains(e, r.trace())
	case *Phrase:
		return MatchPhrase(r.Text(), e.Text)
	}
	return false
}

func (r Row) trace() TraceID {
	if r.Span != nil {
		return r.Span.TraceID
	}
	return r.Record.TraceID
}

// CompareValues tells whether a, a row's value, compares so with b, a query's. The zero Value of a row that does not
// have the field compares with nothing but by !=. Numbers compare as numbers, text by its bytes. Values of
// different kinds are equal where their texts are, and have no order.
func CompareValues(op Op, a, b Value) bool {
	switch op {
	case OpEqual:
		return equalValues(a, b)
	case OpNotEqual:
		return !equalValues(a, b)
	case OpLess, OpAtMost, OpMore, OpAtLeast:
	default:
		return false
	}
	order, ok := orderOf(a, b)
	switch {
	case !ok:
		return false
	case op == OpLess:
		return order < 0
	case op == OpAtMost:
		return order <= 0
	case op == OpMore:
		return order > 0
	}
	return order >= 0
}

func equalValues(a, b Value) bool {
	if a.kind == KindNone || b.kind == KindNone {
		return false
	}
	if order, ok := orderOf(a, b); ok {
		return order == 0
	}
	if _, ok := a.Number(); ok {
		if _, ok := b.Number(); ok {
			return false // one of them is NaN
		}
	}
	return a.Text() == b.Text()
}

// orderOf compares two numbers or two texts; ok is false for others, and for NaN.
func orderOf(a, b Value) (order int, ok bool) {
	switch {
	case a.kind == KindInt && b.kind == KindInt:
		return cmp.Compare(int64(a.num), int64(b.num)), true
	case a.kind == KindString && b.kind == KindString:
		return strings.Compare(a.text, b.text), true
	}
	x, ok := a.Number()
	if !ok || x != x {
		return 0, false
	}
	y, ok := b.Number()
	if !ok || y != y {
		return 0, false
	}
	return cmp.Compare(x, y), true
}

// Field is a row's value of a field: one of the fixed fields, else an attribute of the span or record, else one of its
// resource. It is not there where it is empty (of fixed fields) or without a value (of attributes).
func (r Row) Field(name string) (Value, bool) {
	switch {
	case r.Span != nil && isFixed(Spans, name):
		return r.Span.field(name)
	case r.Record != nil && isFixed(Logs, name):
		return r.Record.field(name)
	case r.Span != nil:
		return attribute(name, r.Span.Attrs, r.Span.Resource)
	case r.Record != nil:
		return attribute(name, r.Record.Attrs, r.Record.Resource)
	}
	return Value{}, false
}

func attribute(name string, attrs []Attr, res *Resource) (Value, bool) {
	if v, ok := find(name, attrs); ok || res == nil {
		return v, ok
	}
	return find(name, res.Attrs)
}

func find(name string, attrs []Attr) (Value, bool) {
	for i := range attrs {
		if attrs[i].Key == name && attrs[i].Value.kind != KindNone {
			return attrs[i].Value, true
		}
	}
	return Value{}, false
}

func textField(s string) (Value, bool) {
	if s == "" {
		return Value{}, false
	}
	return String(s), true
}

func common(name string, res *Resource, scope *Scope) (Value, bool) {
	switch {
	case name == FieldService && res != nil:
		return textField(res.Service)
	case name == FieldReplica && res != nil:
		return textField(res.Replica)
	case name == FieldScope && scope != nil:
		return textField(scope.Name)
	}
	return Value{}, false
}

func traceField(t TraceID) (Value, bool) {
	if t.IsZero() {
		return Value{}, false
	}
	return String(t.String()), true
}

func spanField(s SpanID) (Value, bool) {
	if s.IsZero() {
		return Value{}, false
	}
	return String(s.String()), true
}

func (s *Span) field(name string) (Value, bool) {
	switch name {
	case FieldTime:
		return Int(s.Start), true
	case FieldTrace:
		return traceField(s.TraceID)
	case FieldSpan:
		return spanField(s.SpanID)
	case FieldParent:
		return spanField(s.Parent)
	case FieldName:
		return textField(s.Name)
	case FieldKind:
		return String(s.Kind.String()), true
	case FieldDuration:
		return Int(s.Duration), true
	case FieldStatus:
		return String(s.Status.String()), true
	case FieldMessage:
		return textField(s.StatusText)
	}
	return common(name, s.Resource, s.Scope)
}

func (r *Record) field(name string) (Value, bool) {
	switch name {
	case FieldTime:
		return Int(r.Time), true
	case FieldTrace:
		return traceField(r.TraceID)
	case FieldSpan:
		return spanField(r.SpanID)
	case FieldName:
		return textField(r.Name)
	case FieldLevel:
		return Int(int64(r.Level().Severity())), true
	case FieldText:
		return r.Body, r.Body.kind != KindNone
	}
	return common(name, r.Resource, r.Scope)
}

// Text is what phrases are searched in: a record's body; a span's AppendText.
func (r Row) Text() string {
	switch {
	case r.Record != nil:
		return r.Record.Body.Text()
	case r.Span != nil && r.Span.StatusText == "" && len(r.Span.Events) == 0:
		return r.Span.Name
	case r.Span != nil:
		return string(r.Span.AppendText(nil))
	}
	return ""
}

// AppendText appends what phrases are searched in: the span's name, its status text if it has one, and of each event
// its name and its attributes as key=value, a line each.
func (s *Span) AppendText(to []byte) []byte {
	to = append(to, s.Name...)
	if s.StatusText != "" {
		to = append(append(to, '\n'), s.StatusText...)
	}
	for i := range s.Events {
		to = append(append(to, '\n'), s.Events[i].Name...)
		for _, a := range s.Events[i].Attrs {
			to = append(append(to, '\n'), a.Key...)
			to = append(append(to, '='), a.Value.Text()...)
		}
	}
	return to
}

func levelOfSeverity(n int64) Level {
	r := Record{Severity: uint8(min(max(n, 1), 24))}
	return r.Level()
}

// CompareRows is the order in which the query tells rows: by its sort keys, and those that are equal, or all without a sort,
// the newest first. Rows of the same time are in the order of their ids.
func (q *Query) CompareRows(a, b Row) int {
	for _, o := range q.Sort {
		x, _ := a.Field(o.Field.Name)
		y, _ := b.Field(o.Field.Name)
		c := CompareOrder(x, y)
		if o.Descending {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	at, trace, span := a.place()
	otherAt, otherTrace, otherSpan := b.place()
	return cmp.Or(cmp.Compare(otherAt, at), bytes.Compare(trace[:], otherTrace[:]), bytes.Compare(span[:], otherSpan[:]))
}

func (r Row) place() (int64, TraceID, SpanID) {
	switch {
	case r.Span != nil:
		return r.Span.Start, r.Span.TraceID, r.Span.SpanID
	case r.Record != nil:
		return r.Record.Time, r.Record.TraceID, r.Record.SpanID
	}
	return 0, TraceID{}, SpanID{}
}
