package tracking

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"example.com/gtm/internal/lite"
)

// topicSignal is what this service publishes; events/signal.detected.json is its schema.
const topicSignal = "signal.detected"

// Signal says that somebody seems to want to buy: the data of signal.detected.
type Signal struct {
	Rule    string    `json:"rule"`
	Text    string    `json:"text"`
	By      By        `json:"by"`
	Subject string    `json:"subject"` // the visitor, or the company's domain
	Company string    `json:"company"` // its domain; empty: not known
	Score   int       `json:"score"`   // points, or the number of events
	From    time.Time `json:"from"`    // the window's begin
	At      time.Time `json:"at"`      // of the last event that it took
}

// Store keeps events and watches over the rules. It is safe for concurrent use.
type Store struct {
	db    *lite.DB
	rules Rules
	now   func() time.Time
}

func migrations() []string {
	return []string{`
	CREATE TABLE events (
		visitor TEXT NOT NULL,
		id      TEXT NOT NULL,
		kind    TEXT NOT NULL,
		path    TEXT NOT NULL,
		target  TEXT NOT NULL,
		company TEXT NOT NULL,
		at      INTEGER NOT NULL, -- milliseconds, as all times
		PRIMARY KEY (visitor, id)
	) WITHOUT ROWID;
	CREATE INDEX events_at ON events (at);
	CREATE TABLE visitors (visitor TEXT PRIMARY KEY, company TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
	CREATE INDEX visitors_at ON visitors (at);
	CREATE TABLE hits ( -- events that matched a part of a rule
		rule    TEXT NOT NULL,
		subject TEXT NOT NULL,
		at      INTEGER NOT NULL,
		visitor TEXT NOT NULL,
		id      TEXT NOT NULL,
		part    INTEGER NOT NULL,
		PRIMARY KEY (rule, subject, at, visitor, id)
	) WITHOUT ROWID;
	CREATE INDEX hits_at ON hits (at);
	CREATE TABLE windows ( -- that have told
		rule    TEXT NOT NULL,
		subject TEXT NOT NULL,
		begins  INTEGER NOT NULL,
		ends    INTEGER NOT NULL,
		PRIMARY KEY (rule, subject, begins)
	) WITHOUT ROWID;
	CREATE INDEX windows_ends ON windows (ends)`}
}

// StoreOptions are options of Open. The zero value is good.
type StoreOptions struct {
	Now func() time.Time // default time.Now
}

// Open opens the file at path.
func Open(ctx context.Context, path string, rules Rules, opts *StoreOptions) (*Store, error) {
	db, err := lite.Open(ctx, path, migrations(), &lite.Options{Events: true})
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, rules: rules, now: time.Now}
	if opts != nil && opts.Now != nil {
		s.now = opts.Now
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ping tells whether the store can work.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Rejected is an event that was not taken.
type Rejected struct {
	Index  int    `json:"index"` // in the batch, from 0
	Reason string `json:"reason"`
}

// Taken is what became of a batch.
type Taken struct {
	Accepted   int        `json:"accepted"`
	Duplicates int        `json:"duplicates"`
	Rejected   []Rejected `json:"rejected"`
}

// Take takes a batch. When it returns, what was accepted is on disk, with the signals that follow.
func (s *Store) Take(ctx context.Context, batch []Event) (Taken, error) {
	received := s.now()
	rejected := []Rejected{}
	good := make([]Event, 0, len(batch))
	for i, e := range batch {
		e, err := e.normal(received)
		if err != nil {
			rejected = append(rejected, Rejected{i, err.Error()})
			continue
		}
		good = append(good, e)
	}
	taken := Taken{Rejected: rejected}
	if len(good) == 0 {
		return taken, nil
	}
	err := s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		b := &batchWriter{store: s, tx: tx, companies: map[string]string{}}
		defer b.close()
		fresh, err := b.all(ctx, good)
		taken.Accepted, taken.Duplicates = fresh, len(good)-fresh
		return err
	})
	return taken, err
}

// Purge forgets what is older than Retention.
func (s *Store) Purge(ctx context.Context, tx *sql.Tx) error {
	before := s.now().Add(-Retention).UnixMilli()
	for _, statement := range []string{
		"DELETE FROM events WHERE at < ?", "DELETE FROM hits WHERE at < ?",
		"DELETE FROM windows WHERE ends < ?", "DELETE FROM visitors WHERE at < ?",
	} {
		if _, err := tx.ExecContext(ctx, statement, before); err != nil {
			return fmt.Errorf("purge: %w", err)
		}
	}
	return nil
}

// batchWriter writes one batch within a transaction. Its statements are prepared once.
type batchWriter struct {
	store     *Store
	tx        *sql.Tx
	insert    *sql.Stmt
	companies map[string]string // of the visitors of this batch
}

func (b *batchWriter) close() {
	if b.insert != nil {
		_ = b.insert.Close() // the transaction ends it anyway
	}
}

func (b *batchWriter) all(ctx context.Context, events []Event) (fresh int, err error) {
	b.insert, err = b.tx.PrepareContext(ctx, `INSERT INTO events (visitor, id, kind, path, target, company, at)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	if err != nil {
		return 0, fmt.Errorf("prepare: %w", err)
	}
	for _, e := range events {
		isNew, err := b.one(ctx, e)
		if err != nil {
			return fresh, err
		}
		if isNew {
			fresh++
		}
	}
	return fresh, nil
}

func (b *batchWriter) one(ctx context.Context, e Event) (fresh bool, err error) {
	if e.Company, err = b.company(ctx, e); err != nil {
		return false, err
	}
	done, err := b.insert.ExecContext(ctx, e.Visitor, e.ID, e.Kind, e.Path, e.Target, e.Company, e.At.UnixMilli())
	if err != nil {
		return false, fmt.Errorf("store event: %w", err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return false, err // it was sent before
	}
	for _, rule := range b.store.rules.Rules {
		if err := b.watch(ctx, rule, e); err != nil {
			return true, err
		}
	}
	return true, nil
}

// company is what is known of the visitor's company: what this event says is kept for those that do not.
func (b *batchWriter) company(ctx context.Context, e Event) (string, error) {
	known, looked := b.companies[e.Visitor]
	if !looked {
		err := b.tx.QueryRowContext(ctx, "SELECT company FROM visitors WHERE visitor = ?", e.Visitor).Scan(&known)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return "", fmt.Errorf("find visitor: %w", err)
		}
		b.companies[e.Visitor] = known
	}
	if e.Company == "" || e.Company == known {
		return known, nil
	}
	_, err := b.tx.ExecContext(ctx, `INSERT INTO visitors (visitor, company, at) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET company = excluded.company, at = excluded.at`, e.Visitor, e.Company, e.At.UnixMilli())
	if err != nil {
		return "", fmt.Errorf("store visitor: %w", err)
	}
	b.companies[e.Visitor] = e.Company
	return e.Company, nil
}
