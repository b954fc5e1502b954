package parquet_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
	"pgregory.net/rapid"
)

// table is what a test writes: groups of columns, in the dullest form.
type table struct {
	groups []part
}

type part struct {
	rows    int
	columns []parquet.Column
}

// value gives the value of a row in a comparable form, nil for null.
func value(c *parquet.Column, row int) any {
	if c.Type == parquet.Text || c.Type == parquet.JSON {
		if c.Codes[row] == parquet.None {
			return nil
		}
		return string(c.Dict.At(int(c.Codes[row])))
	}
	if c.Valid != nil && !c.Valid[row] {
		return nil
	}
	switch c.Type {
	case parquet.Double:
		return math.Float64bits(c.Floats[row])
	case parquet.Bool:
		return c.Bools[row]
	case parquet.Fixed8:
		return string(c.Fixed[row*8 : row*8+8])
	case parquet.Fixed16:
		return string(c.Fixed[row*16 : row*16+16])
	default:
		return c.Ints[row]
	}
}

func (tb *table) write(pageRows int) ([]byte, uint32, error) {
	var out bytes.Buffer
	w := parquet.NewWriter(&out, &parquet.Options{PageRows: pageRows})
	for i, g := range tb.groups {
		if err := w.WriteGroup(g.rows, slices.Values(g.columns)); err != nil {
			return nil, 0, err
		}
		if err := w.Section(fmt.Sprint("part", i), fmt.Appendf(nil, "section of %d", i)); err != nil {
			return nil, 0, err
		}
	}
	w.Meta("kind", "spans")
	crc, err := w.Close()
	return out.Bytes(), crc, err
}

// column reads all values of a column in a group.
func column(g *parquet.Group, name string, s *parquet.Scratch) ([]any, error) {
	c := g.Chunk(name)
	if c == nil {
		return make([]any, g.Rows), nil
	}
	var dict *parquet.Strings
	var all []any
	for i := range c.Pages() {
		p, err := c.Page(i, s)
		if err != nil {
			return nil, err
		}
		if c.Dictionary {
			if dict, err = c.Dict(s); err != nil {
				return nil, err
			}
			if i%2 == 0 { // the dictionary may have overwritten nothing but its own
				if p, err = c.Page(i, s); err != nil {
					return nil, err
				}
			}
		}
		for row := range p.Rows {
			all = append(all, cell(c, &p, dict, row))
		}
	}
	return all, nil
}

func cell(c *parquet.Chunk, p *parquet.Page, dict *parquet.Strings, row int) any {
	switch {
	case p.Codes != nil && p.Codes[row] == parquet.None:
		return nil
	case p.Codes != nil && p.Same && p.Codes[row] != p.Codes[0]:
		return "not the same"
	case p.Codes != nil && c.Dictionary:
		return string(dict.At(int(p.Codes[row])))
	case p.Codes != nil:
		return string(p.Values.At(int(p.Codes[row])))
	case p.Valid != nil && !p.Valid[row]:
		return nil
	}
	switch c.Type {
	case parquet.Double:
		return math.Float64bits(p.Floats[row])
	case parquet.Bool:
		return p.Bools[row]
	case parquet.Fixed8:
		return string(p.Fixed[row*8 : row*8+8])
	case parquet.Fixed16:
		return string(p.Fixed[row*16 : row*16+16])
	default:
		return p.Ints[row]
	}
}

// anyTable draws groups with columns of all types, of few and many values, with and without nulls.
func anyTable(t *rapid.T) *table {
	tb := &table{}
	for range rapid.IntRange(1, 3).Draw(t, "groups") {
		rows := rapid.IntRange(1, 120).Draw(t, "rows")
		p := part{rows: rows}
		for i, typ := range []parquet.Type{
			parquet.Text, parquet.JSON, parquet.Int64, parquet.Timestamp, parquet.Double, parquet.Bool, parquet.Fixed8, parquet.Fixed16, parquet.Text,
			parquet.Int64,
		} {
			if rapid.IntRange(0, 4).Draw(t, "absent") == 0 {
				continue
			}
			p.columns = append(p.columns, anyColumn(t, fmt.Sprintf("c%d.%s", i, typ), typ, rows))
		}
		if rapid.Bool().Draw(t, "turned") {
			for i, j := 0, len(p.columns)-1; i < j; i, j = i+1, j-1 {
				p.columns[i], p.columns[j] = p.columns[j], p.columns[i]
			}
		}
		tb.groups = append(tb.groups, p)
	}
	return tb
}

func anyColumn(t *rapid.T, name string, typ parquet.Type, rows int) parquet.Column {
	c := parquet.Column{Name: name, Type: typ, Bloom: typ != parquet.Double && typ != parquet.Bool && rapid.Bool().Draw(t, "bloom")}
	kinds := rapid.SampledFrom([]int{1, 2, 3, 5, 20, 1000}).Draw(t, "kinds")
	sticky := rapid.SampledFrom([]int{1, 2, 30}).Draw(t, "sticky") // how long a value stays
	nulls := rapid.SampledFrom([]int{0, 0, 1, 5, 9, 10}).Draw(t, "nulls")
	seed := rapid.Uint64().Draw(t, "seed")
	next := func(n int) int { // cheap: rapid's own draws are slow for each row
		seed ^= seed << 13
		seed ^= seed >> 7
		seed ^= seed << 17
		return int(seed>>33) % n
	}
	seed |= 1
	c.Dict = &parquet.Strings{}
	for i := range kinds {
		c.Dict.AppendString(fmt.Sprintf("%s %x", name, i*i)[next(len(name)):])
	}
	if nulls > 0 {
		c.Valid = make([]bool, rows)
	}
	v := 0
	for row := range rows {
		if row%sticky == 0 {
			v = next(kinds)
		}
		valid := nulls == 0 || next(10) >= nulls
		if c.Valid != nil {
			c.Valid[row] = valid
		}
		add(&c, v, next(1<<30), valid)
	}
	return c
}

func add(c *parquet.Column, v, random int, valid bool) {
	wide := int64(v) * 0x7e3779b97f4a7c15
	switch c.Type {
	case parquet.Text, parquet.JSON:
		if !valid {
			v = int(parquet.None)
		}
		c.Codes = append(c.Codes, uint32(v))
	case parquet.Double:
		c.Floats = append(c.Floats, math.Float64frombits(uint64(wide)))
	case parquet.Bool:
		c.Bools = append(c.Bools, random&1 != 0)
	case parquet.Fixed8:
		c.Fixed = fmt.Appendf(c.Fixed, "%08x", v)
	case parquet.Fixed16:
		c.Fixed = fmt.Appendf(c.Fixed, "%016x", uint64(wide))
	case parquet.Timestamp:
		c.Ints = append(c.Ints, 1_700_000_000_000_000_000+int64(v)*1_000_003)
	default:
		c.Ints = append(c.Ints, wide)
	}
}

// compare reads everything back.
func compare(tb *table, f *parquet.File) error {
	var s parquet.Scratch // one for all columns: nothing of one may show in another
	if len(f.Groups()) != len(tb.groups) {
		return fmt.Errorf("%d groups", len(f.Groups()))
	}
	for i, g := range f.Groups() {
		there := map[string]*parquet.Column{}
		for j := range tb.groups[i].columns {
			there[tb.groups[i].columns[j].Name] = &tb.groups[i].columns[j]
		}
		for _, info := range f.Columns() {
			got, err := column(g, info.Name, &s)
			if err != nil {
				return err
			}
			if len(got) != tb.groups[i].rows {
				return fmt.Errorf("group %d, %s: %d rows", i, info.Name, len(got))
			}
			for row, v := range got {
				var want any
				if c := there[info.Name]; c != nil {
					want = value(c, row)
				}
				if v != want {
					return fmt.Errorf("group %d, %s, row %d: %v, not %v", i, info.Name, row, v, want)
				}
			}
		}
	}
	return nil
}

func TestReadGivesWhatWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tb := anyTable(t)
		data, crc, err := tb.write(rapid.SampledFrom([]int{8, 16, 56, 8192}).Draw(t, "page rows"))
		if err != nil {
			t.Fatal(err)
		}
		f, err := parquet.Open(bytes.NewReader(data), int64(len(data)), crc, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := compare(tb, f); err != nil {
			t.Fatal(err)
		}
	})
}
