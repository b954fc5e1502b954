package crm

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

// Filter says which rows a list holds. The zero value means all, the newest first.
type Filter struct {
	Search  string // stands in a name, a domain or an address
	Account int64
	Stage   Stage
	Owner   string
	Before  int64 // only rows with an id below; the cursor
	Limit   int
}

// where collects conditions and their arguments.
type where struct {
	conds []string
	args  []any
}

func (w *where) add(cond string, args ...any) {
	w.conds = append(w.conds, cond)
	w.args = append(w.args, args...)
}

func (w *where) search(text string, columns ...string) {
	if text == "" {
		return
	}
	escaped := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
	var likes []string
	for _, c := range columns {
		likes = append(likes, c+` LIKE ? ESCAPE '\'`)
		w.args = append(w.args, "%"+escaped+"%")
	}
	w.conds = append(w.conds, "("+strings.Join(likes, " OR ")+")")
}

// tail is the end of the statement: conditions, newest first, one row more than asked for, so that it is known
// whether there are more.
func (w *where) tail(id string, f Filter) string {
	if f.Before > 0 {
		w.add(id+" < ?", f.Before)
	}
	w.args = append(w.args, f.Limit+1)
	conds := ""
	if len(w.conds) > 0 {
		conds = " WHERE " + strings.Join(w.conds, " AND ")
	}
	return conds + " ORDER BY " + id + " DESC LIMIT ?"
}

// query runs a statement and scans each row.
func query[T any](ctx context.Context, s *Store, statement string, args []any, scan func(*sql.Rows, *T) error) ([]T, error) {
	rows, err := s.db.Read().QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, wrap("query", err)
	}
	defer func() { _ = rows.Close() }()
	found := []T{}
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, wrap("scan", err)
		}
		found = append(found, v)
	}
	return found, wrap("query", rows.Err())
}

// Accounts lists accounts; more tells whether there are others after the last.
func (s *Store) Accounts(ctx context.Context, f Filter) (found []Account, more bool, err error) {
	var w where
	w.search(f.Search, "name", "domain")
	if f.Owner != "" {
		w.add("owner = ?", f.Owner)
	}
	statement := "SELECT id, domain, name, country, owner, created FROM accounts" + w.tail("id", f)
	found, err = query(ctx, s, statement, w.args, scanAccount)
	found, more = cut(found, f.Limit)
	return found, more, err
}

// Account finds one account, with the newest of its activities.
func (s *Store) Account(ctx context.Context, id int64) (Account, error) {
	a, err := one(query(ctx, s, "SELECT id, domain, name, country, owner, created FROM accounts WHERE id = ?", []any{id}, scanAccount))
	if err != nil {
		return a, err
	}
	const most = 100
	a.Activities, err = query(ctx, s, "SELECT signal, text, at FROM activities WHERE domain = ? ORDER BY at DESC LIMIT ?",
		[]any{a.Domain, most}, func(rows *sql.Rows, x *Activity) error {
			var at int64
			err := rows.Scan(&x.Signal, &x.Text, &at)
			x.At = time.UnixMilli(at).UTC()
			return err
		})
	return a, err
}

func scanAccount(rows *sql.Rows, a *Account) error {
	var created int64
	err := rows.Scan(&a.ID, &a.Domain, &a.Name, &a.Country, &a.Owner, &created)
	a.CreatedAt = time.UnixMilli(created).UTC()
	return err
}

// Contacts lists contacts.
func (s *Store) Contacts(ctx context.Context, f Filter) (found []Contact, more bool, err error) {
	var w where
	w.search(f.Search, "name", "email")
	if f.Account != 0 {
		w.add("account_id = ?", f.Account)
	}
	statement := "SELECT id, coalesce(account_id, 0), email, name, job_title, synthetic, created FROM contacts" + w.tail("id", f)
	found, err = query(ctx, s, statement, w.args, scanContact)
	found, more = cut(found, f.Limit)
	return found, more, err
}

func scanContact(rows *sql.Rows, c *Contact) error {
	var created int64
	err := rows.Scan(&c.ID, &c.AccountID, &c.Email, &c.Name, &c.JobTitle, &c.Synthetic, &created)
	c.CreatedAt = time.UnixMilli(created).UTC()
	return err
}

const selectOpportunity = `SELECT o.id, coalesce(o.account_id, 0), coalesce(a.name, ''), o.name, o.owner, o.stage,
	o.created, o.changed FROM opportunities o LEFT JOIN accounts a ON a.id = o.account_id`

// Opportunities lists opportunities.
func (s *Store) Opportunities(ctx context.Context, f Filter) (found []Opportunity, more bool, err error) {
	var w where
	w.search(f.Search, "o.name", "a.name", "a.domain")
	if f.Account != 0 {
		w.add("o.account_id = ?", f.Account)
	}
	if f.Stage != "" {
		w.add("o.stage = ?", f.Stage)
	}
	if f.Owner != "" {
		w.add("o.owner = ?", f.Owner)
	}
	statement := selectOpportunity + w.tail("o.id", f)
	found, err = query(ctx, s, statement, w.args, scanOpportunity)
	found, more = cut(found, f.Limit)
	return found, more, err
}

func scanOpportunity(rows *sql.Rows, o *Opportunity) error {
	var created, changed int64
	err := rows.Scan(&o.ID, &o.AccountID, &o.Account, &o.Name, &o.Owner, &o.Stage, &created, &changed)
	o.CreatedAt, o.ChangedAt = time.UnixMilli(created).UTC(), time.UnixMilli(changed).UTC()
	o.Next = Transitions(o.Stage)
	return err
}

// Deal finds one opportunity with its buying committee and its history.
func (s *Store) Deal(ctx context.Context, id int64) (Deal, error) {
	o, err := one(query(ctx, s, selectOpportunity+" WHERE o.id = ?", []any{id}, scanOpportunity))
	if err != nil {
		return Deal{}, err
	}
	committee, err := query(ctx, s, `SELECT c.id, c.name, c.email, c.job_title, m.role
		FROM committee m JOIN contacts c ON c.id = m.contact_id WHERE m.opportunity_id = ? ORDER BY c.id`, []any{id},
		func(rows *sql.Rows, m *Member) error {
			return rows.Scan(&m.ContactID, &m.Name, &m.Email, &m.JobTitle, &m.Role)
		})
	if err != nil {
		return Deal{}, err
	}
	history, err := query(ctx, s, `SELECT from_stage, to_stage, reason, at FROM steps
		WHERE opportunity_id = ? ORDER BY number`, []any{id},
		func(rows *sql.Rows, h *Step) error {
			var at int64
			err := rows.Scan(&h.From, &h.To, &h.Reason, &at)
			h.At = time.UnixMilli(at).UTC()
			return err
		})
	return Deal{Opportunity: o, Committee: committee, History: history}, err
}

func cut[T any](found []T, limit int) ([]T, bool) {
	if len(found) > limit {
		return found[:limit], true
	}
	return found, false
}

func one[T any](found []T, err error) (T, error) {
	var zero T
	if err != nil {
		return zero, err
	}
	if len(found) == 0 {
		return zero, ErrNotFound
	}
	return found[0], nil
}
