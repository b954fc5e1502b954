// Package mailbox keeps mails and shows them, for development.
//
// A mail that was taken is on disk. Mails of one Message-ID are one mail; those of none are told apart. Only the newest
// mostMails are kept.
package mailbox

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"example.com/gtm/internal/lite"
)

// topicReplied is what this service publishes; events/mail.replied.json is its schema.
const topicReplied = "mail.replied"

// mostMails is how many are kept.
const mostMails = 20_000

// ErrNotFound says that there is no such mail.
var ErrNotFound = errors.New("not found")

// Mail is one that was sent.
type Mail struct {
	ID          int64     `json:"id"`
	MessageID   string    `json:"message_id"`
	From        string    `json:"from"`
	To          []string  `json:"to"`
	Subject     string    `json:"subject"`
	Text        string    `json:"text"`
	HTML        string    `json:"html"`
	Unsubscribe string    `json:"unsubscribe"` // List-Unsubscribe
	ReceivedAt  time.Time `json:"received_at"`
	Replied     bool      `json:"replied"`
}

// Store keeps mails. It is safe for concurrent use.
type Store struct{ db *lite.DB }

func migrations() []string {
	return []string{`
	CREATE TABLE mails (
		id         INTEGER PRIMARY KEY AUTOINCREMENT,
		message_id TEXT NOT NULL UNIQUE,
		recipients TEXT NOT NULL, -- for the search
		mail       TEXT NOT NULL, -- JSON
		received   INTEGER NOT NULL,
		replied    INTEGER NOT NULL DEFAULT 0
	)`}
}

// Open opens the file at path.
func Open(ctx context.Context, path string) (*Store, error) {
	db, err := lite.Open(ctx, path, migrations(), &lite.Options{Events: true})
	if err != nil {
		return nil, err
	}
	return &Store{db}, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ping tells whether the store can work.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Take keeps a mail.
func (s *Store) Take(ctx context.Context, m Mail) error {
	if m.MessageID == "" {
		m.MessageID = "<" + rand.Text() + "@mailbox>"
	}
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode mail: %w", err)
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO mails (message_id, recipients, mail, received) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
			m.MessageID, fmt.Sprint(m.To), string(text), time.Now().UnixMilli())
		if err != nil {
			return fmt.Errorf("store mail: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM mails WHERE id <= (SELECT max(id) FROM mails) - ?", mostMails); err != nil {
			return fmt.Errorf("forget mails: %w", err)
		}
		return nil
	})
}

// Count is how many mails there are.
func (s *Store) Count(ctx context.Context) (n int, err error) {
	err = s.db.Read().QueryRowContext(ctx, "SELECT count(*) FROM mails").Scan(&n)
	return n, err
}

// List lists mails, the newest first, to recipients whose address holds the text.
func (s *Store) List(ctx context.Context, to string, limit int) ([]Mail, error) {
	return s.query(ctx, "WHERE instr(recipients, ?) > 0 ORDER BY id DESC LIMIT ?", to, limit)
}

// Get finds one mail.
func (s *Store) Get(ctx context.Context, id int64) (Mail, error) {
	found, err := s.query(ctx, "WHERE id = ?", id)
	if err != nil {
		return Mail{}, err
	}
	if len(found) == 0 {
		return Mail{}, ErrNotFound
	}
	return found[0], nil
}

func (s *Store) query(ctx context.Context, rest string, args ...any) ([]Mail, error) {
	rows, err := s.db.Read().QueryContext(ctx, "SELECT id, mail, received, replied FROM mails "+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("query mails: %w", err)
	}
	defer func() { _ = rows.Close() }()
	found := []Mail{}
	for rows.Next() {
		var m Mail
		var text []byte
		var id, at int64
		var replied bool
		if err := rows.Scan(&id, &text, &at, &replied); err != nil {
			return nil, fmt.Errorf("read mail: %w", err)
		}
		if err := json.Unmarshal(text, &m); err != nil {
			return nil, fmt.Errorf("read mail: %w", err)
		}
		m.ID, m.ReceivedAt, m.Replied = id, time.UnixMilli(at).UTC(), replied
		found = append(found, m)
	}
	return found, rows.Err()
}

// Reply answers a mail in the name of its recipient: what the world would do. A second answer is none.
func (s *Store) Reply(ctx context.Context, id int64) error {
	m, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "UPDATE mails SET replied = 1 WHERE id = ? AND replied = 0", id)
		if err != nil {
			return fmt.Errorf("store reply: %w", err)
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 || len(m.To) == 0 {
			return err
		}
		return s.db.Add(ctx, tx, topicReplied, m.To[0], map[string]string{"from": m.To[0], "in_reply_to": m.MessageID})
	})
}
