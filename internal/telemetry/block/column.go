package block

import (
	"slices"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// pageRows is how many rows a page has, in files and in memory. Queries work on a page at a time.
const pageRows = 8192

// column is a column in memory. Only rows that have a value take place in it.
type column struct {
	name string
	kind parquet.Type
	rows []uint32 // that have a value, rising

	// One of these has an entry for each of rows.
	codes  []uint32 // of Text and JSON
	ints   []int64
	floats []float64
	bools  []bool
	fixed  []byte

	dict *dict // of codes
}

// has tells whether the row that is being added has a value already.
func (c *column) has(row uint32) bool {
	return len(c.rows) > 0 && c.rows[len(c.rows)-1] == row
}

func (c *column) addText(row uint32, s string) {
	c.rows = append(c.rows, row)
	c.codes = append(c.codes, c.dict.add(s))
}

func (c *column) addInt(row uint32, n int64) {
	c.rows = append(c.rows, row)
	c.ints = append(c.ints, n)
}

func (c *column) addFixed(row uint32, b []byte) {
	c.rows = append(c.rows, row)
	c.fixed = append(c.fixed, b...)
}

// addValue adds the value of an attribute, whose kind is the column's.
func (c *column) addValue(row uint32, v telemetry.Value) {
	c.rows = append(c.rows, row)
	switch v.Kind() {
	case telemetry.KindString, telemetry.KindJSON:
		c.codes = append(c.codes, c.dict.add(v.Str()))
	case telemetry.KindInt:
		c.ints = append(c.ints, v.Int())
	case telemetry.KindFloat:
		f, _ := v.Number()
		c.floats = append(c.floats, f)
	case telemetry.KindBool:
		c.bools = append(c.bools, v.Bool())
	case telemetry.KindNone:
	}
}

// view is what a reader may look at while a writer goes on.
func (c *column) view() *column {
	v := *c
	if c.dict != nil {
		v.dict = &dict{strings: c.dict.strings}
	}
	return &v
}

// typeOf is the type of the column that values of a kind go to.
func typeOf(k telemetry.Kind) parquet.Type {
	switch k {
	case telemetry.KindInt:
		return parquet.Int64
	case telemetry.KindFloat:
		return parquet.Double
	case telemetry.KindBool:
		return parquet.Bool
	case telemetry.KindJSON:
		return parquet.JSON
	case telemetry.KindString, telemetry.KindNone:
	}
	return parquet.Text
}

func width(t parquet.Type) int {
	switch t {
	case parquet.Fixed8:
		return 8
	case parquet.Fixed16:
		return 16
	case parquet.Int64, parquet.Timestamp, parquet.Double, parquet.Bool, parquet.Text, parquet.JSON:
	}
	return 0
}

// rowsOf is the part of the column that lies in rows lo to before hi: from is the place of its first in the lists.
func (c *column) rowsOf(lo, hi int) (rows []uint32, from int) {
	from, _ = slices.BinarySearch(c.rows, uint32(lo))
	to, _ := slices.BinarySearch(c.rows[from:], uint32(hi))
	return c.rows[from : from+to], from
}

// The column as a reader of queries sees it.

func (c *column) typ() parquet.Type { return c.kind }

func (c *column) strings(*scratch) (*parquet.Strings, error) {
	if c.dict == nil {
		return nil, nil
	}
	return &c.dict.strings, nil
}

func (c *column) mayHave(uint64) (bool, error) { return true, nil }

func (c *column) bounds() (lo, hi int64, ok bool) { return 0, 0, false }

func (c *column) page(lo, hi int, s *scratch) (parquet.Page, error) {
	p := parquet.Page{Rows: hi - lo}
	rows, from := c.rowsOf(lo, hi)
	if len(rows) < p.Rows && c.dict == nil {
		p.Valid = s.bools(p.Rows)
		for _, row := range rows {
			p.Valid[int(row)-lo] = true
		}
	}
	dense := len(rows) == p.Rows
	switch c.kind {
	case parquet.Text, parquet.JSON:
		p.Codes = spread(s.codes(p.Rows), c.codes[from:], rows, lo, dense)
	case parquet.Int64, parquet.Timestamp:
		p.Ints = spread(s.ints(p.Rows), c.ints[from:], rows, lo, dense)
	case parquet.Double:
		p.Floats = spread(s.floats(p.Rows), c.floats[from:], rows, lo, dense)
	case parquet.Bool:
		p.Bools = spread(s.bools(p.Rows), c.bools[from:], rows, lo, dense)
	case parquet.Fixed8, parquet.Fixed16:
		w := width(c.kind)
		p.Fixed = s.bytes(p.Rows * w)
		for i, row := range rows {
			copy(p.Fixed[(int(row)-lo)*w:], c.fixed[(from+i)*w:(from+i+1)*w])
		}
	}
	return p, nil
}

// spread puts values in the places of their rows.
func spread[T any](to, values []T, rows []uint32, lo int, dense bool) []T {
	if dense {
		copy(to, values[:len(rows)])
		return to
	}
	for i, row := range rows {
		to[int(row)-lo] = values[i]
	}
	return to
}

// ofResource is a column that follows from each row's resource.
type ofResource struct {
	kind     parquet.Type
	values   dict     // strings only
	codeOf   []uint32 // by resource: code or parquet.None
	resource []uint32 // of each row
}

func (c *ofResource) typ() parquet.Type { return c.kind }

func (c *ofResource) strings(*scratch) (*parquet.Strings, error) { return &c.values.strings, nil }

func (c *ofResource) mayHave(uint64) (bool, error) { return true, nil }

func (c *ofResource) bounds() (lo, hi int64, ok bool) { return 0, 0, false }

func (c *ofResource) page(lo, hi int, s *scratch) (parquet.Page, error) {
	codes := s.codes(hi - lo)
	for i, r := range c.resource[lo:hi] {
		codes[i] = c.codeOf[r]
	}
	return parquet.Page{Rows: hi - lo, Codes: codes}, nil
}
