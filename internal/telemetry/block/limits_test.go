package block_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
)

// second lets services send for a second, one row at a time in turn, and says what each got.
func second(l *block.Limiter, at time.Time, wants map[string]int64) map[string]int64 {
	got, left := map[string]int64{}, maps.Clone(wants)
	for more := true; more; {
		more = false
		for service := range left {
			if n := min(left[service], 10); n > 0 {
				left[service] -= n
				got[service] += l.Take(service, n, false, at)
				more = true
			}
		}
	}
	return got
}

func TestTheLoudestServiceLosesFirstAndQuietOnesKeepAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(100, 10_000).Draw(t, "limit")
		wants := map[string]int64{}
		sum := int64(0)
		for i := range rapid.IntRange(1, 12).Draw(t, "services") {
			n := rapid.Int64Range(1, 2*limit).Draw(t, "wants")
			wants[fmt.Sprint("s", i)] = n
			sum += n
		}
		l := block.NewLimiter(limit)
		at := time.Unix(1000, 0)
		rising := second(l, at, wants)
		got := second(l, at.Add(time.Second), wants)
		wishes := []int64{}
		for _, n := range wants {
			wishes = append(wishes, n)
		}
		level := block.FairLevel(wishes, limit)
		total, first := int64(0), int64(0)
		for service, n := range wants {
			total, first = total+got[service], first+rising[service]
			if got[service] != min(n, level) {
				t.Errorf("%s wanted %d and got %d at level %d", service, n, got[service], level)
			}
		}
		if total > limit {
			t.Errorf("%d were granted of %d", total, limit)
		}
		if sum <= limit && (total != sum || first != sum) {
			t.Errorf("%d and %d of %d were granted though all fit into %d", first, total, sum, limit)
		}
		if most := 4 * limit; first > most { // the harmonic sum of twelve is 3.1
			t.Errorf("in the second in which the load rose %d were granted of %d", first, limit)
		}
	})
}

func TestOneWhoWasSilentDoesNotPayForTheLoud(t *testing.T) {
	l := block.NewLimiter(1000)
	at := time.Unix(1000, 0)
	second(l, at, map[string]int64{"loud": 5000})
	if got := second(l, at.Add(time.Second), map[string]int64{"loud": 5000, "quiet": 50}); got["quiet"] != 50 {
		t.Errorf("granted %v", got)
	}
	if got := second(l, at.Add(5*time.Second), map[string]int64{"loud": 5000}); got["loud"] != 1000 {
		t.Errorf("alone it got %d", got["loud"])
	}
	if got := second(l, at.Add(6*time.Second), map[string]int64{"loud": 5000}); got["loud"] != 1000 {
		t.Errorf("then it got %d", got["loud"])
	}
}

func TestErrorsAreRefusedLast(t *testing.T) {
	l := block.NewLimiter(1000)
	for s := range int64(5) {
		at := time.Unix(1000+s, 0)
		plain, grave := int64(0), int64(0)
		for range 10 { // plain rows come before the errors
			plain += l.Take("loud", 300, false, at)
			grave += l.Take("loud", 40, true, at)
		}
		if grave != 400 {
			t.Errorf("second %d: %d errors of 400 were granted", s, grave)
		}
		if s > 0 && plain != 600 {
			t.Errorf("second %d: %d plain rows were granted beside them, not 600", s, plain)
		}
	}
	at := time.Unix(2000, 0)
	if got := l.Take("loud", 5000, true, at); got != 1000 {
		t.Errorf("of nothing but errors %d were granted", got)
	}
}

func TestAServiceNameMayAliasARequest(t *testing.T) {
	l := block.NewLimiter(100)
	buf := []byte("loud")
	at := time.Unix(1000, 0)
	for _, name := range []string{"loud", "huhu", "haha"} { // as a receiver uses its memory again
		copy(buf, name)
		l.Take(unsafe.String(&buf[0], len(buf)), 1000, false, at)
	}
	if got := l.Take("loud", 1000, false, at); got != 0 {
		t.Errorf("it got %d more", got)
	}
}

func TestWhatGoesBeyondTheRateIsCountedByService(t *testing.T) {
	s := open(t, t.TempDir(), &block.Options{SpansPerSecond: 1000})
	w := newWorld(1)
	w.resources = []*telemetry.Resource{{Service: "loud"}}
	add(t, s, w.batch(5000, 0))
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	loud := u.Services["loud"]
	if loud.Spans+loud.Dropped.Rate != 5000 || loud.Spans < 1000 || loud.Spans > 1000 {
		t.Errorf("%+v of 5000 at 1000", loud)
	}
	failed := 0
	for _, x := range w.spans {
		if x.Status == telemetry.StatusError {
			failed++
		}
	}
	if got := find(t, s, telemetry.Spans, telemetry.Range{}, limitless(t, "status = error")); len(got) != failed {
		t.Errorf("%d of %d errors were kept", len(got), failed)
	}
}

func limitless(t *testing.T, text string) *telemetry.Query {
	t.Helper()
	q := parse(t, telemetry.Spans, text)
	q.Limit = 1 << 30
	return q
}

// spansOf are spans of a service that hardly compress.
func spansOf(rnd *rand.Rand, service string, n int, at time.Time) *telemetry.Batch {
	b := &telemetry.Batch{}
	r := &telemetry.Resource{Service: service}
	for i := range n {
		var id telemetry.TraceID
		binary.LittleEndian.PutUint64(id[:], rnd.Uint64())
		binary.LittleEndian.PutUint64(id[8:], rnd.Uint64())
		b.Spans = append(b.Spans, telemetry.Span{
			Resource: r, TraceID: id, SpanID: telemetry.SpanID(id[:8]), Name: "op", Start: at.UnixNano() + int64(i), Duration: rnd.Int64N(1e9),
			Attrs: []telemetry.Attr{{Key: "id", Value: telemetry.String(id.String())}},
		})
	}
	return b
}

func TestANoisyServiceDoesNotEvictTheOthers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	dir := t.TempDir()
	const limit = 400_000
	s := open(t, dir, &block.Options{MemRows: 1100, MaxBytes: limit})
	noisy := int64(0)
	for i := range 20 {
		at := time.Now().Add(-time.Hour + time.Duration(i)*time.Second)
		b := spansOf(rnd, "noisy", 1000, at)
		b.Spans = append(b.Spans, spansOf(rnd, "quiet", 100, at).Spans...)
		add(t, s, b)
		noisy += 1000
		awaitBlocks(t, s)
	}
	s.Retain(time.Now())
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	onDisk := int64(0)
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*.parquet"))
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		onDisk += info.Size()
	}
	if onDisk > limit || u.Bytes != onDisk || u.Limit != limit {
		t.Errorf("%d bytes on disk of %d, told are %d of %d", onDisk, limit, u.Bytes, u.Limit)
	}
	if q := u.Services["quiet"]; q.Spans != 2000 || q.Dropped.Evicted != 0 {
		t.Errorf("of the quiet service's 2000: %+v", q)
	}
	n := u.Services["noisy"]
	if n.Spans+n.Dropped.Evicted != noisy || n.Dropped.Evicted == 0 || n.Spans == 0 {
		t.Errorf("of the noisy service's %d: %+v", noisy, n)
	}
	// The oldest went.
	q := limitless(t, "service = noisy")
	oldest := int64(0)
	if _, err := s.Find(t.Context(), telemetry.Spans, telemetry.Range{}, q, func(row telemetry.Row) error {
		oldest = row.Span.Start
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if kept := time.Since(time.Unix(0, oldest)); kept > 59*time.Minute+59*time.Second {
		t.Errorf("noisy spans as old as %v were kept", kept)
	}
}

func TestBlocksGoWhenTheyAreTooOldAndNotBefore(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	dir := t.TempDir()
	s := open(t, dir, &block.Options{MemRows: 100, MaxAge: 3 * time.Hour})
	now := time.Now()
	for _, age := range []time.Duration{5 * time.Hour, 2 * time.Hour, 0, -100 * time.Hour} { // the last has a clock that is ahead
		add(t, s, spansOf(rnd, "a", 100, now.Add(-age)))
		awaitBlocks(t, s)
	}
	rows := func(at time.Time) int {
		s.Retain(at)
		return len(find(t, s, telemetry.Spans, telemetry.Range{}, limitless(t, "")))
	}
	for after, want := range map[time.Duration]int{0: 300} {
		if got := rows(now.Add(after)); got != want {
			t.Errorf("after %v there are %d rows, not %d", after, got, want)
		}
	}
	if got := rows(now.Add(90 * time.Minute)); got != 200 {
		t.Errorf("after 90 minutes there are %d rows, not 200", got)
	}
	if got := rows(now.Add(4 * time.Hour)); got != 0 {
		t.Errorf("after 4 hours there are %d rows", got)
	}
	if u, err := s.Usage(t.Context()); err != nil || u.Services["a"].Dropped.Evicted != 0 {
		t.Errorf("age is no eviction: %+v, %v", u.Services["a"], err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*.parquet")); len(files) > 0 {
		t.Errorf("left: %q", files)
	}
}

func TestABlockThatIsReadWhileItGoesIsReadToItsEnd(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	dir := t.TempDir()
	s := open(t, dir, &block.Options{MemRows: 3000})
	add(t, s, spansOf(rnd, "a", 3000, time.Now()))
	awaitBlocks(t, s)
	rows := 0
	if err := s.Scan(t.Context(), telemetry.Spans, telemetry.Range{}, nil, func(telemetry.Row) error {
		if rows == 0 {
			s.Retain(time.Now().Add(1000 * time.Hour))
		}
		rows++
		return nil
	}); err != nil || rows != 3000 {
		t.Errorf("%d rows, %v", rows, err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*.parquet")); len(files) > 0 {
		t.Errorf("left: %q", files)
	}
}

func TestSamplingKeepsErrorsAndTheSlowestAndTracesWhole(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 9))
	dir := t.TempDir()
	const traces, perTrace, share = 5000, 3, 0.2
	s := open(t, dir, &block.Options{MemRows: traces * perTrace, Sample: share})
	resources := []*telemetry.Resource{{Service: "web"}, {Service: "db"}}
	b := &telemetry.Batch{}
	failed, slow := map[telemetry.TraceID]bool{}, map[telemetry.TraceID]bool{}
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC).UnixNano()
	for i := range traces {
		var id telemetry.TraceID
		binary.LittleEndian.PutUint64(id[:], rnd.Uint64())
		binary.LittleEndian.PutUint64(id[8:], uint64(i)) // ids may be poor in chance
		var parent telemetry.SpanID
		for j := range perTrace {
			x := telemetry.Span{
				Resource: resources[min(j, 1)], TraceID: id, SpanID: telemetry.SpanID{byte(j + 1), byte(i), byte(i >> 8)}, Parent: parent,
				Name: "op", Start: at + int64(i), Duration: 1e6 + rnd.Int64N(1e6),
			}
			if i%100 == 50 && j == 0 {
				x.Duration, slow[id] = 1e9+int64(i), true
			}
			if i%250 == 7 && j == 2 {
				x.Status, failed[id] = telemetry.StatusError, true
			}
			parent = x.SpanID
			b.Spans = append(b.Spans, x)
		}
	}
	add(t, s, b)
	awaitBlocks(t, s)
	kept := map[telemetry.TraceID]int{}
	if err := s.Scan(t.Context(), telemetry.Spans, telemetry.Range{}, nil, func(row telemetry.Row) error {
		kept[row.Span.TraceID]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	spans := int64(0)
	for id, n := range kept {
		spans += int64(n)
		if n != perTrace {
			t.Fatalf("%d spans of trace %s were kept", n, id)
		}
	}
	for id := range failed {
		if kept[id] == 0 {
			t.Errorf("trace %s failed and is gone", id)
		}
	}
	for id := range slow {
		if kept[id] == 0 {
			t.Errorf("trace %s was slow and is gone", id)
		}
	}
	// Chance: a fifth of 4930, give or take four standard deviations.
	if plain := len(kept) - len(failed) - len(slow); plain < 4930/5-120-20 || plain > 4930/5+120 {
		t.Errorf("of the others %d were kept, not about %d", plain, 4930/5)
	}
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if dropped := u.Services["web"].Dropped.Sampled + u.Services["db"].Dropped.Sampled; dropped != traces*perTrace-spans {
		t.Errorf("%d were counted as dropped, %d were", dropped, traces*perTrace-spans)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "spans", "wal", "*")); len(left) > 1 {
		t.Errorf("left of the log: %q", left)
	}
}

func TestWhatIsSampledIsCountedOnceThoughTheFlushFails(t *testing.T) {
	w := newWorld(8)
	dir := t.TempDir()
	thaw := frozenDisk(t, dir)
	s := open(t, dir, &block.Options{MemRows: 500, Sample: 0.01})
	add(t, s, w.batch(500, 0))
	time.AfterFunc(2500*time.Millisecond, thaw) // the second attempt fails, too
	awaitBlocks(t, s)
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dropped, kept := int64(0), int64(0)
	for _, x := range u.Services {
		dropped, kept = dropped+x.Dropped.Sampled, kept+x.Spans
	}
	if dropped+kept != 500 || dropped == 0 {
		t.Errorf("%d were dropped and %d kept of 500", dropped, kept)
	}
}

func TestUsageForgetsNoService(t *testing.T) {
	s := open(t, t.TempDir(), &block.Options{MemRows: 60})
	w := newWorld(5)
	add(t, s, w.batch(50, 70))
	add(t, s, w.batch(50, 7))
	awaitBlocks(t, s)
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][2]int64{}
	for _, x := range w.spans {
		n := want[x.Resource.Service]
		n[0]++
		want[x.Resource.Service] = n
	}
	for _, x := range w.records {
		n := want[x.Resource.Service]
		n[1]++
		want[x.Resource.Service] = n
	}
	for service, n := range want {
		if got := u.Services[service]; got.Spans != n[0] || got.Records != n[1] {
			t.Errorf("%s: %+v instead of %v", service, got, n)
		}
	}
	oldest := slices.MinFunc(w.spans, func(a, b telemetry.Span) int { return int(a.Start - b.Start) }).Start
	oldest = min(oldest, slices.MinFunc(w.records, func(a, b telemetry.Record) int { return int(a.Time - b.Time) }).Time)
	if u.Oldest.UnixNano() != oldest {
		t.Errorf("the oldest is of %v, not %v", u.Oldest.UnixNano(), oldest)
	}
	if strings.Join(u.Torn, "") != "" {
		t.Errorf("set aside: %q", u.Torn)
	}
}
