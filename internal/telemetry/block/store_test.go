package block_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
)

// world makes rows in great variety, and remembers them: it is the oracle.
type world struct {
	rnd       *rand.Rand
	now       int64
	resources []*telemetry.Resource
	scopes    []*telemetry.Scope
	spans     []telemetry.Span
	records   []telemetry.Record
	texts     map[telemetry.Signal][]string // canonical, of each row
	began     map[int64]bool                // when spans began
}

// start is a moment within the last 50 ms at which no other span began: of two that began together either may come first.
func (w *world) start() int64 {
	at := w.now - int64(w.rnd.IntN(50_000_000))
	for w.began[at] {
		at++
	}
	w.began[at] = true
	return at
}

func newWorld(seed uint64) *world {
	w := &world{rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC).UnixNano(), began: map[int64]bool{}}
	for i := range 6 {
		w.resources = append(w.resources, &telemetry.Resource{
			Service: []string{"orders", "billing", "stock", "mail", "orders", ""}[i], Replica: []string{"a", "", "c", "d", "e", ""}[i],
			Attrs: []telemetry.Attr{
				{Key: "host.name", Value: telemetry.String(fmt.Sprint("h", i%2))},
				{Key: "process.pid", Value: telemetry.Int(int64(i))},
				{Key: "load", Value: telemetry.Float(float64(i) / 2)},
				{Key: "old", Value: telemetry.Bool(i == 1)},
			}[:i%5],
		})
	}
	w.scopes = []*telemetry.Scope{nil, {Name: "net/http"}, {Name: "db", Version: "1.2"}}
	return w
}

func (w *world) attrs() []telemetry.Attr {
	var out []telemetry.Attr
	add := func(key string, v telemetry.Value) { out = append(out, telemetry.Attr{Key: key, Value: v}) }
	if w.rnd.IntN(3) > 0 {
		add("http.request.method", telemetry.String([]string{"GET", "POST"}[w.rnd.IntN(2)]))
		add("http.response.status_code", telemetry.Int(int64([]int{200, 201, 404, 500}[w.rnd.IntN(4)])))
	}
	if w.rnd.IntN(2) == 0 {
		add("user.id", telemetry.String(fmt.Sprintf("user-%05d", w.rnd.IntN(20000))))
	}
	switch w.rnd.IntN(8) { // of several kinds
	case 0:
		add("mixed", telemetry.Int(int64(w.rnd.IntN(5))))
	case 1:
		add("mixed", telemetry.String(fmt.Sprint(w.rnd.IntN(5))))
	case 2:
		add("mixed", telemetry.Float(float64(w.rnd.IntN(10))/2))
	case 3:
		add("mixed", telemetry.Bool(true))
	case 4:
		add("mixed", telemetry.JSON(`["x",1]`))
	}
	if w.rnd.IntN(10) == 0 {
		add("host.name", telemetry.String("own")) // hides the resource's
	}
	if w.rnd.IntN(20) == 0 {
		add(fmt.Sprintf("rare.%d", w.rnd.IntN(600)), telemetry.String("r")) // more keys than columns
	}
	slices.SortFunc(out, func(a, b telemetry.Attr) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func (w *world) id() (id [8]byte) {
	binary.LittleEndian.PutUint64(id[:], w.rnd.Uint64()|1)
	return id
}

func (w *world) batch(spans, records int) *telemetry.Batch {
	b := &telemetry.Batch{}
	var trace telemetry.TraceID
	for range spans {
		if trace.IsZero() || w.rnd.IntN(5) == 0 {
			a, c := w.id(), w.id()
			copy(trace[:8], a[:])
			copy(trace[8:], c[:])
		}
		w.now += 1 + int64(w.rnd.IntN(1_000_000))
		s := telemetry.Span{
			Resource: w.resources[w.rnd.IntN(len(w.resources))], Scope: w.scopes[w.rnd.IntN(3)], TraceID: trace, SpanID: w.id(),
			Name: []string{"GET /orders", "POST /orders/{id}", "select", ""}[w.rnd.IntN(4)], Kind: telemetry.SpanKind(w.rnd.IntN(6)),
			Start: w.start(), Duration: int64(w.rnd.ExpFloat64() * 1e7), Attrs: w.attrs(),
		}
		if w.rnd.IntN(3) > 0 {
			s.Parent = w.id()
		}
		if w.rnd.IntN(10) == 0 {
			s.Status, s.StatusText = telemetry.StatusError, "connection refused by peer"
			s.Events = []telemetry.SpanEvent{{Time: s.Start, Name: "exception", Attrs: []telemetry.Attr{
				{Key: "exception.message", Value: telemetry.String("dial tcp: Connection REFUSED")}, {Key: "line", Value: telemetry.Int(7)},
			}}}
		}
		if w.rnd.IntN(30) == 0 {
			s.State = "a=b"
			s.Links = []telemetry.Link{{TraceID: trace, SpanID: w.id(), Attrs: []telemetry.Attr{{Key: "w", Value: telemetry.Float(1)}}}}
		}
		b.Spans = append(b.Spans, s)
	}
	for range records {
		w.now += 1 + int64(w.rnd.IntN(1_000_000))
		r := telemetry.Record{
			Resource: w.resources[w.rnd.IntN(len(w.resources))], Scope: w.scopes[w.rnd.IntN(3)], Time: w.now,
			Severity: uint8(w.rnd.IntN(25)), Attrs: w.attrs(),
			Body: telemetry.String(fmt.Sprintf("%s order %d of user-%d took %dms", []string{"placed", "Shipped", "refused"}[w.rnd.IntN(3)], w.rnd.IntN(1e6), w.rnd.IntN(50), w.rnd.IntN(900))),
		}
		switch w.rnd.IntN(12) {
		case 0:
			r.Body = telemetry.JSON(`{"msg":"connection refused","n":1}`)
		case 1:
			r.Name, r.Body = "replica.state", telemetry.Value{}
		case 2:
			r.Body = telemetry.String("connection refused: stock_1")
		}
		if w.rnd.IntN(2) == 0 {
			r.TraceID, r.SpanID = trace, w.id()
		}
		b.Records = append(b.Records, r)
	}
	w.spans = append(w.spans, b.Spans...)
	w.records = append(w.records, b.Records...)
	return b
}

func (w *world) rows(signal telemetry.Signal) []telemetry.Row {
	var out []telemetry.Row
	if signal == telemetry.Spans {
		for i := range w.spans {
			out = append(out, telemetry.Row{Span: &w.spans[i]})
		}
		return out
	}
	for i := range w.records {
		out = append(out, telemetry.Row{Record: &w.records[i]})
	}
	return out
}

func open(t *testing.T, dir string, o *block.Options) *block.Store {
	t.Helper()
	s, err := block.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func parse(t *testing.T, signal telemetry.Signal, text string) *telemetry.Query {
	t.Helper()
	q, err := telemetry.ParseQuery(text, signal)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// canonical is a row as its text, in which what a store may change is the same: the order of attributes, and pointers.
func canonical(r telemetry.Row) string {
	plain := func(attrs []telemetry.Attr) string {
		out := make([]string, len(attrs))
		for i, a := range attrs {
			out[i] = fmt.Sprintf("%s=%d:%s", a.Key, a.Value.Kind(), a.Value.Text())
		}
		slices.Sort(out)
		return strings.Join(out, ",")
	}
	resource := func(r *telemetry.Resource) string { return r.Service + "/" + r.Replica + "/" + plain(r.Attrs) }
	scope := func(s *telemetry.Scope) telemetry.Scope {
		if s == nil {
			return telemetry.Scope{}
		}
		return *s
	}
	if s := r.Span; s != nil {
		text := fmt.Sprint(resource(s.Resource), scope(s.Scope), s.TraceID, s.SpanID, s.Parent, s.State, s.Name, s.Kind, s.Start, s.Duration, s.Status, s.StatusText, plain(s.Attrs))
		for _, e := range s.Events {
			text += fmt.Sprint(e.Time, e.Name, plain(e.Attrs))
		}
		for _, l := range s.Links {
			text += fmt.Sprint(l.TraceID, l.SpanID, plain(l.Attrs))
		}
		return text
	}
	x := r.Record
	return fmt.Sprint(resource(x.Resource), scope(x.Scope), x.Time, x.Severity, x.Name, x.Body.Kind(), x.Body.Text(), x.TraceID, x.SpanID, plain(x.Attrs))
}

func timeOf(r telemetry.Row) int64 {
	if r.Span != nil {
		return r.Span.Start
	}
	return r.Record.Time
}

// expect is what a query finds, after the oracle.
func (w *world) expect(signal telemetry.Signal, r telemetry.Range, q *telemetry.Query) []string {
	rows, texts := w.rows(signal), w.canonical(signal)
	var chosen []int
	for i, row := range rows {
		at := timeOf(row)
		if (r.From.IsZero() || at >= r.From.UnixNano()) && (r.To.IsZero() || at < r.To.UnixNano()) && q.Match(row) {
			chosen = append(chosen, i)
		}
	}
	slices.SortStableFunc(chosen, func(a, b int) int { return cmp.Compare(timeOf(rows[b]), timeOf(rows[a])) })
	out := make([]string, 0, len(chosen))
	for _, i := range chosen {
		out = append(out, texts[i])
	}
	return out
}

// canonical is the text of each row; it is made once.
func (w *world) canonical(signal telemetry.Signal) []string {
	rows := w.rows(signal)
	if w.texts == nil {
		w.texts = map[telemetry.Signal][]string{}
	}
	for _, row := range rows[len(w.texts[signal]):] {
		w.texts[signal] = append(w.texts[signal], canonical(row))
	}
	return w.texts[signal]
}

func find(t *testing.T, s *block.Store, signal telemetry.Signal, r telemetry.Range, q *telemetry.Query) []string {
	t.Helper()
	var out []string
	_, err := s.Find(t.Context(), signal, r, q, func(row telemetry.Row) error {
		out = append(out, canonical(row))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func scan(t *testing.T, s *block.Store, signal telemetry.Signal, r telemetry.Range, q *telemetry.Query) []string {
	t.Helper()
	var out []string
	if err := s.Scan(t.Context(), signal, r, q.Where, func(row telemetry.Row) error {
		out = append(out, canonical(row))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func queries(signal telemetry.Signal) []string {
	both := []string{
		"", "service = orders", "service != orders", "service = orders and host.name = h0", "host.name = own or host.name = h1",
		"http.response.status_code >= 400", "http.response.status_code = 500 and not http.request.method = GET", `user.id = user-00007`,
		`user.id ~ "^user-0000"`, "mixed = 3", `mixed = "3"`, "mixed > 1.5", "mixed = true", "mixed exists", "not mixed exists", "process.pid >= 3",
		"load = 1.5", "old = true", "rare.17 exists", "rare.1 = r or rare.599 = r", `name = ""`, "scope = db", "replica = a", "replica exists",
		`"connection refused"`, `"Connection Refused" and service = billing`, "/refused/", "/(?i)REFUSED by/", "zzz", "service = nobody",
		"trace exists", `mixed ~ "x"`, "mixed != 3",
	}
	if signal == telemetry.Spans {
		return append(both, "status = error", "status != error", "kind = server", "duration > 10ms", "duration <= 1ms and status = ok",
			`name = "GET /orders"`, `name ~ "^(GET|POST)"`, `status_text ~ refused`, "parent exists", "exception", `"dial tcp"`)
	}
	return append(both, "level >= warn", "level = info", "level != error", `name = replica.state`, "text exists", `text ~ "order [0-9]+5 "`, "stock_1", "stock",
		"shipped", `"order 1"`, `"of user-7 took"`, "level < warn and placed", `text = "connection refused: stock_1"`)
}

func aggregations(signal telemetry.Signal) []string {
	out := []string{
		"| count()", "| count() by service", "| count(mixed) by service, host.name", "| distinct(user.id)", "| rate() by service every 1m",
		"http.response.status_code >= 400 | count() by http.response.status_code, http.request.method", "| count() by mixed", "| sum(mixed), avg(mixed), min(mixed), max(mixed)",
		"service = nobody | count()", "| count() by user.id | limit 100000",
	}
	if signal == telemetry.Spans {
		return append(out, "| quantile(0.99, duration), max(duration) by service, name", "| p50(duration) by status every 10s")
	}
	return append(out, "| count() by level", "refused | count() by service every 5s")
}

// TestQueriesAgreeWithTheOracle asks the same of rows that lie in memory, in blocks, in the log that is brought back, and in all of
// them at once.
func TestQueriesAgreeWithTheOracle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWorld(seed)
	dir := t.TempDir()
	o := &block.Options{MemRows: 8400} // more than a page
	s := open(t, dir, o)
	fill := func(batches int) {
		for range batches {
			if err := s.Append(t.Context(), w.batch(700, 700)); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(13)
	agree(t, w, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, o)
	fill(1)
	agree(t, w, s)
	if files, _ := filepath.Glob(dir + "/*/2026-11-28/*.parquet"); len(files) < 4 {
		t.Errorf("only the blocks %q were written", files)
	}
}

// table is what a query tells, after the oracle.
func (w *world) table(t *testing.T, signal telemetry.Signal, r telemetry.Range, q *telemetry.Query) *telemetry.Table {
	t.Helper()
	agg := telemetry.NewAggregator(signal, q.Tell, r)
	for _, row := range w.rows(signal) {
		at := timeOf(row)
		if q.Match(row) && (r.From.IsZero() || at >= r.From.UnixNano()) && (r.To.IsZero() || at < r.To.UnixNano()) {
			if err := agg.Add(row); err != nil {
				t.Fatal(err)
			}
		}
	}
	return agg.Table(q.Sort, cmp.Or(q.Limit, telemetry.DefaultLimit))
}

func agree(t *testing.T, w *world, s *block.Store) {
	t.Helper()
	for _, signal := range []telemetry.Signal{telemetry.Spans, telemetry.Logs} {
		all := w.rows(signal)
		middle := time.Unix(0, timeOf(all[len(all)/2]))
		ranges := []telemetry.Range{{}, {From: middle}, {From: middle.Add(-time.Second), To: middle}}
		for i, text := range queries(signal) {
			q := parse(t, signal, text)
			want := w.expect(signal, telemetry.Range{}, q)
			count(t, s, signal, text, len(want))
			q.Limit = 7
			compareRows(t, string(signal)+" "+text+" | limit 7", find(t, s, signal, telemetry.Range{}, q), want[:min(7, len(want))], true)
			// Whole rows take their time, so they are of a part of all that chance chooses, but for a query or two.
			r := w.window(all)
			if i == 0 {
				r = ranges[w.rnd.IntN(3)]
			}
			want = w.expect(signal, r, q)
			q.Limit = 1 << 30
			compareRows(t, string(signal)+" "+text, find(t, s, signal, r, q), want, false)
			if (i+w.rnd.IntN(2))%2 == 0 {
				scanned := scan(t, s, signal, r, q)
				slices.Reverse(scanned)
				compareRows(t, string(signal)+" scan "+text, scanned, want, true)
			}
		}
		for i, text := range aggregations(signal) {
			r := ranges[(i+w.rnd.IntN(3))%3]
			q := parse(t, signal, text)
			want := w.table(t, signal, r, q)
			got, _, err := s.Tell(t.Context(), signal, r, q)
			if err != nil {
				t.Fatal(err)
			}
			if !sameTable(got, want) {
				t.Errorf("%s %s: got %v, want %v", signal, text, head(got), head(want))
			}
		}
	}
	traces(t, w, s)
}

// window is a range with about a tenth of the rows.
func (w *world) window(all []telemetry.Row) telemetry.Range {
	first := w.rnd.IntN(len(all))
	return telemetry.Range{From: time.Unix(0, timeOf(all[first])), To: time.Unix(0, timeOf(all[min(first+len(all)/10, len(all)-1)]))}
}

// count counts all that a query chooses.
func count(t *testing.T, s *block.Store, signal telemetry.Signal, text string, want int) {
	t.Helper()
	table, reach, err := s.Tell(t.Context(), signal, telemetry.Range{}, parse(t, signal, text+" | count()"))
	if err != nil {
		t.Fatal(err)
	}
	got := int64(0)
	if len(table.Rows) > 0 {
		got = table.Rows[0][0].Int()
	}
	if got != int64(want) || reach.Matched != got {
		t.Errorf("%s %s: %d rows are counted, %d reached, instead of %d", signal, text, got, reach.Matched, want)
	}
}

// sameTable compares tables; sums of floats may differ in their last digits, since they are added in another order.
func sameTable(a, b *telemetry.Table) bool {
	if !reflect.DeepEqual(a.Columns, b.Columns) || len(a.Rows) != len(b.Rows) {
		return false
	}
	for i := range a.Rows {
		for j, x := range a.Rows[i] {
			y := b.Rows[i][j]
			f, ok := x.Number()
			g, ok2 := y.Number()
			if x != y && (!ok || !ok2 || f-g > 1e-9*f || g-f > 1e-9*g) {
				return false
			}
		}
	}
	return true
}

func head(t *telemetry.Table) any {
	return fmt.Sprint(len(t.Rows), t.Columns, t.Rows[:min(5, len(t.Rows))])
}

// compareRows compares rows; where not all were asked for, those of the same time may stand for each other only if they are the same, which
// times in nanoseconds make nearly sure.
func compareRows(t *testing.T, what string, got, want []string, inOrder bool) {
	t.Helper()
	if !inOrder {
		slices.Sort(got)
		want = slices.Sorted(slices.Values(want))
	}
	if slices.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: row %d of %d is\n%s\nof %d\n%s", what, i, len(got), got[i], len(want), want[i])
		}
	}
	t.Fatalf("%s: %d rows instead of %d", what, len(got), len(want))
}

func traces(t *testing.T, w *world, s *block.Store) {
	t.Helper()
	for range 20 {
		id := w.spans[w.rnd.IntN(len(w.spans))].TraceID
		var want []string
		for i := range w.spans {
			if w.spans[i].TraceID == id {
				want = append(want, canonical(telemetry.Row{Span: &w.spans[i]}))
			}
		}
		spans, err := s.Trace(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range spans {
			got = append(got, canonical(telemetry.Row{Span: &spans[i]}))
			if i > 0 && spans[i].Start < spans[i-1].Start {
				t.Error("spans of a trace are not by their start")
			}
		}
		compareRows(t, "trace", got, want, false)
		for _, n := range []int{9, 16, 31} {
			ids, err := s.Traces(t.Context(), id.String()[:n])
			if err != nil || !slices.Contains(ids, id) {
				t.Errorf("by its beginning %s: %v, %v", id.String()[:n], ids, err)
			}
		}
	}
	if spans, err := s.Trace(t.Context(), telemetry.TraceID{1}); err != nil || len(spans) > 0 {
		t.Errorf("of no trace: %v, %v", spans, err)
	}
}

func TestATornBlockIsSetAsideAndTheOthersAnswer(t *testing.T) {
	w := newWorld(rand.Uint64())
	dir := t.TempDir()
	s := open(t, dir, &block.Options{MemRows: 2000})
	for range 8 {
		if err := s.Append(t.Context(), w.batch(1000, 0)); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, s, dir, "spans", 4)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(dir + "/spans/2026-11-28/*.parquet")
	for i, cut := range []func(b []byte) []byte{
		func(b []byte) []byte { return b[:len(b)/2] },                    // found when it is opened
		func(b []byte) []byte { b[len(b)/3] ^= 4; return b },             // found when it is read
		func([]byte) []byte { return nil },                               // nothing left
		func(b []byte) []byte { return append(b[:len(b)-8], b[0:8]...) }, // no end
	}[:min(4, len(files))] {
		b, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files[i], cut(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Those that were set aside before go when there are too many.
	if err := os.Mkdir(dir+"/spans/torn", 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 7 {
		old := fmt.Sprintf("%s/spans/torn/old-%d.parquet", dir, i)
		if err := os.WriteFile(old, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(old, time.Time{}, time.Unix(int64(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, nil)
	for range 2 { // the second time what was found in the first is out of the way
		q := parse(t, telemetry.Spans, "")
		q.Limit = 1 << 30
		known := w.expect(telemetry.Spans, telemetry.Range{}, q)
		got := find(t, s, telemetry.Spans, telemetry.Range{}, q)
		for _, row := range got {
			if !slices.Contains(known, row) {
				t.Fatalf("a row that nobody wrote: %s", row)
			}
		}
		if len(got) == 0 || len(got) == len(known) {
			t.Errorf("%d of %d rows are left", len(got), len(known))
		}
	}
	u, err := s.Usage(t.Context())
	if err != nil || len(u.Torn) != 4 {
		t.Errorf("set aside: %q, %v", u.Torn, err)
	}
	if torn, _ := filepath.Glob(dir + "/spans/torn/*"); len(torn) != 8 || !strings.HasSuffix(torn[4], "/old-3.parquet") {
		t.Errorf("in the folder: %q", torn)
	}
}

// settle waits until so many blocks are there and the log is no more than the table in memory.
func settle(t *testing.T, s *block.Store, dir, signal string, blocks int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for {
		files, _ := filepath.Glob(filepath.Join(dir, signal, "*", "*.parquet"))
		if len(files) >= blocks {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("only %d blocks of %d were written", len(files), blocks)
		}
	}
}

func TestWhatIsFollowedComesAndASlowFollowerIsToldWhatItMissed(t *testing.T) {
	w := newWorld(7)
	s := open(t, t.TempDir(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	q := parse(t, telemetry.Spans, "service = orders")
	rows := make(chan string)
	var missed int64
	begun := make(chan error, 1)
	go func() {
		begun <- s.Follow(ctx, telemetry.Spans, q, telemetry.History{Last: -1}, func(row telemetry.Row, m int64) error {
			missed += m
			select {
			case rows <- canonical(row):
			case <-ctx.Done():
			}
			return nil
		})
	}()
	// Until the follower is there, rows pass by.
	var first string
	for first == "" {
		if err := s.Append(t.Context(), w.batch(50, 0)); err != nil {
			t.Fatal(err)
		}
		select {
		case first = <-rows:
		case <-time.After(time.Millisecond):
		}
	}
	if !slices.Contains(w.expect(telemetry.Spans, telemetry.Range{}, q), first) {
		t.Errorf("followed a row that was not written: %s", first)
	}
	for range 30 {
		if err := s.Append(t.Context(), w.batch(1000, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for range 4000 { // of the 4096 that wait
		<-rows
	}
	cancel()
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	if missed == 0 {
		t.Error("nothing was missed though more came than waits")
	}
}

func TestAClosedStoreRefuses(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), newWorld(1).batch(1, 0)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("refused with %v", err)
	}
}
