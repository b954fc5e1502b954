package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/atollhq/atoll/sdk"
)

// book is a service that takes steps: each effect is a row, and nothing but the barrier keeps it from being there twice.
type book struct {
	dir     string
	db      *sql.DB
	barrier *sdk.Barrier
}

func openBook(dir string) (*book, error) {
	dsn, err := sdk.SQLiteDSN(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	b := &book{dir: dir}
	if b.db, err = sql.Open("sqlite", dsn+"&_txlock=immediate"); err != nil {
		return nil, err
	}
	b.db.SetMaxOpenConns(1)
	if b.barrier, err = sdk.NewBarrier(nil); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := b.barrier.Setup(ctx, b.db); err != nil {
		return nil, err
	}
	_, err = b.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS effects (id TEXT NOT NULL, step TEXT NOT NULL, op TEXT NOT NULL)")
	return b, err
}

type order struct {
	ID    string `json:"id"`
	Again bool   `json:"again,omitempty"` // makes the input another
}

type step func(ctx context.Context, tx *sql.Tx, id, step string) error

// handler takes or undoes a step, once, and now and then fails in ways from which nobody can tell whether it has.
func (b *book) handler(f step) http.Handler {
	return sdk.Handler(func(w http.ResponseWriter, r *http.Request) error {
		var o order
		if err := sdk.DecodeJSON(r, &o, 1<<20); err != nil {
			return err
		}
		name := r.PathValue("step")
		if err := b.trouble(); err != nil {
			return err
		}
		fresh := false
		answer, err := b.barrier.Run(r.Context(), b.db, r.Header.Get(sdk.HeaderIdempotencyKey), func(ctx context.Context, tx *sql.Tx) (any, error) {
			fresh = true
			return o, f(ctx, tx, o.ID, name)
		})
		if err != nil {
			return err
		}
		if err := b.trouble(); err != nil {
			return err
		}
		if callback := r.Header.Get(sdk.HeaderCallback); callback != "" && fresh && fate(o.ID+name) < 50 {
			w.WriteHeader(http.StatusAccepted)
			go b.callBack(callback, answer) //nolint:contextcheck // it comes after the answer
			return nil
		}
		return sdk.WriteJSON(w, http.StatusOK, answer)
	})
}

// callBack tells the end of a step later, or never.
func (b *book) callBack(url string, answer any) {
	if rand.IntN(10) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	<-time.After(time.Duration(rand.IntN(50)) * time.Millisecond)
	if err := sdk.CompleteStep(ctx, url, answer); err != nil {
		fmt.Fprintln(os.Stderr, "callback:", err)
	}
}

// trouble is a failure now and then: an error inside, or no answer for a long time.
func (b *book) trouble() error {
	if told(b.dir, "calm") {
		return nil
	}
	switch rand.IntN(60) {
	case 0:
		return errors.New("something is broken inside")
	case 1:
		<-time.After(1500 * time.Millisecond)
	}
	return nil
}

func (b *book) do(ctx context.Context, tx *sql.Tx, id, step string) error {
	if step != "ship" && fate(id+"/"+step) < 8 { // what comes after the pivot is never refused
		return &sdk.Problem{Status: http.StatusConflict, Title: "Refused", Detail: id + " is refused at " + step}
	}
	return note(ctx, tx, id, step, "do")
}

func (b *book) undo(ctx context.Context, tx *sql.Tx, id, step string) error {
	return note(ctx, tx, id, step, "undo")
}

func note(ctx context.Context, tx *sql.Tx, id, step, op string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO effects (id, step, op) VALUES (?, ?, ?)", id, step, op)
	return err
}
