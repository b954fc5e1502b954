package block

import (
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// The columns that tables have beside those of attributes. What a span or a record has no value for is null.
const (
	colTime     = telemetry.FieldTime
	colDuration = telemetry.FieldDuration
	colTrace    = telemetry.FieldTrace
	colSpan     = telemetry.FieldSpan
	colParent   = telemetry.FieldParent
	colName     = telemetry.FieldName
	colKind     = telemetry.FieldKind
	colStatus   = telemetry.FieldStatus
	colMessage  = telemetry.FieldMessage
	colScope    = telemetry.FieldScope
	colService  = telemetry.FieldService
	colReplica  = telemetry.FieldReplica
	colLevel    = telemetry.FieldLevel
	colText     = telemetry.FieldText

	colState        = "tracestate"
	colScopeVersion = "scope_version"
	colSeverity     = "severity"
	colEvents       = "events"          // JSON
	colLinks        = "links"           // JSON
	colRest         = "attributes_rest" // JSON: the attributes for which there was no column left

	prefixAttr     = "attributes."
	prefixResource = "resource."
)

// maxColumns is how many columns of attributes a table has; what goes beyond is kept in colRest.
const maxColumns = 400

// maxKey is how long the key of an attribute is that gets a column; maxServices, how many services a block names. Both bound what
// stands in its footer.
const (
	maxKey      = 256
	maxServices = 1000
	others      = "(others)"
)

// maxMore is how many bytes of JSON each row has at most of the attributes of its resource that have no column. They stand in every row
// of the resource, each time anew where a row has such attributes of its own: a megabyte that was sent once would be there 65,536 times.
const maxMore = 1 << 10

// mem is a table in memory: rows that are durable in the write-ahead log and not in a block yet. It has one writer; a
// reader takes a view under the lock of who owns it.
type mem struct {
	signal telemetry.Signal
	seed   maphash.Seed
	n      int

	columns []*column
	fixed   fixedColumns
	keys    map[string]*keyColumns
	guesses []*keyColumns // what the attribute at this place was in the row before

	resources  []telemetry.Resource           // those of rows
	more       [][]telemetry.Attr             // of each resource: attributes that its rows have in its place
	left       int                            // how many attributes of resources had no room in more
	resourceOf map[string]uint32              // by what they say
	known      map[*telemetry.Resource]uint32 // of the batch that is being added
	resource   []uint32                       // of each row

	resourceBytes int // about what resources take

	hints map[string]int // how many rows have a value, by column, of the table before this

	resourceColumns map[string]bool // that resources have

	first, last int64 // times of rows
	attrColumns int
}

// fixedColumns are the columns that every table of a signal has.
type fixedColumns struct {
	time, duration, trace, span, parent, name, kind, status, message, state, scope, scopeVersion, events, links, rest,
	severity, level, text, textJSON *column
}

// keyColumns are the columns of one key, by kind.
type keyColumns struct {
	key    string
	byKind [telemetry.KindJSON + 1]*column
}

// newMem makes a table. The one before it, if there is one, tells how much room it will need.
func newMem(signal telemetry.Signal, before *mem) *mem {
	m := &mem{
		signal: signal, known: map[*telemetry.Resource]uint32{}, hints: map[string]int{}, seed: maphash.MakeSeed(), keys: map[string]*keyColumns{},
		resourceOf: map[string]uint32{}, resourceColumns: map[string]bool{}, first: math.MaxInt64, last: math.MinInt64,
	}
	if before != nil {
		for _, c := range before.columns {
			m.hints[c.name] = len(c.rows)
		}
		m.resource = make([]uint32, 0, before.n)
	}
	f := &m.fixed
	f.time = m.column(colTime, parquet.Timestamp)
	f.trace, f.span = m.column(colTrace, parquet.Fixed16), m.column(colSpan, parquet.Fixed8)
	f.name = m.column(colName, parquet.Text)
	f.scope, f.scopeVersion = m.column(colScope, parquet.Text), m.column(colScopeVersion, parquet.Text)
	f.rest = m.column(colRest, parquet.JSON)
	if signal == telemetry.Logs {
		f.severity, f.level = m.column(colSeverity, parquet.Int64), m.column(colLevel, parquet.Text)
		f.text, f.textJSON = m.column(colText, parquet.Text), m.column(colText+suffixOf(telemetry.KindJSON), parquet.JSON)
		return m
	}
	f.duration, f.parent = m.column(colDuration, parquet.Int64), m.column(colParent, parquet.Fixed8)
	f.kind, f.status = m.column(colKind, parquet.Text), m.column(colStatus, parquet.Text)
	f.message, f.state = m.column(colMessage, parquet.Text), m.column(colState, parquet.Text)
	f.events, f.links = m.column(colEvents, parquet.JSON), m.column(colLinks, parquet.JSON)
	return m
}

func (m *mem) column(name string, t parquet.Type) *column {
	c := &column{name: name, kind: t}
	n := m.hints[name]
	c.rows = make([]uint32, 0, n)
	switch t {
	case parquet.Text, parquet.JSON:
		c.dict = newDict(m.seed)
		c.codes = make([]uint32, 0, n)
	case parquet.Int64, parquet.Timestamp:
		c.ints = make([]int64, 0, n)
	case parquet.Fixed8, parquet.Fixed16:
		c.fixed = make([]byte, 0, n*width(t))
	case parquet.Double, parquet.Bool:
	}
	m.columns = append(m.columns, c)
	return c
}

// suffixOf tells the columns of one key apart whose values are of several kinds.
func suffixOf(k telemetry.Kind) string {
	switch k {
	case telemetry.KindInt:
		return "#int"
	case telemetry.KindFloat:
		return "#float"
	case telemetry.KindBool:
		return "#bool"
	case telemetry.KindJSON:
		return "#json"
	case telemetry.KindString, telemetry.KindNone:
	}
	return "#text"
}

// suffixes lists the endings of the columns of one key.
func suffixes() [6]string { return [6]string{"", "#text", "#int", "#float", "#bool", "#json"} }

// key returns the columns of the attribute at place i of a row.
func (m *mem) key(i int, key string) *keyColumns {
	if i < len(m.guesses) && m.guesses[i].key == key {
		return m.guesses[i]
	}
	k := m.keys[key]
	if k == nil {
		k = &keyColumns{key: strings.Clone(key)}
		m.keys[k.key] = k
	}
	if i < len(m.guesses) {
		m.guesses[i] = k
	} else if i == len(m.guesses) {
		m.guesses = append(m.guesses, k)
	}
	return k
}

// of returns the column for a kind, or nil where there are too many already.
func (m *mem) of(k *keyColumns, kind telemetry.Kind) *column {
	if c := k.byKind[kind]; c != nil {
		return c
	}
	if m.attrColumns >= maxColumns || len(k.key) > maxKey {
		return nil
	}
	name := prefixAttr + k.key
	if k.byKind != [len(k.byKind)]*column{} || suffixIn(k.key) != "" { // of a key that ends as a column does, none is plain
		name += suffixOf(kind)
	}
	k.byKind[kind] = m.column(name, typeOf(kind))
	m.attrColumns++
	return k.byKind[kind]
}

// attrs adds the attributes of a row. Of a key that comes twice the first counts.
func (m *mem) attrs(row uint32, attrs []telemetry.Attr) {
	var rest []telemetry.Attr
	for i := range attrs {
		a := &attrs[i]
		if a.Value.Kind() == telemetry.KindNone {
			continue
		}
		c := m.of(m.key(i, a.Key), a.Value.Kind())
		switch {
		case c == nil:
			rest = append(rest, *a)
		case !c.has(row):
			c.addValue(row, a.Value)
		}
	}
	rest = append(rest, m.more[m.resource[row]]...)
	if rest != nil {
		m.fixed.rest.addText(row, string(appendAttrs(nil, rest)))
	}
}

// begin begins a row.
func (m *mem) begin(at int64, r *telemetry.Resource, scope *telemetry.Scope) uint32 {
	row := uint32(m.n)
	m.n++
	m.first, m.last = min(m.first, at), max(m.last, at)
	m.fixed.time.addInt(row, at)
	m.resource = append(m.resource, m.resourceID(r))
	if scope != nil && scope.Name != "" {
		m.fixed.scope.addText(row, scope.Name)
	}
	if scope != nil && scope.Version != "" {
		m.fixed.scopeVersion.addText(row, scope.Version)
	}
	return row
}

// newBatch forgets what was known of the pointers of the batch before: they may mean something else now.
func (m *mem) newBatch() { clear(m.known) }

// resourceID finds a resource by its pointer, if the batch had it before, else by what it says.
func (m *mem) resourceID(r *telemetry.Resource) uint32 {
	if id, ok := m.known[r]; ok {
		return id
	}
	id := m.addResource(r)
	m.known[r] = id
	return id
}

func (m *mem) addResource(r *telemetry.Resource) uint32 {
	var b strings.Builder
	b.WriteString(r.Service + "\x00" + r.Replica)
	for _, a := range r.Attrs {
		b.WriteString("\x00" + a.Key + "\x00" + string(rune('0'+a.Value.Kind())) + a.Value.Text())
	}
	id, ok := m.resourceOf[b.String()]
	if !ok {
		id = uint32(len(m.resources))
		m.resourceBytes += 2*b.Len() + attrBytes*len(r.Attrs) // what they say is there twice
		m.resources = append(m.resources, cloneResource(r))
		m.more = append(m.more, m.overflow(&m.resources[id]))
		m.resourceOf[b.String()] = id
	}
	return id
}

// overflow takes those attributes from a resource for which there are no columns left; its rows get those that fit into maxMore.
func (m *mem) overflow(r *telemetry.Resource) (more []telemetry.Attr) {
	room := maxMore
	r.Attrs = slices.DeleteFunc(r.Attrs, func(a telemetry.Attr) bool {
		name := resourceColumn(a)
		if m.resourceColumns[name] {
			return false
		}
		if len(m.resourceColumns) >= maxColumns || len(a.Key) > maxKey {
			if n := len(appendAttrs(nil, []telemetry.Attr{a})); n <= room {
				more, room = append(more, a), room-n
			} else {
				m.left++
			}
			return true
		}
		m.resourceColumns[name] = true
		return false
	})
	return more
}

func cloneResource(r *telemetry.Resource) telemetry.Resource {
	return telemetry.Resource{Service: strings.Clone(r.Service), Replica: strings.Clone(r.Replica), Attrs: cloneAttrs(r.Attrs)}
}

func cloneAttrs(attrs []telemetry.Attr) []telemetry.Attr {
	out := slices.Clone(attrs)
	for i := range out {
		out[i].Key = strings.Clone(out[i].Key)
		out[i].Value = cloneValue(out[i].Value)
	}
	return out
}

func (m *mem) addSpan(s *telemetry.Span) {
	f := &m.fixed
	row := m.begin(s.Start, s.Resource, s.Scope)
	f.duration.addInt(row, s.Duration)
	f.trace.addFixed(row, s.TraceID[:])
	f.span.addFixed(row, s.SpanID[:])
	if !s.Parent.IsZero() {
		f.parent.addFixed(row, s.Parent[:])
	}
	f.name.addText(row, s.Name)
	f.kind.addText(row, s.Kind.String())
	f.status.addText(row, s.Status.String())
	addIf(f.message, row, s.StatusText)
	addIf(f.state, row, s.State)
	if len(s.Events) > 0 {
		f.events.addText(row, string(appendEvents(nil, s.Events)))
	}
	if len(s.Links) > 0 {
		f.links.addText(row, string(appendLinks(nil, s.Links)))
	}
	m.attrs(row, s.Attrs)
}

func (m *mem) addRecord(r *telemetry.Record) {
	f := &m.fixed
	row := m.begin(r.Time, r.Resource, r.Scope)
	f.severity.addInt(row, int64(r.Severity))
	f.level.addText(row, string(r.Level()))
	addIf(f.name, row, r.Name)
	switch r.Body.Kind() {
	case telemetry.KindNone:
	case telemetry.KindJSON:
		f.textJSON.addText(row, r.Body.Str())
	case telemetry.KindString, telemetry.KindInt, telemetry.KindFloat, telemetry.KindBool:
		f.text.addText(row, r.Body.Text())
	}
	if !r.TraceID.IsZero() {
		f.trace.addFixed(row, r.TraceID[:])
	}
	if !r.SpanID.IsZero() {
		f.span.addFixed(row, r.SpanID[:])
	}
	m.attrs(row, r.Attrs)
}

func addIf(c *column, row uint32, s string) {
	if s != "" {
		c.addText(row, s)
	}
}

// size is about how many bytes the table takes in memory.
func (m *mem) size() int {
	n := 4*len(m.resource) + m.resourceBytes
	for _, c := range m.columns {
		n += 4*len(c.rows) + 4*len(c.codes) + 8*len(c.ints) + 8*len(c.floats) + len(c.bools) + len(c.fixed)
		if c.dict != nil {
			n += c.dict.size()
		}
	}
	return n
}

// memView is a table in memory as a reader sees it; it does not change.
type memView struct {
	n           int
	first, last int64
	columns     map[string]*column
	resources   []telemetry.Resource
	resource    []uint32
}

// view takes a view. The caller holds the lock that keeps the writer away.
func (m *mem) view() *memView {
	v := &memView{
		n: m.n, first: m.first, last: m.last, columns: make(map[string]*column, len(m.columns)),
		resources: slices.Clip(m.resources), resource: m.resource[:m.n:m.n],
	}
	for _, c := range m.columns {
		if len(c.rows) > 0 {
			v.columns[c.name] = c.view()
		}
	}
	return v
}

func (v *memView) rows() int { return v.n }

func (v *memView) span() (first, last int64) { return v.first, v.last }

func (v *memView) names() []string {
	names := slices.Collect(maps.Keys(v.columns))
	seen := map[string]bool{}
	for i := range v.resources {
		r := &v.resources[i]
		seen[colService] = true
		if r.Replica != "" {
			seen[colReplica] = true
		}
		for _, a := range r.Attrs {
			seen[resourceColumn(a)] = true
		}
	}
	names = slices.AppendSeq(names, maps.Keys(seen))
	slices.Sort(names)
	return names
}

func (v *memView) get(name string) vector {
	if c, ok := v.columns[name]; ok {
		return c
	}
	switch {
	case name == colService:
		return v.derive(func(r *telemetry.Resource) telemetry.Value { return telemetry.String(r.Service) })
	case name == colReplica:
		return v.derive(func(r *telemetry.Resource) telemetry.Value {
			if r.Replica == "" {
				return telemetry.Value{}
			}
			return telemetry.String(r.Replica)
		})
	case strings.HasPrefix(name, prefixResource):
		return v.derive(func(r *telemetry.Resource) telemetry.Value {
			for i := range r.Attrs {
				if resourceColumn(r.Attrs[i]) == name {
					return r.Attrs[i].Value
				}
			}
			return telemetry.Value{}
		})
	}
	return nil
}

// resourceColumn is the column for an attribute of a resource. All of them hold text, since resources are few; the ending
// says what kind the text is of.
func resourceColumn(a telemetry.Attr) string {
	if a.Value.Kind() == telemetry.KindString && suffixIn(a.Key) == "" {
		return prefixResource + a.Key
	}
	return prefixResource + a.Key + suffixOf(a.Value.Kind())
}

// derive makes a column of resources' values; nil where none has one.
func (v *memView) derive(value func(*telemetry.Resource) telemetry.Value) vector {
	c := &ofResource{kind: parquet.Text, values: *newDict(maphash.MakeSeed()), codeOf: make([]uint32, len(v.resources)), resource: v.resource}
	found := false
	for i := range v.resources {
		c.codeOf[i] = parquet.None
		if value := value(&v.resources[i]); value.Kind() != telemetry.KindNone {
			c.codeOf[i] = c.values.add(value.Text())
			found = true
		}
	}
	if !found {
		return nil
	}
	return c
}
