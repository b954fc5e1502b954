package barrier_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/atollhq/atoll/sdk"
	"github.com/atollhq/atoll/test/databases"
)

// The code of docs/howto/saga-barrier.md.

type Order struct {
	Item  string `json:"item"`
	Count int    `json:"count"`
}

// reserve takes an order's items from the stock.
func reserve(ctx context.Context, tx *sql.Tx, r *http.Request) (any, error) {
	var order Order
	if err := sdk.DecodeJSON(r, &order, 64<<10); err != nil {
		return nil, err
	}
	branch, err := sdk.StepBranch(r.Header.Get(sdk.HeaderIdempotencyKey))
	if err != nil {
		return nil, err
	}
	var free int
	err = tx.QueryRowContext(ctx, "UPDATE stock SET free = free - $1 WHERE item = $2 RETURNING free", order.Count, order.Item).Scan(&free)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if err != nil || free < 0 { // the barrier takes the update back, and keeps the refusal
		return nil, sdk.Error(http.StatusConflict, "no-stock", "There are not %d of %s.", order.Count, order.Item)
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO reservations (branch, item, amount) VALUES ($1, $2, $3)", branch, order.Item, order.Count)
	return map[string]string{"reservation": branch}, err
}

// release puts them back. It runs only if reserve had its effect, which it finds by the branch.
func release(ctx context.Context, tx *sql.Tx, r *http.Request) (any, error) {
	branch, err := sdk.StepBranch(r.Header.Get(sdk.HeaderIdempotencyKey))
	if err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE stock SET free = free + (SELECT amount FROM reservations WHERE branch = $1)
		WHERE item = (SELECT item FROM reservations WHERE branch = $1)`, branch)
	if err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM reservations WHERE branch = $1", branch)
	return nil, err
}

func stock(t *testing.T, kind string) (*databases.Database, *http.ServeMux) {
	t.Helper()
	db := servers.Fresh(t, kind)
	barrier := setUp(t, db)
	mustExec(t, db.DB, "CREATE TABLE stock (item VARCHAR(100) PRIMARY KEY, free INT)")
	mustExec(t, db.DB, "INSERT INTO stock VALUES ('lamp', 5)")
	mustExec(t, db.DB, "CREATE TABLE reservations (branch VARCHAR(200) PRIMARY KEY, item VARCHAR(100), amount INT)")
	mux := http.NewServeMux()
	mux.Handle("POST /reservations", barrier.Handler(db.DB, reserve))
	mux.Handle("POST /reservations/cancel", barrier.Handler(db.DB, release))
	return db, mux
}

func post(h http.Handler, path, key string, body io.Reader) answer {
	r := httptest.NewRequest(http.MethodPost, path, body)
	r.Header.Set(sdk.HeaderIdempotencyKey, key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, strings.TrimSpace(w.Body.String())}
}

func TestTheStockOfTheHowToIsTakenOnceAndPutBackOnce(t *testing.T) {
	for _, kind := range []string{databases.Postgres, databases.SQLite} {
		t.Run(kind, func(t *testing.T) {
			db, mux := stock(t, kind)
			free := func(want int) {
				t.Helper()
				var n int
				if err := db.DB.QueryRowContext(t.Context(), "SELECT free FROM stock").Scan(&n); err != nil || n != want {
					t.Errorf("there are %d free, want %d (%v)", n, want, err)
				}
			}
			for range 2 {
				if a := post(mux, "/reservations", "i-1/reserve/do", strings.NewReader(`{"item": "lamp", "count": 3}`)); a != (answer{200, `{"reservation":"i-1/reserve"}`}) {
					t.Errorf("got %+v", a)
				}
				free(2)
				if a := post(mux, "/reservations", "i-2/reserve/do", strings.NewReader(`{"item": "lamp", "count": 3}`)); a.code() != "no-stock" {
					t.Errorf("got %+v", a)
				}
				free(2)
			}
			for range 2 {
				for _, key := range []string{"i-1/reserve/undo", "i-2/reserve/undo", "i-3/reserve/undo"} {
					if a := post(mux, "/reservations/cancel", key, http.NoBody); a != (answer{200, "null"}) {
						t.Errorf("got %+v", a)
					}
				}
				free(5)
			}
		})
	}
}

func TestHalfABodyIsNotRefusedForEver(t *testing.T) {
	_, mux := stock(t, databases.SQLite)
	half := io.MultiReader(strings.NewReader(`{"item": `), iotest.ErrReader(io.ErrUnexpectedEOF))
	if a := post(mux, "/reservations", "i-1/reserve/do", half); a.status != http.StatusInternalServerError {
		t.Errorf("got %+v", a)
	}
	if a := post(mux, "/reservations", "i-1/reserve/do", strings.NewReader(`{"item": "lamp", "count": 3}`)); a.status != http.StatusOK {
		t.Errorf("got %+v", a)
	}
}
