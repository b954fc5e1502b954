package parquet_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
	zstdgo "github.com/klauspost/compress/zstd"
	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// theirs drives parquet-go the fastest way that we found: a column behind the other, by values of which those of dictionaries are made once.
type theirs struct {
	w       *pq.GenericWriter[any]
	columns []parquet.Column
	place   []int // in its schema, which it sorts by name
	dicts   [][]pq.Value
	rows    []pq.Value
}

func newTheirs(columns []parquet.Column, level zstdgo.EncoderLevel) *theirs {
	t := &theirs{columns: columns, place: make([]int, len(columns)), dicts: make([][]pq.Value, len(columns)), rows: make([]pq.Value, 8192)}
	root := pq.Group{}
	for _, c := range columns {
		root[c.Name] = pq.Compressed(pq.Optional(theirNode(&c)), &zstd.Codec{Level: level})
	}
	schema := pq.NewSchema("spans", root)
	t.w = pq.NewGenericWriter[any](io.Discard, schema, pq.BloomFilters(pq.SplitBlockFilter(10, "trace_id")))
	for i, c := range columns {
		leaf, _ := schema.Lookup(c.Name)
		t.place[i] = leaf.ColumnIndex
		if c.Dict != nil {
			for k := range c.Dict.Len() {
				t.dicts[i] = append(t.dicts[i], pq.ByteArrayValue(c.Dict.At(k)).Level(0, 1, leaf.ColumnIndex))
			}
		}
	}
	return t
}

func theirNode(c *parquet.Column) pq.Node {
	switch {
	case c.Type == parquet.Text && c.Dict.Len() > 1000:
		return pq.Encoded(pq.String(), &pq.DeltaLengthByteArray)
	case c.Type == parquet.Text:
		return pq.Encoded(pq.String(), &pq.RLEDictionary)
	case c.Name == "trace_id":
		return pq.Encoded(pq.Leaf(pq.FixedLenByteArrayType(16)), &pq.RLEDictionary)
	case c.Type == parquet.Fixed8:
		return pq.Leaf(pq.FixedLenByteArrayType(8))
	case c.Name == "http.status":
		return pq.Encoded(pq.Leaf(pq.Int64Type), &pq.RLEDictionary)
	default:
		return pq.Encoded(pq.Leaf(pq.Int64Type), &pq.DeltaBinaryPacked)
	}
}

func (t *theirs) write(to io.Writer) error {
	t.w.Reset(to)
	writers := t.w.ColumnWriters()
	for i := range t.columns {
		for row := 0; row < benchRows; row += len(t.rows) {
			t.values(i, row)
			if _, err := writers[t.place[i]].WriteRowValues(t.rows); err != nil {
				return err
			}
		}
	}
	return t.w.Close()
}

func (t *theirs) values(i, from int) {
	c, place := &t.columns[i], t.place[i]
	null := pq.Value{}.Level(0, 0, place)
	width := len(c.Fixed) / benchRows
	for k := range t.rows {
		row := from + k
		switch {
		case c.Codes != nil && c.Codes[row] == parquet.None, c.Valid != nil && !c.Valid[row]:
			t.rows[k] = null
		case c.Codes != nil:
			t.rows[k] = t.dicts[i][c.Codes[row]]
		case c.Ints != nil:
			t.rows[k] = pq.Int64Value(c.Ints[row]).Level(0, 1, place)
		default:
			t.rows[k] = pq.FixedLenByteArrayValue(c.Fixed[row*width:row*width+width]).Level(0, 1, place)
		}
	}
}

// BenchmarkCompareWrite writes the same group with this package, with parquet-go, and in about the least layout that there could be.
func BenchmarkCompareWrite(b *testing.B) {
	columns := spans()
	for _, level := range []zstdgo.EncoderLevel{zstdgo.SpeedFastest, zstdgo.SpeedDefault} {
		w := parquet.NewWriter(io.Discard, &parquet.Options{Level: level})
		other := newTheirs(columns, level)
		least, err := newBare(columns, level)
		if err != nil {
			b.Fatal(err)
		}
		for _, way := range []struct {
			name  string
			write func(to io.Writer) error
		}{
			{"ours", func(to io.Writer) error { return writeOurs(w, columns, to) }},
			{"parquet-go", other.write},
			{"bare", least.write},
		} {
			b.Run(level.String()+"/"+way.name, func(b *testing.B) {
				var size count
				b.ReportAllocs()
				for b.Loop() {
					size = 0
					if err := way.write(&size); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
				b.ReportMetric(float64(size)/benchRows, "B/row")
			})
		}
	}
}

func writeOurs(w *parquet.Writer, columns []parquet.Column, to io.Writer) error {
	w.Reset(to)
	if err := w.WriteGroup(benchRows, slices.Values(columns)); err != nil {
		return err
	}
	_, err := w.Close()
	return err
}

// BenchmarkCompareScan counts the rows of a service that have a status: each reads the file that it wrote.
func BenchmarkCompareScan(b *testing.B) {
	columns := spans()
	want := 0
	for row := range benchRows {
		if columns[5].Codes[row] == 3 && columns[8].Codes[row] == 1 {
			want++
		}
	}
	service, status := columns[5].Dict.At(3), columns[8].Dict.At(1)
	b.Run("ours", func(b *testing.B) {
		f := written(b, columns)
		var s [2]parquet.Scratch
		for b.Loop() {
			if got, err := scanOurs(f.Groups()[0], &s, service, status); got != want || err != nil {
				b.Fatalf("%d rows, not %d: %v", got, want, err)
			}
		}
	})
	b.Run("parquet-go", func(b *testing.B) {
		var out bytes.Buffer
		if err := newTheirs(columns, zstdgo.SpeedFastest).write(&out); err != nil {
			b.Fatal(err)
		}
		f, err := pq.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
		if err != nil {
			b.Fatal(err)
		}
		var codes [2][]int32
		for b.Loop() {
			if got, err := scanTheirs(f, &codes, service, status); got != want || err != nil {
				b.Fatalf("%d rows, not %d: %v", got, want, err)
			}
		}
	})
}

func scanOurs(g *parquet.Group, s *[2]parquet.Scratch, service, status []byte) (found int, err error) {
	a, b := g.Chunk("service"), g.Chunk("status")
	x, err := codeOf(a, &s[0], service)
	if err != nil {
		return 0, err
	}
	y, err := codeOf(b, &s[1], status)
	if err != nil {
		return 0, err
	}
	for i := range a.Pages() {
		p, err := a.Page(i, &s[0])
		if err != nil {
			return 0, err
		}
		q, err := b.Page(i, &s[1])
		if err != nil {
			return 0, err
		}
		for row, code := range p.Codes {
			if code == x && q.Codes[row] == y {
				found++
			}
		}
	}
	return found, nil
}

func codeOf(c *parquet.Chunk, s *parquet.Scratch, value []byte) (uint32, error) {
	dict, err := c.Dict(s)
	if err != nil {
		return 0, err
	}
	for i := range dict.Len() {
		if bytes.Equal(dict.At(i), value) {
			return uint32(i), nil
		}
	}
	return parquet.None, nil
}

func scanTheirs(f *pq.File, codes *[2][]int32, service, status []byte) (found int, err error) {
	var wanted [2]int32
	for i, name := range []string{"service", "status"} {
		leaf, _ := f.Schema().Lookup(name)
		chunk := f.RowGroups()[0].ColumnChunks()[leaf.ColumnIndex]
		if codes[i], wanted[i], err = theirCodes(chunk, codes[i][:0], [][]byte{service, status}[i]); err != nil {
			return 0, err
		}
	}
	for row, code := range codes[0] {
		if code == wanted[0] && codes[1][row] == wanted[1] {
			found++
		}
	}
	return found, nil
}

// theirCodes gives the codes of a column in which each row has a value.
func theirCodes(chunk pq.ColumnChunk, codes []int32, value []byte) ([]int32, int32, error) {
	pages := chunk.Pages()
	defer pages.Close()
	want := int32(-1)
	for {
		p, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return codes, want, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if want < 0 {
			for i := range int32(p.Dictionary().Len()) {
				if bytes.Equal(p.Dictionary().Index(i).ByteArray(), value) {
					want = i
				}
			}
		}
		data := p.Data()
		codes = append(codes, data.Int32()...)
		pq.Release(p)
	}
}

// BenchmarkUnpack shows how fast codes of each width are read.
func BenchmarkUnpack(b *testing.B) {
	for _, w := range []uint{1, 2, 3, 5, 7, 8, 13} {
		b.Run(string(rune('0'+w/10))+string(rune('0'+w%10)), func(b *testing.B) {
			out := make([]uint32, 8192)
			in := make([]byte, 8192*int(w)/8+parquet.Slack)
			for b.Loop() {
				parquet.Unpack(out, in, w)
			}
			b.ReportMetric(float64(b.N)*8192/float64(b.Elapsed().Nanoseconds())*1000, "Mcodes/s")
		})
	}
}
