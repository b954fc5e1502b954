package pgsaga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/atollhq/atoll/internal/saga"
)

func sqlf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

const rowColumns = "id, saga, hash, key, phase::int, step, error, wake, shard, parent, started, ended, purge, rev"

// scan reads rowColumns, the state where it is asked for, and then what else is asked for.
func scan(row pgx.CollectableRow, withState bool, more ...any) (r saga.Row, err error) {
	var phase int32
	var started, ended, purge int64
	to := []any{&r.ID, &r.Saga, &r.Hash, &r.Key, &phase, &r.Step, &r.Error, &r.Wake, &r.Shard, &r.Parent, &started, &ended, &purge, &r.Rev}
	if withState {
		to = append(to, &r.State)
	}
	err = row.Scan(append(to, more...)...)
	r.Phase, r.Started, r.Ended, r.Purge = saga.PhaseOf(int(phase)), timeOf(started), timeOf(ended), timeOf(purge)
	return r, err
}

func ask[T any](ctx context.Context, s *Store, what, text string, args []any, row func(pgx.CollectableRow) (T, error)) ([]T, error) {
	rows, err := s.pool.Query(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	out, err := pgx.CollectRows(rows, row)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
}

func (s *Store) states(ctx context.Context, what, condition string, args ...any) ([]saga.Row, error) {
	return ask(ctx, s, what, "SELECT "+rowColumns+", state FROM instances WHERE "+condition, args, func(row pgx.CollectableRow) (saga.Row, error) {
		return scan(row, true)
	})
}

// Due implements saga.Store.
func (s *Store) Due(ctx context.Context, shards []int, after, until saga.Wake, limit int) ([]saga.Row, error) {
	return s.states(ctx, "read due instances", `wake > $1 AND wake <= $2 AND wake < 9223372036854775807 AND shard = ANY($3) ORDER BY wake, id LIMIT $4`,
		int64(after), int64(until), shards, max(0, limit))
}

// Active implements saga.Store.
func (s *Store) Active(ctx context.Context, shards []int, after string, limit int) ([]saga.Row, error) {
	return s.states(ctx, "read active instances", `wake = 0 AND id > $1 AND shard = ANY($2) ORDER BY id LIMIT $3`, clean(after), shards, max(0, limit))
}

// Row implements saga.Store.
func (s *Store) Row(ctx context.Context, id string) (*saga.Row, error) {
	rows, err := s.states(ctx, "read instance", "id = $1", clean(id))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}

// Signals implements saga.Store.
func (s *Store) Signals(ctx context.Context, shards []int, after int64, limit int) ([]saga.Signal, error) {
	return ask(ctx, s, "read signals", `SELECT s.id, s.instance, s.task, s.event FROM signals s JOIN instances i ON i.id = s.instance
		WHERE s.id > $1 AND s.shard = ANY($2) ORDER BY s.id LIMIT $3`, []any{after, shards, max(0, limit)}, func(row pgx.CollectableRow) (sig saga.Signal, err error) {
		return sig, row.Scan(&sig.ID, &sig.Instance, &sig.Task, (*[]byte)(&sig.Event))
	})
}

// page is how many rows are read at once where the text of an error is looked for: here, since not every database knows the cases of
// all letters.
const page = 500

// Find implements saga.Store.
func (s *Store) Find(ctx context.Context, q *saga.Query) (out []saga.Row, err error) {
	text, p := strings.ToLower(clean(q.Error)), *q
	if text != "" {
		p.Limit = page
	}
	for len(out) < q.Limit {
		condition, args := conditions(&p)
		rows, err := ask(ctx, s, "find instances", "SELECT "+rowColumns+" FROM instances WHERE "+condition+sqlf(" ORDER BY id DESC LIMIT %d", p.Limit), args,
			func(row pgx.CollectableRow) (saga.Row, error) { return scan(row, false) })
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if strings.Contains(strings.ToLower(rows[i].Error), text) {
				out = append(out, rows[i])
			}
		}
		if len(rows) < p.Limit {
			break
		}
		p.Before = rows[len(rows)-1].ID
	}
	return out[:min(max(0, q.Limit), len(out))], nil
}

func conditions(q *saga.Query) (string, []any) {
	parts := []string{"true"}
	var args []any
	add := func(wanted bool, part string, arg any) {
		if wanted {
			args = append(args, arg)
			parts = append(parts, sqlf(part, len(args)))
		}
	}
	add(q.Saga != "", "saga = $%d", clean(q.Saga))
	add(q.Key != "", "key <> '' AND key = $%d", clean(q.Key))
	add(q.Step != "", "step <> '' AND step = $%d", clean(q.Step))
	add(q.Parent != "", "parent <> '' AND parent = $%d", clean(q.Parent))
	add(q.Before != "", "id < $%d", clean(q.Before))
	add(!q.From.IsZero(), "started >= $%d", micros(q.From))
	add(!q.To.IsZero(), "started < $%d", micros(q.To))
	var phases []int32
	for _, p := range q.Phases {
		phases = append(phases, int32(saga.PhaseNumber(p)))
	}
	add(phases != nil, "phase = ANY($%d)", phases)
	if phases != nil && !slices.ContainsFunc(q.Phases, saga.Phase.Ended) {
		parts = append(parts, "phase < 4") // so that the index is used
	}
	if q.Error != "" {
		parts = append(parts, "error <> ''")
	}
	return strings.Join(parts, " AND "), args
}

// History implements saga.Store.
func (s *Store) History(ctx context.Context, id string) ([]json.RawMessage, error) {
	pieces, err := ask(ctx, s, "read history", "SELECT records FROM history WHERE instance = $1 ORDER BY rev", []any{clean(id)}, pgx.RowTo[[]byte])
	if err != nil {
		return nil, err
	}
	return saga.Lines(slices.Concat(pieces...))
}

// Count implements saga.Store.
func (s *Store) Count(ctx context.Context) (map[string]map[saga.Phase]int, error) {
	out := map[string]map[saga.Phase]int{}
	_, err := ask(ctx, s, "count instances", "SELECT saga, phase::int, count(*) FROM instances GROUP BY saga, phase", nil, func(row pgx.CollectableRow) (n int, err error) {
		var name string
		var phase int32
		if err := row.Scan(&name, &phase, &n); err != nil {
			return 0, err
		}
		if out[name] == nil {
			out[name] = map[saga.Phase]int{}
		}
		out[name][saga.PhaseOf(int(phase))] = n
		return n, nil
	})
	return out, err
}

// SavePlan implements saga.Store.
func (s *Store) SavePlan(ctx context.Context, hash, name string, source []byte) error {
	_, err := s.pool.Exec(ctx, "INSERT INTO plans VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", hash, name, source)
	if err != nil {
		return fmt.Errorf("save plan: %w", err)
	}
	return nil
}

// Plan implements saga.Store.
func (s *Store) Plan(ctx context.Context, hash string) (source []byte, err error) {
	err = s.pool.QueryRow(ctx, "SELECT source FROM plans WHERE hash = $1", hash).Scan(&source)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	return source, nil
}

// Mark implements saga.Store.
func (s *Store) Mark(ctx context.Context, name string, at time.Time) error {
	_, err := s.pool.Exec(ctx, "INSERT INTO marks VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET at = greatest(marks.at, excluded.at)", clean(name), micros(at))
	if err != nil {
		return fmt.Errorf("save mark: %w", err)
	}
	return nil
}

// Marks implements saga.Store.
func (s *Store) Marks(ctx context.Context) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	_, err := ask(ctx, s, "read marks", "SELECT name, at FROM marks", nil, func(row pgx.CollectableRow) (at int64, err error) {
		var name string
		if err := row.Scan(&name, &at); err != nil {
			return 0, err
		}
		out[name] = timeOf(at)
		return at, nil
	})
	return out, err
}

// Hashes implements saga.Store.
func (s *Store) Hashes(ctx context.Context) ([]string, error) {
	return ask(ctx, s, "read definitions that are run", "SELECT DISTINCT hash FROM instances WHERE phase < 4 ORDER BY hash", nil, pgx.RowTo[string])
}
