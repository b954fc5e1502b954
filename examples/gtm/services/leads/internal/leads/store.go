package leads

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"example.com/gtm/internal/lite"
)

// ErrNotFound says that there is no such lead or import.
var ErrNotFound = errors.New("not found")

// Store is the table of leads. It is safe for concurrent use.
type Store struct {
	db *lite.DB

	mu      sync.Mutex    // guards changed
	changed chan struct{} // closed and replaced whenever a lead changes
}

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
	)`}
}

// Open opens the file at path.
func Open(ctx context.Context, path string) (*Store, error) {
	db, err := lite.Open(ctx, path, migrations(), nil)
	if err != nil {
		return nil, err
	}
	return &Store{db: db, changed: make(chan struct{})}, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ping tells whether the store can work.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Changed is closed when a lead changes next through this Store. Other replicas share the file, so who must
// not miss theirs looks from time to time as well.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// write runs fn in a transaction and then tells who waits for changes.
func (s *Store) write(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	if err := s.db.Write(ctx, fn); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// Accepted is what became of a submission.
type Accepted struct {
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate"` // the person is a lead already
}

// Accept takes normal submissions in, all of them or none. When it returns they are on disk.
func (s *Store) Accept(ctx context.Context, importID int64, submissions []Submission) ([]Accepted, error) {
	var accepted []Accepted
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		accepted = accepted[:0]
		fresh := 0
		for _, sub := range submissions {
			a, err := accept(ctx, tx, importID, sub)
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

func accept(ctx context.Context, tx *sql.Tx, importID int64, sub Submission) (Accepted, error) {
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
	_, err = tx.ExecContext(ctx, `INSERT INTO leads (id, key, company, submission, result, name, state, verdict, owner,
		import_id, trace_id, created, changed, number, due) VALUES (?, ?, ?, ?, '{}', ?, ?, '', '', ?, '', ?, ?, ?, ?)`,
		a.ID, Key(sub.Email), sub.company(), string(text),
		strings.ToLower(sub.FirstName+" "+sub.LastName+" "+sub.Email+" "+sub.Company),
		StatePending, sql.NullInt64{Int64: importID, Valid: importID != 0}, now, now, number, now)
	return a, wrap("store lead", err)
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

// Claim takes leads that are due for one replica, at most n, the oldest first. Nobody else gets them until the
// lease ends or Save or Postpone gives them back.
func (s *Store) Claim(ctx context.Context, replica string, n int, lease time.Duration) ([]Lead, error) {
	var ids []any
	err := s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		ids = nil
		now := time.Now()
		rows, err := tx.QueryContext(ctx, `UPDATE leads SET lease_by = ?, lease_end = ? WHERE row IN (
				SELECT row FROM leads WHERE done IS NULL AND stuck = 0 AND due <= ? AND lease_end <= ? ORDER BY due, row LIMIT ?)
			RETURNING id`, replica, now.Add(lease).UnixMilli(), now.UnixMilli(), now.UnixMilli(), n)
		if err != nil {
			return wrap("claim leads", err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return wrap("claim leads", err)
			}
			ids = append(ids, id)
		}
		return wrap("claim leads", rows.Err())
	})
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	return s.query(ctx, selectLead+" WHERE id IN (?"+strings.Repeat(", ?", len(ids)-1)+") ORDER BY row", ids...)
}

// Release gives back what a replica of that name claimed before it was killed.
func (s *Store) Release(ctx context.Context, replica string) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE leads SET lease_by = '', lease_end = 0 WHERE lease_by = ?", replica)
		return wrap("release leads", err)
	})
}

// Save stores what a step made of a lead, and how long the lead stays claimed; zero gives it back.
func (s *Store) Save(ctx context.Context, lead *Lead, lease time.Duration) error {
	result, err := json.Marshal(lead.Result)
	if err != nil {
		return wrap("encode lead", err)
	}
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		number, err := nextNumber(ctx, tx)
		if err != nil {
			return err
		}
		now := time.Now()
		done := sql.NullInt64{Int64: now.UnixMilli(), Valid: lead.State == StateDone}
		end := int64(0)
		if lease > 0 {
			end = now.Add(lease).UnixMilli()
		}
		_, err = tx.ExecContext(ctx, `UPDATE leads SET result = ?, state = ?, verdict = ?, owner = ?, trace_id = ?,
			changed = ?, done = ?, number = ?, attempts = 0, trouble = '', lease_end = ?,
			stage = CASE stage WHEN '' THEN ? ELSE stage END -- what Follow stored is newer
			WHERE id = ?`, string(result), lead.State, lead.Verdict, lead.Owner, lead.TraceID, now.UnixMilli(), done, number, end,
			lead.Stage, lead.ID)
		return wrap("store lead", err)
	})
}

// Postpone says that a step failed, and gives the lead back: to be tried again after the given time, or stuck.
func (s *Store) Postpone(ctx context.Context, lead *Lead, trouble string, after time.Duration, stuck bool) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		number, err := nextNumber(ctx, tx)
		if err != nil {
			return err
		}
		now := time.Now()
		_, err = tx.ExecContext(ctx, `UPDATE leads SET attempts = attempts + 1, trouble = ?, stuck = ?, due = ?, changed = ?,
			number = ?, lease_end = 0 WHERE id = ?`,
			trouble, stuck, now.Add(after).UnixMilli(), now.UnixMilli(), number, lead.ID)
		return wrap("store lead", err)
	})
}

// Retry makes a lead that is not done due now.
func (s *Store) Retry(ctx context.Context, id string) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		number, err := nextNumber(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE leads SET stuck = 0, attempts = 0, due = ?, number = ? WHERE id = ? AND done IS NULL",
			time.Now().UnixMilli(), number, id)
		return wrap("store lead", err)
	})
}

// Contacts is how many leads belong to a company.
func (s *Store) Contacts(ctx context.Context, company string) (n int, err error) {
	err = s.db.Read().QueryRowContext(ctx, "SELECT count(*) FROM leads WHERE company = ?", company).Scan(&n)
	return n, wrap("count contacts", err)
}

// StageChange is a new stage of the opportunity of some leads, with its number at the CRM.
type StageChange struct {
	Number int64    `json:"number"`
	Stage  string   `json:"stage"`
	Leads  []string `json:"leads"`
}

// Follow stores changes of stages together with how far the CRM was read, so that none is missed or lost.
func (s *Store) Follow(ctx context.Context, changes []StageChange) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, c := range changes {
			for _, id := range c.Leads {
				number, err := nextNumber(ctx, tx)
				if err != nil {
					return err
				}
				_, err = tx.ExecContext(ctx, `UPDATE leads SET stage = ?, changed = ?, number = ? WHERE id = ?`,
					c.Stage, time.Now().UnixMilli(), number, id)
				if err != nil {
					return wrap("store stage", err)
				}
			}
			_, err := tx.ExecContext(ctx, "UPDATE counters SET value = max(value, ?) WHERE name = 'crm'", c.Number)
			if err != nil {
				return wrap("store position", err)
			}
		}
		return nil
	})
}

// Followed is the number of the last change of the CRM that was stored.
func (s *Store) Followed(ctx context.Context) (int64, error) { return s.counter(ctx, "crm") }

// Last is the number of the last change of a lead.
func (s *Store) Last(ctx context.Context) (int64, error) { return s.counter(ctx, "changes") }

func (s *Store) counter(ctx context.Context, name string) (n int64, err error) {
	err = s.db.Read().QueryRowContext(ctx, "SELECT value FROM counters WHERE name = ?", name).Scan(&n)
	return n, wrap("read counter", err)
}

func wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", operation, err)
}
