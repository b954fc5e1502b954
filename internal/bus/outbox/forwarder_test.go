package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/outbox"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/test/databases"
)

func TestARowOfTopicAndDataAloneIsAnEvent(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		t.Helper()
		l := newLedger()
		db.start(t, l.publish, &outbox.Options{Source: "/services/orders"})
		db.exec(t, db.DB, `INSERT INTO atoll_outbox (topic, data) VALUES ('order.placed', '{"text": "a \\ and a \n"}')`)
		e := l.await(t, "the event", atLeast(1))[0]
		if e.Topic != "order.placed" || e.Type != "order.placed" || e.Source != "/services/orders" || len(e.ID) < 32 {
			t.Errorf("got %+v", e)
		}
		if e.DataType != "application/json" && db.Kind != databases.MySQL { // where a backslash in a literal escapes
			t.Errorf("%q is a %s", e.Data, e.DataType)
		}
		if age := time.Since(e.Time); age < -time.Minute || age > time.Minute {
			t.Errorf("it happened at %s", e.Time)
		}
	})
}

func TestAllThatARowSaysIsInTheEvent(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		t.Helper()
		l := newLedger()
		db.exec(t, db.DB, `INSERT INTO atoll_outbox (topic, data_binary, ordering_key, event_id, type, source, subject, content_type, time, extensions, deliver_at)
			VALUES ('t', ?, 'k', 'id-1', 'com.example.placed', '/shop', 'o-7', 'image/png', '2026-11-23 01:02:03.456', '{"traceparent": "00-x", "n": 12345678901234567, "yes": true}', '2026-11-24 01:02:03')`,
			[]byte{0, 255, 1})
		db.start(t, l.publish, nil)
		e := l.await(t, "the event", atLeast(1))[0]
		want := &bus.Event{
			Topic: "t", ID: "id-1", Source: "/shop", Type: "com.example.placed", Subject: "o-7", DataType: "image/png", Data: []byte{0, 255, 1},
			Time: time.Date(2026, 11, 23, 1, 2, 3, 456e6, time.UTC),
		}
		for name, value := range map[string]string{
			"traceparent": "00-x", "n": "12345678901234567", "yes": "true", bus.AttributeKey: "k", bus.AttributeDeliverAt: "2026-11-24T01:02:03Z",
		} {
			want.SetExtension(name, value)
		}
		if !slices.Equal(e.Extensions, want.Extensions) {
			t.Errorf("got attributes %v, want %v", e.Extensions, want.Extensions)
		}
		if !e.Time.Equal(want.Time) || e.Topic != want.Topic || e.ID != want.ID || e.Source != want.Source || e.Type != want.Type ||
			e.Subject != want.Subject || e.DataType != want.DataType || string(e.Data) != string(want.Data) {
			t.Errorf("got  %+v\nwant %+v", e, want)
		}
	})
}

func TestAPublishedRowIsGone(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		t.Helper()
		batches := make(chan outbox.Batch, 100)
		tx, err := db.DB.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 2500 {
			db.exec(t, tx, "INSERT INTO atoll_outbox (topic, data) VALUES ('t', 'x')")
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		db.start(t, newLedger().publish, &outbox.Options{OnBatch: func(b outbox.Batch) { batches <- b }})
		for _, want := range []int{1000, 1000, 500} {
			if b := <-batches; b.Published != want || b.Oldest.IsZero() {
				t.Errorf("got a batch %+v, want %d", b, want)
			}
		}
		if n := db.count(t, "atoll_outbox"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

func TestABatchIsBoundedInBytes(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		t.Helper()
		for range 10 {
			db.exec(t, db.DB, "INSERT INTO atoll_outbox (topic, data) VALUES ('t', ?)", strings.Repeat("x", 1<<20))
		}
		largest := 0
		l := newLedger()
		stop := db.start(t, func(ctx context.Context, events []*bus.Event) error {
			bytes := 0
			for _, e := range events {
				bytes += len(e.Data)
			}
			largest = max(largest, bytes)
			return l.publish(ctx, events)
		}, nil)
		l.await(t, "all", atLeast(10))
		stop()
		if largest != 4<<20 {
			t.Errorf("a batch had %d bytes", largest)
		}
	})
}

func TestWhatTheBusRefusesForGoodHoldsUpNothing(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		t.Helper()
		for i, id := range []string{"1", "2", "bad", "4", "5", "worse", "7"} {
			key := []string{"a", "b"}[i%2]
			if err := db.insert(t.Context(), db.DB, id, key); err != nil {
				t.Fatal(err)
			}
		}
		db.exec(t, db.DB, "INSERT INTO atoll_outbox (topic, data, event_id) VALUES ('t', ?, 'huge')", strings.Repeat("x", bus.MaxData+1))
		db.exec(t, db.DB, "INSERT INTO atoll_outbox (topic, data, event_id, extensions) VALUES ('t', 'x', 'reserved', '{\"atollonly\": \"x\"}')")
		db.exec(t, db.DB, "INSERT INTO atoll_outbox (topic, event_id, extensions) VALUES ('t', 'list', '[1]')")
		if err := db.insert(t.Context(), db.DB, "last", "a"); err != nil {
			t.Fatal(err)
		}
		l := newLedger()
		var told []string
		refusals := make(chan outbox.Refusal, 10)
		db.start(t, func(ctx context.Context, events []*bus.Event) error {
			for _, e := range events {
				if e.ID == "bad" || e.ID == "worse" {
					return fault.New("event-contract", "no fit")
				}
			}
			return l.publish(ctx, events)
		}, &outbox.Options{
			Final:     func(err error) bool { return fault.CodeOf(err) == "event-contract" },
			OnRefusal: func(r outbox.Refusal) { refusals <- r },
		})
		events := l.await(t, "the good ones", atLeast(6))
		var got []string
		for _, e := range events {
			got = append(got, e.ID)
		}
		if want := []string{"1", "2", "4", "5", "7", "last"}; !slices.Equal(got, want) {
			t.Errorf("published %v, want %v", got, want)
		}
		for range 5 {
			r := <-refusals
			told = append(told, r.EventID+" "+string(fault.CodeOf(r.Err)))
		}
		slices.Sort(told)
		want := []string{"bad event-contract", "huge event-too-large", "list outbox-row", "reserved outbox-row", "worse event-contract"}
		if !slices.Equal(told, want) {
			t.Errorf("refused %v, want %v", told, want)
		}
		rows, err := db.DB.QueryContext(t.Context(), "SELECT event_id, code, reason, data FROM atoll_outbox_refused ORDER BY event_id")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		var kept []string
		for rows.Next() {
			var id, code, reason string
			var data *string
			if err := rows.Scan(&id, &code, &reason, &data); err != nil {
				t.Fatal(err)
			}
			if reason == "" || id == "huge" && len(*data) != bus.MaxData+1 {
				t.Errorf("%s is kept with reason %q", id, reason)
			}
			kept = append(kept, id+" "+code)
		}
		if err := rows.Err(); err != nil || !slices.Equal(kept, want) {
			t.Errorf("kept %v, want %v (%v)", kept, want, err)
		}
		if n := db.count(t, "atoll_outbox"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

func TestABusThatTakesNothingLosesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		t.Helper()
		if err := db.insert(t.Context(), db.DB, "1", "k"); err != nil {
			t.Fatal(err)
		}
		l, s := newLedger(), newStates()
		var failed int
		db.start(t, func(ctx context.Context, events []*bus.Event) error {
			if failed++; failed <= 3 {
				return fault.New("bus-full", "come again")
			}
			return l.publish(ctx, events)
		}, &outbox.Options{OnState: s.take})
		if st := s.await(t, outbox.PhaseHeldUp); fault.CodeOf(st.Err) != "bus-full" {
			t.Errorf("it is held up by %v", st.Err)
		}
		l.await(t, "the event", atLeast(1))
		s.await(t, outbox.PhaseRunning)
		if n := db.count(t, "atoll_outbox_refused"); n != 0 {
			t.Errorf("%d rows were refused", n)
		}
	})
}

func TestTablesThatAreNotThereYetAreWaitedFor(t *testing.T) {
	for _, kind := range databases.Kinds() {
		t.Run(kind, func(t *testing.T) {
			db := &database{servers.Fresh(t, kind)}
			l, s := newLedger(), newStates()
			db.start(t, l.publish, &outbox.Options{OnState: s.take})
			if st := s.await(t, outbox.PhaseNoTables); fault.CodeOf(st.Err) != fault.CodeOutboxTables {
				t.Errorf("got %v", st.Err)
			}
			db.setup(t)
			s.await(t, outbox.PhaseRunning)
			if err := db.insert(t.Context(), db.DB, "1", "k"); err != nil {
				t.Fatal(err)
			}
			l.await(t, "the event", atLeast(1))
		})
	}
}

func TestASQLiteFileThatIsReplacedIsReadAnew(t *testing.T) {
	db := fresh(t, databases.SQLite)
	l, s := newLedger(), newStates()
	db.start(t, l.publish, &outbox.Options{OnState: s.take})
	s.await(t, outbox.PhaseRunning)
	path := strings.TrimPrefix(db.URL, "sqlite://")
	if err := db.DB.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	s.await(t, outbox.PhaseNoTables)
	again := &database{&databases.Database{Kind: db.Kind, URL: db.URL}}
	again.DB = databases.Open(t, db.Kind, db.URL)
	again.setup(t)
	if err := again.insert(t.Context(), again.DB, "1", "k"); err != nil {
		t.Fatal(err)
	}
	l.await(t, "the event", atLeast(1))
}

func TestOneForwarderWorksAtATime(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		t.Helper()
		first, second, s := newLedger(), newLedger(), newStates()
		running := newStates()
		stop := db.start(t, first.publish, &outbox.Options{OnState: running.take})
		running.await(t, outbox.PhaseRunning)
		db.start(t, second.publish, &outbox.Options{OnState: s.take})
		s.await(t, outbox.PhaseStandby)
		if err := db.insert(t.Context(), db.DB, "1", "k"); err != nil {
			t.Fatal(err)
		}
		first.await(t, "the first event", atLeast(1))
		stop()
		s.await(t, outbox.PhaseRunning)
		if err := db.insert(t.Context(), db.DB, "2", "k"); err != nil {
			t.Fatal(err)
		}
		second.await(t, "the second event", atLeast(1))
		if got := slices.Sorted(maps.Keys(ids(second.all()))); !slices.Equal(got, []string{"2"}) {
			t.Errorf("the second published %v", got)
		}
	})
}

func TestATransactionThatIsHeldOpenHoldsUpNobody(t *testing.T) {
	for _, kind := range []string{databases.Postgres, databases.MySQL} { // SQLite has one writer
		t.Run(kind, func(t *testing.T) {
			db := fresh(t, kind)
			held, err := db.DB.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.insert(t.Context(), held, "early", "a"); err != nil {
				t.Fatal(err)
			}
			l := newLedger()
			settled := make(chan outbox.Batch, 10)
			db.start(t, l.publish, &outbox.Options{OnBatch: func(b outbox.Batch) { settled <- b }})
			if err := db.insert(t.Context(), db.DB, "late", "b"); err != nil {
				t.Fatal(err)
			}
			l.await(t, "the one that is committed", atLeast(1))
			select {
			case <-settled:
			case <-time.After(10 * time.Second):
				t.Error("the delete waits for the transaction that is held open")
			}
			if err := held.Commit(); err != nil {
				t.Fatal(err)
			}
			l.await(t, "the one that commits late", atLeast(2))
		})
	}
}

func TestTheServiceWritesWhileThePublishTakesLong(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		t.Helper()
		entered, leave := make(chan struct{}), make(chan struct{})
		var once sync.Once
		l := newLedger()
		db.start(t, func(ctx context.Context, events []*bus.Event) error {
			once.Do(func() { close(entered); <-leave })
			return l.publish(ctx, events)
		}, nil)
		if err := db.insert(t.Context(), db.DB, "1", "k"); err != nil {
			t.Fatal(err)
		}
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := db.insert(ctx, db.DB, "2", "k"); err != nil {
			t.Errorf("the service is held up: %v", err)
		}
		close(leave)
		l.await(t, "both", atLeast(2))
	})
}

func TestWhatIsPublishedWhenTheEndComesIsDeleted(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		t.Helper()
		if err := db.insert(t.Context(), db.DB, "1", "k"); err != nil {
			t.Fatal(err)
		}
		entered := make(chan struct{})
		stop := db.start(t, func(ctx context.Context, _ []*bus.Event) error {
			close(entered)
			<-ctx.Done()
			return nil // it was taken all the same
		}, nil)
		<-entered
		stop()
		if n := db.count(t, "atoll_outbox"); n != 0 {
			t.Errorf("%d rows would be published again", n)
		}
	})
}

func TestADatabaseThatDoesNotAnswerIsToldAndTriedAgain(t *testing.T) {
	for _, url := range []string{"postgres://u:secret@127.0.0.1:1/x", "mysql://u:secret@127.0.0.1:1/x"} {
		s := newStates()
		stop := (&database{&databases.Database{URL: url}}).start(t, newLedger().publish, &outbox.Options{OnState: s.take})
		st := s.await(t, outbox.PhaseUnreachable)
		if fault.CodeOf(st.Err) != fault.CodeOutboxDatabase || strings.Contains(st.Err.Error(), "secret") {
			t.Errorf("got %v", st.Err)
		}
		stop()
	}
}

func TestATableThatCannotBeReadIsToldOnceAndNotAskedWithoutEnd(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		t.Helper()
		db.exec(t, db.DB, "ALTER TABLE atoll_outbox RENAME COLUMN subject TO topics")
		l, s := newLedger(), newStates()
		db.start(t, l.publish, &outbox.Options{OnState: s.take})
		if st := s.await(t, outbox.PhaseUnreachable); errors.Unwrap(st.Err) == nil {
			t.Error("operators are not told why")
		}
		<-time.After(500 * time.Millisecond) // in which it tries again several times
		db.exec(t, db.DB, "ALTER TABLE atoll_outbox RENAME COLUMN topics TO subject")
		if st := <-s; st.Phase != outbox.PhaseRunning {
			t.Errorf("it went on to %s", st.Phase)
		}
		if err := db.insert(t.Context(), db.DB, "1", "k"); err != nil {
			t.Fatal(err)
		}
		l.await(t, "the event", atLeast(1))
	})
}

func TestABrokenConnectionIsMadeAgain(t *testing.T) {
	for kind, others := range map[string]string{
		databases.Postgres: "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
		databases.MySQL:    "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
	} {
		t.Run(kind, func(t *testing.T) {
			db := fresh(t, kind)
			db.DB.SetMaxOpenConns(1)
			l, s := newLedger(), newStates()
			db.start(t, l.publish, &outbox.Options{OnState: s.take})
			for i := range 5 {
				s.await(t, outbox.PhaseRunning)
				var id int64
				if err := db.DB.QueryRowContext(t.Context(), others).Scan(&id); err != nil {
					t.Fatal(err)
				}
				kill := fmt.Sprintf("SELECT pg_terminate_backend(%d)", id)
				if kind == databases.MySQL {
					kill = fmt.Sprintf("KILL %d", id)
				}
				db.exec(t, db.DB, kill)
				if err := db.insert(t.Context(), db.DB, fmt.Sprint(i), "k"); err != nil {
					t.Fatal(err)
				}
				l.await(t, "the event", atLeast(i+1))
			}
		})
	}
}

func TestASQLiteFileWithARollbackJournalIsForwardedToo(t *testing.T) {
	db := fresh(t, databases.SQLite)
	db.DB.SetMaxOpenConns(1)
	db.exec(t, db.DB, "PRAGMA journal_mode = DELETE")
	l := newLedger()
	db.start(t, l.publish, nil)
	for i := range 200 {
		if err := db.insert(t.Context(), db.DB, fmt.Sprint(i), "k"); err != nil {
			t.Fatal(err)
		}
	}
	l.await(t, "all", atLeast(200))
}

func TestAURLThatIsNoneIsRefused(t *testing.T) {
	for _, url := range []string{"", "oracle://x/y", "sqlite://relative.db", "mysql://host", "postgres://%zz", "://"} {
		if _, err := outbox.New(url, newLedger().publish, nil); fault.CodeOf(err) != fault.CodeOutboxURL {
			t.Errorf("%q: got %v", url, err)
		}
	}
}

func TestEachDialectHasASchemaAndOthersHaveNone(t *testing.T) {
	for _, d := range outbox.Dialects() {
		for _, name := range []string{"atoll_outbox (", "atoll_outbox_refused (", "atoll_inbox ("} {
			if !strings.Contains(outbox.Schema(d), "CREATE TABLE IF NOT EXISTS "+name) {
				t.Errorf("the schema of %s makes no table %s", d, name)
			}
		}
	}
	if outbox.Schema("oracle") != "" {
		t.Error("there is a schema of oracle")
	}
}
