// Package barrier_test holds the SDK's barrier of sagas to real databases. It stands apart from the SDK so that services which
// use that need not know of database drivers.
package barrier_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/sdk"
	"github.com/atollhq/atoll/test/databases"
)

var servers = databases.New()

func TestMain(m *testing.M) {
	code := m.Run()
	servers.Close()
	os.Exit(code)
}

func onEach(t *testing.T, test func(t *testing.T, db *databases.Database, b *sdk.Barrier)) {
	t.Helper()
	for _, kind := range databases.Kinds() {
		t.Run(kind, func(t *testing.T) {
			db := servers.Fresh(t, kind)
			test(t, db, setUp(t, db))
		})
	}
}

// setUp makes the barrier and a ledger, to which a step adds 1, and from which its undo takes it.
func setUp(t *testing.T, db *databases.Database) *sdk.Barrier {
	t.Helper()
	b, err := sdk.NewBarrier(&sdk.TableOptions{Getenv: func(string) string { return db.URL }})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Setup(t.Context(), db.DB); err != nil {
		t.Fatal(err)
	}
	mustExec(t, db.DB, "CREATE TABLE ledger (branch VARCHAR(200), amount INT, answer INT)")
	return b
}

// answer is what a call got.
type answer struct {
	status int
	body   string
}

func (a answer) code() string {
	var p sdk.Problem
	_ = json.Unmarshal([]byte(a.body), &p)
	return p.Code
}

// call calls a step's handler, as a saga does.
func call(h http.Handler, key string) answer {
	r := httptest.NewRequest(http.MethodPost, "/step", http.NoBody)
	if key != "" {
		r.Header.Set(sdk.HeaderIdempotencyKey, key)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, strings.TrimSpace(w.Body.String())}
}

// end is how the handler of a step ends, after it has written to the ledger.
type end int

const (
	ok end = iota
	refuses
	fails
	panics
	spoils // it makes a statement that fails, which ends a transaction of PostgreSQL, and refuses
)

var errFails = errors.New("the service fails after the effect")

// step is the handler of a step whose nth run answers with n, and ends as it is told.
type step struct {
	mu    sync.Mutex // guards runs
	runs  int
	next  func(key string, run int) end
	entry *sdk.Barrier
	db    *sql.DB
}

func (s *step) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.entry.Handler(s.db, func(ctx context.Context, tx *sql.Tx, r *http.Request) (any, error) {
		key := r.Header.Get(sdk.HeaderIdempotencyKey)
		s.mu.Lock()
		s.runs++
		run := s.runs
		s.mu.Unlock()
		branch, err := sdk.StepBranch(key)
		if err != nil {
			return nil, err
		}
		amount := 1
		if strings.Contains(strings.TrimPrefix(key, branch), "undo") {
			amount = -1
		}
		if _, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO ledger VALUES ('%s', %d, %d)", branch, amount, run)); err != nil {
			return nil, err
		}
		switch s.next(key, run) {
		case refuses:
			p := sdk.Error(http.StatusUnprocessableEntity, "no-stock", "Run %d found nothing.", run)
			p.Instance = r.URL.Path
			return nil, p
		case fails:
			return nil, errFails
		case panics:
			panic(errFails)
		case spoils:
			_, err := tx.ExecContext(ctx, "INSERT INTO nowhere VALUES (1)")
			return nil, errors.Join(sdk.Error(http.StatusConflict, "spoilt", "Run %d.", run), err)
		case ok:
		}
		return map[string]any{"run": run, "text": "ü \u0000 \U0001F980"}, nil
	}).ServeHTTP(w, r)
}

func always(e end) func(string, int) end { return func(string, int) end { return e } }

// balance is what stands of a branch.
func balance(t *testing.T, db *sql.DB, branch string) (sum, rows int) {
	t.Helper()
	err := db.QueryRowContext(t.Context(), fmt.Sprintf("SELECT COALESCE(SUM(amount), 0), COUNT(*) FROM ledger WHERE branch = '%s'", branch)).Scan(&sum, &rows)
	if err != nil {
		t.Fatal(err)
	}
	return sum, rows
}

func mustExec(t *testing.T, db *sql.DB, text string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), text); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

func TestACallThatComesAgainGetsTheFirstAnswerAndHasNoSecondEffect(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		s := &step{entry: b, db: db.DB, next: always(ok)}
		first := call(s, "i/reserve/do")
		if first.status != http.StatusOK || !strings.Contains(first.body, `"run":1`) {
			t.Fatalf("got %+v", first)
		}
		if again := call(s, "i/reserve/do"); again != first {
			t.Errorf("got %+v, then %+v", first, again)
		}
		undone := call(s, "i/reserve/undo")
		if again := call(s, "i/reserve/undo"); undone.status != http.StatusOK || again != undone {
			t.Errorf("the undo got %+v, then %+v", undone, again)
		}
		if late := call(s, "i/reserve/do"); late != first {
			t.Errorf("after the undo the do gets %+v", late)
		}
		if sum, rows := balance(t, db.DB, "i/reserve"); sum != 0 || rows != 2 {
			t.Errorf("the ledger has %d in %d rows", sum, rows)
		}
	})
}

func TestAnUndoWithoutItsDoHasNothingToUndoAndBarsIt(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		s := &step{entry: b, db: db.DB, next: always(ok)}
		for range 2 {
			if a := call(s, "i/reserve/undo"); a != (answer{http.StatusOK, "null"}) {
				t.Errorf("the undo got %+v", a)
			}
			if a := call(s, "i/reserve/do"); a.status != http.StatusConflict || a.code() != "step-too-late" {
				t.Errorf("the late do got %+v", a)
			}
			if a := call(s, "i/reserve/do/alt1"); a.status != http.StatusConflict || a.code() != "step-too-late" {
				t.Errorf("the late alternative got %+v", a)
			}
		}
		if s.runs != 0 {
			t.Errorf("it ran %d times", s.runs)
		}
	})
}

func TestARefusedDoStaysRefusedWithoutItsEffects(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		for name, how := range map[string]end{"no-stock": refuses, "spoilt": spoils} {
			s := &step{entry: b, db: db.DB, next: func(_ string, run int) end { return []end{how, ok}[min(run-1, 1)] }}
			branch := "i/" + name
			first := call(s, branch+"/do")
			if first.code() != name || !strings.Contains(first.body, "Run 1") {
				t.Fatalf("got %+v", first)
			}
			if again := call(s, branch+"/do"); again != first {
				t.Errorf("got %+v, then %+v", first, again)
			}
			if undone := call(s, branch+"/undo"); undone != (answer{http.StatusOK, "null"}) {
				t.Errorf("the undo of what was refused got %+v", undone)
			}
			if again := call(s, branch+"/do"); again != first {
				t.Errorf("after the undo it gets %+v", again)
			}
			if late := call(s, branch+"/do/alt1"); late.status != http.StatusConflict {
				t.Errorf("an alternative after the undo got %+v", late)
			}
			if _, rows := balance(t, db.DB, branch); rows != 0 || s.runs != 1 {
				t.Errorf("%d rows were left, of %d runs", rows, s.runs)
			}
		}
	})
}

func TestARefusedUndoIsAskedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		s := &step{entry: b, db: db.DB, next: func(_ string, run int) end { return []end{ok, spoils, refuses, ok}[run-1] }}
		call(s, "i/reserve/do")
		if a, c := call(s, "i/reserve/undo"), call(s, "i/reserve/undo"); a.code() != "spoilt" || c.code() != "no-stock" {
			t.Errorf("got %+v, %+v", a, c)
		}
		if sum, _ := balance(t, db.DB, "i/reserve"); sum != 1 {
			t.Errorf("a refused undo left %d", sum)
		}
		a := call(s, "i/reserve/undo")
		if again := call(s, "i/reserve/undo"); a.status != http.StatusOK || again != a {
			t.Errorf("got %+v, then %+v", a, again)
		}
		if sum, rows := balance(t, db.DB, "i/reserve"); sum != 0 || rows != 2 {
			t.Errorf("the ledger has %d in %d rows", sum, rows)
		}
	})
}

func TestACallThatFailsLeavesNothingBehind(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		s := &step{entry: b, db: db.DB, next: func(_ string, run int) end { return []end{fails, panics, ok}[run-1] }}
		if a := call(s, "i/reserve/do"); a.status != http.StatusInternalServerError {
			t.Errorf("got %+v", a)
		}
		func() {
			defer func() { _ = recover() }()
			call(s, "i/reserve/do")
			t.Error("the panic was swallowed")
		}()
		if a := call(s, "i/reserve/do"); a.status != http.StatusOK || !strings.Contains(a.body, `"run":3`) {
			t.Errorf("got %+v", a)
		}
		if sum, rows := balance(t, db.DB, "i/reserve"); sum != 1 || rows != 1 {
			t.Errorf("the ledger has %d in %d rows", sum, rows)
		}
	})
}

func TestAnAlternativeTakesThePlaceOfItsDo(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		s := &step{entry: b, db: db.DB, next: func(key string, _ int) end {
			return map[string]end{"i/a/do": refuses, "i/a/do/alt1": refuses}[key]
		}}
		call(s, "i/a/do")
		refused := call(s, "i/a/do/alt1")
		done := call(s, "i/a/do/alt2")
		if refused.status != http.StatusUnprocessableEntity || done.status != http.StatusOK || call(s, "i/a/do/alt1") != refused || call(s, "i/a/do/alt2") != done {
			t.Errorf("got %+v, %+v", refused, done)
		}
		if other := call(s, "i/a/do/alt3"); other.code() != "step-done" {
			t.Errorf("an alternative of what is done got %+v", other)
		}
		call(s, "i/b/do/alt1")
		if late := call(s, "i/b/do"); late.code() != "step-too-late" {
			t.Errorf("the do in whose place another came got %+v", late)
		}
		call(s, "i/c/do")
		if other := call(s, "i/c/do/alt1"); other.code() != "step-done" {
			t.Errorf("an alternative of what is done got %+v", other)
		}
		for _, branch := range []string{"i/a", "i/b", "i/c"} {
			if sum, rows := balance(t, db.DB, branch); sum != 1 || rows != 1 {
				t.Errorf("of %s the ledger has %d in %d rows", branch, sum, rows)
			}
			if a := call(s, branch+"/undo"); a.status != http.StatusOK || a.body == "null" {
				t.Errorf("the undo of %s got %+v", branch, a)
			}
			if sum, rows := balance(t, db.DB, branch); sum != 0 || rows != 2 {
				t.Errorf("of %s the ledger has %d in %d rows after the undo", branch, sum, rows)
			}
		}
	})
}

func TestKeysThatLookAlikeAreTold(t *testing.T) {
	long := strings.Repeat("x", 3000)
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		runs := 0
		run := func(context.Context, *sql.Tx) (any, error) { runs++; return runs, nil }
		keys := []string{"i/s/do", "I/s/do", "i/s /do", "i/s.1/do", "i/s/do/do", "i/s/undo/do", "i/s/alt1/do", "i/ß/do", "i/ss/do", "i/\xff/do", "i/\x00/do", long + "1/do", long + "2/do"}
		for range 2 {
			for i, key := range keys {
				got, err := b.Run(t.Context(), db.DB, key, run)
				if err != nil || string(got) != fmt.Sprint(i+1) {
					t.Errorf("%q: got %s, %v", key, got, err)
				}
			}
		}
	})
}

func TestACallWithoutAUsableKeyIsToldWhatToDo(t *testing.T) {
	b, err := sdk.NewBarrier(&sdk.TableOptions{Dialect: sdk.SQLite})
	if err != nil {
		t.Fatal(err)
	}
	s := &step{entry: b, next: always(ok)}
	for key, code := range map[string]string{
		"": "step-key-missing", "order-7": "step-key-invalid", "do": "step-key-invalid", "/do": "step-key-invalid", "i/s/redo": "step-key-invalid",
		"i/s/do/": "step-key-invalid", "i/s/alt1": "step-key-invalid", "i/s/do/alt": "step-key-invalid", "i/s/do/alt1234567": "step-key-invalid", "i/s/do/alt1/alt2": "step-key-invalid",
	} {
		if a := call(s, key); a.status != http.StatusBadRequest || a.code() != code || !strings.Contains(a.body, `"remedy"`) {
			t.Errorf("%q: got %+v", key, a)
		}
	}
}

func TestAnAnswerThatCannotBeKeptLeavesNoEffect(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		for _, result := range []any{strings.Repeat("x", sdk.MaxStepAnswer), make(chan int)} {
			_, err := b.Run(t.Context(), db.DB, "i/s/do", func(ctx context.Context, tx *sql.Tx) (any, error) {
				_, err := tx.ExecContext(ctx, "INSERT INTO ledger VALUES ('i/s', 1, 1)")
				return result, err
			})
			if err == nil {
				t.Error("it was kept")
			}
		}
		if _, rows := balance(t, db.DB, "i/s"); rows != 0 {
			t.Errorf("%d rows were left", rows)
		}
	})
}

func TestATransactionThatBeganToReadBeforeTheOtherCallSeesItStill(t *testing.T) {
	for _, kind := range []string{databases.Postgres, databases.MySQL} { // of SQLite, one transaction waits for the end of the other
		t.Run(kind, func(t *testing.T) {
			db := servers.Fresh(t, kind)
			b := setUp(t, db)
			s := &step{entry: b, db: db.DB, next: always(ok)}
			for _, key := range []string{"i/a/do", "i/b/undo"} {
				call(s, "i/b/do")
				tx, err := db.DB.BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = tx.Rollback() }()
				var n int
				if err := tx.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM atoll_barrier").Scan(&n); err != nil {
					t.Fatal(err)
				}
				first := call(s, key)
				p, err := b.Enter(t.Context(), tx, key)
				if err == nil && (p.Why != sdk.DoneBefore || string(p.Answer) != first.body) { // newer MariaDB refuses such a transaction
					t.Errorf("%s: %+v", key, p)
				}
			}
		})
	}
}

func TestNobodyLeavesWhoHasNotEntered(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		tx, err := db.DB.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		if err := b.Leave(t.Context(), tx, "i/s/do", 1); err == nil {
			t.Error("it left without having entered")
		}
		p, err := b.Enter(t.Context(), tx, "i/s/do")
		if err != nil || !p.Run {
			t.Fatalf("%+v, %v", p, err)
		}
		if err := errors.Join(b.Leave(t.Context(), tx, "i/s/do", 1)); err != nil {
			t.Error(err)
		}
		if err := b.Leave(t.Context(), tx, "i/s/do", 1); err == nil {
			t.Error("it left twice")
		}
	})
}

func TestBranchesArePurgedWholeAndOnlyOldOnes(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		tx, err := db.DB.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		row := func(branch, op string) {
			const text = "INSERT INTO atoll_barrier (branch, op, state, effect, answer, asked_at) VALUES ('%s', '%s', 'done', 'done', '1', '2026-01-01 00:00:00')"
			if _, err := tx.ExecContext(t.Context(), fmt.Sprintf(text, branch, op)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 1500 {
			row(fmt.Sprint("old/", i), "do")
			row(fmt.Sprint("old/", i), "undo")
		}
		row("old/again", "do")
		row("old/again", "do/alt1")
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		s := &step{entry: b, db: db.DB, next: always(ok)}
		call(s, "old/again/do")
		call(s, "new/do")
		if n, err := b.Purge(t.Context(), db.DB, time.Hour); err != nil || n != 3000 {
			t.Errorf("removed %d, %v", n, err)
		}
		var left int
		if err := db.DB.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM atoll_barrier").Scan(&left); err != nil || left != 3 {
			t.Errorf("%d are left, %v", left, err)
		}
	})
}

func TestReplicasSetUpTheBarrierAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		mustExec(t, db.DB, "DROP TABLE atoll_barrier")
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if err := b.Setup(t.Context(), db.DB); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}
