package pgsaga

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/atollhq/atoll/internal/saga"
)

// Send implements saga.Store.
func (s *Store) Send(ctx context.Context, signals []saga.Signal) (sent []saga.Signal, err error) {
	err = s.change(ctx, "send signals", nil, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		foreign := false
		queueSend(b, signals).Query(func(rows pgx.Rows) (err error) {
			sent, foreign, err = s.made(rows)
			return err
		})
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		return s.notifyOthers(ctx, tx, foreign)
	})
	if err != nil {
		return nil, err
	}
	return sent, nil
}

func (s *Store) notifyOthers(ctx context.Context, tx pgx.Tx, foreign bool) error {
	if !foreign {
		return nil
	}
	_, err := tx.Exec(ctx, "SELECT pg_notify($1, $2)", s.schema, s.engine)
	return err
}

// Deliver implements saga.Store.
func (s *Store) Deliver(ctx context.Context, mail []saga.Mail) (sent []saga.Signal, err error) {
	t := &touched{}
	var channels, keys, ids []string
	var at []int64
	var events [][]byte
	for i := range mail {
		m := &mail[i]
		t.address(s.schema, m.Channel, m.Key)
		channels, keys, ids = append(channels, clean(m.Channel)), append(keys, clean(m.Key)), append(ids, clean(m.ID))
		at, events = append(at, micros(m.At)), append(events, notNull(m.Event))
	}
	err = s.change(ctx, "deliver mail", t, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `WITH fresh AS (
				INSERT INTO mail (channel, key, id, at, event)
				SELECT channel, key, id, at, event FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bytea[]) WITH ORDINALITY
					AS u (channel, key, id, at, event, n) ORDER BY n
				ON CONFLICT DO NOTHING RETURNING seq, channel, key, event)
			INSERT INTO signals (instance, shard, task, event)
			SELECT i.id, i.shard, w.task, f.event FROM fresh f JOIN waiters w USING (channel, key) JOIN instances i ON i.id = w.instance
				ORDER BY f.seq, i.id, w.task
			RETURNING id, instance, shard, task, event`, channels, keys, ids, at, events)
		if err != nil {
			return err
		}
		var foreign bool
		if sent, foreign, err = s.made(rows); err != nil {
			return err
		}
		return s.notifyOthers(ctx, tx, foreign)
	})
	if err != nil {
		return nil, err
	}
	return sent, nil
}

// goes selects what may go, with its children.
const goes = `WITH RECURSIVE root AS (SELECT id FROM instances WHERE purge > 0 AND purge <= $1 ORDER BY purge LIMIT $2 %s),
	gone (id) AS (SELECT id FROM root UNION SELECT c.id FROM gone g JOIN instances c ON c.parent = g.id AND c.parent <> '') `

// Purge implements saga.Store. One engine at a time purges; the others find nothing to do meanwhile.
func (s *Store) Purge(ctx context.Context, now, mailBefore time.Time, limit int) (gone int, err error) {
	limit = max(0, limit)
	if err := s.unlock(ctx, now, limit); err != nil {
		return 0, err
	}
	err = s.change(ctx, "purge sagas", nil, func(tx pgx.Tx) error {
		var mine bool
		if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)", hash(s.schema, "purge")).Scan(&mine); err != nil || !mine {
			return err
		}
		// The rows are locked and looked at once more, since one may go on meanwhile.
		rows, err := tx.Query(ctx, sqlf(goes, "FOR UPDATE SKIP LOCKED")+"SELECT id FROM gone", micros(now), limit)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		if gone = len(ids); gone > 0 {
			for _, table := range []string{"history", "locks", "waiters", "signals"} {
				b.Queue("DELETE FROM "+table+" WHERE instance = ANY($1)", ids)
			}
			b.Queue("DELETE FROM instances WHERE id = ANY($1)", ids)
		}
		b.Queue("DELETE FROM mail WHERE ctid = ANY (ARRAY(SELECT ctid FROM mail WHERE at < $1 ORDER BY at LIMIT $2))", micros(mailBefore), limit)
		// A signal that was made for an instance while that went.
		b.Queue("DELETE FROM signals s WHERE NOT EXISTS (SELECT FROM instances i WHERE i.id = s.instance)")
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return 0, err
	}
	return gone, nil
}

// unlock gives on the locks that what is to go should have released.
func (s *Store) unlock(ctx context.Context, now time.Time, limit int) error {
	rows, err := s.pool.Query(ctx, sqlf(goes, "")+"SELECT l.name, l.instance FROM locks l JOIN gone ON gone.id = l.instance ORDER BY l.name, l.place",
		micros(now), limit)
	if err != nil {
		return err
	}
	type held struct{ Name, Instance string }
	locks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[held])
	if err != nil || len(locks) == 0 {
		return err
	}
	t := &touched{}
	for _, l := range locks {
		t.lockName(s.schema, l.Name)
	}
	return s.change(ctx, "release locks", t, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		for _, l := range locks {
			b.Queue(releaseLock, l.Name, l.Instance, []byte(saga.GrantedSignal("").Event))
		}
		b.Queue("SELECT pg_notify($1, '')", s.schema) // this engine is told as well
		return tx.SendBatch(ctx, b).Close()
	})
}
