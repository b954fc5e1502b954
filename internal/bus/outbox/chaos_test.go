package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/test/databases"
)

// TestPublishedIsCommittedWhateverCommitsLateAndWhateverDies has 16 writers whose transactions commit out of order or roll
// back, and forwarders that die in the midst of publishing, before or after the events were taken.
func TestPublishedIsCommittedWhateverCommitsLateAndWhateverDies(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		t.Helper()
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		l := newLedger()
		ctx, cancel := context.WithCancel(t.Context())
		var forwarders sync.WaitGroup
		forwarders.Go(func() { db.forwardAndDie(ctx, t, l, rand.New(rand.NewPCG(seed, 0))) })
		w := &writers{db: db, committed: map[string]bool{}}
		w.run(t, seed)
		events := l.await(t, "all that was committed", atLeast(len(w.committed)))
		cancel()
		forwarders.Wait()

		published := ids(events)
		for id := range w.committed {
			if !published[id] {
				t.Errorf("%s was committed and not published", id)
			}
		}
		for id := range published {
			if !w.committed[id] {
				t.Errorf("%s was published and not committed", id)
			}
		}
		checkOrder(t, events)
		t.Logf("%d events committed, %d publishes", len(w.committed), len(events))
	})
}

// checkOrder holds the first publish of each event to the order of its key. Ids are KEY/NUMBER.
func checkOrder(t *testing.T, events []*bus.Event) {
	t.Helper()
	seen, last := map[string]bool{}, map[string]int{}
	for _, e := range events {
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		var n int
		key, number, _ := strings.Cut(e.ID, "/")
		if _, err := fmt.Sscan(number, &n); err != nil || key != e.Key() {
			t.Fatalf("the event %s has the key %s", e.ID, e.Key())
		}
		if n <= last[key] {
			t.Errorf("of the key %s, %d came after %d", key, n, last[key])
		}
		last[key] = n
	}
}

// forwardAndDie runs one forwarder after another, each of which dies at some publish.
func (db *database) forwardAndDie(ctx context.Context, t *testing.T, l *ledger, random *rand.Rand) {
	t.Helper()
	for ctx.Err() == nil {
		life, die := context.WithCancel(ctx)
		left := 1 + random.IntN(4)
		publish := func(ctx context.Context, events []*bus.Event) error {
			how := random.IntN(4)
			if left--; left > 0 {
				how = 0
			}
			switch how {
			case 1: // it dies before the events were taken
				die()
				return context.Canceled
			case 2: // it dies when some were taken, and does not know
				_ = l.publish(ctx, events[:1+len(events)/2])
				die()
				return context.Canceled
			case 3: // all were taken, and the answer is lost
				_ = l.publish(ctx, events)
				return errors.New("connection lost")
			}
			return l.publish(ctx, events)
		}
		f := db.forwarder(t, publish)
		if err := f.Run(life); err != nil {
			t.Error(err)
		}
		die()
	}
}

// writers write into the outbox of a database, side by side.
type writers struct {
	db *database

	mu        sync.Mutex // guards committed
	committed map[string]bool
}

func (w *writers) run(t *testing.T, seed uint64) {
	t.Helper()
	const count = 16
	transactions := 60
	if testing.Short() {
		transactions = 10
	}
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() { w.write(t, i, transactions, rand.New(rand.NewPCG(seed, uint64(i)+1))) })
	}
	group.Wait()
}

// write commits transactions one after the other under a key of the writer's own, while it holds others open that it
// commits or rolls back several transactions later, each under a key of its own.
func (w *writers) write(t *testing.T, writer, transactions int, random *rand.Rand) {
	t.Helper()
	var held []*held
	number := 0
	for i := range transactions {
		if w.db.Kind != databases.SQLite && random.IntN(4) == 0 { // SQLite has one transaction that writes at a time
			held = append(held, w.begin(t, fmt.Sprintf("held-%d-%d", writer, i), 0, 1+random.IntN(3)))
		}
		w.begin(t, fmt.Sprintf("writer-%d", writer), number, 1+random.IntN(3)).end(t, w, random.IntN(5) > 0)
		number += 3
		if len(held) > 0 && random.IntN(3) == 0 {
			held[0].end(t, w, random.IntN(3) > 0)
			held = held[1:]
		}
	}
	for _, h := range held {
		h.end(t, w, true)
	}
}

// held is a transaction that is open.
type held struct {
	tx  *sql.Tx
	ids []string
}

func (w *writers) begin(t *testing.T, key string, after, rows int) *held {
	t.Helper()
	tx, err := w.db.DB.BeginTx(t.Context(), nil)
	if err != nil {
		t.Error(err)
		return &held{}
	}
	h := &held{tx: tx}
	for i := range rows {
		id := fmt.Sprintf("%s/%d", key, after+i+1)
		if err := w.db.insert(t.Context(), tx, id, key); err != nil {
			t.Error(err)
		}
		h.ids = append(h.ids, id)
	}
	return h
}

func (h *held) end(t *testing.T, w *writers, commit bool) {
	t.Helper()
	if h.tx == nil {
		return
	}
	if !commit {
		if err := h.tx.Rollback(); err != nil {
			t.Error(err)
		}
		return
	}
	w.mu.Lock()
	for _, id := range h.ids {
		w.committed[id] = true
	}
	w.mu.Unlock()
	if err := h.tx.Commit(); err != nil {
		t.Error(err)
	}
}
