package leads

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// Filter says which leads a list holds. The zero value means all, the newest first.
type Filter struct {
	Search  string // stands in the name, the address or the company
	State   State
	Verdict string
	Owner   string
	Import  int64
	Before  string // only leads older than this one; the cursor
	Limit   int
}

const selectLead = `SELECT row, id, submission, result, state, trace_id, created, changed, done, number, stage
	FROM leads`

// List lists leads; more tells whether there are others after the last.
func (s *Store) List(ctx context.Context, f Filter) (found []Lead, more bool, err error) {
	var conds []string
	var args []any
	add := func(yes bool, cond string, arg any) {
		if yes {
			conds, args = append(conds, cond), append(args, arg)
		}
	}
	escaped := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(f.Search))
	add(f.Search != "", `name LIKE ? ESCAPE '\'`, "%"+escaped+"%")
	add(f.State != "", "state = ?", f.State)
	add(f.Verdict != "", "verdict = ?", f.Verdict)
	add(f.Owner != "", "owner = ?", f.Owner)
	add(f.Import != 0, "import_id = ?", f.Import)
	add(f.Before != "", "row < (SELECT row FROM leads WHERE id = ?)", f.Before)
	where := ""
	if len(conds) > 0 {
		where = " WHERE " + strings.Join(conds, " AND ")
	}
	found, err = s.query(ctx, selectLead+where+" ORDER BY row DESC LIMIT ?", append(args, f.Limit+1)...)
	if len(found) > f.Limit {
		return found[:f.Limit], true, err
	}
	return found, false, err
}

// Get finds one lead, with the newest of what the person sent later.
func (s *Store) Get(ctx context.Context, id string) (Lead, error) {
	found, err := s.query(ctx, selectLead+" WHERE id = ?", id)
	if err != nil {
		return Lead{}, err
	}
	if len(found) == 0 {
		return Lead{}, ErrNotFound
	}
	found[0].Later, err = s.later(ctx, id)
	return found[0], err
}

func (s *Store) later(ctx context.Context, id string) (found []Later, err error) {
	const most = 100
	rows, err := s.db.Read().QueryContext(ctx, "SELECT submission, created FROM submissions WHERE lead = ? ORDER BY row DESC LIMIT ?", id, most)
	if err != nil {
		return nil, wrap("query submissions", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var l Later
		var text []byte
		var created int64
		err := rows.Scan(&text, &created)
		if err := errors.Join(err, json.Unmarshal(text, &l.Submission)); err != nil {
			return nil, wrap("read submission", err)
		}
		l.CreatedAt = time.UnixMilli(created).UTC()
		found = append(found, l)
	}
	return found, wrap("query submissions", rows.Err())
}

// ChangedAfter are leads whose last change has a larger number, in the order of these, at most limit.
func (s *Store) ChangedAfter(ctx context.Context, number int64, limit int) ([]Lead, error) {
	return s.query(ctx, selectLead+" WHERE number > ? ORDER BY number LIMIT ?", number, limit)
}

func (s *Store) query(ctx context.Context, statement string, args ...any) ([]Lead, error) {
	rows, err := s.db.Read().QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, wrap("query leads", err)
	}
	defer func() { _ = rows.Close() }()
	found := []Lead{}
	for rows.Next() {
		l, err := scan(rows)
		if err != nil {
			return nil, wrap("read lead", err)
		}
		found = append(found, l)
	}
	return found, wrap("query leads", rows.Err())
}

func scan(rows *sql.Rows) (Lead, error) {
	var l Lead
	var submission, result []byte
	var stage string
	var created, changed int64
	var done sql.NullInt64
	err := rows.Scan(&l.Arrival, &l.ID, &submission, &result, &l.State, &l.TraceID, &created, &changed, &done, &l.Number, &stage)
	if err != nil {
		return l, err
	}
	l.CreatedAt, l.ChangedAt = time.UnixMilli(created).UTC(), time.UnixMilli(changed).UTC()
	if done.Valid {
		at := time.UnixMilli(done.Int64).UTC()
		l.DoneAt = &at
	}
	err = errors.Join(json.Unmarshal(submission, &l.Submission), json.Unmarshal(result, &l.Result))
	l.Stage = stage
	return l, err
}

// Import is a file that was taken in.
type Import struct {
	ID         int64 `json:"id"`
	Complete   bool  `json:"complete"` // the file was read to its end
	Accepted   int   `json:"accepted"` // new leads
	Duplicates int   `json:"duplicates"`
	Rejected   int   `json:"rejected"` // lines
	Done       int   `json:"done"`     // of the new leads
}

// BeginImport begins an import.
func (s *Store) BeginImport(ctx context.Context) (id int64, err error) {
	err = s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return wrap("begin import", tx.QueryRowContext(ctx, "INSERT INTO imports (created) VALUES (?) RETURNING id",
			time.Now().UnixMilli()).Scan(&id))
	})
	return id, err
}

// EndImport says how many lines were rejected, and whether the file was read to its end.
func (s *Store) EndImport(ctx context.Context, id int64, rejected int, complete bool) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE imports SET rejected = ?, complete = ? WHERE id = ?", rejected, complete, id)
		return wrap("end import", err)
	})
}

// Import finds an import, with how far its leads have come.
func (s *Store) Import(ctx context.Context, id int64) (Import, error) {
	i := Import{ID: id}
	err := s.db.Read().QueryRowContext(ctx, `SELECT complete, accepted, duplicates, rejected,
		(SELECT count(*) FROM leads WHERE import_id = i.id AND done IS NOT NULL)
		FROM imports i WHERE id = ?`, id).Scan(&i.Complete, &i.Accepted, &i.Duplicates, &i.Rejected, &i.Done)
	if errors.Is(err, sql.ErrNoRows) {
		return i, ErrNotFound
	}
	return i, wrap("find import", err)
}
