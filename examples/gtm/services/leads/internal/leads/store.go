package leads

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

// ErrNotFound says that there is no such lead or import.
var ErrNotFound = errors.New("not found")

// Store is the table of leads. It is safe for concurrent use.
type Store struct{ db *lite.DB }

func migrations() []string {
	return []string{`
	CREATE TABLE leads (
		row        INTEGER PRIMARY KEY,
		id         TEXT NOT NULL UNIQUE,
		key        TEXT NOT NULL UNIQUE, -- one person
		company    TEXT NOT NULL,        -- domain by which people of one company are found
		submission TEXT NOT NULL,        -- JSON, as is result
		result     TEXT NOT NULL,
		name       TEXT NOT NULL,        -- lower case, for the search
		state      TEXT NOT NULL,
		verdict    TEXT NOT NULL,
		owner      TEXT NOT NULL,
		stage      TEXT NOT NULL DEFAULT '',
		import_id  INTEGER REFERENCES imports,
		trace_id   TEXT NOT NULL,
		created    INTEGER NOT NULL,     -- milliseconds, as all times
		changed    INTEGER NOT NULL,
		done       INTEGER,
		number     INTEGER NOT NULL,     -- of the last change
		attempts   INTEGER NOT NULL DEFAULT 0,
		stuck      INTEGER NOT NULL DEFAULT 0,
		trouble    TEXT NOT NULL DEFAULT '',
		due        INTEGER NOT NULL,     -- not before this time
		lease_by   TEXT NOT NULL DEFAULT '',
		lease_end  INTEGER NOT NULL DEFAULT 0
	);
	CREATE INDEX leads_number ON leads (number);
	CREATE INDEX leads_company ON leads (company);
	CREATE INDEX leads_import ON leads (import_id);
	CREATE INDEX leads_due ON leads (due, row) WHERE done IS NULL AND stuck = 0;
	CREATE TABLE imports (
		id         INTEGER PRIMARY KEY,
		created    INTEGER NOT NULL,
		complete   INTEGER NOT NULL DEFAULT 0,
		accepted   INTEGER NOT NULL DEFAULT 0,
		duplicates INTEGER NOT NULL DEFAULT 0,
		rejected   INTEGER NOT NULL DEFAULT 0
	);
	CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
	INSERT INTO counters VALUES ('changes', 0), ('crm', 0)`, `
	CREATE TABLE submissions ( -- what a person who is a lead already sent later
		row        INTEGER PRIMARY KEY,
		lead       TEXT NOT NULL REFERENCES leads (id),
		submission TEXT NOT NULL,
		created    INTEGER NOT NULL,
		UNIQUE (lead, submission)
	)`, `
	-- The pipeline is driven by events now: the bus tries again, and keeps what no service takes.
	DROP INDEX leads_due;
	ALTER TABLE leads DROP COLUMN attempts;
	ALTER TABLE leads DROP COLUMN stuck;
	ALTER TABLE leads DROP COLUMN trouble;
	ALTER TABLE leads DROP COLUMN due;
	ALTER TABLE leads DROP COLUMN lease_by;
	ALTER TABLE leads DROP COLUMN lease_end;
	DELETE FROM counters WHERE name = 'crm'`}
}

// Open opens the file at path.
func Open(ctx context.Context, path string) (*Store, error) {
	db, err := lite.Open(ctx, path, migrations(), &lite.Options{Events: true})
	if err != nil {
		return nil, err
	}
	return &Store{db: db}, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ping tells whether the store can work.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Changed is closed when something changes next through this Store. Other replicas share the file, so who must
// not miss theirs looks from time to time as well.
func (s *Store) Changed() <-chan struct{} { return s.db.Changed() }

// Accepted is what became of a submission.
type Accepted struct {
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate"` // the person is a lead already
}

// Accept takes normal submissions in, all of them or none. When it returns they are on disk, and each new lead is
// published as lead.captured.
func (s *Store) Accept(ctx context.Context, importID int64, submissions []Submission) ([]Accepted, error) {
	var accepted []Accepted
	err := s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		accepted = accepted[:0]
		fresh := 0
		for _, sub := range submissions {
			a, err := s.accept(ctx, tx, importID, sub)
			if err != nil {
				return err
			}
			if !a.Duplicate {
				fresh++
			}
			accepted = append(accepted, a)
		}
		if importID == 0 {
			return nil
		}
		_, err := tx.ExecContext(ctx, "UPDATE imports SET accepted = accepted + ?, duplicates = duplicates + ? WHERE id = ?",
			fresh, len(submissions)-fresh, importID)
		return wrap("count import", err)
	})
	return accepted, err
}

func (s *Store) accept(ctx context.Context, tx *sql.Tx, importID int64, sub Submission) (Accepted, error) {
	var a Accepted
	text, err := json.Marshal(sub)
	if err != nil {
		return a, wrap("encode lead", err)
	}
	var first string
	err = tx.QueryRowContext(ctx, "SELECT id, submission FROM leads WHERE key = ?", Key(sub.Email)).Scan(&a.ID, &first)
	if err == nil {
		a.Duplicate = true
		return a, again(ctx, tx, a.ID, first, string(text))
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return a, wrap("find lead", err)
	}
	number, err := nextNumber(ctx, tx)
	if err != nil {
		return a, err
	}
	a.ID = "ld_" + strings.ToLower(rand.Text()[:20])
	now := time.Now().UnixMilli()
	if importID != 0 {
		ctx = sdk.NewTrace(ctx) // a file is one request, and each of its leads a story of its own
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO leads (id, key, company, submission, result, name, state, verdict, owner,
		import_id, trace_id, created, changed, number) VALUES (?, ?, ?, ?, '{}', ?, ?, '', '', ?, ?, ?, ?, ?)`,
		a.ID, Key(sub.Email), sub.company(), string(text),
		strings.ToLower(sub.FirstName+" "+sub.LastName+" "+sub.Email+" "+sub.Company),
		StatePending, sql.NullInt64{Int64: importID, Valid: importID != 0}, sdk.TraceID(ctx), now, now, number)
	if err != nil {
		return a, wrap("store lead", err)
	}
	return a, s.db.Add(ctx, tx, topicCaptured, a.ID, captured(a.ID, sub))
}

// again keeps what a person who is a lead already sends, unless it is what was sent before.
func again(ctx context.Context, tx *sql.Tx, id, first, text string) error {
	if text == first {
		return nil
	}
	now := time.Now().UnixMilli()
	kept, err := tx.ExecContext(ctx, "INSERT INTO submissions (lead, submission, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", id, text, now)
	if err != nil {
		return wrap("store submission", err)
	}
	if n, err := kept.RowsAffected(); err != nil || n == 0 {
		return wrap("store submission", err)
	}
	number, err := nextNumber(ctx, tx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE leads SET changed = ?, number = ? WHERE id = ?", now, number, id)
	return wrap("store submission", err)
}

func nextNumber(ctx context.Context, tx *sql.Tx) (n int64, err error) {
	err = tx.QueryRowContext(ctx, "UPDATE counters SET value = value + 1 WHERE name = 'changes' RETURNING value").Scan(&n)
	return n, wrap("number change", err)
}

// Contacts is how many leads belong to a company.
func (s *Store) Contacts(ctx context.Context, company string) (n int, err error) {
	err = s.db.Read().QueryRowContext(ctx, "SELECT count(*) FROM leads WHERE company = ?", company).Scan(&n)
	return n, wrap("count contacts", err)
}

// Last is the number of the last change of a lead.
func (s *Store) Last(ctx context.Context) (n int64, err error) {
	err = s.db.Read().QueryRowContext(ctx, "SELECT value FROM counters WHERE name = 'changes'").Scan(&n)
	return n, wrap("read counter", err)
}

func wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", operation, err)
}
