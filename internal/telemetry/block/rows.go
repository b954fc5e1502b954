package block

import (
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// place is where a row lies.
type place struct {
	time int64
	seg  segment
	row  int
}

// fetch reads rows. They come in the order in which they were asked for, and are the caller's own.
func fetch(signal telemetry.Signal, places []place) ([]telemetry.Row, error) {
	order := make([]int, len(places))
	for i := range order {
		order[i] = i
	}
	type page struct {
		seg segment
		no  int
	}
	byPage := map[page][]int{}
	var pages []page
	for _, i := range order {
		p := page{places[i].seg, places[i].row / pageRows}
		if byPage[p] == nil {
			pages = append(pages, p)
		}
		byPage[p] = append(byPage[p], i)
	}
	out := make([]telemetry.Row, len(places))
	dictionaries := map[segment]*reader{}
	for _, p := range pages {
		r := dictionaries[p.seg]
		if r == nil {
			r = &reader{seg: p.seg, signal: signal, names: p.seg.names()}
			dictionaries[p.seg] = r
		}
		which := byPage[p]
		rows := make([]int, len(which))
		for i, w := range which {
			rows[i] = places[w].row - p.no*pageRows
		}
		got, err := r.page(p.no, rows)
		if err != nil {
			if g, ok := p.seg.(*fileGroup); ok && isTorn(err) {
				err = &tornError{g.block, err}
			}
			return nil, err
		}
		for i, w := range which {
			out[w] = got[i]
		}
	}
	return out, nil
}

// reader reads whole rows of a segment.
type reader struct {
	seg     segment
	signal  telemetry.Signal
	names   []string
	columns []readColumn
	loaded  bool
}

type readColumn struct {
	name       string
	vec        vector
	value      func([]byte) telemetry.Value
	dictionary *parquet.Strings
	scratch    scratch
}

func (r *reader) load() error {
	if r.loaded {
		return nil
	}
	for _, name := range r.names {
		c := readColumn{name: name, vec: r.seg.get(name)}
		if c.vec == nil {
			continue
		}
		var err error
		if c.dictionary, err = c.vec.strings(&c.scratch); err != nil {
			return err
		}
		c.value = textOf(c.vec.typ())
		if key, ok := strings.CutPrefix(name, prefixResource); ok {
			c.value = resourceValue(suffixIn(key))
		}
		r.columns = append(r.columns, c)
	}
	r.loaded = true
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

// page reads some rows of a page.
func (r *reader) page(no int, rows []int) ([]telemetry.Row, error) {
	if err := r.load(); err != nil {
		return nil, err
	}
	lo := no * pageRows
	hi := min(lo+pageRows, r.seg.rows())
	out := make([]rowBuilder, len(rows))
	for i := range out {
		out[i].begin(r.signal)
	}
	for i := range r.columns {
		c := &r.columns[i]
		p, err := c.vec.page(lo, hi, &c.scratch)
		if err != nil {
			return nil, err
		}
		s := source{c.vec, c.value}
		if w := width(c.vec.typ()); w > 0 {
			s.value = textValue // of ids: their bytes
		}
		for j, row := range rows {
			v := s.valueAt(&p, c.dictionary, row)
			if v.Kind() == telemetry.KindNone {
				continue
			}
			out[j].set(r.signal, c.name, v)
		}
	}
	done := make([]telemetry.Row, len(rows))
	for i := range out {
		done[i] = out[i].end()
	}
	return done, nil
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
