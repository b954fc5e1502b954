package crm

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/gtm/internal/lite"
)

// The errors that callers tell apart.
var (
	ErrNotFound   = errors.New("not found")
	ErrTransition = errors.New("the stage may not change like that")
	ErrOpenDeal   = errors.New("the account has an open opportunity already")
	ErrForeign    = errors.New("the contact belongs to another account")
)

// Store is the database. It is safe for concurrent use.
type Store struct{ db *lite.DB }

func migrations() []string {
	return []string{`
	CREATE TABLE accounts (
		id      INTEGER PRIMARY KEY,
		domain  TEXT NOT NULL UNIQUE,
		name    TEXT NOT NULL,
		country TEXT NOT NULL,
		owner   TEXT NOT NULL,
		created INTEGER NOT NULL -- milliseconds, as all times
	);
	CREATE TABLE contacts (
		id         INTEGER PRIMARY KEY,
		account_id INTEGER REFERENCES accounts,
		email      TEXT NOT NULL UNIQUE,
		name       TEXT NOT NULL,
		job_title  TEXT NOT NULL,
		synthetic  INTEGER NOT NULL,
		created    INTEGER NOT NULL
	);
	CREATE INDEX contacts_account ON contacts (account_id);
	CREATE TABLE opportunities (
		id         INTEGER PRIMARY KEY,
		account_id INTEGER REFERENCES accounts,
		name       TEXT NOT NULL,
		owner      TEXT NOT NULL,
		stage      TEXT NOT NULL,
		created    INTEGER NOT NULL,
		changed    INTEGER NOT NULL
	);
	CREATE UNIQUE INDEX one_open_deal ON opportunities (account_id)
		WHERE account_id IS NOT NULL AND stage NOT IN ('closed_won', 'closed_lost');
	CREATE TABLE committee (
		opportunity_id INTEGER NOT NULL REFERENCES opportunities,
		contact_id     INTEGER NOT NULL REFERENCES contacts,
		role           TEXT NOT NULL,
		PRIMARY KEY (opportunity_id, contact_id)
	) WITHOUT ROWID;
	CREATE TABLE leads (
		lead_id        TEXT PRIMARY KEY,
		contact_id     INTEGER NOT NULL REFERENCES contacts,
		opportunity_id INTEGER REFERENCES opportunities
	) WITHOUT ROWID;
	CREATE INDEX leads_opportunity ON leads (opportunity_id);
	CREATE TABLE steps (
		number         INTEGER PRIMARY KEY AUTOINCREMENT,
		opportunity_id INTEGER NOT NULL REFERENCES opportunities,
		from_stage     TEXT NOT NULL,
		to_stage       TEXT NOT NULL,
		reason         TEXT NOT NULL,
		at             INTEGER NOT NULL
	);
	CREATE INDEX steps_opportunity ON steps (opportunity_id)`, `
	CREATE TABLE activities ( -- what people of a company do, also before it is an account
		id     INTEGER PRIMARY KEY,
		domain TEXT NOT NULL,
		signal TEXT NOT NULL,
		text   TEXT NOT NULL,
		at     INTEGER NOT NULL
	);
	CREATE INDEX activities_domain ON activities (domain, at)`}
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

// take takes a lead over: its account and contact are made or brought up to date, and the lead joins the account's open
// opportunity or begins one, which is published. A lead that was taken before keeps what it got then.
func (s *Store) take(ctx context.Context, tx *sql.Tx, lead Lead) error {
	now := time.Now().UnixMilli()
	before, err := takenBefore(ctx, tx, lead.LeadID)
	if err != nil || before {
		return err
	}
	var t taken
	if t.AccountID, err = upsertAccount(ctx, tx, lead, now); err != nil {
		return err
	}
	if t.ContactID, err = upsertContact(ctx, tx, lead, t.AccountID, now); err != nil {
		return err
	}
	if lead.Opportunity {
		if err := join(ctx, tx, lead, &t, now); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO leads VALUES (?, ?, ?)", lead.LeadID, t.ContactID, orNull(t.OpportunityID))
	if err != nil || !lead.Opportunity {
		return wrap("store lead", err)
	}
	return s.publish(ctx, tx, Change{OpportunityID: t.OpportunityID, Stage: t.Stage, Leads: []string{lead.LeadID}})
}

// publish says where the deal of some leads stands. Changes of one deal stay in order.
func (s *Store) publish(ctx context.Context, tx *sql.Tx, c Change) error {
	return s.db.Add(ctx, tx, topicDealChanged, fmt.Sprint("deal-", c.OpportunityID), c)
}

func takenBefore(ctx context.Context, tx *sql.Tx, lead string) (before bool, err error) {
	err = tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM leads WHERE lead_id = ?)", lead).Scan(&before)
	return before, wrap("find lead", err)
}

// upsertAccount fills what is empty and overwrites nothing: people may have corrected it.
func upsertAccount(ctx context.Context, tx *sql.Tx, lead Lead, now int64) (id int64, err error) {
	if lead.Domain == "" {
		return 0, nil
	}
	err = tx.QueryRowContext(ctx, `INSERT INTO accounts (domain, name, country, owner, created) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (domain) DO UPDATE SET
			name    = CASE name    WHEN '' THEN excluded.name    ELSE name    END,
			country = CASE country WHEN '' THEN excluded.country ELSE country END,
			owner   = CASE owner   WHEN '' THEN excluded.owner   ELSE owner   END
		RETURNING id`, lead.Domain, lead.Company, lead.Country, lead.Owner, now).Scan(&id)
	return id, wrap("store account", err)
}

func upsertContact(ctx context.Context, tx *sql.Tx, lead Lead, account, now int64) (id int64, err error) {
	err = tx.QueryRowContext(ctx, `INSERT INTO contacts (account_id, email, name, job_title, synthetic, created)
		VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (email) DO UPDATE SET
			name       = CASE name      WHEN '' THEN excluded.name      ELSE name      END,
			job_title  = CASE job_title WHEN '' THEN excluded.job_title ELSE job_title END,
			account_id = coalesce(account_id, excluded.account_id)
		RETURNING id`, orNull(account), lead.Email, lead.Name, lead.JobTitle, lead.Synthetic, now).Scan(&id)
	return id, wrap("store contact", err)
}

// join makes the lead part of the account's open opportunity, or begins one.
func join(ctx context.Context, tx *sql.Tx, lead Lead, t *taken, now int64) error {
	err := tx.QueryRowContext(ctx, `SELECT id, stage FROM opportunities
		WHERE account_id = ? AND stage NOT IN ('closed_won', 'closed_lost')`, t.AccountID).Scan(&t.OpportunityID, &t.Stage)
	if errors.Is(err, sql.ErrNoRows) {
		name := lead.Company
		if name == "" {
			name = lead.Domain
		}
		if name == "" {
			name = lead.Name
		}
		t.Stage = StageNew
		err = tx.QueryRowContext(ctx, `INSERT INTO opportunities (account_id, name, owner, stage, created, changed)
			VALUES (?, ?, ?, ?, ?, ?) RETURNING id`, orNull(t.AccountID), name, lead.Owner, t.Stage, now, now).Scan(&t.OpportunityID)
	}
	if err != nil {
		return wrap("store opportunity", err)
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO committee VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
		t.OpportunityID, t.ContactID, roleOf(lead.JobTitle))
	return wrap("store committee", err)
}

// Move changes the stage of an opportunity. The same stage again is no change and no error.
func (s *Store) Move(ctx context.Context, id int64, to Stage, reason string) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var from Stage
		var account sql.NullInt64
		err := tx.QueryRowContext(ctx, "SELECT stage, account_id FROM opportunities WHERE id = ?", id).Scan(&from, &account)
		if err != nil || from == to {
			return wrap("find opportunity", err)
		}
		if !slices.Contains(Transitions(from), to) {
			return fmt.Errorf("%w: from %s to %s", ErrTransition, from, to)
		}
		if !from.Open() && account.Valid { // taken up again
			if err := noOpenDeal(ctx, tx, account.Int64); err != nil {
				return err
			}
		}
		now := time.Now().UnixMilli()
		if _, err := tx.ExecContext(ctx, "UPDATE opportunities SET stage = ?, changed = ? WHERE id = ?", to, now, id); err != nil {
			return wrap("store stage", err)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO steps (opportunity_id, from_stage, to_stage, reason, at)
			VALUES (?, ?, ?, ?, ?)`, id, from, to, reason, now)
		if err != nil {
			return wrap("store step", err)
		}
		leads, err := leadsOf(ctx, tx, id)
		if err != nil {
			return err
		}
		return s.publish(ctx, tx, Change{OpportunityID: id, Stage: to, Leads: leads})
	})
}

func leadsOf(ctx context.Context, tx *sql.Tx, opportunity int64) ([]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT lead_id FROM leads WHERE opportunity_id = ? ORDER BY lead_id", opportunity)
	if err != nil {
		return nil, wrap("find leads", err)
	}
	defer func() { _ = rows.Close() }()
	leads := []string{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, wrap("find leads", err)
		}
		leads = append(leads, id)
	}
	return leads, wrap("find leads", rows.Err())
}

func noOpenDeal(ctx context.Context, tx *sql.Tx, account int64) error {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM opportunities
		WHERE account_id = ? AND stage NOT IN ('closed_won', 'closed_lost')`, account).Scan(&n)
	if err == nil && n > 0 {
		return ErrOpenDeal
	}
	return wrap("find open deals", err)
}

// Seat puts a contact into the buying committee of an opportunity, or changes its role there.
func (s *Store) Seat(ctx context.Context, opportunity, contact int64, role Role) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var of, by sql.NullInt64
		if err := tx.QueryRowContext(ctx, "SELECT account_id FROM opportunities WHERE id = ?", opportunity).Scan(&of); err != nil {
			return wrap("find opportunity", err)
		}
		if err := tx.QueryRowContext(ctx, "SELECT account_id FROM contacts WHERE id = ?", contact).Scan(&by); err != nil {
			return wrap("find contact", err)
		}
		if of.Valid && by.Valid && of.Int64 != by.Int64 {
			return ErrForeign
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO committee VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET role = excluded.role`, opportunity, contact, role)
		return wrap("store committee", err)
	})
}

// Unseat takes a contact out of the buying committee. One who is not in it is no error.
func (s *Store) Unseat(ctx context.Context, opportunity, contact int64) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM committee WHERE opportunity_id = ? AND contact_id = ?", opportunity, contact)
		return wrap("store committee", err)
	})
}

func orNull(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

// wrap names the operation of an error; what no row was found for is both sql.ErrNoRows and ErrNotFound.
func wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s: %w: %w", operation, ErrNotFound, err)
	}
	return fmt.Errorf("%s: %w", operation, err)
}
