package telemetry

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Bounds of what an aggregation gathers.
const (
	MaxGroups  = 100_000
	MaxBuckets = 10_000    // of time
	maxGather  = 256 << 20 // bytes of all of it, about
	groupBytes = 200       // that a group takes, about
	stateBytes = 160
)

// Aggregator makes the table of an aggregation. Rows are given by Add; or who knows better gets the Group that rows belong
// to and gives it the inputs of the functions. Several of the same aggregation and range can be merged. It is not
// safe for use from several goroutines.
type Aggregator struct {
	signal      Signal
	agg         *Aggregation
	r           Range
	groups      map[string]*Group
	key         []byte
	values      []Value // of the row at hand
	buckets     map[int64]struct{}
	bytes       int64
	first, last int64 // of the rows' times
}

// Group gathers what the functions need of the rows with the same fields, within the same bucket.
type Group struct {
	owner  *Aggregator
	bucket int64 // its beginning
	by     []Value
	states []state
}

// state is of one function.
type state struct {
	n        int64   // inputs that counted
	whole    int64   // sum, while all are whole and it fits
	sum      float64 // sum
	isFloat  bool
	min, max Value
	sketch   *sketch
	distinct *distinct
}

// NewAggregator returns one for the rows of a signal in a range of time.
func NewAggregator(s Signal, a *Aggregation, r Range) *Aggregator {
	return &Aggregator{
		signal: s, agg: a, r: r, groups: map[string]*Group{}, buckets: map[int64]struct{}{}, values: make([]Value, len(a.By)),
		first: math.MaxInt64, last: math.MinInt64,
	}
}

// Add takes a row.
func (a *Aggregator) Add(row Row) error {
	for i, f := range a.agg.By {
		a.values[i], _ = row.Field(f.Name)
	}
	at, _ := row.Field(FieldTime)
	g, err := a.Group(at.Int(), a.values)
	if err != nil {
		return err
	}
	for i, f := range a.agg.Funcs {
		if f.Field.Name == "" {
			g.Count(i, 1)
		} else if v, ok := row.Field(f.Field.Name); ok {
			g.Add(i, v)
		}
	}
	return nil
}

// Group is the group of a row of some time with these values of the fields grouped by, as Row.Field has them. A group may be
// kept for further rows with the same values, but where there are buckets only for those of the same bucket; their times
// are told by Seen.
func (a *Aggregator) Group(at int64, by []Value) (*Group, error) {
	a.Seen(at, at)
	return a.group(a.Bucket(at), by)
}

// Seen tells the times of the oldest and the newest of some rows, which rates without a range need.
func (a *Aggregator) Seen(oldest, newest int64) {
	a.first, a.last = min(a.first, oldest), max(a.last, newest)
}

func (a *Aggregator) group(bucket int64, by []Value) (*Group, error) {
	a.key = binary.LittleEndian.AppendUint64(a.key[:0], uint64(bucket))
	for _, v := range by {
		a.key = appendKey(a.key, v)
	}
	if g := a.groups[string(a.key)]; g != nil {
		return g, a.tooLarge()
	}
	a.buckets[bucket] = struct{}{}
	switch {
	case len(a.groups) >= MaxGroups:
		return nil, fault.New(fault.CodeQueryTooBroad, "the query finds more than %d groups", MaxGroups).
			Fix("group by a field with fewer values, choose fewer rows, or ask about a shorter time")
	case len(a.buckets) > MaxBuckets:
		return nil, fault.New(fault.CodeQueryTooBroad, "every %s makes more than %d buckets", formatDuration(a.agg.Every), MaxBuckets).
			Fix("write a longer duration after every, or ask about a shorter time")
	}
	g := &Group{owner: a, bucket: bucket, by: slices.Clone(by), states: make([]state, len(a.agg.Funcs))}
	a.groups[string(a.key)] = g
	a.bytes += int64(groupBytes + 2*len(a.key) + stateBytes*len(g.states))
	return g, a.tooLarge()
}

func (a *Aggregator) tooLarge() error {
	if a.bytes <= maxGather {
		return nil
	}
	return fault.New(fault.CodeQueryTooBroad, "what %d groups gather takes more than %d MB", len(a.groups), maxGather>>20).
		Fix("group by a field with fewer values, choose fewer rows, or ask about a shorter time")
}

// Bucket is the beginning of the bucket that a time belongs to, or 0 if there are none.
func (a *Aggregator) Bucket(at int64) int64 {
	every := int64(a.agg.Every)
	if every <= 0 {
		return 0
	}
	bucket := at - at%every
	if bucket > at { // before 1970
		bucket -= every
	}
	return bucket
}

func appendKey(key []byte, v Value) []byte {
	key = append(key, byte(v.kind))
	if v.kind == KindString || v.kind == KindJSON {
		key = binary.AppendUvarint(key, uint64(len(v.text)))
		return append(key, v.text...)
	}
	return binary.LittleEndian.AppendUint64(key, v.num)
}

// Count gives function i, a count or a rate, the number of rows that it counts.
func (g *Group) Count(i int, rows int64) { g.states[i].n += rows }

// Add gives function i its input of a row: the value of its field. Rows that do not have the field have none.
func (g *Group) Add(i int, v Value) {
	f, s := &g.owner.agg.Funcs[i], &g.states[i]
	switch f.Kind {
	case FuncCount, FuncRate:
		s.n++
		return
	case FuncDistinct:
		if s.distinct == nil {
			s.distinct = &distinct{}
		}
		g.owner.bytes += s.distinct.add(hash(v))
		return
	case FuncSum, FuncAvg, FuncMin, FuncMax, FuncQuantile:
	}
	n, ok := v.Number()
	if !ok || math.IsNaN(n) || math.IsInf(n, 0) {
		return
	}
	s.number(f.Kind, v, n)
	if f.Kind == FuncQuantile {
		if s.sketch == nil {
			s.sketch = &sketch{}
		}
		g.owner.bytes += s.sketch.add(n, 1)
	}
}

func (s *state) number(kind FuncKind, v Value, n float64) {
	s.n++
	switch kind {
	case FuncSum, FuncAvg:
		s.sum += n
		whole := s.whole + v.Int()
		if v.kind != KindInt || (whole > s.whole) != (v.Int() > 0) && v.Int() != 0 {
			s.isFloat = true
		}
		s.whole = whole
	default:
		s.min, s.max = lesser(s.min, v, -1), lesser(s.max, v, 1)
	}
}

// lesser is the one of two numbers whose order to the other is sign; a none is neither.
func lesser(a, b Value, sign int) Value {
	order, ok := orderOf(b, a)
	switch {
	case a.kind == KindNone, ok && order*sign > 0:
		return b
	case ok && order == 0 && b.kind == KindInt: // so that it does not depend on which came first
		return b
	}
	return a
}

// Merge takes over what another of the same aggregation and range gathered, which is not used any more then.
func (a *Aggregator) Merge(o *Aggregator) error {
	for _, from := range o.groups {
		g, err := a.group(from.bucket, from.by)
		if err != nil {
			return err
		}
		g.merge(from)
	}
	a.Seen(o.first, o.last)
	return a.tooLarge()
}

func (g *Group) merge(o *Group) {
	for i := range g.states {
		s, from := &g.states[i], &o.states[i]
		s.n += from.n
		s.sum += from.sum
		whole := s.whole + from.whole
		s.isFloat = s.isFloat || from.isFloat || (whole > s.whole) != (from.whole > 0) && from.whole != 0
		s.whole = whole
		s.min, s.max = lesser(s.min, from.min, -1), lesser(s.max, from.max, 1)
		if from.sketch != nil {
			if s.sketch == nil {
				s.sketch = &sketch{}
			}
			g.owner.bytes += s.sketch.merge(from.sketch)
		}
		if from.distinct != nil {
			if s.distinct == nil {
				s.distinct = &distinct{}
			}
			g.owner.bytes += s.distinct.merge(from.distinct)
		}
	}
}

// Table is what was found, sorted and limited (0 is DefaultLimit). Without a sort it is by time and within a bucket by the first
// function, largest first. With buckets of time the limit is of the combinations of fields, those with the
// largest first function over the whole time; else of rows.
func (a *Aggregator) Table(sort []Order, limit int) *Table {
	if limit <= 0 {
		limit = DefaultLimit
	}
	t := &Table{Columns: a.agg.Columns()}
	for _, g := range a.groups {
		t.Rows = append(t.Rows, a.row(g, a.seconds(g.bucket)))
	}
	if len(t.Rows) == 0 && len(a.agg.By) == 0 && a.agg.Every == 0 { // of no rows there is a count
		g := &Group{owner: a, states: make([]state, len(a.agg.Funcs))}
		t.Rows = append(t.Rows, a.row(g, 1))
	}
	slices.SortFunc(t.Rows, a.order(t.Columns, sort))
	switch {
	case a.agg.Every > 0:
		t.Rows = a.largest(t.Rows, limit)
	case len(t.Rows) > limit:
		t.Rows = t.Rows[:limit]
	}
	for _, row := range t.Rows {
		a.name(row)
	}
	return t
}

// seconds is how long a bucket is, within the range, or the whole range.
func (a *Aggregator) seconds(bucket int64) float64 {
	from, to := a.first, a.last
	if !a.r.From.IsZero() {
		from = a.r.From.UnixNano()
	}
	if !a.r.To.IsZero() {
		to = a.r.To.UnixNano()
	}
	if a.agg.Every > 0 {
		end := bucket + int64(a.agg.Every)
		if a.r.From.IsZero() {
			from = bucket
		}
		if a.r.To.IsZero() {
			to = end
		}
		from, to = max(from, bucket), min(to, end)
	}
	if to <= from {
		return 1
	}
	return time.Duration(to - from).Seconds()
}

func (a *Aggregator) row(g *Group, seconds float64) []Value {
	row := make([]Value, 0, 1+len(g.by)+len(g.states))
	if a.agg.Every > 0 {
		row = append(row, Int(g.bucket))
	}
	row = append(row, g.by...)
	for i := range g.states {
		row = append(row, g.states[i].value(a.agg.Funcs[i], seconds))
	}
	return row
}

func (s *state) value(f Func, seconds float64) Value {
	switch {
	case f.Kind == FuncCount:
		return Int(s.n)
	case f.Kind == FuncRate:
		return Float(float64(s.n) / seconds)
	case f.Kind == FuncDistinct && s.distinct != nil:
		return Int(s.distinct.count())
	case f.Kind == FuncDistinct:
		return Int(0)
	case s.n == 0:
		return Value{}
	}
	switch f.Kind {
	case FuncSum:
		if s.isFloat {
			return Float(s.sum)
		}
		return Int(s.whole)
	case FuncAvg:
		return Float(s.sum / float64(s.n))
	case FuncMin:
		return s.min
	case FuncMax:
		return s.max
	default:
	}
	low, _ := s.min.Number()
	high, _ := s.max.Number()
	return Float(min(max(s.sketch.quantile(f.Q), low), high))
}

// order compares rows by the sort keys, and then by all columns so that equal ones never change places.
func (a *Aggregator) order(columns []string, sort []Order) func(x, y []Value) int {
	type key struct {
		column int
		sign   int
	}
	var keys []key
	for _, o := range sort {
		k := key{slices.Index(columns, o.Field.Name), 1}
		if o.Descending {
			k.sign = -1
		}
		if k.column >= 0 {
			keys = append(keys, k)
		}
	}
	if len(sort) == 0 {
		if a.agg.Every > 0 {
			keys = append(keys, key{0, 1})
		}
		keys = append(keys, key{len(columns) - len(a.agg.Funcs), -1})
	}
	for i := range columns {
		keys = append(keys, key{i, 1})
	}
	return func(x, y []Value) int {
		for _, k := range keys {
			if c := k.sign * CompareOrder(x[k.column], y[k.column]); c != 0 {
				return c
			}
		}
		return 0
	}
}

// CompareOrder is a total order of values, for sorting: none, truth values, numbers, text, JSON. NaN is before the
// other numbers, and equal numbers of different kinds are equal.
func CompareOrder(a, b Value) int {
	rank := func(v Value) int {
		switch v.kind {
		case KindNone:
			return 0
		case KindBool:
			return 1
		case KindInt, KindFloat:
			return 2
		case KindString:
			return 3
		case KindJSON:
		}
		return 4
	}
	if ra, rb := rank(a), rank(b); ra != rb || ra == 0 {
		return cmp.Compare(ra, rb)
	}
	if a.kind == KindInt && b.kind == KindInt {
		return cmp.Compare(int64(a.num), int64(b.num))
	}
	if x, ok := a.Number(); ok {
		y, _ := b.Number()
		return cmp.Compare(x, y)
	}
	return cmp.Or(cmp.Compare(a.num, b.num), strings.Compare(a.text, b.text))
}

// largest keeps the rows of as many combinations of fields.
func (a *Aggregator) largest(rows [][]Value, limit int) [][]Value {
	by := func(row []Value) string {
		var key []byte
		for _, v := range row[1 : 1+len(a.agg.By)] {
			key = appendKey(key, v)
		}
		return string(key)
	}
	wholes := &Aggregator{agg: &Aggregation{Funcs: a.agg.Funcs[:1], By: a.agg.By}, r: a.r, groups: map[string]*Group{}, buckets: map[int64]struct{}{}}
	wholes.first, wholes.last = a.first, a.last
	for _, g := range a.groups {
		whole, err := wholes.group(0, g.by)
		if err != nil || whole == nil { // there are as many groups at most as in a
			continue
		}
		whole.merge(&Group{states: g.states[:1]})
	}
	if len(wholes.groups) <= limit {
		return rows
	}
	type series struct {
		key string
		row []Value
	}
	var all []series
	for _, g := range wholes.groups {
		row := wholes.row(g, wholes.seconds(0))
		all = append(all, series{by(append([]Value{{}}, row...)), row})
	}
	order := wholes.order(wholes.agg.Columns(), nil)
	slices.SortFunc(all, func(x, y series) int { return order(x.row, y.row) })
	keep := map[string]bool{}
	for _, s := range all[:limit] {
		keep[s.key] = true
	}
	return slices.DeleteFunc(rows, func(row []Value) bool { return !keep[by(row)] })
}

// name puts the names of levels for their numbers.
func (a *Aggregator) name(row []Value) {
	at := 0
	if a.agg.Every > 0 {
		at = 1
	}
	for i, f := range a.agg.By {
		if v := row[at+i]; a.signal == Logs && f.Name == FieldLevel && v.kind == KindInt {
			row[at+i] = String(string(levelOfSeverity(v.Int())))
		}
	}
}
