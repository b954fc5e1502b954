package lite_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"example.com/gtm/internal/lite"
)

func openEvents(t *testing.T) *lite.DB {
	t.Helper()
	db, err := lite.Open(t.Context(), filepath.Join(t.TempDir(), "e.db"),
		[]string{"CREATE TABLE effects (name TEXT)"}, &lite.Options{Events: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func deliver(h http.Handler, id, data string) int {
	r := httptest.NewRequest(http.MethodPost, "/events", strings.NewReader(data))
	for name, value := range map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "/services/test", "Ce-Type": "test", "Content-Type": "application/json",
	} {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func rowsOf(t *testing.T, db *lite.DB, table string) (n int) {
	t.Helper()
	if err := db.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

type thing struct {
	Name string `json:"name"`
}

func TestAnEventThatIsDeliveredAgainHasNoSecondEffect(t *testing.T) {
	db := openEvents(t)
	broken := true
	h := lite.On(db, func(ctx context.Context, tx *sql.Tx, data thing) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO effects VALUES (?)", data.Name)
		if broken {
			return errors.New("not now")
		}
		return errors.Join(err, db.Add(ctx, tx, "thing.done", data.Name, data))
	})
	if code := deliver(h, "1", `{"name":"a"}`); code != http.StatusInternalServerError {
		t.Errorf("an effect that failed answers %d", code)
	}
	broken = false
	for range 3 {
		if code := deliver(h, "1", `{"name":"a"}`); code/100 != 2 {
			t.Errorf("got %d", code)
		}
	}
	if n, out := rowsOf(t, db, "effects"), rowsOf(t, db, "atoll_outbox"); n != 1 || out != 1 {
		t.Errorf("%d effects and %d events of one event", n, out)
	}
}

func TestDataThatAreNoneBecomeADeadLetterAtOnce(t *testing.T) {
	db := openEvents(t)
	h := lite.On(db, func(context.Context, *sql.Tx, thing) error { return nil })
	if code := deliver(h, "1", `{"name":7}`); code != http.StatusUnprocessableEntity {
		t.Errorf("got %d", code)
	}
}

func TestTheTraceOfAnEventGoesAlongWithWhatFollowsFromIt(t *testing.T) {
	const trace = "0af7651916cd43dd8448eb211c80319c"
	db := openEvents(t)
	h := lite.On(db, func(ctx context.Context, tx *sql.Tx, data thing) error {
		return db.Add(ctx, tx, "thing.done", "", data)
	})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/events", strings.NewReader(`{}`))
	for name, value := range map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/services/test", "Ce-Type": "test",
		"Ce-Traceparent": "00-" + trace + "-b7ad6b7169203331-01", "Content-Type": "application/json",
	} {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var extensions string
	err := db.Read().QueryRowContext(t.Context(), "SELECT coalesce(extensions, '') FROM atoll_outbox").Scan(&extensions)
	if err != nil || !strings.Contains(extensions, trace) {
		t.Errorf("answered with %d, published with %q, %v", w.Code, extensions, err)
	}
}
