package bus_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/membus"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// subscriber remembers what it was brought, and answers as it is told; accepts if it was not.
type subscriber struct {
	mu     sync.Mutex
	answer bus.Outcome // guarded by mu
	ids    []string    // guarded by mu
}

// Deliver implements bus.Deliverer.
func (s *subscriber) Deliver(_ context.Context, d bus.Delivery) bus.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer.Verdict == bus.Accepted {
		s.ids = append(s.ids, d.Event.ID)
	}
	return s.answer
}

func (s *subscriber) say(o bus.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = o
}

func (s *subscriber) wants(t *testing.T, ids ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.ids, ids) {
		t.Fatalf("it was brought %q, should be %q", s.ids, ids)
	}
}

func configOf(s *subscriber) *bus.Config {
	return &bus.Config{
		Topics: map[string]*bus.Topic{"t": {Name: "t"}}, Publishers: map[string]bus.Publisher{"p": {Topics: []string{"t"}}},
		Subscriptions: []bus.Subscription{{Name: "s/t", Topics: []string{"t"}, Deliver: s, Policy: bus.Policy{Concurrency: 1}}},
	}
}

func openBus(t *testing.T, log bus.Log) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), log, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func apply(t *testing.T, b *bus.Bus, c *bus.Config) {
	t.Helper()
	if err := b.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func publishIDs(t *testing.T, b *bus.Bus, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := b.Publish(t.Context(), "p", "t", []*bus.Event{{ID: id, Source: "/", Type: "t"}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOldEventsThatASubscriptionNeedsOutliveAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := membus.New(), &subscriber{answer: bus.Outcome{Verdict: bus.Unreachable}}
		b := openBus(t, log)
		apply(t, b, configOf(s))
		publishIDs(t, b, "1")
		closeBus(t, b)
		<-time.After(30 * 24 * time.Hour) // longer than events are kept
		b = openBus(t, log)
		<-time.After(time.Minute) // between the two the janitor looks
		s.say(bus.Outcome{})
		apply(t, b, configOf(s))
		s.wants(t, "1")
		closeBus(t, b)
	})
}

func TestAPlaceBeyondTheEndOfTheLogSkipsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := membus.New(), &subscriber{}
		if err := log.Save(t.Context(), map[string][]byte{"cursor.s.t": []byte(`{"next":50,"waiting":[40]}`)}); err != nil {
			t.Fatal(err)
		}
		b := openBus(t, log)
		apply(t, b, configOf(s))
		publishIDs(t, b, "1", "2")
		s.wants(t, "1", "2")
		closeBus(t, b)
	})
}

// slowLog is a log whose next Save waits to be let go on.
type slowLog struct {
	*membus.Log
	hold chan chan struct{}
}

// Save implements bus.Log.
func (l slowLog) Save(ctx context.Context, docs map[string][]byte) error {
	select {
	case release := <-l.hold:
		<-release
	default:
	}
	return l.Log.Save(ctx, docs)
}

func TestAReplaysPlaceIsNotOverwrittenByAnOlderOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, s := slowLog{membus.New(), make(chan chan struct{}, 1)}, &subscriber{}
		b := openBus(t, log)
		apply(t, b, configOf(s))
		publishIDs(t, b, "1")
		<-time.After(time.Second)
		release := make(chan struct{})
		log.hold <- release
		publishIDs(t, b, "2") // whose place is being saved until release
		<-time.After(time.Second)
		s.say(bus.Outcome{Verdict: bus.Unreachable})
		replayed := make(chan error, 1)
		go func() {
			_, err := b.Replay(t.Context(), "s/t", 1)
			replayed <- err
		}()
		synctest.Wait()
		close(release)
		if err := <-replayed; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		docs, err := log.Load(t.Context(), "cursor.")
		if err != nil {
			t.Fatal(err)
		}
		if doc := string(docs["cursor.s.t"]); doc != `{"next":1}` && doc != `{"next":3,"waiting":[1,1]}` && doc != `{"next":2,"waiting":[1]}` {
			t.Errorf("after a replay from 1 on, the place that is kept is %s", doc)
		}
		s.say(bus.Outcome{})
		closeBus(t, b)
	})
}
