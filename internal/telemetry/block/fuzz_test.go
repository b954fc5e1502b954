package block_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// allocated is how many bytes a call allocates, about.
func allocated(call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzPayload reads arbitrary bytes as a batch of the log: whatever they are, no more is allocated than they can hold, and what is read
// is written and read again as it was.
func FuzzPayload(f *testing.F) {
	w := newWorld(1)
	b := w.batch(3, 3)
	f.Add(block.EncodeSpans(b.Spans))
	f.Add(block.EncodeRecords(b.Records))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		var spans []telemetry.Span
		var records []telemetry.Record
		var err1, err2 error
		n := allocated(func() {
			spans, err1 = block.DecodeSpans(payload)
			records, err2 = block.DecodeRecords(payload)
		})
		if most := uint64(64<<10 + 300*len(payload)); n > most {
			t.Errorf("%d bytes are allocated for %d", n, len(payload))
		}
		if err1 == nil {
			again, err := block.DecodeSpans(block.EncodeSpans(spans))
			if err != nil || !sameRows(spans, again, func(s *telemetry.Span) telemetry.Row { return telemetry.Row{Span: s} }) {
				t.Errorf("spans are read again as %v, %v", again, err)
			}
		}
		if err2 == nil {
			again, err := block.DecodeRecords(block.EncodeRecords(records))
			if err != nil || !sameRows(records, again, func(r *telemetry.Record) telemetry.Row { return telemetry.Row{Record: r} }) {
				t.Errorf("records are read again as %v, %v", again, err)
			}
		}
	})
}

func sameRows[T any](a, b []T, row func(*T) telemetry.Row) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if canonical(row(&a[i])) != canonical(row(&b[i])) {
			return false
		}
	}
	return true
}

// FuzzSegment brings arbitrary bytes back as a segment: those before the first that are wrong count, and the store opens.
func FuzzSegment(f *testing.F) {
	frame := func(payload []byte) []byte {
		b := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
		return append(binary.LittleEndian.AppendUint32(b, block.Castagnoli(payload)), payload...)
	}
	b := newWorld(1).batch(2, 0)
	one := frame(block.EncodeSpans(b.Spans))
	f.Add(one)
	f.Add(append(bytes.Clone(one), one[:len(one)-3]...))
	f.Add(append(bytes.Clone(one), make([]byte, 64)...))
	f.Add(append(frame([]byte{1, 0, 0, 0, 0}), one...))
	f.Add([]byte{0xff, 0xff, 0xff, 3, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, tail []byte) {
		dir := t.TempDir()
		wal := filepath.Join(dir, "spans", "wal")
		if err := os.MkdirAll(wal, 0o700); err != nil {
			t.Fatal(err)
		}
		segment := append([]byte(block.WalMagic), tail...)
		if err := os.WriteFile(filepath.Join(wal, "0000000001.wal"), segment, 0o600); err != nil {
			t.Fatal(err)
		}
		n := allocated(func() {
			if _, _, err := block.Replay(wal, 1); err != nil {
				t.Error(err)
			}
		})
		if most := uint64(2<<20 + 4*len(tail)); n > most {
			t.Errorf("%d bytes are allocated for %d", n, len(tail))
		}
		s, err := block.Open(dir, &block.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		ask(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// FuzzBlock opens a store with arbitrary bytes as a block, whose footer has the checksum that its name says, and asks it all sorts of
// things. It may answer nonsense; it must not panic, and not allocate without bound.
func FuzzBlock(f *testing.F) {
	for _, signal := range []telemetry.Signal{telemetry.Spans, telemetry.Logs} {
		f.Add(aBlock(f, signal), signal == telemetry.Logs)
	}
	f.Fuzz(func(t *testing.T, file []byte, logs bool) {
		signal := telemetry.Spans
		if logs {
			signal = telemetry.Logs
		}
		dir := t.TempDir()
		if err := block.WriteBlock(dir, signal, 1, 1, 1, file, sign(file)); err != nil {
			t.Fatal(err)
		}
		n := allocated(func() {
			s, err := block.Open(dir, &block.Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			ask(t, s)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		if n > 256<<20 {
			t.Errorf("%d bytes are allocated for a block of %d", n, len(file))
		}
	})
}

// sign is the checksum of the footer that bytes claim to have.
func sign(file []byte) uint32 {
	const tail = 8
	if len(file) < tail {
		return 0
	}
	n := int64(binary.LittleEndian.Uint32(file[len(file)-tail:])) + tail
	return block.Castagnoli(file[len(file)-int(min(n, int64(len(file)))):])
}

// aBlock is a small block as the store writes it.
func aBlock(f *testing.F, signal telemetry.Signal) []byte {
	f.Helper()
	dir := f.TempDir()
	s, err := block.Open(dir, &block.Options{MemRows: 10})
	if err != nil {
		f.Fatal(err)
	}
	w := newWorld(1)
	w.resources = w.resources[:1]
	if err := s.Append(f.Context(), w.batch(12, 12)); err != nil {
		f.Fatal(err)
	}
	for s.Behind(signal) > 0 {
		runtime.Gosched()
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, string(signal), "*", "*.parquet"))
	b, err := os.ReadFile(files[0])
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// TestForgedBlocksMakeNobodyPanic puts columns of every type in the place of every other, with values that are no JSON, ids, or levels.
func TestForgedBlocksMakeNobodyPanic(t *testing.T) {
	names := []string{
		"time", "duration", "trace", "span", "parent", "name", "kind", "status", "status_text", "message", "scope", "scope_version", "service", "replica",
		"level", "text", "text#json", "tracestate", "severity", "events", "links", "attributes_rest", "attributes.k", "attributes.k#int",
		"attributes.k#json", "resource.x", "resource.x#int", "nobody's",
	}
	dict := &parquet.Strings{}
	for _, s := range []string{"", "{", `{"a":1e999}`, "\xff"} {
		dict.AppendString(s)
	}
	codes := []uint32{0, 1, 2, 3, parquet.None}
	column := func(name string, typ parquet.Type) parquet.Column {
		c := parquet.Column{Name: name, Type: typ}
		switch typ {
		case parquet.Text, parquet.JSON:
			c.Codes, c.Dict = codes, dict
		case parquet.Int64, parquet.Timestamp:
			c.Ints = []int64{-1 << 63, -1, 0, 1, 1<<63 - 1}
		case parquet.Double:
			c.Floats = make([]float64, 5)
		case parquet.Bool:
			c.Bools = make([]bool, 5)
		case parquet.Fixed8:
			c.Fixed = make([]byte, 40)
		case parquet.Fixed16:
			c.Fixed = make([]byte, 80)
		}
		return c
	}
	for _, signal := range []telemetry.Signal{telemetry.Spans, telemetry.Logs} {
		for _, name := range names {
			for typ := parquet.Int64; typ <= parquet.Fixed16; typ++ {
				c := column(name, typ)
				columns := []parquet.Column{c}
				if name != "time" {
					columns = append(columns, column("time", parquet.Timestamp))
				}
				var out bytes.Buffer
				w := block.NewWriter(&out)
				if err := w.WriteGroup(5, slices.Values(columns)); err != nil {
					t.Fatal(err)
				}
				w.Meta(block.MetaOf(signal, 5))
				crc, err := w.Close()
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				if err := block.WriteBlock(dir, signal, 1, 1, 1, out.Bytes(), crc); err != nil {
					t.Fatal(err)
				}
				s := open(t, dir, &block.Options{ReadOnly: true})
				ask(t, s)
				closing(t, s)
			}
		}
	}
}
