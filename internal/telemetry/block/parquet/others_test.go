package parquet_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
	pq "github.com/parquet-go/parquet-go"
	"pgregory.net/rapid"
)

// readOther reads a column of a group with parquet-go, page by page.
func readOther(chunk pq.ColumnChunk, typ parquet.Type) (all []any, err error) {
	pages := chunk.Pages()
	defer pages.Close()
	for {
		p, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		values := make([]pq.Value, p.NumValues())
		if n, err := p.Values().ReadValues(values); n != len(values) || err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%d of %d values: %w", n, len(values), err)
		}
		for _, v := range values {
			all = append(all, other(v, typ))
		}
	}
}

func other(v pq.Value, typ parquet.Type) any {
	switch {
	case v.IsNull():
		return nil
	case typ == parquet.Double:
		return math.Float64bits(v.Double())
	case typ == parquet.Bool:
		return v.Boolean()
	case typ == parquet.Int64 || typ == parquet.Timestamp:
		return v.Int64()
	default:
		return string(v.ByteArray())
	}
}

func TestParquetGoReadsTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tb := anyTable(t)
		data, crc, err := tb.write(rapid.SampledFrom([]int{8, 56, 8192}).Draw(t, "page rows"))
		if err != nil {
			t.Fatal(err)
		}
		mine, err := parquet.Open(bytes.NewReader(data), int64(len(data)), crc, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := pq.OpenFile(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for i, g := range f.RowGroups() {
			there := map[string]*parquet.Column{}
			for j := range tb.groups[i].columns {
				there[tb.groups[i].columns[j].Name] = &tb.groups[i].columns[j]
			}
			for j, info := range mine.Columns() {
				chunk := g.ColumnChunks()[j]
				got, err := readOther(chunk, info.Type)
				if err != nil {
					t.Fatalf("group %d, %s: %s", i, info.Name, err)
				}
				same(t, got, there[info.Name], tb.groups[i].rows)
				if c := there[info.Name]; c != nil && c.Bloom && chunk.BloomFilter() != nil {
					bloomHolds(t, chunk, mine.Groups()[i].Chunk(info.Name), got)
				}
			}
		}
	})
}

func same(t *rapid.T, got []any, c *parquet.Column, rows int) {
	if len(got) != rows {
		t.Fatalf("%d rows, not %d", len(got), rows)
	}
	for row, v := range got {
		var want any
		if c != nil {
			want = value(c, row)
		}
		if v != want {
			t.Fatalf("row %d: %v, not %v", row, v, want)
		}
	}
}

// bloomHolds asks the other reader's code and ours for each value.
func bloomHolds(t *rapid.T, chunk pq.ColumnChunk, mine *parquet.Chunk, values []any) {
	for _, v := range values {
		var theirs pq.Value
		var plain []byte
		switch v := v.(type) {
		case nil:
			continue
		case string:
			theirs, plain = pq.ByteArrayValue([]byte(v)), []byte(v)
			if chunk.Type().Kind() == pq.FixedLenByteArray {
				theirs = pq.FixedLenByteArrayValue([]byte(v))
			}
		case int64:
			theirs = pq.Int64Value(v)
			for i := range 8 {
				plain = append(plain, byte(v>>(8*i)))
			}
		}
		if ok, err := chunk.BloomFilter().Check(theirs); !ok || err != nil {
			t.Fatalf("parquet-go does not find %q in the bloom filter: %v", v, err)
		}
		if ok, err := mine.MayHave(parquet.Hash(plain)); !ok || err != nil {
			t.Fatalf("%q is not in the bloom filter: %v", v, err)
		}
	}
}
