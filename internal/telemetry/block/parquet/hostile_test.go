package parquet_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
	pq "github.com/parquet-go/parquet-go"
	"pgregory.net/rapid"
)

// readAll reads everything that a file has.
func readAll(data []byte, crc uint32) error {
	f, err := parquet.Open(bytes.NewReader(data), int64(len(data)), crc, nil)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range f.Sections() {
		_, err := f.Section(name)
		errs = append(errs, err)
	}
	var s parquet.Scratch
	for _, g := range f.Groups() {
		for _, info := range f.Columns() {
			_, err := column(g, info.Name, &s)
			errs = append(errs, err)
			if c := g.Chunk(info.Name); c != nil {
				_, err = c.MayHave(parquet.Hash([]byte(info.Name)))
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func run(v byte, n uint64) []byte { // levels: one run
	var b []byte
	for n <<= 1; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	b = append(b, byte(n), v)
	return append([]byte{byte(len(b)), 0, 0, 0}, b...)
}

// all gives levels of n rows with a value, and the bytes behind them.
func all(n uint64, values ...byte) []byte { return append(run(1, n), values...) }

func hostile() map[string]parquet.Forged {
	ints := parquet.Forged{Type: parquet.Int64, Encoding: parquet.Delta, Rows: 3, Page: all(3, 0x80, 1, 4, 3, 2, 2, 0, 0, 0, 0)}
	edit := func(change func(m *parquet.Meta)) parquet.Forged {
		f := ints
		f.Edit = change
		return f
	}
	page := func(typ parquet.Type, encoding int32, b []byte) parquet.Forged {
		return parquet.Forged{Type: typ, Encoding: encoding, Rows: 3, Page: b}
	}
	coded := func(entries uint32, b []byte) parquet.Forged {
		return parquet.Forged{Type: parquet.Text, Encoding: parquet.Coded, Rows: 3, Entries: entries, Dict: []byte{1, 0, 0, 0, 'a', 0, 0, 0, 0}, Page: b}
	}
	return map[string]parquet.Forged{
		"nothing wrong":             ints,
		"nothing wrong, dictionary": coded(2, all(3, 1, 3, 0b101)),
		"page claims 2 GB":          {Type: parquet.Int64, Encoding: parquet.Delta, Rows: 3, Page: ints.Page, Claim: math.MaxInt32},
		"page claims 250 MB":        {Type: parquet.Int64, Encoding: parquet.Delta, Rows: 3, Page: ints.Page, Claim: 250 << 20},
		"page claims less":          {Type: parquet.Int64, Encoding: parquet.Delta, Rows: 3, Page: ints.Page, Claim: 1},
		"page claims minus one":     {Type: parquet.Int64, Encoding: parquet.Delta, Rows: 3, Page: ints.Page, Claim: -1},
		"zstd bomb":                 {Type: parquet.Int64, Encoding: parquet.Delta, Rows: 3, Zipped: parquet.Zip(200 << 20), Claim: 100},
		"billions of rows":          edit(func(m *parquet.Meta) { *m.Rows, *m.Values = 1<<40, 1<<40 }),
		"millions of rows":          edit(func(m *parquet.Meta) { *m.Rows, *m.Values = 4<<20, 4<<20 }),
		"no rows":                   edit(func(m *parquet.Meta) { *m.Rows, *m.Values = 0, 0 }),
		"more nulls than rows":      edit(func(m *parquet.Meta) { *m.Nulls = 4 }),
		"nulls below zero":          edit(func(m *parquet.Meta) { *m.Nulls = -1 }),
		"other values than rows":    edit(func(m *parquet.Meta) { *m.Values = 4 }),
		"chunk below zero":          edit(func(m *parquet.Meta) { *m.Data = -5 }),
		"chunk beyond the end":      edit(func(m *parquet.Meta) { *m.Data = 1 << 40 }),
		"chunk at the last offset":  edit(func(m *parquet.Meta) { *m.Data = math.MaxInt64 }),
		"chunk of all bytes":        edit(func(m *parquet.Meta) { *m.Compressed = math.MaxInt64 }),
		"chunk of less than none":   edit(func(m *parquet.Meta) { *m.Compressed = math.MinInt64 }),
		"dictionary unasked":        edit(func(m *parquet.Meta) { *m.Dictionary = 4 }),
		"dictionary below zero":     edit(func(m *parquet.Meta) { *m.Dictionary = math.MinInt64 }),
		"bloom beyond the end":      edit(func(m *parquet.Meta) { *m.Bloom, *m.BloomSize = 1<<40, 47 }),
		"bloom below zero":          edit(func(m *parquet.Meta) { *m.Bloom, *m.BloomSize = -1, 47 }),
		"bloom of less than none":   edit(func(m *parquet.Meta) { *m.Bloom, *m.BloomSize = 4, math.MinInt32 }),
		"bloom of 2 GB":             edit(func(m *parquet.Meta) { *m.Bloom, *m.BloomSize = 4, math.MaxInt32 }),
		"index below zero":          edit(func(m *parquet.Meta) { *m.Index = -4 }),
		"index of 2 GB":             edit(func(m *parquet.Meta) { *m.IndexSize = math.MaxInt32 }),
		"index cut":                 edit(func(m *parquet.Meta) { *m.IndexSize = 3 }),
		"index of less than none":   edit(func(m *parquet.Meta) { *m.IndexSize = -3 }),
		"page below zero":           edit(func(m *parquet.Meta) { *m.PageOffset = -4 }),
		"page beyond the end":       edit(func(m *parquet.Meta) { *m.PageOffset = 1 << 40 }),
		"page inside of the header": edit(func(m *parquet.Meta) { *m.PageOffset++; *m.PageSize-- }),
		"page of 2 GB":              edit(func(m *parquet.Meta) { *m.PageSize = math.MaxInt32 }),
		"page of no bytes":          edit(func(m *parquet.Meta) { *m.PageSize = 0 }),
		"page of another row":       edit(func(m *parquet.Meta) { *m.PageFirst = 1 }),
		"levels of many rows":       page(parquet.Int64, parquet.Delta, all(1<<50, 1)),
		"levels of two bits":        page(parquet.Int64, parquet.Delta, run(2, 3)),
		"levels of no rows":         page(parquet.Int64, parquet.Delta, run(0, 0)),
		"levels cut":                page(parquet.Int64, parquet.Delta, []byte{1, 0, 0}),
		"levels beyond the page":    page(parquet.Int64, parquet.Delta, []byte{0xff, 0xff, 0xff, 0xff, 1}),
		"deltas of another count":   page(parquet.Int64, parquet.Delta, all(3, 0x80, 1, 4, 200, 1, 0)),
		"deltas of wide parts":      page(parquet.Int64, parquet.Delta, all(3, 0x80, 1, 4, 3, 0, 0, 65, 0, 0, 0)),
		"deltas cut":                page(parquet.Int64, parquet.Delta, all(3, 0x80, 1, 4, 3, 0, 0, 64, 0, 0, 0)),
		"strings below zero":        page(parquet.Text, parquet.DeltaLength, all(3, 0x80, 1, 4, 3, 1, 0, 0, 0, 0, 0)),
		"strings beyond the page":   page(parquet.Text, parquet.DeltaLength, all(3, 0x80, 1, 4, 3, 0xfe, 0xff, 0xff, 0xff, 0xf, 0, 0, 0, 0, 0)),
		"doubles cut":               page(parquet.Double, parquet.Plain, all(3, 1)),
		"bools cut":                 page(parquet.Bool, parquet.Plain, all(3)),
		"ids cut":                   page(parquet.Fixed16, parquet.Plain, all(3, 1)),
		"code beyond":               coded(2, all(3, 2, 3, 0b011000, 0)),
		"code run beyond":           coded(2, all(3, 2, 6, 2)),
		"codes too wide":            coded(2, all(3, 33, 6, 0, 0, 0, 0, 0)),
		"codes cut":                 coded(2, all(3, 2, 3)),
		"codes of many groups":      coded(2, all(3, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)),
		"no codes":                  coded(2, all(3)),
		"dictionary of billions":    coded(math.MaxUint32, all(3, 1, 6, 0)),
		"dictionary of more":        coded(3, all(3, 1, 6, 0)),
		"dictionary of less":        coded(1, all(3, 0, 6)),
		"encoding of another type":  page(parquet.Text, parquet.Delta, ints.Page),
		"unknown encoding":          page(parquet.Int64, 77, ints.Page),
	}
}

// Not parallel: it counts what is allocated.
func TestHostileFileCostsLittleMemory(t *testing.T) {
	const most = 6 << 20 // the decoder of zstd takes some of it
	for name, forged := range hostile() {
		t.Run(name, func(t *testing.T) {
			data, crc := forged.File()
			expectCheap(t, most, func() error { return readAll(data, crc) }, name[:min(13, len(name))] == "nothing wrong")
		})
	}
	footers := map[string][]byte{
		"nested deep":         bytes.Repeat([]byte{0x1c}, 1<<20),
		"lists nested deep":   append([]byte{0x99}, bytes.Repeat([]byte{0x19}, 1<<20)...),
		"list of billions":    {0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"string of gigabytes": {0x68, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"empty groups":        append([]byte{0x29, 0xfc, 0xff, 0xff, 0x3f}, make([]byte, 1<<20)...),
		"empty":               {},
		"only an end":         {0},
		"schema of nothing":   {0x29, 0x0c, 0},
	}
	for name, footer := range footers {
		t.Run(name, func(t *testing.T) {
			data, crc := parquet.Seal(footer)
			expectCheap(t, most, func() error { return readAll(data, crc) }, false)
		})
	}
	t.Run("footer longer than the file", func(t *testing.T) {
		data := []byte("PAR1\xff\xff\xff\x7fPAR1")
		expectCheap(t, most, func() error { return readAll(data, parquet.Sign(data)) }, false)
	})
}

func expectCheap(t *testing.T, most uint64, read func() error, fine bool) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := read()
	runtime.ReadMemStats(&after)
	if fine != (err == nil) {
		t.Errorf("error: %v", err)
	}
	var bad *parquet.Corrupt
	if err != nil && !errors.As(err, &bad) {
		t.Errorf("not a Corrupt: %v", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > most {
		t.Errorf("allocated %d bytes", got)
	}
}

func TestFlippedBitNeverGivesOtherValues(t *testing.T) {
	t.Parallel()
	for seed := range 3 {
		tb := rapid.Custom(anyTable).Example(seed)
		data, crc, err := tb.write(16)
		if err != nil {
			t.Fatal(err)
		}
		unread, err := neverRead(data)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(seed), 0))
		for i := range data {
			mask := byte(1) << r.IntN(8)
			data[i] ^= mask
			err := readChecked(tb, data, crc)
			data[i] ^= mask
			var bad *parquet.Corrupt
			if err == nil && !unread[i] {
				t.Errorf("seed %d, byte %d, mask %#x: not found", seed, i, mask)
			}
			if err != nil && !errors.As(err, &bad) {
				t.Errorf("seed %d, byte %d, mask %#x: %s", seed, i, mask, err)
			}
		}
	}
}

// neverRead marks what the reader does not look at: the magic at the start, the heads of bloom filters, and chunks without values.
func neverRead(data []byte) (map[int]bool, error) {
	f, err := pq.OpenFile(bytes.NewReader(bytes.Clone(data)), int64(len(data)))
	if err != nil {
		return nil, err
	}
	unread := map[int]bool{}
	mark := func(at, n int64) {
		for i := range n {
			unread[int(at+i)] = true
		}
	}
	mark(0, 4)
	for _, g := range f.Metadata().RowGroups {
		for _, c := range g.Columns {
			m := c.MetaData
			mark(m.BloomFilterOffset, int64(m.BloomFilterLength%32))
			if m.Statistics.NullCount == m.NumValues {
				mark(m.DataPageOffset, m.TotalCompressedSize)
				mark(c.OffsetIndexOffset, int64(c.OffsetIndexLength))
			}
		}
	}
	return unread, nil
}

// readChecked reads everything and compares it: an error that is no Corrupt says that something else was read than was written.
func readChecked(tb *table, data []byte, crc uint32) error {
	f, err := parquet.Open(bytes.NewReader(data), int64(len(data)), crc, nil)
	if err != nil {
		return err
	}
	if err := compare(tb, f); err != nil {
		return err
	}
	for i, name := range f.Sections() {
		b, err := f.Section(name)
		if err != nil {
			return err
		}
		if want := "section of " + string(rune('0'+i)); string(b) != want {
			return errors.New("section " + name + " is " + string(b))
		}
	}
	if f.Meta("kind") != "spans" {
		return errors.New("meta is another")
	}
	return blooms(tb, f)
}

func blooms(tb *table, f *parquet.File) error {
	for i, g := range f.Groups() {
		for j := range tb.groups[i].columns {
			c := &tb.groups[i].columns[j]
			chunk := g.Chunk(c.Name)
			if !c.Bloom || chunk == nil {
				continue
			}
			for row := range g.Rows {
				v := value(c, row)
				if v == nil {
					continue
				}
				if ok, err := chunk.MayHave(parquet.Hash(plain(v))); err != nil {
					return err
				} else if !ok {
					return errors.New("a bloom filter hides a value")
				}
			}
		}
	}
	return nil
}

// plain gives a value's bytes.
func plain(v any) []byte {
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	n, _ := v.(int64)
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return b
}

func FuzzFile(f *testing.F) {
	for seed := range 4 {
		data, _, err := rapid.Custom(anyTable).Example(seed).write(16)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_ = readAll(data, parquet.Sign(data))
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<30 {
			t.Errorf("allocated %d bytes for %d", got, len(data))
		}
	})
}

// FuzzPage gets behind the checksums of pages.
func FuzzPage(f *testing.F) {
	for _, h := range hostile() {
		f.Add(uint8(h.Type), uint8(h.Encoding), uint16(h.Rows), uint16(h.Entries), h.Dict, h.Page)
	}
	f.Fuzz(func(_ *testing.T, typ, encoding uint8, rows, entries uint16, dict, page []byte) {
		if rows%1024 == 0 || typ%9 == 0 {
			return
		}
		forged := parquet.Forged{
			Type: parquet.Type(typ % 9), Encoding: int32(encoding % 10), Rows: int(rows % 1024), Dict: dict, Entries: uint32(entries), Page: page,
		}
		_ = readAll(forged.File())
	})
}
