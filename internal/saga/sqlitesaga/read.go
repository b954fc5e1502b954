package sqlitesaga

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// ask hands each row of an answer to a function, until it returns errEnough. It runs beside the writer.
func (s *Store) ask(ctx context.Context, what, text string, args []any, row func(*sql.Rows) error) error {
	err := func() error {
		rows, err := s.read.QueryContext(ctx, text, args...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // what it says, Err has said
		for rows.Next() {
			if err := row(rows); err != nil {
				if errors.Is(err, errEnough) {
					return nil
				}
				return err
			}
		}
		return rows.Err()
	}()
	switch {
	case err == nil:
		return nil
	case grave(err):
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.fail(what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

var errEnough = errors.New("enough rows")

// scan reads rowColumns, and then what else is asked for.
func scan(rows *sql.Rows, more ...any) (r saga.Row, err error) {
	var phase, started, ended, purge int64
	err = rows.Scan(append([]any{
		&r.ID, &r.Saga, &r.Hash, &r.Key, &phase, &r.Step, &r.Error, &r.Wake, &r.Shard, &r.Parent, &started, &ended, &purge, &r.Rev,
	}, more...)...)
	r.Phase, r.Started, r.Ended, r.Purge = saga.PhaseOf(int(phase)), timeOf(started), timeOf(ended), timeOf(purge)
	return r, err
}

// states returns rows with their states.
func (s *Store) states(ctx context.Context, what, condition string, args ...any) (out []saga.Row, err error) {
	err = s.ask(ctx, what, "SELECT "+rowColumns+", state FROM instances WHERE "+condition, args, func(rows *sql.Rows) error {
		var state []byte
		r, err := scan(rows, &state)
		r.State = state
		out = append(out, r)
		return err
	})
	return out, err
}

// Due implements saga.Store.
func (s *Store) Due(ctx context.Context, shards []int, after, until saga.Wake, limit int) ([]saga.Row, error) {
	return s.states(ctx, "read due instances", `wake > ? AND wake <= ? AND wake < 9223372036854775807
		AND +shard IN (SELECT value FROM json_each(?)) ORDER BY wake, id LIMIT ?`, int64(after), int64(until), list(shards), max(0, limit))
}

// Active implements saga.Store.
func (s *Store) Active(ctx context.Context, shards []int, after string, limit int) ([]saga.Row, error) {
	return s.states(ctx, "read active instances", `wake = 0 AND wake < 9223372036854775807 AND id > ?
		AND +shard IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?`, after, list(shards), max(0, limit))
}

// Row implements saga.Store.
func (s *Store) Row(ctx context.Context, id string) (*saga.Row, error) {
	rows, err := s.states(ctx, "read instance", "id = ?", id)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}

// Signals implements saga.Store.
func (s *Store) Signals(ctx context.Context, shards []int, after int64, limit int) (out []saga.Signal, err error) {
	err = s.ask(ctx, "read signals", `SELECT s.id, i.id, s.task, s.event FROM signals s JOIN instances i ON i.n = s.n
		WHERE s.id > ? AND i.shard IN (SELECT value FROM json_each(?)) ORDER BY s.id LIMIT ?`,
		[]any{after, list(shards), max(0, limit)}, func(rows *sql.Rows) error {
			var sig saga.Signal
			var event []byte
			err := rows.Scan(&sig.ID, &sig.Instance, &sig.Task, &event)
			sig.Event = event
			out = append(out, sig)
			return err
		})
	return out, err
}

// Find implements saga.Store. The text of an error is looked for here, since SQLite knows no cases but those of ASCII.
func (s *Store) Find(ctx context.Context, q *saga.Query) (out []saga.Row, err error) {
	if q.Limit <= 0 {
		return nil, nil
	}
	condition, args := conditions(q)
	text := strings.ToLower(q.Error)
	err = s.ask(ctx, "find instances", "SELECT "+rowColumns+" FROM instances WHERE "+condition+" ORDER BY id DESC", args, func(rows *sql.Rows) error {
		r, err := scan(rows)
		if err != nil {
			return err
		}
		if strings.Contains(strings.ToLower(r.Error), text) {
			out = append(out, r)
		}
		if len(out) == q.Limit {
			return errEnough
		}
		return nil
	})
	return out, err
}

func conditions(q *saga.Query) (string, []any) {
	var parts []string
	var args []any
	add := func(wanted bool, part string, arg any) {
		if wanted {
			parts, args = append(parts, part), append(args, arg)
		}
	}
	add(q.Saga != "", "saga = ?", q.Saga)
	add(q.Key != "", "key <> '' AND key = ?", q.Key)
	add(q.Step != "", "step <> '' AND step = ?", q.Step)
	add(q.Parent != "", "parent <> '' AND parent = ?", q.Parent)
	add(q.Before != "", "id < ?", q.Before)
	add(!q.From.IsZero(), "started >= ?", micros(q.From))
	add(!q.To.IsZero(), "started < ?", micros(q.To))
	var phases []int64
	over := false
	for _, p := range q.Phases {
		phases, over = append(phases, int64(saga.PhaseNumber(p))), over || p.Ended()
	}
	add(phases != nil, "phase IN (SELECT value FROM json_each(?))", list(phases))
	if phases != nil && !over {
		parts = append(parts, "phase < 4") // so that the index is used
	}
	if q.Error != "" {
		parts = append(parts, "error <> ''")
	}
	if parts == nil {
		return "true", nil
	}
	return strings.Join(parts, " AND "), args
}

// History implements saga.Store.
func (s *Store) History(ctx context.Context, id string) ([]json.RawMessage, error) {
	var records []byte
	err := s.ask(ctx, "read history", `WITH i AS (SELECT n, tail FROM instances WHERE id = ?)
		SELECT records FROM (SELECT h.seq, h.records FROM history h JOIN i ON h.n = i.n UNION ALL SELECT 9223372036854775807, tail FROM i) ORDER BY seq`,
		[]any{id}, func(rows *sql.Rows) error {
			var piece []byte
			err := rows.Scan(&piece)
			records = append(records, piece...)
			return err
		})
	if err != nil {
		return nil, err
	}
	return saga.Lines(records)
}

// Count implements saga.Store.
func (s *Store) Count(ctx context.Context) (map[string]map[saga.Phase]int, error) {
	out := map[string]map[saga.Phase]int{}
	err := s.ask(ctx, "count instances", "SELECT saga, phase, instances FROM counts WHERE instances > 0", nil, func(rows *sql.Rows) error {
		var name string
		var phase int64
		var n int
		err := rows.Scan(&name, &phase, &n)
		if out[name] == nil {
			out[name] = map[saga.Phase]int{}
		}
		out[name][saga.PhaseOf(int(phase))] = n
		return err
	})
	return out, err
}

// SavePlan implements saga.Store.
func (s *Store) SavePlan(ctx context.Context, hash, name string, source []byte) error {
	return s.change(ctx, "save plan", func(ctx context.Context) error {
		_, err := s.write.exec(ctx, "INSERT INTO plans VALUES (?, ?, ?) ON CONFLICT DO NOTHING", hash, name, source)
		return err
	})
}

// Plan implements saga.Store.
func (s *Store) Plan(ctx context.Context, hash string) (source []byte, err error) {
	err = s.ask(ctx, "read plan", "SELECT source FROM plans WHERE hash = ?", []any{hash}, func(rows *sql.Rows) error { return rows.Scan(&source) })
	return source, err
}

// Mark implements saga.Store.
func (s *Store) Mark(ctx context.Context, name string, at time.Time) error {
	return s.change(ctx, "save mark", func(ctx context.Context) error {
		_, err := s.write.exec(ctx, "INSERT INTO marks VALUES (?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)", name, micros(at))
		return err
	})
}

// Marks implements saga.Store.
func (s *Store) Marks(ctx context.Context) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	err := s.ask(ctx, "read marks", "SELECT name, at FROM marks", nil, func(rows *sql.Rows) error {
		var name string
		var at int64
		err := rows.Scan(&name, &at)
		out[name] = timeOf(at)
		return err
	})
	return out, err
}

// Hashes implements saga.Store.
func (s *Store) Hashes(ctx context.Context) (out []string, err error) {
	err = s.ask(ctx, "read definitions that are run", "SELECT DISTINCT hash FROM instances WHERE phase < 4 ORDER BY hash", nil, func(rows *sql.Rows) error {
		var hash string
		err := rows.Scan(&hash)
		out = append(out, hash)
		return err
	})
	return out, err
}
