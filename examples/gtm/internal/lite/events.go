package lite

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"time"

	"github.com/atollhq/atoll/sdk"
)

// remembered is how long the inbox knows an event; longer than the bus keeps one for replay.
const remembered = 30 * 24 * time.Hour

func (db *DB) setupEvents(ctx context.Context) (err error) {
	tables := &sdk.TableOptions{Dialect: sdk.SQLite}
	if db.outbox, err = sdk.NewOutbox(tables); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	if db.inbox, err = sdk.NewInbox(tables); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	if err := db.outbox.Setup(ctx, db.write); err != nil {
		return fmt.Errorf("set up outbox: %w", err)
	}
	if err := db.inbox.Setup(ctx, db.write); err != nil {
		return fmt.Errorf("set up inbox: %w", err)
	}
	if _, err := db.inbox.Purge(ctx, db.write, remembered); err != nil {
		return fmt.Errorf("purge inbox: %w", err)
	}
	return nil
}

// Add puts an event into the outbox within tx: data, as JSON, for the topic. Events of one key are delivered in order.
func (db *DB) Add(ctx context.Context, tx *sql.Tx, topic, key string, data any) error {
	return db.AddAt(ctx, tx, topic, key, data, time.Time{})
}

// AddAt is Add of an event that nobody gets before the given time.
func (db *DB) AddAt(ctx context.Context, tx *sql.Tx, topic, key string, data any, at time.Time) error {
	e, err := sdk.NewEvent(topic, data)
	if err != nil {
		return err
	}
	e.Key, e.DeliverAt = key, at
	if err := db.outbox.Add(ctx, tx, e); err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// On makes a handler of deliveries. The event's data become a T, and fn makes its effect in a transaction that notes the
// event too, so that an event that is delivered again has none. Data that are no T make the event a dead letter.
func On[T any](db *DB, fn func(ctx context.Context, tx *sql.Tx, data T) error) http.Handler {
	return sdk.OnEvent(func(ctx context.Context, e sdk.Event) error {
		var data T
		if err := e.Decode(&data); err != nil {
			return sdk.Reject(err)
		}
		return db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			first, err := db.Once(ctx, tx, e)
			if err != nil || !first {
				return err
			}
			return fn(ctx, tx, data)
		})
	})
}

// Once notes an event within tx, and tells whether it stood there for the first time. It is for a handler that does more
// than On: one that calls somebody between two transactions.
func (db *DB) Once(ctx context.Context, tx *sql.Tx, e sdk.Event) (first bool, err error) {
	first, err = db.inbox.Once(ctx, tx, e)
	if err != nil {
		return false, fmt.Errorf("note event: %w", err)
	}
	return first, nil
}
