package logfile_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/logfile"
)

// live is how much memory is in use.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestReadingHoldsNeitherAllRecordsNorAllSegmentsInMemory(t *testing.T) {
	const kept, bound = 16 << 20, 4 << 20
	s := open(t, t.TempDir(), &logfile.Options{SegmentBytes: 1 << 20})
	text := strings.Repeat("x", 2000)
	for i := range kept / len(text) {
		add(t, s, record(i, []string{"orders", "pay"}[i%2], text))
	}
	for name, q := range map[string]telemetry.LineQuery{"all": {}, "the last": {Last: 100}} {
		before, count, most := live(), 0, int64(0)
		err := s.Read(t.Context(), &q, func(*telemetry.Line) error {
			if count++; count%1000 == 1 {
				most = max(most, live()-before)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := q.Last; want > 0 && count != want || want == 0 && count != kept/len(text) {
			t.Errorf("%s: %d records", name, count)
		}
		if most > bound {
			t.Errorf("%s: %d bytes are held of %d", name, most, kept)
		}
	}
}

// oracle chooses from all that was appended: records in the order of their times, where one that is older than one
// before it in its service takes that one's place; services by name.
func oracle(all []*telemetry.Line, q *telemetry.LineQuery) (texts []string) {
	type entry struct {
		*telemetry.Line
		place time.Time
	}
	var chosen []entry
	latest := map[string]time.Time{}
	for _, r := range all {
		if !q.Matches(r) {
			continue
		}
		if r.Time.After(latest[r.Service]) {
			latest[r.Service] = r.Time
		}
		chosen = append(chosen, entry{r, latest[r.Service]})
	}
	slices.SortStableFunc(chosen, func(a, b entry) int { return strings.Compare(a.Service, b.Service) })
	slices.SortStableFunc(chosen, func(a, b entry) int { return a.place.Compare(b.place) })
	if q.Last > 0 {
		chosen = chosen[max(len(chosen)-q.Last, 0):]
	}
	for _, e := range chosen {
		texts = append(texts, e.Text)
	}
	return texts
}

func TestReadingFromSegmentsEqualsSortingEverything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := open(t, t.TempDir(), &logfile.Options{SegmentBytes: rapid.Int64Range(100, 2000).Draw(rt, "segment")})
		defer func() { _ = s.Close() }()
		services := []string{"orders", "pay", "stock", "web"}
		disorder := rapid.SampledFrom([]int{0, 3}).Draw(rt, "disorder")
		var all []*telemetry.Line
		for i := range rapid.IntRange(0, 80).Draw(rt, "records") {
			second := 1000 + i/3 - rapid.IntRange(0, disorder).Draw(rt, "late")
			level := rapid.SampledFrom([]string{"", "WARN "}).Draw(rt, "level")
			r := record(second, rapid.SampledFrom(services).Draw(rt, "service"), fmt.Sprint(level, i))
			all = append(all, r)
			add(t, s, r)
		}
		q := telemetry.LineQuery{
			Services: rapid.SliceOfN(rapid.SampledFrom(append(services, "nobody")), 0, 3).Draw(rt, "services"),
			Level:    rapid.SampledFrom([]telemetry.Level{"", telemetry.LevelWarn}).Draw(rt, "least"),
			Since:    time.Unix(int64(rapid.IntRange(990, 1030).Draw(rt, "since")), 0),
		}
		if rapid.Bool().Draw(rt, "grep") {
			q.Grep = regexp.MustCompile("[37]")
		}
		if disorder == 0 { // the place of a late record at the cut depends on what is cut off
			q.Last = rapid.IntRange(0, 30).Draw(rt, "last")
		}
		if got, want := texts(t, s, q), strings.Join(oracle(all, &q), ","); got != want {
			rt.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestFollowingFromTheLastLosesAndDoublesNothingWhileSegmentsComeAndGo(t *testing.T) {
	enough := errors.New("enough")
	rapid.Check(t, func(rt *rapid.T) {
		s := open(t, t.TempDir(), &logfile.Options{SegmentBytes: 300, ServiceBytes: 4000})
		defer func() { _ = s.Close() }()
		next := 0
		appendSome := func(n int) {
			for range n {
				add(t, s, record(next, "orders", fmt.Sprint(next)))
				next++
			}
		}
		appendSome(rapid.IntRange(1, 60).Draw(rt, "before"))
		last := rapid.IntRange(1, 10).Draw(rt, "last")
		want, end := max(next-last, 0), next+60
		err := s.Read(t.Context(), &telemetry.LineQuery{Last: last, Follow: true}, func(r *telemetry.Line) error {
			if r.Text != fmt.Sprint(want) {
				rt.Fatalf("got %s, want %d", r.Text, want)
			}
			if want++; want == end {
				return enough
			}
			// So much that there is always one more to come, and not so much that it is pruned unread.
			if behind := next - want; behind < 8 {
				appendSome(rapid.IntRange(min(1, max(1-behind, 0)), 4).Draw(rt, "more"))
			}
			return nil
		})
		if !errors.Is(err, enough) {
			rt.Errorf("got %v", err)
		}
	})
}

func TestAWriterThatNeverRestsDoesNotKeepAReaderFromItsEnd(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	add(t, s, record(0, "orders", "0"))
	count := 0
	err := s.Read(t.Context(), &telemetry.LineQuery{}, func(*telemetry.Line) error {
		if count++; count > 10 {
			return errors.New("there is no end")
		}
		add(t, s, record(count, "orders", fmt.Sprint(count)))
		return nil
	})
	if err != nil || count != 1 {
		t.Errorf("%d records, %v", count, err)
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	for i := range 10 {
		add(t, s, record(i, "orders", fmt.Sprint(i)))
	}
	for _, last := range []int{0, 5} {
		ctx, cancel := context.WithCancel(t.Context())
		count := 0
		err := s.Read(ctx, &telemetry.LineQuery{Last: last}, func(*telemetry.Line) error {
			count++
			cancel()
			return nil
		})
		if last == 0 && (count != 1 || !errors.Is(err, context.Canceled)) {
			t.Errorf("%d records, %v", count, err)
		}
		cancel()
		if err := s.Read(ctx, &telemetry.LineQuery{Last: last}, func(*telemetry.Line) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("last %d: %v", last, err)
		}
	}
}
