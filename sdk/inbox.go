package sdk

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"time"
)

// Inbox makes an event's effect once, however often it is delivered: the transaction that makes the effect also notes the
// event in the table atoll_inbox, and does nothing if it stands there.
type Inbox struct{ dialect Dialect }

// NewInbox returns the inbox of the service's database.
func NewInbox(opts *TableOptions) (*Inbox, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Inbox{o.Dialect}, nil
}

// Setup makes the table atoll_inbox where it is missing.
func (i *Inbox) Setup(ctx context.Context, db *sql.DB) error {
	if err := i.dialect.setup(ctx, db, "inbox"); err != nil {
		return fmt.Errorf("set up inbox: %w", err)
	}
	return nil
}

// Once notes an event in tx and tells whether it stood there for the first time. If not, its effect is made, or is about to
// be: commit or roll back, and return nil from the handler. While another transaction that noted the same event is open,
// Once waits for its end. Source and ID name the event.
func (i *Inbox) Once(ctx context.Context, tx *sql.Tx, e Event) (first bool, err error) {
	if e.Source == "" || e.ID == "" {
		return false, fmt.Errorf("note in inbox: the event has no source or no id")
	}
	insert := "INSERT INTO atoll_inbox (source, event_id) VALUES (?, ?) ON CONFLICT DO NOTHING"
	if i.dialect == MySQL {
		insert = "INSERT IGNORE INTO atoll_inbox (source, event_id) VALUES (?, ?)"
	}
	result, err := tx.ExecContext(ctx, i.dialect.query(insert), inboxKey(e.Source), inboxKey(e.ID))
	if err != nil {
		return false, fmt.Errorf("note in inbox: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("note in inbox: %w", err)
	}
	return n == 1, nil
}

// inboxKey is what stands in the table for a source or an id, which may be longer than an index takes.
func inboxKey(s string) string {
	if len(s) <= 1024 {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Purge removes the notes of events that came longer ago than that, a thousand at a time, and tells how many they were. An
// event that is delivered after its note was removed has its effect again, so keep notes longer than the bus keeps events:
// its dead letters may be replayed for as long.
func (i *Inbox) Purge(ctx context.Context, db *sql.DB, olderThan time.Duration) (removed int64, err error) {
	text := "DELETE FROM atoll_inbox WHERE (source, event_id) IN (SELECT source, event_id FROM atoll_inbox WHERE seen_at < @ ORDER BY seen_at LIMIT 1000)"
	if i.dialect == MySQL {
		text = "DELETE FROM atoll_inbox WHERE seen_at < @ ORDER BY seen_at LIMIT 1000"
	}
	before := i.dialect.time(time.Now().Add(-olderThan))
	for {
		result, err := db.ExecContext(ctx, i.dialect.query(text), before)
		if err != nil {
			return removed, fmt.Errorf("purge inbox: %w", err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return removed, fmt.Errorf("purge inbox: %w", err)
		}
		removed += n
		if n < 1000 {
			return removed, nil
		}
	}
}
