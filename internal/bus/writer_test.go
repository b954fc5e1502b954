package bus_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
)

// answers is what became of submissions, each of which has a name. It is safe for concurrent use.
type answers struct {
	mu    sync.Mutex
	times map[string]int           // guarded by mu: how often each was answered
	errs  map[string]error         // guarded by mu
	got   map[string][]bus.Receipt // guarded by mu
}

func newAnswers() *answers {
	return &answers{times: map[string]int{}, errs: map[string]error{}, got: map[string][]bus.Receipt{}}
}

// submit submits n events under a name, and returns whether they were taken.
func (a *answers) submit(b *bus.Bus, name string, n, size int) error {
	events := make([]*bus.Event, n)
	for i := range events {
		events[i] = &bus.Event{ID: fmt.Sprintf("%s/%d", name, i), Source: "/", Type: "t", Data: make([]byte, size)}
	}
	return b.Submit("p", "t", events, func(r []bus.Receipt, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.times[name]++
		a.errs[name], a.got[name] = err, r
	})
}

// len is how many were answered.
func (a *answers) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.times)
}

// kept lists the ids in the stream of events, in order.
func kept(t *testing.T, log bus.Log) []string {
	t.Helper()
	var ids []string
	for from := bus.Offset(1); ; {
		records, next, err := log.Read(t.Context(), bus.StreamEvents, from, 1000, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			return ids
		}
		for _, r := range records {
			ids = append(ids, r.Event.ID)
		}
		from = next
	}
}

func TestNothingIsAnsweredOrDeliveredBeforeItIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s, a := newWatchedLog(), &subscriber{}, newAnswers()
		b := openBus(t, log)
		apply(t, b, configOf(s))
		release := log.stop()
		if err := a.submit(b, "one", 1, 0); err != nil {
			t.Fatal(err)
		}
		s.wants(t)
		if a.len() > 0 {
			t.Error("it was answered while it was being written")
		}
		release()
		s.wants(t, "one/0")
		if a.len() != 1 || a.errs["one"] != nil {
			t.Errorf("answered %v: %v", a.times, a.errs["one"])
		}
		closeBus(t, b)
	})
}

func TestWhatIsSubmittedKeepsItsOrderAndStaysTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const submitters, each = 5, 200
		log, a := newWatchedLog(), newAnswers()
		b := openBus(t, log)
		apply(t, b, configOf(&subscriber{}))
		var all sync.WaitGroup
		for p := range submitters {
			all.Go(func() {
				for i := range each {
					if err := a.submit(b, fmt.Sprintf("%d.%03d", p, i), 1+rand.IntN(20), 0); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		synctest.Wait()
		ids := kept(t, log)
		latest := map[string]string{}
		for at := 0; at < len(ids); {
			name, _, _ := strings.Cut(ids[at], "/")
			p, _, _ := strings.Cut(name, ".")
			if name <= latest[p] {
				t.Fatalf("%s stands behind %s", name, latest[p])
			}
			latest[p] = name
			for i, r := range a.got[name] {
				want := fmt.Sprintf("%s/%d", name, i)
				if at == len(ids) || ids[at] != want || r.ID != want || int(r.Offset) != at+1 {
					t.Fatalf("%s was to be at %d as %+v says, behind the rest of what was submitted with it: %q", want, at+1, r, ids[at-i:min(len(ids), at+1)])
				}
				at++
			}
		}
		if len(latest) != submitters || a.len() != submitters*each {
			t.Errorf("%d of %d submissions were answered", a.len(), submitters*each)
		}
		closeBus(t, b)
	})
}

func TestNoBatchIsLargerThanTheLogTakes(t *testing.T) {
	for _, kind := range []struct{ name, size string }{{"events", "small"}, {"bytes", "large"}} {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				submissions := map[string]int{"small": 300, "large": 200}[kind.size] // as many bytes as may wait
				log, a := newWatchedLog(), newAnswers()
				b := openBus(t, log)
				apply(t, b, &bus.Config{Topics: map[string]*bus.Topic{"t": {Name: "t"}}, Publishers: map[string]bus.Publisher{"p": {Topics: []string{"t"}}}})
				release := log.stop()
				for i := range submissions {
					n, size := 1+rand.IntN(bus.MaxAppend), 0
					if kind.size == "large" {
						n, size = 1, 300<<10
					}
					if err := a.submit(b, fmt.Sprint(i), n, size); err != nil {
						t.Fatal(err)
					}
				}
				release()
				synctest.Wait()
				counts, bytes := log.counts[bus.StreamEvents], log.batches[bus.StreamEvents]
				if most := slices.Max(counts); most > bus.MaxAppend {
					t.Errorf("a batch had %d events", most)
				}
				if most := slices.Max(bytes); most > 4<<20+301<<10 {
					t.Errorf("a batch had %d bytes", most)
				}
				if kind.size == "large" && len(counts) > submissions/10 {
					t.Errorf("%d batches were made of %d events: they share nothing", len(counts), submissions)
				}
				if a.len() != submissions {
					t.Errorf("%d of %d were answered", a.len(), submissions)
				}
				closeBus(t, b)
			})
		})
	}
}

func TestWhatIsSubmittedWhileTheBusEndsIsRefusedOrAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const submitters = 8
		log, a := newWatchedLog(), newAnswers()
		b := openBus(t, log)
		apply(t, b, configOf(&subscriber{}))
		var taken [submitters]int
		var all sync.WaitGroup
		for p := range submitters {
			all.Go(func() {
				for {
					err := a.submit(b, fmt.Sprintf("%d.%d", p, taken[p]), 1, 0)
					if fault.CodeOf(err) == fault.CodeBusBusy && strings.Contains(err.Error(), "ending") {
						return
					}
					if err == nil {
						taken[p]++
					}
				}
			})
		}
		closeBus(t, b)
		answered := a.len() // by those that Close has waited for
		all.Wait()
		want := 0
		for _, n := range taken {
			want += n
		}
		if ids := kept(t, log); len(ids) != want || answered != want || a.len() != want {
			t.Errorf("%d were taken, %d are kept, %d were answered before the end and %d after it", want, len(ids), answered, a.len()-answered)
		}
		for name, n := range a.times {
			if n != 1 || a.errs[name] != nil {
				t.Errorf("%s was answered %d times: %v", name, n, a.errs[name])
			}
		}
	})
}

func TestAFailingLogAnswersEverybodyWithItsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const submissions = 50
		log, s, a := newWatchedLog(), &subscriber{}, newAnswers()
		b := openBus(t, log)
		apply(t, b, configOf(s))
		log.fail("append", bus.StreamEvents, errDisk)
		for i := range submissions {
			if err := a.submit(b, fmt.Sprint(i), 2, 0); err != nil {
				t.Fatal(err)
			}
		}
		s.wants(t)
		for name, err := range a.errs {
			if !errors.Is(err, errDisk) || a.times[name] != 1 || a.got[name] != nil {
				t.Errorf("%s was answered %d times, with %v and %v", name, a.times[name], a.got[name], err)
			}
		}
		if a.len() != submissions {
			t.Errorf("%d of %d were answered", a.len(), submissions)
		}
		log.fail("append", bus.StreamEvents, nil)
		publishIDs(t, b, "after")
		s.wants(t, "after")
		closeBus(t, b)
	})
}

func TestWhatTheQueueCannotHoldIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, a := newWatchedLog(), newAnswers()
		b := openBus(t, log)
		apply(t, b, configOf(&subscriber{}))
		release := log.stop()
		taken := 0
		for range 20_000 {
			err := a.submit(b, fmt.Sprint(taken), 1, 0)
			if err == nil {
				taken++
				continue
			}
			if fault.CodeOf(err) != fault.CodeBusBusy {
				t.Fatal(err)
			}
		}
		if taken < 1000 || taken > 10_000 {
			t.Errorf("%d were taken while none could be written", taken)
		}
		release()
		synctest.Wait()
		if n := len(kept(t, log)); a.len() != taken || n != taken {
			t.Errorf("%d were taken, %d of them answered and %d kept", taken, a.len(), n)
		}
		closeBus(t, b)
	})
}
