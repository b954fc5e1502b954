package parquet_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
	pq "github.com/parquet-go/parquet-go"
)

// Pages of ids are longer here than a block of zstd is, and dictionaries wider than a byte.
func TestLargeGroupIsReadByBoth(t *testing.T) {
	t.Parallel()
	var columns []parquet.Column
	for _, c := range spans() {
		if slices.Contains([]string{"trace_id", "span_id", "parent_id", "start", "high.0", "service", "http.status"}, c.Name) {
			columns = append(columns, c)
		}
	}
	random := make([]byte, benchRows*16)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	columns = append(columns, parquet.Column{Name: "random", Type: parquet.Fixed16, Fixed: random})
	tb := &table{groups: []part{{rows: benchRows, columns: columns}}}
	data, crc, err := tb.write(8192)
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
	other, err := pq.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range columns {
		c := &columns[i]
		got, err := readOther(other.RowGroups()[0].ColumnChunks()[i], c.Type)
		if err != nil {
			t.Fatal(err)
		}
		for row, v := range got {
			if v != value(c, row) {
				t.Fatalf("%s, row %d: %v, not %v", c.Name, row, v, value(c, row))
			}
		}
	}
	c := f.Groups()[0].Chunk("start")
	if want := columns[3].Ints; !c.HasRange || c.Min != slices.Min(want) || c.Max != slices.Max(want) {
		t.Errorf("range from %d to %d", c.Min, c.Max)
	}
}

func TestReadingPagesAllocatesNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector makes sync.Pool forget, so that memory is made anew; go test without -race runs it")
	}
	var data bytes.Buffer
	w := parquet.NewWriter(&data, nil)
	if err := w.WriteGroup(benchRows, slices.Values(spans())); err != nil {
		t.Fatal(err)
	}
	crc, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.Open(bytes.NewReader(data.Bytes()), int64(data.Len()), crc, nil)
	if err != nil {
		t.Fatal(err)
	}
	var s parquet.Scratch
	read := func() {
		for _, info := range f.Columns() {
			c := f.Groups()[0].Chunk(info.Name)
			for i := range c.Pages() {
				if _, err := c.Page(i, &s); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	read()
	if n := testing.AllocsPerRun(3, read); n > 5 { // for some 350 pages
		t.Errorf("%v allocations", n)
	}
}

func TestWriterRefusesColumnsThatDoNotFit(t *testing.T) {
	t.Parallel()
	dict := &parquet.Strings{}
	dict.AppendString("a")
	fine := parquet.Column{Name: "n", Type: parquet.Int64, Ints: []int64{1}}
	for name, columns := range map[string][]parquet.Column{
		"no name":              {{Type: parquet.Int64, Ints: []int64{1}}},
		"no type":              {{Name: "n", Ints: []int64{1}}},
		"too few values":       {{Name: "n", Type: parquet.Int64}},
		"too few validities":   {{Name: "n", Type: parquet.Int64, Ints: []int64{1}, Valid: []bool{}}},
		"no dictionary":        {{Name: "n", Type: parquet.Text, Codes: []uint32{0}}},
		"code beyond":          {{Name: "n", Type: parquet.Text, Codes: []uint32{1}, Dict: dict}},
		"twice":                {fine, fine},
		"another type":         {{Name: "old", Type: parquet.Double, Floats: []float64{1}}},
		"too few bytes of ids": {{Name: "n", Type: parquet.Fixed16, Fixed: make([]byte, 15)}},
	} {
		w := parquet.NewWriter(io.Discard, nil)
		if err := w.WriteGroup(1, slices.Values([]parquet.Column{{Name: "old", Type: parquet.Int64, Ints: []int64{1}}})); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteGroup(1, slices.Values(columns)); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := w.Close(); err == nil {
			t.Errorf("%s: the writer forgot the error", name)
		}
	}
}

// full fails after some bytes.
type full int

func (f *full) Write(b []byte) (int, error) {
	if *f -= full(len(b)); *f < 0 {
		return 0, errFull
	}
	return len(b), nil
}

var errFull = errors.New("no space")

func TestFullDiskIsToldByEachCall(t *testing.T) {
	t.Parallel()
	for room := range full(400) {
		left := room
		w := parquet.NewWriter(&left, nil)
		err := w.WriteGroup(1, slices.Values([]parquet.Column{{Name: "n", Type: parquet.Int64, Ints: []int64{1}}}))
		if err2 := w.Section("s", []byte("abc")); err != nil && err2 == nil {
			t.Fatalf("%d bytes of room: the section was written after an error", room)
		}
		if _, err := w.Close(); !errors.Is(err, errFull) && left < 0 {
			t.Fatalf("%d bytes of room: %v", room, err)
		}
	}
}

func TestFileWithoutGroupsOpens(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := parquet.NewWriter(&out, nil)
	w.Meta("kind", "logs")
	crc, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.Open(bytes.NewReader(out.Bytes()), int64(out.Len()), crc, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Groups()) != 0 || f.Meta("kind") != "logs" {
		t.Errorf("%d groups, kind %q", len(f.Groups()), f.Meta("kind"))
	}
	var bad *parquet.Corrupt
	if _, err := parquet.Open(bytes.NewReader(out.Bytes()), int64(out.Len()), crc+1, nil); !errors.As(err, &bad) {
		t.Errorf("another checksum: %v", err)
	}
}
