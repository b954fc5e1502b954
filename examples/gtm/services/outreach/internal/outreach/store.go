package outreach

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

// topicDue is what this service publishes to itself; events/outreach.step.due.json is its schema.
const topicDue = "outreach.step.due"

// State is where a sequence stands.
type State string

// The states.
const (
	Active       State = "active"
	Finished     State = "finished"     // every step was taken
	Replied      State = "replied"      // the lead answered
	Unsubscribed State = "unsubscribed" // the lead wants no more
	Refused      State = "refused"      // the mail server does not take mails for the address
)

// Enrollment is a sequence with a lead.
type Enrollment struct {
	Lead      string `json:"lead"`
	Email     string `json:"email"`
	State     State  `json:"state"`
	Sent      []Sent `json:"sent"`
	firstName string
	lastName  string
	company   string
	owner     string
}

// Sent is a mail that was sent.
type Sent struct {
	Step      string    `json:"step"`
	MessageID string    `json:"message_id"`
	At        time.Time `json:"at"`
}

// ErrNotFound says that there is no sequence with the lead.
var ErrNotFound = errors.New("not found")

func migrations() []string {
	return []string{`
	CREATE TABLE enrollments (
		lead       TEXT PRIMARY KEY,
		email      TEXT NOT NULL,
		first_name TEXT NOT NULL,
		last_name  TEXT NOT NULL,
		company    TEXT NOT NULL,
		owner      TEXT NOT NULL,
		state      TEXT NOT NULL,
		created    INTEGER NOT NULL -- milliseconds, as all times
	) WITHOUT ROWID;
	CREATE INDEX enrollments_email ON enrollments (email);
	CREATE TABLE sent (
		lead       TEXT NOT NULL REFERENCES enrollments,
		step       INTEGER NOT NULL,
		name       TEXT NOT NULL,
		message_id TEXT NOT NULL UNIQUE,
		at         INTEGER NOT NULL,
		PRIMARY KEY (lead, step)
	) WITHOUT ROWID;
	CREATE TABLE suppressed ( -- who is not written to again
		email  TEXT PRIMARY KEY,
		reason TEXT NOT NULL,
		at     INTEGER NOT NULL
	) WITHOUT ROWID`}
}

// due is the data of outreach.step.due.
type due struct {
	Lead string `json:"lead"`
	Step int    `json:"step"`
}

// enroll begins a sequence, unless the lead has one or is not to be written to.
func (d *Desk) enroll(ctx context.Context, tx *sql.Tx, e Enrollment) error {
	state := Active
	if gone, err := suppressed(ctx, tx, e.Email); err != nil {
		return err
	} else if gone {
		state = Unsubscribed
	}
	done, err := tx.ExecContext(ctx, `INSERT INTO enrollments (lead, email, first_name, last_name, company, owner, state, created)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		e.Lead, e.Email, e.firstName, e.lastName, e.company, e.owner, state, time.Now().UnixMilli())
	if err != nil {
		return fmt.Errorf("store sequence: %w", err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 || state != Active {
		return err
	}
	return d.appoint(ctx, tx, e.Lead, 0)
}

// appoint makes the appointment for a step, or ends the sequence when there is none.
func (d *Desk) appoint(ctx context.Context, tx *sql.Tx, lead string, step int) error {
	if step >= len(d.sequence.steps) {
		return setState(ctx, tx, "lead = ?", lead, Finished)
	}
	var at time.Time // zero: at once
	if after := d.sequence.steps[step].after; after > 0 {
		at = time.Now().Add(after)
	}
	return d.db.AddAt(ctx, tx, topicDue, lead, due{lead, step}, at)
}

// took notes that a step was taken, and makes the appointment for the next.
func (d *Desk) took(ctx context.Context, tx *sql.Tx, e sdk.Event, at due, messageID string) error {
	first, err := d.db.Once(ctx, tx, e)
	if err != nil || !first {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO sent (lead, step, name, message_id, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		at.Lead, at.Step, d.sequence.steps[at.Step].name, messageID, time.Now().UnixMilli())
	if err != nil {
		return fmt.Errorf("store step: %w", err)
	}
	return d.appoint(ctx, tx, at.Lead, at.Step+1)
}

// suppress takes an address off for good, and ends its sequences.
func suppress(ctx context.Context, tx *sql.Tx, email string, why State) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO suppressed (email, reason, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
		email, why, time.Now().UnixMilli())
	if err != nil {
		return fmt.Errorf("store address: %w", err)
	}
	return setState(ctx, tx, "email = ?", email, why)
}

// setState ends the sequences that are active.
func setState(ctx context.Context, tx *sql.Tx, which, value string, state State) error {
	_, err := tx.ExecContext(ctx, "UPDATE enrollments SET state = ? WHERE state = 'active' AND "+which, state, value)
	if err != nil {
		return fmt.Errorf("store state: %w", err)
	}
	return nil
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func suppressed(ctx context.Context, q querier, email string) (gone bool, err error) {
	err = q.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM suppressed WHERE email = ?)", email).Scan(&gone)
	if err != nil {
		return false, fmt.Errorf("find address: %w", err)
	}
	return gone, nil
}

// find is the sequence with a lead, or ErrNotFound.
func (d *Desk) find(ctx context.Context, lead string) (Enrollment, error) {
	e := Enrollment{Lead: lead, Sent: []Sent{}}
	err := d.db.Read().QueryRowContext(ctx, "SELECT email, first_name, last_name, company, owner, state FROM enrollments WHERE lead = ?",
		lead).Scan(&e.Email, &e.firstName, &e.lastName, &e.company, &e.owner, &e.State)
	if errors.Is(err, sql.ErrNoRows) {
		return e, ErrNotFound
	}
	if err != nil {
		return e, fmt.Errorf("find sequence: %w", err)
	}
	rows, err := d.db.Read().QueryContext(ctx, "SELECT name, message_id, at FROM sent WHERE lead = ? ORDER BY step", lead)
	if err != nil {
		return e, fmt.Errorf("find steps: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var s Sent
		var at int64
		if err := rows.Scan(&s.Step, &s.MessageID, &at); err != nil {
			return e, fmt.Errorf("read step: %w", err)
		}
		s.At = time.UnixMilli(at).UTC()
		e.Sent = append(e.Sent, s)
	}
	return e, rows.Err()
}

// open opens the file at path.
func open(ctx context.Context, path string) (*lite.DB, error) {
	return lite.Open(ctx, path, migrations(), &lite.Options{Events: true})
}
