package power_test

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/natsbus"
	"github.com/atollhq/atoll/test/internal/powerfs"
)

const (
	topic      = "order.placed"
	publishers = 4
)

func subscriptions() []string { return []string{"takes", "refuses", "fails"} }

// world is one disk, with all that is published to it and taken from it.
type world struct {
	*ledger
	chance *rand.Rand
	disk   *powerfs.Disk
	lies   bool

	next    [publishers]int          // the number of each publisher's next event
	pending [publishers][]*bus.Event // of each publisher: not known whether published
	loss    powerfs.Loss
}

// stack is a bus with its server, from one start to the end of the power.
type stack struct {
	unmount func() error
	server  *natsbus.Server
	log     *natsbus.Log
	bus     *bus.Bus
}

func newWorld(names powerfs.Names, seed uint64) *world {
	return &world{ledger: newLedger(), chance: rand.New(rand.NewPCG(seed, seed)), disk: powerfs.New(names)} //nolint:gosec // chance that can be repeated
}

// deliver is what a subscriber says to an event: the same each time for the same event and attempt.
func (w *world) deliver(sub string) bus.Deliverer {
	return bus.DelivererFunc(func(_ context.Context, d bus.Delivery) bus.Outcome {
		h := fnv.New32a()
		fmt.Fprint(h, sub, d.Event.ID)
		n := h.Sum32() % 100
		switch {
		case sub == "refuses" && n < 10:
			return bus.Outcome{Verdict: bus.Refused, Status: 422}
		case sub == "fails" && (n < 3 || n < 30 && d.Attempt == 1):
			return bus.Outcome{Verdict: bus.Failed, Status: 500}
		}
		w.note(w.settled, sub, d.Event)
		return bus.Outcome{}
	})
}

func (w *world) config() *bus.Config {
	c := &bus.Config{
		Topics: map[string]*bus.Topic{topic: {Name: topic}}, Publishers: map[string]bus.Publisher{"orders": {Topics: []string{topic}}},
		KeepBytes: 2 << 20, // so little that much is trimmed
	}
	for _, sub := range subscriptions() {
		c.Subscriptions = append(c.Subscriptions, bus.Subscription{
			Name: sub, Topics: []string{topic}, Deliver: w.deliver(sub),
			Policy: bus.Policy{Concurrency: 4, Attempts: 3, Backoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond, Ordered: true},
		})
	}
	return c
}

// open starts on the disk as it is. While the power is on, every error is a fault.
func (w *world) open(ctx context.Context, dir string, inspect func(*image)) (*stack, error) {
	s := &stack{}
	var err error
	if s.unmount, err = w.disk.Mount(dir); err != nil {
		return nil, err
	}
	if err := s.start(ctx, filepath.Join(dir, "events")); err != nil {
		return s, err
	}
	img, err := readImage(ctx, s.log)
	if err != nil {
		return s, err
	}
	inspect(img)
	s.bus, err = bus.Open(ctx, s.log, &bus.Options{Drain: time.Millisecond, OnDead: func(d bus.DeadLetter) { w.note(w.buried, d.Subscription, d.Event) }})
	if err != nil {
		return s, err
	}
	if err := s.bus.Apply(ctx, w.config()); err != nil {
		return s, err
	}
	w.mu.Lock()
	w.placed = true
	w.mu.Unlock()
	return s, nil
}

func (s *stack) start(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var err error
	if s.server, err = natsbus.StartServer(ctx, &natsbus.ServerOptions{Dir: dir}); err != nil {
		return err
	}
	nc, err := s.server.Connect()
	if err != nil {
		return err
	}
	s.log, err = natsbus.Open(ctx, nc, "shop", &natsbus.Options{Server: s.server})
	return err
}

// end ends what runs. Without power it can only fail.
func (s *stack) end(ctx context.Context) error {
	if s.log != nil {
		_ = s.log.Close() //nolint:contextcheck // first: nothing is to wait for a server without a disk, or for the test's context
	}
	if s.bus != nil {
		_ = s.bus.Close(ctx)
	}
	if s.server != nil {
		s.server.Close()
	}
	return s.unmount()
}

// batch makes the next events of a publisher.
func (w *world) batch(p int, chance *rand.Rand) []*bus.Event {
	n := [...]int{1, 1, 3, 12, 60}[chance.IntN(5)]
	if chance.IntN(8) == 0 {
		return []*bus.Event{w.event(fmt.Sprintf("later%d", p), p, chance, time.Now().Add(time.Duration(chance.IntN(300))*time.Millisecond))}
	}
	events := make([]*bus.Event, n)
	for i := range events {
		events[i] = w.event(fmt.Sprint("p", p), p, chance, time.Time{})
	}
	return events
}

func (w *world) event(key string, p int, chance *rand.Rand, due time.Time) *bus.Event {
	size := [...]int{20, 300, 300, 5000, 40_000}[chance.IntN(5)]
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(chance.Uint32())
	}
	e := &bus.Event{Topic: topic, Source: "/p", Type: topic, Data: data}
	if due.IsZero() {
		w.next[p]++
		e.ID = fmt.Sprintf("%s/%d", key, w.next[p])
		e.SetExtension(bus.AttributeKey, key)
	} else {
		e.ID = key + "/" + bus.NewID()
		e.SetExtension(bus.AttributeDeliverAt, due.Format(time.RFC3339Nano))
	}
	return e
}

// publish publishes until the power goes. What is then not known is published again, first, when it is back.
func (w *world) publish(ctx context.Context, b *bus.Bus, p int, chance *rand.Rand) {
	for {
		if w.pending[p] == nil {
			w.pending[p] = w.batch(p, chance)
			w.publishing(w.pending[p])
		}
		events := make([]*bus.Event, len(w.pending[p]))
		for i, e := range w.pending[p] {
			events[i] = e.Clone()
		}
		receipts, err := b.Publish(ctx, "orders", topic, events)
		if err == nil {
			w.acknowledged(receipts)
			w.pending[p] = nil
			continue
		}
		select {
		case <-w.disk.Gone():
			return
		case <-time.After(5 * time.Millisecond): // the log is full
		}
	}
}

// tidy drops what nobody needs, more often than the bus does by itself.
func tidy(ctx context.Context, b *bus.Bus) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = b.Tidy(ctx, time.Now()) // without power it can only fail
		case <-ctx.Done():
			return
		}
	}
}

// round runs from one start to a cut, and leaves the disk as it is found thereafter.
func (w *world) round(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := w.open(ctx, dir, w.check)
	if s == nil {
		t.Skipf("the power cannot be cut here: %v", err)
	}
	if err != nil {
		w.problem("it does not start: %v", err)
	} else {
		if w.lies {
			w.disk.Lie()
		}
		w.disk.CutAfter(20 + w.chance.IntN(500))
		var publishing sync.WaitGroup
		for p := range publishers {
			chance := rand.New(rand.NewPCG(w.chance.Uint64(), uint64(p))) //nolint:gosec // chance that can be repeated
			publishing.Go(func() { w.publish(ctx, s.bus, p, chance) })
		}
		publishing.Go(func() { tidy(ctx, s.bus) })
		select {
		case <-w.disk.Gone():
		case <-time.After(30 * time.Second):
			w.disk.Cut()
		}
		cancel()
		publishing.Wait()
	}
	w.disk.Cut()
	if err := s.end(context.WithoutCancel(ctx)); err != nil {
		t.Fatal(err)
	}
	if w.chance.IntN(4) == 0 { // it was only killed
		w.disk.Revive()
		return
	}
	var loss powerfs.Loss
	w.disk, loss = w.disk.After(w.chance)
	w.loss.Writes += loss.Writes
	w.loss.Torn += loss.Torn
	w.loss.Names += loss.Names
	w.loss.Kept += loss.Kept
}

// settle runs without a cut until nothing waits, and holds what came of it against what was promised.
func (w *world) settle(t *testing.T, dir string) {
	t.Helper()
	s, err := w.open(t.Context(), dir, w.check)
	if err != nil {
		w.problem("it does not start: %v", err)
	} else {
		s.await(t)
		w.checkSettled()
	}
	w.disk.Cut()
	if err := s.end(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// await waits until nothing waits to be delivered.
func (s *stack) await(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		idle := s.bus.Delayed() == 0
		for _, sub := range s.bus.Subscriptions() {
			idle = idle && sub.Waiting == 0
		}
		if idle {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("after a minute there wait still %+v", s.bus.Subscriptions())
		}
	}
}

// cuts is how often the power is cut on one disk, or the programs are killed.
const cuts = 8

// run cuts the power of disks again and again and returns what was found wrong.
func run(t *testing.T, names powerfs.Names, seed uint64, lies bool) []string {
	t.Helper()
	w := newWorld(names, seed)
	w.lies = lies
	dir := t.TempDir()
	for n := range cuts {
		w.round(t, dir)
		if len(w.problems) > 0 {
			return append(w.problems, fmt.Sprintf("(seed %d, cut %d)", seed, n))
		}
	}
	w.settle(t, dir)
	t.Logf("seed %d: %d events acknowledged, lost were %+v", seed, len(w.acked), w.loss)
	return w.problems
}

// firstSeed is the seed that was asked for, or a new one.
func firstSeed(t *testing.T) uint64 {
	t.Helper()
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("ATOLL_SEED"), fmt.Sprint(rand.Uint32())), 10, 64) //nolint:gosec // chance that can be repeated
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ATOLL_SEED=%d", seed)
	return seed
}

// disks is how many disks are tried.
func disks() uint64 {
	if os.Getenv("ATOLL_SOAK") != "" {
		return 200 / cuts
	}
	return 1
}

func TestNothingAcknowledgedIsLostWhenThePowerIsCut(t *testing.T) {
	for _, kind := range []struct {
		name  string
		names powerfs.Names
	}{{"journalled", powerfs.Journaled}, {"strict", powerfs.Strict}} {
		t.Run(kind.name, func(t *testing.T) {
			first := firstSeed(t)
			for seed := range disks() {
				for _, p := range run(t, kind.names, first+seed, false) {
					t.Error(p)
				}
			}
		})
	}
}

func TestADiskThatDoesNotSyncIsFoundOut(t *testing.T) {
	found := run(t, powerfs.Journaled, firstSeed(t), true)
	if !slices.ContainsFunc(found, func(p string) bool { return strings.Contains(p, "lost") }) {
		t.Errorf("this test could not find a loss; it found %q", found)
	}
}
