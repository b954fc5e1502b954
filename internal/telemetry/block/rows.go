package block

import (
	"cmp"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/telemetry"
)

// place is where a row lies.
type place struct {
	time int64
	seg  segment
	row  int
}

// fetch reads rows. They come in the order in which they were asked for, and are the caller's own. It reads a segment after the other, and of
// each a column after the other, so that never more than a page and a dictionary lie in memory beside the rows.
func fetch(signal telemetry.Signal, places []place) ([]telemetry.Row, error) {
	rows := make([]rowBuilder, len(places))
	bySegment := map[segment][]int{}
	var segments []segment
	for i, p := range places {
		rows[i].begin(signal)
		if bySegment[p.seg] == nil {
			segments = append(segments, p.seg)
		}
		bySegment[p.seg] = append(bySegment[p.seg], i)
	}
	r := &reader{signal: signal, places: places, rows: rows}
	for _, seg := range segments {
		which := bySegment[seg]
		slices.SortFunc(which, func(a, b int) int { return cmp.Compare(places[a].row, places[b].row) }) // the rows of a page together
		if err := r.segment(seg, which); err != nil {
			if g, ok := seg.(*fileGroup); ok && isTorn(err) {
				err = &tornError{g.block, err}
			}
			return nil, err
		}
	}
	out := make([]telemetry.Row, len(places))
	for i := range rows {
		out[i] = rows[i].end()
	}
	return out, nil
}

// reader reads whole rows.
type reader struct {
	signal  telemetry.Signal
	places  []place
	rows    []rowBuilder // of each place
	scratch scratch
}

// segment reads the rows of places that lie in a segment; which are their numbers, by row.
func (r *reader) segment(seg segment, which []int) error {
	for _, name := range seg.names() {
		vec := seg.get(name)
		if vec == nil {
			continue
		}
		value := textOf(vec.typ())
		if key, ok := strings.CutPrefix(name, prefixResource); ok {
			value = resourceValue(suffixIn(key))
		}
		if width(vec.typ()) > 0 {
			value = textValue // of ids: their bytes
		}
		if err := r.column(seg, name, source{vec, value}, which); err != nil {
			return err
		}
	}
	return nil
}

// column gives the rows their values of a column.
func (r *reader) column(seg segment, name string, s source, which []int) error {
	dictionary, err := s.vec.strings(&r.scratch)
	if err != nil {
		return err
	}
	for len(which) > 0 {
		lo := r.places[which[0]].row / pageRows * pageRows
		hi := min(lo+pageRows, seg.rows())
		p, err := s.vec.page(lo, hi, &r.scratch)
		if err != nil {
			return err
		}
		for len(which) > 0 && r.places[which[0]].row < hi {
			i := which[0]
			if v := s.valueAt(&p, dictionary, r.places[i].row-lo); v.Kind() != telemetry.KindNone {
				r.rows[i].set(r.signal, name, v)
			}
			which = which[1:]
		}
	}
	return nil
}

// suffixIn is the ending that tells columns of one key apart.
func suffixIn(key string) string {
	for _, suffix := range suffixes() {
		if suffix != "" && strings.HasSuffix(key, suffix) {
			return suffix
		}
	}
	return ""
}

// rowBuilder puts a row together.
type rowBuilder struct {
	row      telemetry.Row
	resource telemetry.Resource
	scope    telemetry.Scope
	attrs    []telemetry.Attr
}

func (b *rowBuilder) begin(signal telemetry.Signal) {
	if signal == telemetry.Logs {
		b.row.Record = &telemetry.Record{}
	} else {
		b.row.Span = &telemetry.Span{}
	}
}

// set gives the row the value of a column.
func (b *rowBuilder) set(signal telemetry.Signal, column string, v telemetry.Value) {
	if key, ok := strings.CutPrefix(column, prefixAttr); ok {
		b.attrs = append(b.attrs, telemetry.Attr{Key: strings.TrimSuffix(key, suffixIn(key)), Value: cloneValue(v)})
		return
	}
	if key, ok := strings.CutPrefix(column, prefixResource); ok {
		b.resource.Attrs = append(b.resource.Attrs, telemetry.Attr{Key: strings.TrimSuffix(key, suffixIn(key)), Value: cloneValue(v)})
		return
	}
	switch column {
	case colService:
		b.resource.Service = strings.Clone(v.Str())
	case colReplica:
		b.resource.Replica = strings.Clone(v.Str())
	case colScope:
		b.scope.Name = strings.Clone(v.Str())
	case colScopeVersion:
		b.scope.Version = strings.Clone(v.Str())
	case colRest:
		attrs, err := parseAttrs([]byte(v.Str()))
		if err != nil {
			b.unread(column, v)
			return
		}
		b.attrs = append(b.attrs, attrs...)
	default:
		if signal == telemetry.Logs {
			b.setRecord(column, v)
		} else if err := b.setSpan(column, v); err != nil {
			b.unread(column, v)
		}
	}
}

// unread keeps as an attribute what is not in our form: one odd row is no reason to answer nothing.
func (b *rowBuilder) unread(column string, v telemetry.Value) {
	b.attrs = append(b.attrs, telemetry.Attr{Key: column, Value: telemetry.String(strings.Clone(v.Str()))})
}

func (b *rowBuilder) setSpan(column string, v telemetry.Value) (err error) {
	s := b.row.Span
	switch column {
	case colTime:
		s.Start = v.Int()
	case colDuration:
		s.Duration = v.Int()
	case colTrace:
		copy(s.TraceID[:], v.Str())
	case colSpan:
		copy(s.SpanID[:], v.Str())
	case colParent:
		copy(s.Parent[:], v.Str())
	case colName:
		s.Name = strings.Clone(v.Str())
	case colKind:
		s.Kind = kindOf(v.Str())
	case colStatus:
		s.Status = statusOf(v.Str())
	case colMessage:
		s.StatusText = strings.Clone(v.Str())
	case colState:
		s.State = strings.Clone(v.Str())
	case colEvents:
		s.Events, err = parseEvents([]byte(v.Str()))
	case colLinks:
		s.Links, err = parseLinks([]byte(v.Str()))
	}
	return err
}

func (b *rowBuilder) setRecord(column string, v telemetry.Value) {
	r := b.row.Record
	switch column {
	case colTime:
		r.Time = v.Int()
	case colSeverity:
		r.Severity = uint8(v.Int())
	case colName:
		r.Name = strings.Clone(v.Str())
	case colText, colText + suffixOf(telemetry.KindJSON):
		r.Body = cloneValue(v)
	case colTrace:
		copy(r.TraceID[:], v.Str())
	case colSpan:
		copy(r.SpanID[:], v.Str())
	}
}

func (b *rowBuilder) end() telemetry.Row {
	// Columns stand in the order in which keys were first seen; rows are read more easily by key.
	byKey := func(x, y telemetry.Attr) int { return strings.Compare(x.Key, y.Key) }
	slices.SortStableFunc(b.attrs, byKey)
	slices.SortStableFunc(b.resource.Attrs, byKey)
	var scope *telemetry.Scope
	if b.scope != (telemetry.Scope{}) {
		scope = &b.scope
	}
	if b.row.Span != nil {
		b.row.Span.Resource, b.row.Span.Scope, b.row.Span.Attrs = &b.resource, scope, b.attrs
	} else {
		b.row.Record.Resource, b.row.Record.Scope, b.row.Record.Attrs = &b.resource, scope, b.attrs
	}
	return b.row
}

func kindOf(name string) telemetry.SpanKind {
	for k := telemetry.KindInternal; k <= telemetry.KindConsumer; k++ {
		if k.String() == name {
			return k
		}
	}
	return telemetry.KindUnspecified
}

func statusOf(name string) telemetry.Status {
	for s := telemetry.StatusOK; s <= telemetry.StatusError; s++ {
		if s.String() == name {
			return s
		}
	}
	return telemetry.StatusUnset
}
