package pgsaga

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/atollhq/atoll/internal/saga"
)

// touched is what a transaction touches that others may touch at the same time: idempotency keys, locks, addresses of mail.
type touched struct{ keys []int64 }

// hash is the number of an advisory lock. Two that are the same by chance only wait for each other.
func hash(parts ...string) int64 {
	h := sha256.New()
	for _, p := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	return int64(binary.BigEndian.Uint64(h.Sum(nil))) //nolint:gosec // any bits will do
}

func (t *touched) lockName(schema, name string) {
	t.keys = append(t.keys, hash(schema, "lock", clean(name)))
}

func (t *touched) address(schema, channel, key string) {
	t.keys = append(t.keys, hash(schema, "mail", clean(channel), clean(key)))
}

func touchedBy(schema string, changes []*saga.Change) *touched {
	t := &touched{}
	for _, c := range changes {
		if c.Row == nil {
			continue
		}
		if c.Create != nil && c.Create.Idem != "" {
			t.keys = append(t.keys, hash(schema, "idem", clean(c.Row.Saga), clean(c.Create.Idem)))
		}
		for _, name := range []string{c.Release, c.Acquire} {
			if name != "" {
				t.lockName(schema, name)
			}
		}
		for _, w := range c.Await {
			t.address(schema, w.Channel, w.Key)
		}
	}
	return t
}

// maxKeys bounds the advisory locks of a transaction, since the server has room for so many only. One that needs more takes the one
// lock that all others share.
const maxKeys = 256

// queue queues the taking of the locks, in one order.
func (t *touched) queue(b *pgx.Batch, schema string) {
	if len(t.keys) == 0 {
		return
	}
	slices.Sort(t.keys)
	keys := slices.Compact(t.keys)
	all := hash(schema, "all")
	if len(keys) > maxKeys {
		b.Queue("SELECT pg_advisory_xact_lock($1)", all)
		return
	}
	b.Queue("SELECT pg_advisory_xact_lock_shared($1)", all)
	b.Queue("SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) WITH ORDINALITY AS u (k, n) ORDER BY n", keys)
}

// lock takes the locks.
func (t *touched) lock(ctx context.Context, tx pgx.Tx, schema string) error {
	b := &pgx.Batch{}
	if t.queue(b, schema); b.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, b).Close()
}
