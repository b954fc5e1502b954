package telemetry

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// The bounds of a Differ.
const (
	MaxDiffFields = 200 // fields that are counted; those that come later are not
	MaxDiffValues = 200 // values of a field that are counted each; those that come later together
	maxDiffText   = 200 // bytes of a value that are looked at
	maxDiffPieces = 2000
	diffParts     = 8  // that numbers of many values are divided into
	diffNumbers   = 12 // values of a field of numbers above which it is divided
	diffShown     = 10 // values of a field that are told
	maxDiffRest   = 0.5
)

// Region is a part of a heat map: when spans began, how long they took, whether they failed. What is zero is no bound; each upper
// bound is the first that is outside.
type Region struct {
	Range
	Least, Most int64 // nanoseconds
	Errors      bool  // only spans with an error
}

// Contains tells whether a span is within the region.
func (r *Region) Contains(s *Span) bool {
	return (r.From.IsZero() || s.Start >= r.From.UnixNano()) && (r.To.IsZero() || s.Start < r.To.UnixNano()) &&
		s.Duration >= r.Least && (r.Most == 0 || s.Duration < r.Most) && (!r.Errors || s.Status == StatusError)
}

// Shares are parts of the spans inside and outside of a region, from 0 to 1.
type Shares struct{ Inside, Outside float64 }

// DiffValue is a value of a field, or numbers from Low to High, or one of the two lines that are none: spans without the field,
// and the values that are not told one by one.
type DiffValue struct {
	Shares
	Value     Value // of KindNone for a range, and for Missing and Rest
	Cut       bool  // the value goes on; what is told is its beginning
	Low, High Value // of a range, both within it
	Missing   bool
	Rest      bool
}

// DiffField is how much a field differs. Difference is the total variation distance between its values inside and outside: half of the
// sum of the differences of the shares of all values, a missing one among them; 0 where they are distributed alike and 1 where
// they have nothing in common. Chance is what would be expected of it if the region had been drawn blindly: many
// values among few spans differ by themselves. Fields are ranked by Difference - Chance.
type DiffField struct {
	Field      string
	Difference float64
	Chance     float64
	Values     []DiffValue // that differ most, at most 10; what is left as Rest
}

// Difference is how spans inside of a region differ from the others.
type Difference struct {
	Inside, Outside int64       // spans that were looked at
	Fields          []DiffField // that differ by more than chance, most first
	Many            []string    // fields that were left out since they have too many values, such as ids
	More            bool        // there were more fields than MaxDiffFields
}

// Differ compares the values of fields of spans inside and outside of a region. Left out are ids, times and the duration: by them the
// region was drawn. It keeps at most MaxDiffFields times MaxDiffValues values, of each its first 200 bytes.
type Differ struct {
	fields  map[string]*diffField
	more    bool
	spans   Shares // weight
	inside  int64
	outside int64
}

// diffField counts a field. Numbers are counted as values as long as they are few, and from the first in pieces too.
type diffField struct {
	values  map[diffKey]*Shares
	pieces  map[int32]*diffPiece
	present Shares
	rest    Shares // of values that are not in values
	numbers bool   // nothing else has come
	distant Shares // numbers that are in no piece
}

type diffKey struct {
	Value
	cut bool
}

type diffPiece struct {
	Shares
	low, high Value
}

// NewDiffer makes a Differ.
func NewDiffer() *Differ { return &Differ{fields: map[string]*diffField{}} }

func (s *Shares) add(inside bool, weight float64) {
	if inside {
		s.Inside += weight
	} else {
		s.Outside += weight
	}
}

// Add counts a span as so many as it stands for.
func (d *Differ) Add(s *Span, inside bool, weight float64) {
	d.spans.add(inside, weight)
	if inside {
		d.inside++
	} else {
		d.outside++
	}
	row := Row{Span: s}
	for _, name := range [...]string{FieldService, FieldReplica, FieldScope, FieldName, FieldKind, FieldStatus, FieldMessage} {
		if v, ok := row.Field(name); ok {
			d.count(name, v, inside, weight)
		}
	}
	for i := range s.Attrs {
		if !isFixed(Spans, s.Attrs[i].Key) {
			d.count(s.Attrs[i].Key, s.Attrs[i].Value, inside, weight)
		}
	}
	if s.Resource == nil {
		return
	}
	for _, a := range s.Resource.Attrs {
		if _, own := find(a.Key, s.Attrs); !own && !isFixed(Spans, a.Key) {
			d.count(a.Key, a.Value, inside, weight)
		}
	}
}

func (d *Differ) count(name string, v Value, inside bool, weight float64) {
	if v.kind == KindNone {
		return
	}
	f := d.fields[name]
	if f == nil {
		if len(d.fields) >= MaxDiffFields {
			d.more = true
			return
		}
		f = &diffField{values: map[diffKey]*Shares{}, pieces: map[int32]*diffPiece{}, numbers: true}
		d.fields[strings.Clone(name)] = f
	}
	f.present.add(inside, weight)
	f.countValue(v, inside, weight)
	f.countNumber(v, inside, weight)
}

func (f *diffField) countValue(v Value, inside bool, weight float64) {
	key := diffKey{Value: v}
	if len(v.text) > maxDiffText {
		key.text, key.cut = v.text[:maxDiffText], true
	}
	shares := f.values[key]
	if shares == nil {
		if len(f.values) >= MaxDiffValues {
			f.rest.add(inside, weight)
			return
		}
		shares = &Shares{}
		key.text = strings.Clone(key.text)
		f.values[key] = shares
	}
	shares.add(inside, weight)
}

func (f *diffField) countNumber(v Value, inside bool, weight float64) {
	n, ok := v.Number()
	if !ok || math.IsNaN(n) {
		f.numbers, f.pieces = false, nil
	}
	if !f.numbers {
		return
	}
	// 16 pieces for each doubling, in the order of their numbers.
	key, bucket := place(n)
	at := key*(sketchBuckets/4) + int32(bucket/4)
	p := f.pieces[at]
	switch {
	case p == nil && len(f.pieces) >= maxDiffPieces:
		f.distant.add(inside, weight)
		return
	case p == nil:
		p = &diffPiece{low: v, high: v}
		f.pieces[at] = p
	}
	if CompareValues(OpLess, v, p.low) {
		p.low = v
	}
	if CompareValues(OpMore, v, p.high) {
		p.high = v
	}
	p.add(inside, weight)
}

// Difference is what was found, of at most so many fields.
func (d *Differ) Difference(fields int) Difference {
	out := Difference{Inside: d.inside, Outside: d.outside, More: d.more}
	if d.inside == 0 || d.outside == 0 {
		return out
	}
	for name, f := range d.fields {
		found, ok := d.differs(name, f)
		switch {
		case !ok:
			out.Many = append(out.Many, name)
		case found.Difference > found.Chance:
			out.Fields = append(out.Fields, found)
		}
	}
	slices.Sort(out.Many)
	slices.SortFunc(out.Fields, func(a, b DiffField) int {
		return cmp.Or(cmp.Compare(b.Difference-b.Chance, a.Difference-a.Chance), strings.Compare(a.Field, b.Field))
	})
	out.Fields = out.Fields[:min(len(out.Fields), fields)]
	return out
}

// differs compares a field; ok is false where it has too many values.
func (d *Differ) differs(name string, f *diffField) (out DiffField, ok bool) {
	all := f.told()
	switch {
	case f.numbers && len(f.values) > diffNumbers:
		all = f.parts()
	case f.rest.Inside+f.rest.Outside > maxDiffRest*(f.present.Inside+f.present.Outside):
		return out, false
	}
	missing := Shares{d.spans.Inside - f.present.Inside, d.spans.Outside - f.present.Outside}
	const rounding = 1e-9
	if missing.Inside+missing.Outside > rounding*(d.spans.Inside+d.spans.Outside) {
		all = append(all, DiffValue{Shares: missing, Missing: true})
	}
	out = DiffField{Field: name}
	for i := range all {
		v := &all[i]
		p := (v.Inside + v.Outside) / (d.spans.Inside + d.spans.Outside)
		v.Inside = max(v.Inside/d.spans.Inside, 0)
		v.Outside = max(v.Outside/d.spans.Outside, 0)
		out.Difference += math.Abs(v.Inside-v.Outside) / 2
		// The mean of the absolute value of a normal deviation is sqrt(2/pi) of its standard deviation.
		out.Chance += math.Sqrt(2/math.Pi*max(p*(1-p), 0)*(1/float64(d.inside)+1/float64(d.outside))) / 2
	}
	out.Values = mostDifferent(all)
	return out, true
}

// told are the values that were counted, and the rest.
func (f *diffField) told() []DiffValue {
	all := make([]DiffValue, 0, len(f.values)+2)
	for key, shares := range f.values {
		if key.cut {
			key.text, key.kind = strings.ToValidUTF8(key.text, ""), KindString
		}
		all = append(all, DiffValue{Shares: *shares, Value: key.Value, Cut: key.cut})
	}
	if f.rest != (Shares{}) {
		all = append(all, DiffValue{Shares: f.rest, Rest: true})
	}
	return all
}

// parts divides numbers into parts with about as many spans each.
func (f *diffField) parts() []DiffValue {
	keys := make([]int32, 0, len(f.pieces))
	total := 0.0
	for at, p := range f.pieces {
		keys = append(keys, at)
		total += p.Inside + p.Outside
	}
	slices.Sort(keys)
	var all []DiffValue
	sum, last := 0.0, -1
	for _, at := range keys {
		p := f.pieces[at]
		if part := int(sum / total * diffParts); part != last {
			all = append(all, DiffValue{Low: p.low})
			last = part
		}
		to := &all[len(all)-1]
		to.High = p.high
		to.Inside += p.Inside
		to.Outside += p.Outside
		sum += p.Inside + p.Outside
	}
	if f.distant != (Shares{}) {
		all = append(all, DiffValue{Shares: f.distant, Rest: true})
	}
	return all
}

// mostDifferent are the values that differ most, the others put together; ranges of numbers stay in their order.
func mostDifferent(all []DiffValue) []DiffValue {
	if len(all) > 0 && all[0].Low.kind != KindNone {
		return all
	}
	slices.SortFunc(all, func(a, b DiffValue) int {
		return cmp.Or(cmp.Compare(math.Abs(b.Inside-b.Outside), math.Abs(a.Inside-a.Outside)), cmp.Compare(b.Inside, a.Inside), strings.Compare(a.Value.Text(), b.Value.Text()))
	})
	rest := DiffValue{Rest: true}
	shown := make([]DiffValue, 0, diffShown+1)
	for _, v := range all {
		if len(shown) == diffShown || v.Rest {
			rest.Inside += v.Inside
			rest.Outside += v.Outside
			continue
		}
		shown = append(shown, v)
	}
	if rest.Shares != (Shares{}) {
		shown = append(shown, rest)
	}
	return shown
}
