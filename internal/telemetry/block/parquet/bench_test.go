package parquet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
	"github.com/klauspost/compress/zstd"
)

const benchRows = 64 << 10

// spans makes the columns of a group of spans as a block has them: sorted by trace, 45 columns, of which most are sparse attributes of few values.
func spans() []parquet.Column {
	r := rand.New(rand.NewPCG(1, 2))
	trace, id, parent := make([]byte, 0, benchRows*16), make([]byte, 0, benchRows*8), make([]byte, 0, benchRows*8)
	start, took, hasParent := make([]int64, benchRows), make([]int64, benchRows), make([]bool, benchRows)
	route := make([]int, benchRows) // what a span does, on which its attributes depend
	service := make([]int, benchRows)
	now := int64(1_790_000_000_000_000_000)
	for row := 0; row < benchRows; {
		t, n := [16]byte{}, min(1+r.IntN(16), benchRows-row)
		binary.BigEndian.PutUint64(t[:], uint64(row)<<40|r.Uint64()>>24)
		binary.BigEndian.PutUint64(t[8:], r.Uint64())
		now += r.Int64N(2_000_000)
		at, total := now, r.Int64N(50_000_000)
		first := len(id)
		for i := range n {
			trace = append(trace, t[:]...)
			id = binary.BigEndian.AppendUint64(id, r.Uint64())
			parent = append(parent, id[first+r.IntN(i+1)*8:][:8]...)
			hasParent[row] = i > 0
			start[row], took[row] = at, total>>min(i, 6)+r.Int64N(100_000)
			at += r.Int64N(500_000)
			route[row] = min(int(r.ExpFloat64()*8), 59)
			service[row] = route[row] % 17
			row++
		}
	}
	columns := []parquet.Column{
		{Name: "trace_id", Type: parquet.Fixed16, Fixed: trace, Bloom: true},
		{Name: "span_id", Type: parquet.Fixed8, Fixed: id},
		{Name: "parent_id", Type: parquet.Fixed8, Fixed: parent, Valid: hasParent},
		{Name: "start", Type: parquet.Timestamp, Ints: start},
		{Name: "duration", Type: parquet.Int64, Ints: took},
	}
	text := func(name string, kinds, percent int, value func(row int) int) {
		c := parquet.Column{Name: name, Type: parquet.Text, Dict: &parquet.Strings{}, Codes: make([]uint32, benchRows)}
		for i := range kinds {
			c.Dict.AppendString(fmt.Sprintf("%s/%d/of-some-length", name, i))
		}
		for row := range c.Codes {
			c.Codes[row] = parquet.None
			if route[row]*37%100 < percent { // an operation has the attribute or has not
				c.Codes[row] = uint32(value(row))
			}
		}
		columns = append(columns, c)
	}
	text("service", 17, 100, func(row int) int { return service[row] })
	text("name", 60, 100, func(row int) int { return route[row] })
	text("kind", 5, 100, func(row int) int { return route[row] % 5 })
	text("status", 3, 100, func(int) int { return max(r.IntN(60)-57, 0) })
	text("instance", 51, 100, func(row int) int { return service[row]*3 + r.IntN(3) })
	for i := range 12 {
		text(fmt.Sprint("resource.", i), 17, 100, func(row int) int { return service[row] })
	}
	for i := range 12 {
		text(fmt.Sprint("attribute.", i), 40, 10+i*3, func(row int) int { return (route[row]*7 + i) % 40 })
	}
	for i := range 4 {
		text(fmt.Sprint("noisy.", i), 50, 30, func(int) int { return min(int(r.ExpFloat64()*6), 49) })
	}
	status := parquet.Column{Name: "http.status", Type: parquet.Int64, Ints: make([]int64, benchRows), Valid: make([]bool, benchRows)}
	size := parquet.Column{Name: "http.size", Type: parquet.Int64, Ints: make([]int64, benchRows), Valid: status.Valid}
	for row := range benchRows {
		status.Valid[row] = route[row]%3 == 0
		status.Ints[row] = []int64{200, 200, 200, 200, 200, 200, 204, 404, 500}[r.IntN(9)]
		size.Ints[row] = int64(r.ExpFloat64() * 2000)
	}
	columns = append(columns, status, size)
	for i := range 4 { // paths, statements and such
		c := parquet.Column{Name: fmt.Sprint("high.", i), Type: parquet.Text, Dict: &parquet.Strings{}, Codes: make([]uint32, benchRows)}
		for row := range c.Codes {
			c.Codes[row] = parquet.None
			if (route[row]+i)%5 == 0 {
				c.Codes[row] = uint32(c.Dict.Len())
				c.Dict.AppendString(fmt.Sprintf("/api/%d/orders/%d/items/%x", route[row], r.IntN(100_000), r.Uint32()))
			}
		}
		columns = append(columns, c)
	}
	return columns
}

func BenchmarkWrite(b *testing.B) {
	columns := spans()
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault} {
		b.Run(level.String(), func(b *testing.B) {
			w := parquet.NewWriter(io.Discard, &parquet.Options{Level: level})
			var size count
			b.ReportAllocs()
			for b.Loop() {
				size = 0
				w.Reset(&size)
				if err := w.WriteGroup(benchRows, slices.Values(columns)); err != nil {
					b.Fatal(err)
				}
				if _, err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
			b.ReportMetric(float64(size)/benchRows, "B/row")
		})
	}
}

type count int

func (c *count) Write(b []byte) (int, error) { *c += count(len(b)); return len(b), nil }

func written(b *testing.B, columns []parquet.Column) *parquet.File {
	b.Helper()
	var out bytes.Buffer
	w := parquet.NewWriter(&out, nil)
	if err := w.WriteGroup(benchRows, slices.Values(columns)); err != nil {
		b.Fatal(err)
	}
	crc, err := w.Close()
	if err != nil {
		b.Fatal(err)
	}
	f, err := parquet.Open(bytes.NewReader(out.Bytes()), int64(out.Len()), crc, nil)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

func BenchmarkPage(b *testing.B) {
	f := written(b, spans())
	for _, name := range []string{"service", "name", "attribute.3", "noisy.1", "high.1", "start", "http.status", "http.size", "trace_id", "span_id", "parent_id"} {
		b.Run(name, func(b *testing.B) {
			c := f.Groups()[0].Chunk(name)
			var s parquet.Scratch
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Page(3, &s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*8192/float64(b.Elapsed().Nanoseconds())*1000, "Mrows/s")
		})
	}
}

// BenchmarkColumns shows what each column costs.
func BenchmarkColumns(b *testing.B) {
	for _, c := range spans() {
		b.Run(c.Name, func(b *testing.B) {
			w := parquet.NewWriter(io.Discard, nil)
			var size count
			for b.Loop() {
				size = 0
				w.Reset(&size)
				if err := w.WriteGroup(benchRows, slices.Values([]parquet.Column{c})); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
			b.ReportMetric(float64(size)/benchRows, "B/row")
		})
	}
}
