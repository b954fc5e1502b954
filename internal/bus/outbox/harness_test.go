package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/outbox"
	"github.com/atollhq/atoll/test/databases"
)

var servers = databases.New()

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		servers.Close()
		os.Exit(code)
	}))
}

// onEach runs a test on each kind of database.
func onEach(t *testing.T, test func(t *testing.T, db *database)) {
	t.Helper()
	for _, kind := range databases.Kinds() {
		t.Run(kind, func(t *testing.T) { test(t, fresh(t, kind)) })
	}
}

type database struct{ *databases.Database }

func fresh(tb testing.TB, kind string) *database {
	tb.Helper()
	db := &database{servers.Fresh(tb, kind)}
	db.setup(tb)
	return db
}

func (db *database) setup(tb testing.TB) {
	tb.Helper()
	for _, s := range databases.Statements(outbox.Schema(outbox.Dialect(db.Kind))) {
		if _, err := db.DB.ExecContext(tb.Context(), s); err != nil {
			tb.Fatalf("%v in\n%s", err, s)
		}
	}
}

// sql puts the placeholders that the database wants in the place of question marks.
func (db *database) sql(text string) string {
	if db.Kind != databases.Postgres {
		return text
	}
	var out []byte
	n := 0
	for i := range len(text) {
		if text[i] == '?' {
			n++
			out = fmt.Appendf(out, "$%d", n)
		} else {
			out = append(out, text[i])
		}
	}
	return string(out)
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (db *database) exec(tb testing.TB, on execer, text string, args ...any) {
	tb.Helper()
	if _, err := on.ExecContext(tb.Context(), db.sql(text), args...); err != nil {
		tb.Error(err)
	}
}

// insert puts an event into the outbox.
func (db *database) insert(ctx context.Context, on execer, id, key string) error {
	_, err := on.ExecContext(ctx, db.sql("INSERT INTO atoll_outbox (topic, data, event_id, ordering_key) VALUES (?, ?, ?, ?)"),
		"order.placed", `{"order": "`+id+`"}`, id, key)
	return err
}

func (db *database) count(tb testing.TB, table string) (n int) {
	tb.Helper()
	if err := db.DB.QueryRowContext(tb.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
		tb.Error(err)
	}
	return n
}

// ledger takes what is published.
type ledger struct {
	mu     sync.Mutex // guards what follows
	events []*bus.Event
	more   chan struct{} // closed and made anew when there are more
}

func newLedger() *ledger { return &ledger{more: make(chan struct{})} }

func (l *ledger) publish(_ context.Context, events []*bus.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, events...)
	close(l.more)
	l.more = make(chan struct{})
	return nil
}

func (l *ledger) all() []*bus.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// await waits until what was published is as it should be.
func (l *ledger) await(tb testing.TB, what string, enough func([]*bus.Event) bool) []*bus.Event {
	tb.Helper()
	limit := time.After(30 * time.Second)
	for {
		l.mu.Lock()
		events, more := slices.Clone(l.events), l.more
		l.mu.Unlock()
		if enough(events) {
			return events
		}
		select {
		case <-more:
		case <-limit:
			tb.Fatalf("waited in vain for %s; %d events were published", what, len(events))
		}
	}
}

func atLeast(n int) func([]*bus.Event) bool {
	return func(events []*bus.Event) bool { return len(ids(events)) >= n }
}

func ids(events []*bus.Event) map[string]bool {
	out := map[string]bool{}
	for _, e := range events {
		out[e.ID] = true
	}
	return out
}

// start runs a forwarder until stop is called or the test ends.
func (db *database) start(tb testing.TB, publish outbox.Publish, opts *outbox.Options) (stop func()) {
	tb.Helper()
	f, err := outbox.New(db.URL, publish, opts)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				tb.Error(err)
			}
		case <-time.After(20 * time.Second):
			tb.Error("the forwarder does not end")
		}
	})
	tb.Cleanup(stop)
	return stop
}

// states collects the phases of a forwarder.
type states chan outbox.State

func newStates() states { return make(states, 1000) }

func (s states) take(st outbox.State) {
	select {
	case s <- st:
	default:
	}
}

func (s states) await(tb testing.TB, want outbox.Phase) outbox.State {
	tb.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case st := <-s:
			if st.Phase == want {
				return st
			}
		case <-limit:
			tb.Fatalf("waited in vain for the phase %s", want)
		}
	}
}

func (db *database) forwarder(tb testing.TB, publish outbox.Publish) *outbox.Forwarder {
	tb.Helper()
	f, err := outbox.New(db.URL, publish, nil)
	if err != nil {
		tb.Error(err)
	}
	return f
}
