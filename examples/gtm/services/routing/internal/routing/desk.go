package routing

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"example.com/gtm/internal/lite"
)

// Assignment is who owns a lead, and why.
type Assignment struct {
	LeadID     string    `json:"lead_id"`
	Account    string    `json:"account"`
	Owner      string    `json:"owner"`
	OwnerName  string    `json:"owner_name"`
	Territory  string    `json:"territory"`
	Segment    string    `json:"segment"`
	Reasons    []string  `json:"reasons"`
	AssignedAt time.Time `json:"assigned_at"`
}

// Load is an owner with the number of leads assigned.
type Load struct {
	Owner
	Leads int `json:"leads"`
}

// Desk assigns leads: it takes lead.qualified and publishes lead.routed. It is safe for concurrent use.
type Desk struct {
	db   *lite.DB
	team Team
}

func migrations() []string {
	return []string{`
	CREATE TABLE assignments (
		lead_id   TEXT PRIMARY KEY,
		account   TEXT NOT NULL,
		owner     TEXT NOT NULL,
		territory TEXT NOT NULL,
		segment   TEXT NOT NULL,
		reasons   TEXT NOT NULL,
		at        INTEGER NOT NULL -- milliseconds
	) WITHOUT ROWID;
	CREATE INDEX assignments_account ON assignments (account, at) WHERE account <> '';
	CREATE INDEX assignments_owner ON assignments (owner);
	CREATE TABLE turns (
		pool  TEXT NOT NULL,
		owner TEXT NOT NULL,
		has   INTEGER NOT NULL,
		PRIMARY KEY (pool, owner)
	) WITHOUT ROWID`}
}

// Open opens the desk whose state is in the file at path.
func Open(ctx context.Context, path string, team Team) (*Desk, error) {
	db, err := lite.Open(ctx, path, migrations(), &lite.Options{Events: true})
	if err != nil {
		return nil, err
	}
	return &Desk{db: db, team: team}, nil
}

// Close closes the desk's file.
func (d *Desk) Close() error { return d.db.Close() }

// Ping tells whether the desk can work.
func (d *Desk) Ping(ctx context.Context) error { return d.db.Ping(ctx) }

func insert(ctx context.Context, tx *sql.Tx, a Assignment) error {
	reasons, err := json.Marshal(a.Reasons)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO assignments (lead_id, account, owner, territory, segment, reasons, at)
		VALUES (?, ?, ?, ?, ?, ?, ?)`,
		a.LeadID, a.Account, a.Owner, a.Territory, a.Segment, string(reasons), a.AssignedAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("store assignment: %w", err)
	}
	return nil
}

func assigned(ctx context.Context, tx *sql.Tx, lead string) (had bool, err error) {
	err = tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM assignments WHERE lead_id = ?)", lead).Scan(&had)
	if err != nil {
		return false, fmt.Errorf("find assignment: %w", err)
	}
	return had, nil
}

func (d *Desk) decide(ctx context.Context, tx *sql.Tx, r request) (Assignment, error) {
	territory, segment, reasons := d.team.place(r)
	a := Assignment{
		LeadID: r.LeadID, Account: r.Account, Territory: territory, Segment: segment,
		AssignedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
	owner, ok, err := d.accountOwner(ctx, tx, r.Account)
	if err != nil {
		return Assignment{}, err
	}
	if ok {
		a.Reasons = append(reasons, fmt.Sprintf("%s owns the account %s already", owner.Name, r.Account))
	} else {
		pool := d.team.pool(territory, segment)
		if owner, err = d.turn(ctx, tx, territory+"/"+segment, pool); err != nil {
			return Assignment{}, err
		}
		a.Reasons = append(reasons, fmt.Sprintf("it is the turn of %s, one of %d with capacity %d", owner.Name,
			len(pool), owner.Capacity))
	}
	a.Owner, a.OwnerName = owner.ID, owner.Name
	return a, nil
}

// accountOwner is who got the account's first lead, if they are still in the team.
func (d *Desk) accountOwner(ctx context.Context, tx *sql.Tx, account string) (Owner, bool, error) {
	if account == "" {
		return Owner{}, false, nil
	}
	var id string
	err := tx.QueryRowContext(ctx, "SELECT owner FROM assignments WHERE account = ? AND account <> '' ORDER BY at LIMIT 1",
		account).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return Owner{}, false, nil
	}
	if err != nil {
		return Owner{}, false, fmt.Errorf("find account: %w", err)
	}
	owner, ok := d.team.owner(id)
	return owner, ok, nil
}

// turn takes the next turn of a pool.
func (d *Desk) turn(ctx context.Context, tx *sql.Tx, name string, pool []Owner) (Owner, error) {
	turns := map[string]int{}
	for _, o := range pool {
		var has int
		err := tx.QueryRowContext(ctx, "SELECT has FROM turns WHERE pool = ? AND owner = ?", name, o.ID).Scan(&has)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return Owner{}, fmt.Errorf("read turns: %w", err)
		}
		turns[o.ID] = has
	}
	owner := next(pool, turns)
	for id, has := range turns {
		_, err := tx.ExecContext(ctx, `INSERT INTO turns (pool, owner, has) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET has = excluded.has`, name, id, has)
		if err != nil {
			return Owner{}, fmt.Errorf("store turns: %w", err)
		}
	}
	return owner, nil
}

// find is the assignment of a lead, or sql.ErrNoRows.
func (d *Desk) find(ctx context.Context, lead string) (Assignment, error) {
	a := Assignment{LeadID: lead}
	var reasons string
	var at int64
	err := d.db.Read().QueryRowContext(ctx, "SELECT account, owner, territory, segment, reasons, at FROM assignments WHERE lead_id = ?",
		lead).Scan(&a.Account, &a.Owner, &a.Territory, &a.Segment, &reasons, &at)
	if err != nil {
		return Assignment{}, fmt.Errorf("find assignment: %w", err)
	}
	a.AssignedAt = time.UnixMilli(at).UTC()
	a.OwnerName = a.Owner
	if owner, ok := d.team.owner(a.Owner); ok {
		a.OwnerName = owner.Name
	}
	return a, json.Unmarshal([]byte(reasons), &a.Reasons)
}

// Loads are the owners with what they have been assigned.
func (d *Desk) Loads(ctx context.Context) ([]Load, error) {
	loads := make([]Load, len(d.team.Owners))
	for i, o := range d.team.Owners {
		loads[i].Owner = o
		err := d.db.Read().QueryRowContext(ctx, "SELECT count(*) FROM assignments WHERE owner = ?", o.ID).Scan(&loads[i].Leads)
		if err != nil {
			return nil, fmt.Errorf("count assignments: %w", err)
		}
	}
	return loads, nil
}
