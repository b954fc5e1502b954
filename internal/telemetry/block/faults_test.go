package block_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// all finds all rows of a signal.
func all(t *testing.T, s *block.Store, signal telemetry.Signal) []string {
	t.Helper()
	q := parse(t, signal, "")
	q.Limit = 1 << 30
	return find(t, s, signal, telemetry.Range{}, q)
}

// same fails unless a store has just the rows of a world.
func same(t *testing.T, what string, w *world, s *block.Store, signal telemetry.Signal) {
	t.Helper()
	compareRows(t, what, all(t, s, signal), slices.Clone(w.canonical(signal)), false)
}

// awaitBlocks waits until no table waits to become a block.
func awaitBlocks(t *testing.T, s *block.Store) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for s.Behind(telemetry.Spans)+s.Behind(telemetry.Logs) > 0 {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("blocks are not written")
		}
	}
}

func closing(t *testing.T, s *block.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, s *block.Store, b *telemetry.Batch) {
	t.Helper()
	if err := s.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// frozenDisk makes blocks of spans impossible, until it is thawed: a file lies where the folders of days go. It works for root, too.
func frozenDisk(t *testing.T, dir string) (thaw func()) {
	t.Helper()
	day := filepath.Join(dir, "spans", "2026-11-28")
	if err := os.MkdirAll(filepath.Dir(day), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(day, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(day); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhereBlocksCannotBeWrittenAppendRefusesAndNothingIsLost has many senders, each of whose batches fills a table.
func TestWhereBlocksCannotBeWrittenAppendRefusesAndNothingIsLost(t *testing.T) {
	w := newWorld(1)
	dir := t.TempDir()
	thaw := frozenDisk(t, dir)
	o := &block.Options{MemRows: 100}
	s := open(t, dir, o)
	var mu sync.Mutex
	var acked []telemetry.Span
	var busy int
	var batches []*telemetry.Batch
	for range 40 {
		batches = append(batches, w.batch(120, 0))
	}
	var wg sync.WaitGroup
	began := time.Now()
	for _, b := range batches {
		wg.Go(func() {
			err := s.Append(t.Context(), b)
			mu.Lock()
			defer mu.Unlock()
			if _, ok := errors.AsType[*telemetry.Busy](err); ok {
				busy++
			} else if err != nil {
				t.Error(err)
			} else {
				acked = append(acked, b.Spans...)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > 20*time.Second { // one patience, and as much again for a machine that is busy
		t.Errorf("the last was answered after %v", took)
	}
	if busy == 0 || len(acked) == 0 {
		t.Fatalf("%d were refused, %d spans were taken", busy, len(acked))
	}
	w.spans, w.texts = acked, nil
	same(t, "while blocks cannot be written", w, s, telemetry.Spans)
	closing(t, s)
	s = open(t, dir, o)
	same(t, "after a restart", w, s, telemetry.Spans)
	thaw()
	awaitBlocks(t, s)
	same(t, "when blocks can be written again", w, s, telemetry.Spans)
	add(t, s, w.batch(10, 0))
	closing(t, s)
	same(t, "in the end", w, open(t, dir, o), telemetry.Spans)
	if left, _ := filepath.Glob(filepath.Join(dir, "spans", "*", "*.tmp")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestTablesThatWaitedAreTheSameTablesAfterARestart, lest what was several becomes one that is larger than a block may be.
func TestTablesThatWaitedAreTheSameTablesAfterARestart(t *testing.T) {
	w := newWorld(2)
	dir := t.TempDir()
	thaw := frozenDisk(t, dir)
	o := &block.Options{MemRows: 500}
	s := open(t, dir, o)
	for range 2 {
		add(t, s, w.batch(500, 0))
	}
	add(t, s, w.batch(0, 10))
	closing(t, s)
	thaw()
	s = open(t, dir, o)
	awaitBlocks(t, s)
	files, _ := filepath.Glob(filepath.Join(dir, "spans", "*", "*.parquet"))
	segments := map[string]bool{}
	for _, f := range files {
		segments[filepath.Base(f)[:10]] = true
	}
	if len(segments) != 2 {
		t.Errorf("two tables became %q", files)
	}
	same(t, "of both", w, s, telemetry.Spans)
}

// half is a store of one table whose blocks are not all there, or more than once, and whose log is still there.
func half(t *testing.T, change func(dir string, files []string)) (*world, *block.Store) {
	t.Helper()
	w := newWorld(3)
	dir := t.TempDir()
	s := open(t, dir, &block.Options{MemRows: 400})
	add(t, s, w.batch(300, 0))
	log, err := os.ReadFile(block.SegmentPath(dir, telemetry.Spans, 1))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	s = open(t, dir, &block.Options{MemRows: 100})
	awaitBlocks(t, s)
	closing(t, s)
	files, _ := filepath.Glob(filepath.Join(dir, "spans", "*", "*.parquet"))
	slices.Sort(files)
	if len(files) != 2 || !strings.Contains(files[0], "-1of2-") {
		t.Fatalf("not the two parts of a table: %q", files)
	}
	if err := os.WriteFile(block.SegmentPath(dir, telemetry.Spans, 1), log, 0o600); err != nil {
		t.Fatal(err)
	}
	change(dir, files)
	return w, open(t, dir, nil)
}

func TestACrashBetweenBlocksAndTheRemovalOfTheirLogBringsNothingTwice(t *testing.T) {
	w, s := half(t, func(string, []string) {})
	same(t, "both parts and the log", w, s, telemetry.Spans)
}

func TestACrashBetweenThePartsOfATableLosesNothing(t *testing.T) {
	for i := range 2 {
		w, s := half(t, func(_ string, files []string) {
			if err := os.Remove(files[i]); err != nil {
				t.Fatal(err)
			}
		})
		same(t, "one part and the log", w, s, telemetry.Spans)
	}
}

// TestOnePartTwiceIsNotTwoParts: what an attempt that could not be undone left must neither stand for the other part nor come twice.
func TestOnePartTwiceIsNotTwoParts(t *testing.T) {
	var day string
	again := func(dir string, files []string) {
		day = filepath.Dir(files[0])
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		// The same rows in a file of another checksum: one page of it was made at another time.
		other := bytes.Replace(b, []byte(`"made":1`), []byte(`"made":2`), 1)
		crc := block.Castagnoli(other[len(other)-8-int(binary.LittleEndian.Uint32(other[len(other)-8:])):])
		if err := block.WriteBlock(dir, telemetry.Spans, 1, 1, 2, other, crc); err != nil {
			t.Fatal(err)
		}
	}
	w, s := half(t, func(dir string, files []string) {
		again(dir, files)
		if err := os.Remove(files[1]); err != nil {
			t.Fatal(err)
		}
	})
	same(t, "the first part twice and the log", w, s, telemetry.Spans)
	w, s = half(t, again)
	same(t, "the first part twice and the second", w, s, telemetry.Spans)
	if files, _ := filepath.Glob(filepath.Join(day, "*-1of2-*")); len(files) != 1 {
		t.Errorf("of the first part there are %q", files)
	}
}

func TestNamesThatLookLikeColumnsAreKeptApart(t *testing.T) {
	w := newWorld(4)
	odd := []telemetry.Attr{
		{Key: "k", Value: telemetry.String("plain")},
		{Key: "k#int", Value: telemetry.String("named as a column")},
		{Key: "k#text", Value: telemetry.Int(5)},
		{Key: "", Value: telemetry.String("no name")},
		{Key: "k#json#int", Value: telemetry.Bool(true)},
		{Key: strings.Repeat("long", 100), Value: telemetry.String("a long name")},
	}
	b := w.batch(40, 40)
	for i := range b.Spans {
		b.Spans[i].Attrs = slices.Clone(odd)
		b.Records[i].Attrs = slices.Clone(odd)
		if i%2 == 0 {
			b.Spans[i].Attrs[0].Value, b.Records[i].Attrs[0].Value = telemetry.Int(7), telemetry.Int(7)
		}
		b.Spans[i].Resource = &telemetry.Resource{Service: "s", Attrs: slices.Clone(odd)}
		b.Records[i].Resource = b.Spans[i].Resource
	}
	for i := range odd { // the long key of a resource becomes its rows'
		if len(odd[i].Key) > 256 {
			for j := range b.Spans {
				b.Spans[j].Resource.Attrs = slices.Delete(b.Spans[j].Resource.Attrs, i, i+1)
			}
		}
	}
	w.spans, w.records = b.Spans, b.Records
	dir := t.TempDir()
	s := open(t, dir, &block.Options{MemRows: 30})
	add(t, s, b)
	awaitBlocks(t, s)
	for _, signal := range []telemetry.Signal{telemetry.Spans, telemetry.Logs} {
		same(t, "from blocks", w, s, signal)
		for text, want := range map[string]int{"k = plain": 20, "k = 7": 20, `"k#int" = 7`: 0, `"k#int" = "named as a column"`: 40} {
			q, err := telemetry.ParseQuery(text, signal)
			if err != nil {
				continue // the language cannot name such a field
			}
			if got := find(t, s, signal, telemetry.Range{}, q); len(got) != want && len(w.expect(signal, telemetry.Range{}, q)) != len(got) {
				t.Errorf("%s %s: %d rows", signal, text, len(got))
			}
		}
	}
}

func TestNoSenderMakesATableThatNoBlockCanHold(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, &block.Options{MemRows: 6000})
	b := &telemetry.Batch{}
	for i := range 6000 { // each with a resource, a service and keys of its own
		b.Spans = append(b.Spans, telemetry.Span{
			Resource: &telemetry.Resource{Service: fmt.Sprint(strings.Repeat("s", i%300), i), Attrs: []telemetry.Attr{
				{Key: fmt.Sprint("resource.", i), Value: telemetry.Int(int64(i))},
			}},
			Name: strings.Repeat("n", i), Start: time.Date(2026, 11, 28, 0, 0, 0, i, time.UTC).UnixNano(), TraceID: telemetry.TraceID{1}, SpanID: telemetry.SpanID{1},
			Attrs: []telemetry.Attr{{Key: fmt.Sprint("own.", i), Value: telemetry.String(strings.Repeat("k", 10))}},
		})
	}
	add(t, s, b)
	awaitBlocks(t, s)
	u, err := s.Usage(t.Context())
	if err != nil || len(u.Torn) > 0 {
		t.Fatalf("set aside: %q, %v", u.Torn, err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "spans", "*", "*.parquet")); len(files) == 0 {
		t.Fatal("no block was written")
	}
	if len(u.Services) > block.MaxServices+1 {
		t.Errorf("%d services are told apart", len(u.Services))
	}
	for _, text := range []string{"own.5999 = kkkkkkkkkk", "resource.5999 = 5999", "resource.1 = 1"} {
		if got := find(t, s, telemetry.Spans, telemetry.Range{}, parse(t, telemetry.Spans, text)); len(got) != 1 {
			t.Errorf("%s finds %d spans", text, len(got))
		}
	}
}

// TestARowGroupEachForSearchersSideBySide searches several row groups of a block at once; the race detector looks on.
func TestRowGroupsOfABlockAreSearchedSideBySide(t *testing.T) {
	s := open(t, t.TempDir(), &block.Options{MemRows: block.GroupRows + 10})
	b := &telemetry.Batch{}
	r := &telemetry.Resource{Service: "s"}
	for i := range block.GroupRows + 10 {
		b.Records = append(b.Records, telemetry.Record{Resource: r, Time: time.Date(2026, 11, 28, 0, 0, 0, i, time.UTC).UnixNano(), Body: telemetry.String("an order")})
	}
	add(t, s, b)
	awaitBlocks(t, s)
	for range 20 {
		if got := find(t, s, telemetry.Logs, telemetry.Range{}, parse(t, telemetry.Logs, `order | limit 1`)); len(got) != 1 {
			t.Fatal(got)
		}
		if got := find(t, s, telemetry.Logs, telemetry.Range{}, parse(t, telemetry.Logs, `absent | limit 1`)); len(got) != 0 {
			t.Fatal(got)
		}
	}
}

func TestABlockWithColumnsOfOtherTypesIsSetAside(t *testing.T) {
	ids := make([]byte, 3*16)
	for name, columns := range map[string][]parquet.Column{
		"trace as text":  {{Name: "time", Type: parquet.Timestamp, Ints: []int64{1, 2, 3}}, texts("trace")},
		"time as text":   {texts("time"), {Name: "trace", Type: parquet.Fixed16, Fixed: ids}},
		"name as number": {{Name: "time", Type: parquet.Timestamp, Ints: []int64{1, 2, 3}}, {Name: "name", Type: parquet.Int64, Ints: []int64{1, 2, 3}}},
		"duration text":  {{Name: "time", Type: parquet.Timestamp, Ints: []int64{1, 2, 3}}, texts("duration")},
		"events as bool": {{Name: "time", Type: parquet.Timestamp, Ints: []int64{1, 2, 3}}, {Name: "events", Type: parquet.Bool, Bools: make([]bool, 3)}},
		"odd resource":   {{Name: "time", Type: parquet.Timestamp, Ints: []int64{1, 2, 3}}, {Name: "resource.x", Type: parquet.Fixed16, Fixed: ids}},
	} {
		dir := t.TempDir()
		var out bytes.Buffer
		w := block.NewWriter(&out)
		if err := w.WriteGroup(3, slices.Values(columns)); err != nil {
			t.Fatal(err)
		}
		w.Meta(block.MetaOf(telemetry.Spans, 3))
		crc, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := block.WriteBlock(dir, telemetry.Spans, 1, 1, 1, out.Bytes(), crc); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, nil)
		ask(t, s)
		if u, err := s.Usage(t.Context()); err != nil || len(u.Torn) != 1 {
			t.Errorf("%s: set aside %q, %v", name, u.Torn, err)
		}
		closing(t, s)
	}
}

func texts(name string) parquet.Column {
	dict := &parquet.Strings{}
	dict.AppendString("x")
	return parquet.Column{Name: name, Type: parquet.Text, Codes: make([]uint32, 3), Dict: dict}
}

// ask asks a store all sorts of things; what it answers does not matter.
func ask(t *testing.T, s *block.Store) {
	t.Helper()
	for _, signal := range []telemetry.Signal{telemetry.Spans, telemetry.Logs} {
		for _, text := range []string{"", "connection", "name = x", "trace exists", "duration > 1", "k = 1", "resource.x = 1"} {
			if q, err := telemetry.ParseQuery(text, signal); err == nil {
				_, _ = s.Find(t.Context(), signal, telemetry.Range{}, q, func(telemetry.Row) error { return nil })
			}
		}
		_, _, _ = s.Tell(t.Context(), signal, telemetry.Range{}, parse(t, signal, "| count() by name, service"))
		_, _ = s.Fields(t.Context(), signal, telemetry.Range{}, "", 10)
		_, _ = s.Values(t.Context(), signal, telemetry.Range{}, "name", "", 10)
	}
	_, _ = s.Trace(t.Context(), telemetry.TraceID{1})
	_, _ = s.Traces(t.Context(), "0000")
}

func TestASegmentThatEndsInZerosOrGarbageIsReadUpToThere(t *testing.T) {
	w := newWorld(uint64(rand.Uint32()))
	dir := t.TempDir()
	s := open(t, dir, nil)
	add(t, s, w.batch(50, 0))
	closing(t, s)
	path := block.SegmentPath(dir, telemetry.Spans, 1)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, tail := range map[string][]byte{
		"zeros": make([]byte, 1<<20), "a long record": {0xff, 0xff, 0xff, 3, 1, 2, 3, 4, 5}, "half a head": {1, 0, 0},
		"half a record": whole[len(block.WalMagic) : len(whole)-1], "a wrong checksum": {1, 0, 0, 0, 9, 9, 9, 9, 9},
	} {
		if err := os.WriteFile(path, slices.Concat(whole, tail), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, whole, err := block.Replay(filepath.Dir(path), 1); n != 1 || whole || err != nil {
			t.Errorf("%s: %d records, whole %v, %v", name, n, whole, err)
		}
		s := open(t, dir, &block.Options{ReadOnly: true})
		same(t, name, w, s, telemetry.Spans)
		closing(t, s)
	}
}

func TestAFullDiskDoesNotGatherEmptySegments(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	// The folder of the log is gone, so that no segment can be begun.
	wal := filepath.Join(dir, "spans", "wal")
	if err := os.Rename(wal, wal+".away"); err != nil {
		t.Fatal(err)
	}
	w := newWorld(6)
	for range 3 {
		if _, busy := errors.AsType[*telemetry.Busy](s.Append(t.Context(), newWorld(1).batch(5, 0))); !busy {
			t.Fatal("taken without a log")
		}
	}
	if err := os.Rename(wal+".away", wal); err != nil {
		t.Fatal(err)
	}
	add(t, s, w.batch(5, 0))
	if files, _ := filepath.Glob(filepath.Join(wal, "*")); len(files) != 1 || !strings.HasSuffix(files[0], "0000000001.wal") {
		t.Errorf("segments: %q", files)
	}
	same(t, "after it", w, s, telemetry.Spans)
}

// TestRowsAreNotBlamedForAFullDisk: they would be set aside. What writes blocks is as good as new afterwards.
func TestRowsAreNotBlamedForAFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full, a disk that is always full, but on Linux, which runs this: ", err)
	}
	defer full.Close()
	dir := t.TempDir()
	for i, n := range []int{5, 40_000} { // at the end, and on the way
		spans := newWorld(7).batch(n, 0).Spans
		if _, unwritable, err := block.WriteSpans(full, spans); err == nil || unwritable {
			t.Fatalf("%d spans on a full disk: %v, unwritable: %t", n, err, unwritable)
		}
		file, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		crc, _, err := block.WriteSpans(file, spans)
		if err != nil {
			t.Fatal(err)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		p, err := parquet.Open(file, info.Size(), crc, nil)
		if err != nil || p.Groups()[0].Rows != n {
			t.Fatalf("%d spans, once there is room: %v", n, err)
		}
	}
}

func TestTheNewestRowsAreFoundInWhicheverBlockTheyLie(t *testing.T) {
	w := newWorld(uint64(rand.Uint32()))
	s := open(t, t.TempDir(), &block.Options{MemRows: 100})
	for i := range 12 { // each has rows of all times
		b := w.batch(100, 0)
		for j := range b.Spans {
			b.Spans[j].Start = time.Date(2026, 11, 28, 12, 0, 0, 1000*j+i, time.UTC).UnixNano()
		}
		w.spans = append(w.spans[:len(w.spans)-len(b.Spans)], b.Spans...)
		add(t, s, b)
		awaitBlocks(t, s)
	}
	for _, text := range []string{"", "service = orders", "status != error", "duration > 5ms"} {
		for _, limit := range []int{1, 30, 333, 1100} {
			q := parse(t, telemetry.Spans, text)
			want := w.expect(telemetry.Spans, telemetry.Range{}, q)
			q.Limit = limit
			compareRows(t, fmt.Sprint(text, " | limit ", limit), find(t, s, telemetry.Spans, telemetry.Range{}, q), want[:min(limit, len(want))], true)
		}
	}
}

// TestABoundItselfIsFound: where a column's least or greatest is just what is compared with, its block is not left out.
func TestABoundItselfIsFound(t *testing.T) {
	s := open(t, t.TempDir(), &block.Options{MemRows: 2})
	b := &telemetry.Batch{}
	for i := range 3 {
		b.Spans = append(b.Spans, telemetry.Span{Resource: &telemetry.Resource{Service: "s"}, Start: time.Date(2026, 11, 28, 0, 0, i, 0, time.UTC).UnixNano(), Duration: int64(10 + i)})
	}
	add(t, s, b)
	awaitBlocks(t, s)
	for text, want := range map[string]int{
		"duration <= 10ns": 1, "duration < 10ns": 0, "duration = 10ns": 1, "duration >= 12ns": 1, "duration > 12ns": 0, "duration = 12ns": 1, "duration < 11ns": 1,
	} {
		if got := find(t, s, telemetry.Spans, telemetry.Range{}, parse(t, telemetry.Spans, text)); len(got) != want {
			t.Errorf("%s finds %d", text, len(got))
		}
	}
}
