package pgsaga

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/atollhq/atoll/internal/saga"
)

// holding is what the table says of a shard.
type holding struct {
	shard int
	owner string // "" for nobody
	epoch int64
	valid bool // the lease has not run out
}

// Claim implements saga.Store.
func (s *Store) Claim(ctx context.Context) (saga.Claim, error) {
	var owned map[int]int64
	lined := s.lined.Load()
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
		owned, err = s.claim(ctx, tx, lined)
		return err
	})
	if err != nil {
		return saga.Claim{}, fmt.Errorf("claim shards: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := saga.Claim{Again: s.lease / 3}
	if !lined {
		c.Again = min(c.Again, 200*time.Millisecond) // others are to know of the lifeline
	}
	for shard, epoch := range owned {
		c.Owned = append(c.Owned, shard)
		if before, had := s.owned[shard]; !had || before != epoch {
			c.Fresh = append(c.Fresh, shard)
		}
	}
	slices.Sort(c.Owned)
	slices.Sort(c.Fresh)
	s.owned = owned
	return c, nil
}

// claim keeps, takes and gives back shards, and returns the epochs of those that this engine owns then. Others are told whether it is lined:
// whether it holds its lifeline.
func (s *Store) claim(ctx context.Context, tx pgx.Tx, lined bool) (map[int]int64, error) {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", hash(s.schema, "claim")); err != nil {
		return nil, err
	}
	lease := s.lease.Microseconds()
	_, err := tx.Exec(ctx, `INSERT INTO engines VALUES ($1, clock_timestamp(), $2)
		ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, lined = excluded.lined`, s.engine, lined)
	if err != nil {
		return nil, err
	}
	gone, err := s.gone(ctx, tx)
	if err != nil {
		return nil, err
	}
	var alive int
	err = tx.QueryRow(ctx, "SELECT count(*) FROM engines WHERE seen > clock_timestamp() - $1 * interval '1 microsecond'", lease).Scan(&alive)
	if err != nil {
		return nil, err
	}
	all, err := holdings(ctx, tx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].valid = all[i].valid && !slices.Contains(gone, all[i].owner)
	}
	keep, take, give, owners := s.share(all, alive)
	// Those that lose a shard may be committing: this waits until they have, or have been ended. See the package's comment.
	if _, err := tx.Exec(ctx, "SELECT FROM engines WHERE id = ANY($1) ORDER BY id FOR UPDATE", owners); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `UPDATE shards SET
			owner = CASE WHEN shard = ANY($3) THEN NULL ELSE $4 END,
			epoch = CASE WHEN shard = ANY($1) THEN epoch ELSE epoch + 1 END,
			until = clock_timestamp() + CASE WHEN shard = ANY($3) THEN 0 ELSE $5::bigint END * interval '1 microsecond'
		WHERE shard = ANY($1) OR shard = ANY($2) OR shard = ANY($3) RETURNING shard, epoch, owner IS NOT NULL`, keep, take, give, s.engine, lease)
	if err != nil {
		return nil, err
	}
	owned := map[int]int64{}
	var shard int
	var epoch int64
	var mine bool
	_, err = pgx.ForEachRow(rows, []any{&shard, &epoch, &mine}, func() error {
		if mine {
			owned[shard] = epoch
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, `DELETE FROM engines WHERE seen < clock_timestamp() - $1 * interval '1 microsecond'
		AND NOT EXISTS (SELECT FROM shards WHERE owner = engines.id)`, 10*lease)
	return owned, err
}

// lifeline is the advisory lock that an engine holds as long as it is connected.
func (s *Store) lifeline(engine string) int64 { return hash(s.schema, "engine "+engine) }

// gone lists engines whose lifelines are cut: they no longer count, whatever their leases say. What they still have under way is fenced
// off like that of one whose lease has run out.
func (s *Store) gone(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, "SELECT id FROM engines WHERE lined AND id <> $1", s.engine)
	if err != nil {
		return nil, err
	}
	others, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, id := range others {
		var free bool
		if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)", s.lifeline(id)).Scan(&free); err != nil {
			return nil, err
		}
		if free {
			gone = append(gone, id)
		}
	}
	_, err = tx.Exec(ctx, "UPDATE engines SET seen = '-infinity' WHERE id = ANY($1)", gone)
	return gone, err
}

func holdings(ctx context.Context, tx pgx.Tx) ([]holding, error) {
	rows, err := tx.Query(ctx, "SELECT shard, coalesce(owner, ''), epoch, until > clock_timestamp() FROM shards ORDER BY shard")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (h holding, err error) {
		return h, row.Scan(&h.shard, &h.owner, &h.epoch, &h.valid)
	})
}

// share decides which shards this engine keeps, takes and gives back, and who loses one by that.
func (s *Store) share(all []holding, alive int) (keep, take, give []int, owners []string) {
	fair := (len(all) + alive - 1) / max(1, alive)
	for _, h := range all {
		switch {
		case h.owner != s.engine:
		case len(keep) < fair:
			keep = append(keep, h.shard)
		default:
			give = append(give, h.shard)
			owners = append(owners, s.engine)
		}
	}
	for _, h := range all {
		if h.owner != s.engine && (h.owner == "" || !h.valid) && len(keep)+len(take) < fair {
			take = append(take, h.shard)
			if h.owner != "" {
				owners = append(owners, h.owner)
			}
		}
	}
	slices.Sort(owners)
	return keep, take, give, slices.Compact(owners)
}

// leave gives all shards back.
func (s *Store) leave(ctx context.Context) error {
	s.mu.Lock()
	s.owned = map[int]int64{}
	s.mu.Unlock()
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", hash(s.schema, "claim")); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT FROM engines WHERE id = $1 FOR UPDATE", s.engine); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE shards SET owner = NULL, epoch = epoch + 1, until = clock_timestamp() WHERE owner = $1", s.engine)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM engines WHERE id = $1", s.engine)
		return err
	})
}

// epochs are those of shards; false where this engine does not own one.
func (s *Store) epochs(shards []int) ([]int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]int64, len(shards))
	for i, shard := range shards {
		epoch, owned := s.owned[shard]
		if !owned {
			return nil, false
		}
		out[i] = epoch
	}
	return out, true
}

// Times are microseconds since 1970, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
