package block

import (
	"bytes"
	"context"
	"encoding/hex"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// node is a part of a query's filter, made for one segment. It is used by one goroutine.
type node interface {
	// may tells whether a row of the segment can be chosen at all; it looks at dictionaries and blooms, not at rows.
	may() (bool, error)
	// eval sets in out, which is clear, the rows lo to before hi that are chosen. They are those of a page.
	eval(lo, hi int, out bitmap) error
}

// compiler makes nodes for a segment.
type compiler struct {
	seg    segment
	signal telemetry.Signal
}

func (c *compiler) compile(e telemetry.Expr) node {
	switch e := e.(type) {
	case *telemetry.And:
		return &andNode{c.compile(e.X), c.compile(e.Y), nil}
	case *telemetry.Or:
		return &orNode{c.compile(e.X), c.compile(e.Y), nil}
	case *telemetry.Not:
		return &notNode{c.compile(e.X)}
	case *telemetry.Compare:
		if e.Op == telemetry.OpNotEqual {
			equal := *e
			equal.Op = telemetry.OpEqual
			return &notNode{c.compile(&equal)}
		}
		return c.compare(e)
	case *telemetry.Matches:
		if e.Field.Name == "" {
			return c.text(func(text []byte) bool { return e.Regex.Match(text) }, nil)
		}
		return c.field(e.Field.Name, func(v telemetry.Value) bool { return e.Regex.MatchString(v.Text()) })
	case *telemetry.Has:
		return c.field(e.Field.Name, func(telemetry.Value) bool { return true })
	case telemetry.OfTraces:
		return c.traces(e)
	case *telemetry.Phrase:
		var probes []uint64
		for _, word := range telemetry.PhraseWords(e.Text) {
			probes = append(probes, probe(word))
		}
		return c.text(func(text []byte) bool { return telemetry.MatchPhrase(alias(text), e.Text) }, probes)
	}
	return constant(e == nil)
}

func (c *compiler) field(name string, pred func(telemetry.Value) bool) node {
	list := sources(c.seg, c.signal, name)
	if len(list) == 0 {
		return constant(false)
	}
	n := &fieldNode{pred: pred}
	for _, s := range list {
		n.sources = append(n.sources, fieldSource{source: s})
	}
	return n
}

func (c *compiler) compare(e *telemetry.Compare) node {
	n, ok := c.field(e.Field.Name, func(v telemetry.Value) bool { return telemetry.CompareValues(e.Op, v, e.Value) }).(*fieldNode)
	if !ok {
		return constant(false)
	}
	for i := range n.sources {
		s := &n.sources[i]
		if e.Value.Kind() == telemetry.KindInt {
			s.number, s.op, s.exact = e.Value.Int(), e.Op, true
		}
		if e.Op != telemetry.OpEqual {
			continue
		}
		switch s.vec.typ() {
		case parquet.Text, parquet.JSON:
			if e.Value.Kind() == telemetry.KindString || e.Value.Kind() == telemetry.KindJSON {
				s.hash, s.hashed = parquet.Hash([]byte(e.Value.Str())), true
			}
		case parquet.Fixed8, parquet.Fixed16:
			if id, err := hex.DecodeString(e.Value.Str()); err == nil && len(id) == width(s.vec.typ()) {
				s.id, s.hash, s.hashed = id, parquet.Hash(id), true
			}
		case parquet.Int64, parquet.Timestamp, parquet.Double, parquet.Bool:
		}
	}
	return n
}

// constant chooses all rows or none.
type constant bool

func (c constant) may() (bool, error) { return bool(c), nil }

func (c constant) eval(lo, hi int, out bitmap) error {
	if c {
		out.fill(hi - lo)
	}
	return nil
}

type andNode struct {
	x, y  node
	other bitmap
}

func (n *andNode) may() (bool, error) {
	if ok, err := n.x.may(); !ok || err != nil {
		return false, err
	}
	return n.y.may()
}

func (n *andNode) eval(lo, hi int, out bitmap) error {
	if err := n.x.eval(lo, hi, out); err != nil || out.empty() {
		return err
	}
	n.other = other(n.other, hi-lo)
	if err := n.y.eval(lo, hi, n.other); err != nil {
		return err
	}
	out.and(n.other)
	return nil
}

func other(b bitmap, n int) bitmap {
	b = sized(b, (n+63)/64)
	b.clear()
	return b
}

type orNode struct {
	x, y  node
	other bitmap
}

func (n *orNode) may() (bool, error) {
	if ok, err := n.x.may(); ok || err != nil {
		return ok, err
	}
	return n.y.may()
}

func (n *orNode) eval(lo, hi int, out bitmap) error {
	if err := n.x.eval(lo, hi, out); err != nil {
		return err
	}
	n.other = other(n.other, hi-lo)
	if err := n.y.eval(lo, hi, n.other); err != nil {
		return err
	}
	out.or(n.other)
	return nil
}

type notNode struct{ x node }

func (n *notNode) may() (bool, error) { return true, nil }

func (n *notNode) eval(lo, hi int, out bitmap) error {
	if err := n.x.eval(lo, hi, out); err != nil {
		return err
	}
	out.not(hi - lo)
	return nil
}

// What the predicate says of a value of a dictionary.
const (
	verdictAbsent = iota + 1 // the value means that the field is not there
	verdictNo
	verdictYes
)

// fieldNode asks a predicate of a field's value, wherever the row has it.
type fieldNode struct {
	sources []fieldSource
	pred    func(telemetry.Value) bool
	present bitmap
}

type fieldSource struct {
	source
	number int64 // where exact: what an integer is compared with, by op
	op     telemetry.Op
	exact  bool
	id     []byte // where the value must be equal to it
	hash   uint64 // where hashed: of the bytes that the value must be equal to
	hashed bool

	loaded     bool
	dictionary *parquet.Strings
	verdicts   []uint8 // of the dictionary's values
	yes        bool    // one of them is verdictYes
	scratch    scratch
}

func (n *fieldNode) verdict(s *fieldSource, b []byte) uint8 {
	if s.id != nil {
		if bytes.Equal(s.id, b) {
			return verdictYes
		}
		return verdictNo
	}
	v := s.value(b)
	switch {
	case v.Kind() == telemetry.KindNone:
		return verdictAbsent
	case n.pred(v):
		return verdictYes
	}
	return verdictNo
}

// load reads the dictionary and asks the predicate of each of its values.
func (n *fieldNode) load(s *fieldSource) error {
	if s.loaded {
		return nil
	}
	s.loaded = true
	var err error
	if s.dictionary, err = s.vec.strings(&s.scratch); err != nil || s.dictionary == nil {
		return err
	}
	s.verdicts = make([]uint8, s.dictionary.Len())
	for i := range s.verdicts {
		s.verdicts[i] = n.verdict(s, s.dictionary.At(i))
		s.yes = s.yes || s.verdicts[i] == verdictYes
	}
	return nil
}

func (n *fieldNode) may() (bool, error) {
	for i := range n.sources {
		s := &n.sources[i]
		if s.hashed {
			if ok, err := s.vec.mayHave(s.hash); err != nil {
				return false, err
			} else if !ok {
				continue
			}
		}
		if lo, hi, ok := s.vec.bounds(); ok && s.exact && outside(s.op, lo, hi, s.number) {
			continue
		}
		if err := n.load(s); err != nil {
			return false, err
		}
		if s.dictionary == nil || s.yes {
			return true, nil
		}
	}
	return false, nil
}

// outside tells whether no number from lo to hi compares so with n.
func outside(op telemetry.Op, lo, hi, n int64) bool {
	switch op {
	case telemetry.OpEqual:
		return n < lo || n > hi
	case telemetry.OpLess:
		return lo >= n
	case telemetry.OpAtMost:
		return lo > n
	case telemetry.OpMore:
		return hi <= n
	case telemetry.OpAtLeast:
		return hi < n
	case telemetry.OpNotEqual:
	}
	return false
}

func (n *fieldNode) eval(lo, hi int, out bitmap) error {
	several := len(n.sources) > 1
	if several {
		n.present = other(n.present, hi-lo)
	}
	for i := range n.sources {
		s := &n.sources[i]
		if err := n.load(s); err != nil {
			return err
		}
		if !several && s.dictionary != nil && !s.yes {
			return nil
		}
		p, err := s.vec.page(lo, hi, &s.scratch)
		if err != nil {
			return err
		}
		if err := n.page(s, &p, out); err != nil {
			return err
		}
	}
	return nil
}

// page asks the rows of a page. Where there are several sources, those that had the field before are left out.
func (n *fieldNode) page(s *fieldSource, p *parquet.Page, out bitmap) error {
	decide := func(row int, verdict uint8) {
		if n.present != nil {
			if verdict == verdictAbsent || n.present.has(row) {
				return
			}
			n.present.set(row)
		}
		if verdict == verdictYes {
			out.set(row)
		}
	}
	if p.Codes != nil {
		return n.codes(s, p, out, decide)
	}
	valid := func(row int) bool { return p.Valid == nil || p.Valid[row] }
	switch t := s.vec.typ(); t {
	case parquet.Int64, parquet.Timestamp:
		n.ints(s, p, out, decide)
	case parquet.Double:
		for row, f := range p.Floats {
			if valid(row) {
				decide(row, yesNo(n.pred(telemetry.Float(f))))
			}
		}
	case parquet.Bool:
		for row, b := range p.Bools {
			if valid(row) {
				decide(row, yesNo(n.pred(telemetry.Bool(b))))
			}
		}
	case parquet.Fixed8, parquet.Fixed16:
		w := width(t)
		for row := range p.Rows {
			if valid(row) {
				decide(row, n.verdict(s, p.Fixed[row*w:row*w+w]))
			}
		}
	case parquet.Text, parquet.JSON:
	}
	return nil
}

func yesNo(b bool) uint8 {
	if b {
		return verdictYes
	}
	return verdictNo
}

func (n *fieldNode) codes(s *fieldSource, p *parquet.Page, out bitmap, decide func(int, uint8)) error {
	if s.dictionary == nil {
		verdicts := sized(s.scratch.tables, p.Values.Len())
		s.scratch.tables = verdicts
		for i := range verdicts {
			verdicts[i] = n.verdict(s, p.Values.At(i))
		}
		for row, code := range p.Codes {
			if code != parquet.None {
				decide(row, verdicts[code])
			}
		}
		return nil
	}
	verdicts := s.verdicts
	if n.present != nil {
		for row, code := range p.Codes {
			if code != parquet.None {
				decide(row, verdicts[code])
			}
		}
		return nil
	}
	for row, code := range p.Codes {
		if code < uint32(len(verdicts)) && verdicts[code] == verdictYes {
			out.set(row)
		}
	}
	return nil
}

func (n *fieldNode) ints(s *fieldSource, p *parquet.Page, out bitmap, decide func(int, uint8)) {
	pred := func(v int64) bool { return n.pred(telemetry.Int(v)) }
	if s.exact {
		want := s.number
		switch s.op {
		case telemetry.OpEqual:
			pred = func(v int64) bool { return v == want }
		case telemetry.OpLess:
			pred = func(v int64) bool { return v < want }
		case telemetry.OpAtMost:
			pred = func(v int64) bool { return v <= want }
		case telemetry.OpMore:
			pred = func(v int64) bool { return v > want }
		case telemetry.OpAtLeast:
			pred = func(v int64) bool { return v >= want }
		case telemetry.OpNotEqual:
		}
	}
	for row, v := range p.Ints {
		if p.Valid != nil && !p.Valid[row] {
			continue
		}
		if n.present != nil {
			decide(row, yesNo(pred(v)))
		} else if pred(v) {
			out.set(row)
		}
	}
}

// search runs a filter over a segment, page by page, and calls yield with what it chooses of each.
func search(ctx context.Context, seg segment, signal telemetry.Signal, where telemetry.Expr, from, to int64, yield func(lo, hi int, rows bitmap) error) (looked bool, err error) {
	c := compiler{seg, signal}
	filter := c.compile(where)
	if first, last := seg.span(); first < from || last >= to {
		filter = &andNode{c.within(from, to), filter, nil}
	}
	if ok, err := filter.may(); !ok || err != nil {
		return false, err
	}
	rows := newBitmap(pageRows)
	for lo := 0; lo < seg.rows(); lo += pageRows {
		if err := ctx.Err(); err != nil {
			return true, err
		}
		hi := min(lo+pageRows, seg.rows())
		page := rows[:(hi-lo+63)/64]
		page.clear()
		if err := filter.eval(lo, hi, page); err != nil {
			return true, err
		}
		if page.empty() {
			continue
		}
		if err := yield(lo, hi, page); err != nil {
			return true, err
		}
	}
	return true, nil
}

// within chooses the rows of a range of time.
func (c *compiler) within(from, to int64) node {
	bound := func(op telemetry.Op, n int64) node {
		return c.compare(&telemetry.Compare{Field: telemetry.Field{Name: colTime}, Op: op, Value: telemetry.Int(n)})
	}
	return &andNode{bound(telemetry.OpAtLeast, from), bound(telemetry.OpLess, to), nil}
}
