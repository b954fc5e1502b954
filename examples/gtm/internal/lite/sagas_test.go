package lite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

func openSagas(t *testing.T) *lite.DB {
	t.Helper()
	db, err := lite.Open(t.Context(), filepath.Join(t.TempDir(), "s.db"),
		[]string{"CREATE TABLE effects (name TEXT)"}, &lite.Options{Sagas: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// step calls h, and returns the status and the body of the answer.
func step(h http.Handler, key, body string) string {
	r := httptest.NewRequest(http.MethodPost, "/step", strings.NewReader(body))
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String()))
}

func TestAStepThatFailedRunsAgainAndOneThatRanDoesNot(t *testing.T) {
	db := openSagas(t)
	var fails error
	h := lite.Step(db, func(ctx context.Context, tx *sql.Tx, in thing) (thing, error) {
		_, err := tx.ExecContext(ctx, "INSERT INTO effects VALUES (?)", in.Name)
		return in, errors.Join(err, fails)
	})
	for want, err := range map[string]error{"500 ": errors.New("not now"), "503 ": sdk.Error(http.StatusServiceUnavailable, "away", "Not now.")} {
		fails = err
		if got := step(h, "1/a/do", `{"name":"x"}`); !strings.HasPrefix(got, want) || rowsOf(t, db, "effects") != 0 {
			t.Errorf("got %s and %d effects", got, rowsOf(t, db, "effects"))
		}
	}
	fails = nil
	for range 2 {
		if got := step(h, "1/a/do", `{"name":"x"}`); got != `200 {"name":"x"}` {
			t.Errorf("got %s", got)
		}
	}
	if n := rowsOf(t, db, "effects"); n != 1 {
		t.Errorf("%d effects", n)
	}
	if got := step(h, "1/a/do", `{"nome":"x"}`); !strings.HasPrefix(got, "400 ") {
		t.Errorf("a body of another form: %s", got)
	}
}

func TestARefusalLeavesNoEffectAndDoesNotTouchItsNeighbours(t *testing.T) {
	db := openSagas(t)
	h := lite.Step(db, func(ctx context.Context, tx *sql.Tx, in thing) (thing, error) {
		if _, err := tx.ExecContext(ctx, "INSERT INTO effects VALUES (?)", in.Name); err != nil {
			return in, err
		}
		if in.Name == "bad" {
			return in, sdk.Error(http.StatusConflict, "bad", "No.")
		}
		return in, nil
	})
	var wg sync.WaitGroup
	for i := range 40 { // many of them share a commit
		wg.Go(func() {
			name, want := "good", "200 "
			if i%2 == 0 {
				name, want = "bad", "409 "
			}
			for range 2 {
				if got := step(h, fmt.Sprint(i, "/a/do"), `{"name":"`+name+`"}`); !strings.HasPrefix(got, want) {
					t.Errorf("%s: got %s", name, got)
				}
			}
		})
	}
	wg.Wait()
	if n := rowsOf(t, db, "effects"); n != 20 {
		t.Errorf("%d effects, want 20", n)
	}
}
