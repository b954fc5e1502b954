package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// segment is a run of rows that a query looks at: a row group of a block, or a table in memory.
type segment interface {
	rows() int
	span() (first, last int64) // times, both within
	names() []string           // of its columns
	get(name string) vector    // nil where no row has a value
	words(page int) filter     // of the text of a page of records
	valued(name string) int64  // how many rows have a value
}

// vector is a column of a segment.
type vector interface {
	typ() parquet.Type
	// strings is the dictionary of the column, nil where each page has values of its own.
	strings(s *scratch) (*parquet.Strings, error)
	// mayHave tells whether a value with this hash may be there.
	mayHave(hash uint64) (bool, error)
	bounds() (lo, hi int64, ok bool)
	// page reads rows lo to before hi, which are those of a page. It is the scratch's until it is used again.
	page(lo, hi int, s *scratch) (parquet.Page, error)
}

// filter is a bloom filter of words. The zero filter knows nothing.
type filter struct {
	known bool
	bits  []byte
}

// may tells whether all of the words may be there.
func (f filter) may(probes []uint64) bool {
	if !f.known {
		return true
	}
	if len(f.bits) == 0 {
		return len(probes) == 0
	}
	for _, h := range probes {
		if !filterHas(f.bits, h) {
			return false
		}
	}
	return true
}

// scratch is memory that is used again and again.
type scratch struct {
	pq     parquet.Scratch
	code   []uint32
	int    []int64
	float  []float64
	bool_  []bool
	valid  []bool
	byte_  []byte
	tables []uint8
}

func (s *scratch) codes(n int) []uint32 {
	s.code = sized(s.code, n)
	for i := range s.code {
		s.code[i] = parquet.None
	}
	return s.code
}

func (s *scratch) ints(n int) []int64 {
	s.int = sized(s.int, n)
	clear(s.int)
	return s.int
}

func (s *scratch) floats(n int) []float64 {
	s.float = sized(s.float, n)
	clear(s.float)
	return s.float
}

func (s *scratch) bools(n int) []bool {
	s.bool_, s.valid = s.valid, s.bool_ // a page has two lists of them at most
	s.bool_ = sized(s.bool_, n)
	clear(s.bool_)
	return s.bool_
}

func (s *scratch) bytes(n int) []byte {
	s.byte_ = sized(s.byte_, n)
	clear(s.byte_)
	return s.byte_
}

func sized[T any](list []T, n int) []T {
	if cap(list) < n {
		return make([]T, n)
	}
	return list[:n]
}

// fileGroup is a row group of a block.
type fileGroup struct {
	block  *block
	group  *parquet.Group
	first  int // page of the block that its first page is
	filter *wordTable
}

// groups lists the segments of a block.
func (b *block) groups() []*fileGroup {
	var out []*fileGroup
	table := &wordTable{block: b}
	page := 0
	for _, g := range b.pq.Groups() {
		out = append(out, &fileGroup{block: b, group: g, first: page, filter: table})
		page += (g.Rows + pageRows - 1) / pageRows
	}
	return out
}

func (g *fileGroup) rows() int { return g.group.Rows }

func (g *fileGroup) span() (first, last int64) {
	if c := g.group.Chunk(colTime); c != nil && c.HasRange {
		return c.Min, c.Max
	}
	return g.block.first, g.block.last
}

func (g *fileGroup) names() []string {
	var out []string
	for _, c := range g.block.pq.Columns() {
		if g.group.Chunk(c.Name) != nil {
			out = append(out, c.Name)
		}
	}
	return out
}

func (g *fileGroup) get(name string) vector {
	if c := g.group.Chunk(name); c != nil {
		return &chunk{c}
	}
	return nil
}

func (g *fileGroup) valued(name string) int64 {
	if c := g.group.Chunk(name); c != nil {
		return int64(g.group.Rows) - c.Nulls
	}
	return 0
}

func (g *fileGroup) words(page int) filter { return g.filter.of(g.first + page) }

// wordTable is the section of words of a block, read when it is asked for.
type wordTable struct {
	block *block
	once  sync.Once // the row groups of a block are searched side by side
	ends  []byte
	bits  []byte
}

func (t *wordTable) read() {
	section, err := t.block.pq.Section(wordsSection)
	if err != nil || len(section) < 4 {
		return
	}
	n := int(binary.LittleEndian.Uint32(section))
	if n > (len(section)-4)/4 {
		return
	}
	t.ends, t.bits = section[4:4+4*n], section[4+4*n:]
}

func (t *wordTable) of(page int) filter {
	t.once.Do(t.read)
	if 4*page+4 > len(t.ends) {
		return filter{}
	}
	from, to := uint32(0), binary.LittleEndian.Uint32(t.ends[4*page:])
	if page > 0 {
		from = binary.LittleEndian.Uint32(t.ends[4*page-4:])
	}
	if from > to || int(to) > len(t.bits) {
		return filter{}
	}
	return filter{known: true, bits: t.bits[from:to]}
}

// chunk is a column of a row group.
type chunk struct{ c *parquet.Chunk }

func (c *chunk) typ() parquet.Type { return c.c.Type }

func (c *chunk) strings(s *scratch) (*parquet.Strings, error) {
	if !c.c.Dictionary || !coded(c.c.Type) {
		return nil, nil
	}
	return c.c.Dict(&s.pq)
}

// coded tells whether values of a type come as codes where there is a dictionary.
func coded(t parquet.Type) bool {
	switch t {
	case parquet.Text, parquet.JSON, parquet.Fixed8, parquet.Fixed16:
		return true
	case parquet.Int64, parquet.Timestamp, parquet.Double, parquet.Bool:
	}
	return false
}

func (c *chunk) mayHave(hash uint64) (bool, error) {
	if !c.c.HasBloom {
		return true, nil
	}
	return c.c.MayHave(hash)
}

func (c *chunk) bounds() (lo, hi int64, ok bool) { return c.c.Min, c.c.Max, c.c.HasRange }

func (c *chunk) page(lo, hi int, s *scratch) (parquet.Page, error) {
	p, err := c.c.Page(lo/pageRows, &s.pq)
	if err != nil {
		return p, err
	}
	if p.Rows != hi-lo {
		return p, fmt.Errorf("%w: a page has %d rows instead of %d", errShape, p.Rows, hi-lo)
	}
	return p, nil
}

// errShape is the error of a block whose parts do not fit each other.
var errShape = errors.New("the block is out of shape")

func (v *memView) words(int) filter { return filter{} }

func (v *memView) valued(name string) int64 {
	if c, ok := v.columns[name]; ok {
		return int64(len(c.rows))
	}
	if c, ok := v.get(name).(*ofResource); ok {
		n := int64(0)
		for _, r := range c.resource {
			if c.codeOf[r] != parquet.None {
				n++
			}
		}
		return n
	}
	return 0
}

// segments lists what a snapshot has in a range of time, the newest first.
func (s *snapshot) segments(from, to int64) []segment {
	var out []segment
	for _, v := range slices.Backward(s.mems) {
		if v.n > 0 && v.last >= from && v.first < to {
			out = append(out, v)
		}
	}
	for _, b := range s.blocks {
		if b.last < from || b.first >= to {
			continue
		}
		for _, g := range b.groups() {
			if first, last := g.span(); last >= from && first < to {
				out = append(out, g)
			}
		}
	}
	return out
}

// nanos is a range in nanoseconds, from the first to before the second.
func nanos(r telemetry.Range) (from, to int64) {
	const end = 1<<63 - 1
	from, to = -1<<63, end
	if !r.From.IsZero() {
		from = r.From.UnixNano()
	}
	if !r.To.IsZero() {
		to = r.To.UnixNano()
	}
	return from, to
}
