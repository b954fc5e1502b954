package pgsaga

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/atollhq/atoll/internal/saga"
)

// Commit implements saga.Store. Statements are sent in two rounds, since each round costs a way to the server and back: what checks and
// writes the rows; what follows from those that were written, and the end. Where changes cannot be made together, or signals are made,
// there are more.
func (s *Store) Commit(ctx context.Context, changes []*saga.Change) ([]saga.Outcome, error) {
	w := &work{s: s, out: make([]saga.Outcome, len(changes)), next: &pgx.Batch{}}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("commit sagas: %w", err)
	}
	defer conn.Release()
	if err := w.commit(ctx, conn, changes); err != nil {
		undo(ctx, conn)
		return nil, fmt.Errorf("commit sagas: %w", err)
	}
	return w.out, nil
}

// undo ends a transaction. When it cannot, Release throws the connection away, and the server undoes it.
func undo(ctx context.Context, conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, "ROLLBACK")
}

// work is a commit under way.
type work struct {
	s       *Store
	out     []saga.Outcome
	next    *pgx.Batch // to be sent in the next round
	signals bool       // some statement of next makes signals
	foreign bool       // a signal was made for an instance of another engine
}

// send sends what is queued, and returns when it is done.
func (w *work) send(ctx context.Context, conn *pgxpool.Conn) error {
	b := w.next
	w.next, w.signals = &pgx.Batch{}, false
	if b.Len() == 0 {
		return nil
	}
	return conn.SendBatch(ctx, b).Close()
}

func (w *work) commit(ctx context.Context, conn *pgxpool.Conn, changes []*saga.Change) error {
	w.next.Queue("BEGIN")
	if err := w.fence(w.next, changes); err != nil {
		return err
	}
	for from := 0; from < len(changes); {
		to := from + segment(changes[from:])
		if err := w.run(ctx, conn, changes[from:to], w.out[from:to]); err != nil {
			return err
		}
		from = to
	}
	if w.signals { // it is known then whether they are for others
		if err := w.send(ctx, conn); err != nil {
			return err
		}
	}
	if w.foreign {
		w.next.Queue("SELECT pg_notify($1, $2)", w.s.schema, w.s.engine)
	}
	w.next.Queue("COMMIT")
	return w.send(ctx, conn)
}

// fence queues what makes sure that the shards of changes are this engine's until the transaction ends, and what locks the things
// that others may touch. The engine's row comes before all else; that order is the same everywhere.
func (w *work) fence(b *pgx.Batch, changes []*saga.Change) error {
	var shards []int
	for _, c := range changes {
		if c.Row != nil && !slices.Contains(shards, c.Row.Shard) {
			shards = append(shards, c.Row.Shard)
		}
	}
	epochs, owned := w.s.epochs(shards)
	if !owned {
		return fenced("shards %v", shards)
	}
	b.Queue("SELECT FROM engines WHERE id = $1 FOR KEY SHARE", w.s.engine)
	b.Queue(`SELECT count(*) FROM shards h JOIN unnest($1::int[], $2::bigint[]) AS u (shard, epoch) USING (shard, epoch)
		WHERE h.owner = $3 AND h.until > clock_timestamp()`, shards, epochs, w.s.engine).QueryRow(func(row pgx.Row) error {
		var n int
		if err := row.Scan(&n); err != nil {
			return err
		}
		if n != len(shards) {
			return fenced("of the shards %v it owns %d", shards, n)
		}
		return nil
	})
	touchedBy(w.s.schema, changes).queue(b, w.s.schema)
	return nil
}

// segment is how many changes can be made together: as long as each is of another instance, has another key, and is no child of one.
func segment(changes []*saga.Change) int {
	seen := map[[2]string]bool{}
	for i, c := range changes {
		if c.Row == nil {
			continue
		}
		keys := [][2]string{{"", c.Row.ID}}
		if c.Create != nil && c.Create.Idem != "" {
			keys = append(keys, [2]string{"/" + c.Row.Saga, c.Create.Idem})
		}
		if seen[[2]string{"", c.Row.Parent}] {
			return i
		}
		for _, k := range keys {
			if seen[k] {
				return i
			}
			seen[k] = true
		}
	}
	return len(changes)
}

// run makes changes of instances that are all others.
func (w *work) run(ctx context.Context, conn *pgxpool.Conn, changes []*saga.Change, out []saga.Outcome) error {
	var creates, updates []*saga.Change
	for _, c := range changes {
		switch {
		case c.Row == nil:
		case c.Create != nil:
			creates = append(creates, c)
		default:
			updates = append(updates, c)
		}
	}
	made, existing := map[string]bool{}, map[string]saga.Outcome{}
	if len(creates) > 0 {
		queueExisting(w.next, creates, existing)
		queueCreates(w.next, creates, made)
	}
	if len(updates) > 0 {
		queueUpdates(w.next, updates)
	}
	if err := w.send(ctx, conn); err != nil {
		return err
	}
	for i, c := range changes {
		if c.Row == nil || c.Create == nil || made[clean(c.Row.ID)] {
			continue
		}
		o, there := existing[clean(c.Row.ID)]
		if !there && c.Row.Parent == "" {
			return fenced("another engine has made %s", c.Row.ID)
		}
		o.Orphan = !there
		out[i] = o
	}
	w.follow(w.next, changes, out)
	return nil
}

// columns are rows, column by column, as unnest takes them.
type columns struct {
	id, saga, hash, key, parent, print, step, error []string
	idem                                            []*string
	shard, phase                                    []int32
	started, wake, ended, purge, rev                []int64
	state                                           [][]byte
}

func columnsOf(changes []*saga.Change) *columns {
	v := &columns{}
	for _, c := range changes {
		r := c.Row
		var idem *string
		mark := ""
		if c.Create != nil {
			mark = clean(c.Create.Print)
			if c.Create.Idem != "" {
				key := clean(c.Create.Idem)
				idem = &key
			}
		}
		v.id, v.saga, v.hash = append(v.id, clean(r.ID)), append(v.saga, clean(r.Saga)), append(v.hash, clean(r.Hash))
		v.key, v.parent, v.print = append(v.key, clean(r.Key)), append(v.parent, clean(r.Parent)), append(v.print, mark)
		v.step, v.error, v.idem = append(v.step, clean(r.Step)), append(v.error, clean(r.Error)), append(v.idem, idem)
		v.shard, v.phase = append(v.shard, int32(r.Shard)), append(v.phase, int32(saga.PhaseNumber(r.Phase))) //nolint:gosec // there are 256
		v.started, v.wake = append(v.started, micros(r.Started)), append(v.wake, int64(r.Wake))
		v.ended, v.purge, v.rev = append(v.ended, micros(r.Ended)), append(v.purge, micros(r.Purge)), append(v.rev, r.Rev)
		v.state = append(v.state, notNull(r.State))
	}
	return v
}

func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// leftOut tells whether a change was not made.
func leftOut(o *saga.Outcome) bool { return o.Existing != nil || o.Orphan }

// queueCreates queues the creation of instances, but of those whose id or key is there, or whose parent is not; made becomes those that were made.
func queueCreates(b *pgx.Batch, creates []*saga.Change, made map[string]bool) {
	v := columnsOf(creates)
	b.Queue(`INSERT INTO instances (id, saga, hash, key, shard, parent, started, idem, print, phase, step, error, wake, ended, purge, rev, state)
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::bigint[], $8::text[], $9::text[], $10::int[],
			$11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bytea[])
			AS u (id, saga, hash, key, shard, parent) WHERE u.parent = '' OR EXISTS (SELECT FROM instances p WHERE p.id = u.parent)
		ON CONFLICT DO NOTHING RETURNING id, rev`, v.id, v.saga, v.hash, v.key, v.shard, v.parent, v.started, v.idem, v.print, v.phase,
		v.step, v.error, v.wake, v.ended, v.purge, v.rev, v.state).Query(func(rows pgx.Rows) error {
		var id string
		var rev int64
		_, err := pgx.ForEachRow(rows, []any{&id, &rev}, func() error {
			if rev != 1 {
				return fenced("%s begins with revision %d", id, rev)
			}
			made[id] = true
			return nil
		})
		return err
	})
}

// queueUpdates queues the changes of instances, each from the revision before.
func queueUpdates(b *pgx.Batch, updates []*saga.Change) {
	v := columnsOf(updates)
	b.Queue(`UPDATE instances i SET hash = u.hash, phase = u.phase, step = u.step, error = u.error, wake = u.wake, ended = u.ended, purge = u.purge,
			rev = u.rev, state = u.state
		FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[], $11::int[])
			AS u (id, hash, phase, step, error, wake, ended, purge, rev, state, shard)
		WHERE i.id = u.id AND i.rev = u.rev - 1 AND i.shard = u.shard`,
		v.id, v.hash, v.phase, v.step, v.error, v.wake, v.ended, v.purge, v.rev, v.state, v.shard).Exec(func(tag pgconn.CommandTag) error {
		if n := tag.RowsAffected(); n != int64(len(updates)) {
			return fenced("of %d instances %d had the revision before", len(updates), n)
		}
		return nil
	})
}

// queueExisting queues the search for what keeps instances from being made. Nobody else can make an instance with one of the keys from
// then on, since this transaction has locked them.
func queueExisting(b *pgx.Batch, creates []*saga.Change, existing map[string]saga.Outcome) {
	v := columnsOf(creates)
	b.Queue("SELECT "+rowColumns+`, state, u.asked, print FROM unnest($1::text[], $2::text[], $3::text[]) AS u (asked, of, by)
		CROSS JOIN LATERAL (SELECT * FROM (SELECT * FROM instances WHERE id = asked UNION ALL SELECT * FROM instances WHERE saga = of AND idem = by) both_
			ORDER BY id = asked DESC LIMIT 1) found`, v.id, v.saga, v.idem).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var asked, mark string
			r, err := scan(rows, true, &asked, &mark)
			if err != nil {
				return err
			}
			existing[asked] = saga.Outcome{Existing: &r, Print: mark}
		}
		return rows.Err()
	})
}

// follow queues what changes bring about beside their rows.
func (w *work) follow(b *pgx.Batch, changes []*saga.Change, out []saga.Outcome) {
	var ids []string
	var revs, taken []int64
	var records [][]byte
	for i, c := range changes {
		if leftOut(&out[i]) {
			continue
		}
		taken = append(taken, c.Taken...)
		if c.Row != nil && len(c.Records) > 0 {
			ids, revs, records = append(ids, clean(c.Row.ID)), append(revs, c.Row.Rev), append(records, c.Records)
		}
	}
	if ids != nil {
		b.Queue("INSERT INTO history SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[])", ids, revs, records)
	}
	for i, c := range changes {
		if c.Row != nil && !leftOut(&out[i]) {
			w.one(b, c, &out[i])
		}
	}
	if taken != nil { // of an engine that owns them no more, they are not taken
		b.Queue("DELETE FROM signals WHERE id = ANY($1) AND shard IN (SELECT shard FROM shards WHERE owner = $2)", taken, w.s.engine)
	}
	w.sends(b, changes, out)
}

// one queues what belongs to one change.
func (w *work) one(b *pgx.Batch, c *saga.Change, out *saga.Outcome) {
	id := clean(c.Row.ID)
	if c.Forget != nil {
		tasks := make([]string, len(c.Forget))
		for i := range tasks {
			tasks[i] = clean(c.Forget[i])
		}
		b.Queue("DELETE FROM waiters WHERE instance = $1 AND task = ANY($2)", id, tasks)
	}
	for _, a := range c.Await {
		b.Queue(`INSERT INTO waiters VALUES ($1, $2, $3, $4) ON CONFLICT (instance, task) DO UPDATE SET channel = excluded.channel, key = excluded.key`,
			id, clean(a.Task), clean(a.Channel), clean(a.Key))
		b.Queue(`WITH oldest AS (SELECT m.event FROM mail m JOIN instances i ON i.id = $1 WHERE m.channel = $3 AND m.key = $4 AND m.at >= i.started
				ORDER BY m.at, m.seq LIMIT 1)
			INSERT INTO signals (instance, shard, task, event) SELECT i.id, i.shard, $2, oldest.event FROM oldest JOIN instances i ON i.id = $1
			RETURNING id, instance, shard, task, event`, id, clean(a.Task), clean(a.Channel), clean(a.Key)).Query(w.collect(out))
	}
	if c.Release != "" {
		b.Queue(releaseLock, clean(c.Release), id, []byte(saga.GrantedSignal("").Event)).Query(w.collect(out))
	}
	if c.Acquire != "" {
		b.Queue("INSERT INTO locks (name, instance) VALUES ($1, $2) ON CONFLICT DO NOTHING", clean(c.Acquire), id)
		b.Queue("SELECT instance = $2 FROM locks WHERE name = $1 ORDER BY place LIMIT 1", clean(c.Acquire), id).QueryRow(func(row pgx.Row) error {
			return row.Scan(&out.Granted)
		})
	}
}

// releaseLock gives a lock up. Its parts all see the queue as it was before; who comes after the holder is told.
const releaseLock = `WITH holder AS (SELECT instance FROM locks WHERE name = $1 ORDER BY place LIMIT 1),
		gone AS (DELETE FROM locks WHERE name = $1 AND instance = $2),
		next AS (SELECT instance FROM locks WHERE name = $1 AND instance <> $2 ORDER BY place LIMIT 1)
	INSERT INTO signals (instance, shard, task, event) SELECT i.id, i.shard, '', $3
		FROM holder JOIN next ON holder.instance = $2 JOIN instances i ON i.id = next.instance
	RETURNING id, instance, shard, task, event`

// collect takes the signals that a statement will have made.
func (w *work) collect(out *saga.Outcome) func(pgx.Rows) error {
	w.signals = true
	return func(rows pgx.Rows) error {
		signals, foreign, err := w.s.made(rows)
		out.Sent = append(out.Sent, signals...)
		w.foreign = w.foreign || foreign
		return err
	}
}

// made reads signals that were made, and tells whether some are for other engines.
func (s *Store) made(rows pgx.Rows) (out []saga.Signal, foreign bool, err error) {
	var sig saga.Signal
	var shard int
	var event []byte
	_, err = pgx.ForEachRow(rows, []any{&sig.ID, &sig.Instance, &shard, &sig.Task, &event}, func() error {
		sig.Event = json.RawMessage(slices.Clone(event))
		out = append(out, sig)
		if _, owned := s.epochs([]int{shard}); !owned {
			foreign = true
		}
		return nil
	})
	return out, foreign, err
}

// sends queues the signals of changes. One for an instance that only a later change has made is left out.
func (w *work) sends(b *pgx.Batch, changes []*saga.Change, out []saga.Outcome) {
	born := map[string]int{}
	for i, c := range changes {
		if c.Row != nil && c.Create != nil && !leftOut(&out[i]) {
			born[c.Row.ID] = i
		}
	}
	for i, c := range changes {
		if leftOut(&out[i]) {
			continue
		}
		kept := slices.DeleteFunc(slices.Clone(c.Send), func(sig saga.Signal) bool { return born[sig.Instance] > i })
		if len(kept) > 0 {
			queueSend(b, kept).Query(w.collect(&out[i]))
		}
	}
}

// queueSend queues the making of signals for instances that are there.
func queueSend(b *pgx.Batch, signals []saga.Signal) *pgx.QueuedQuery {
	var ids, tasks []string
	var events [][]byte
	for _, sig := range signals {
		ids, tasks, events = append(ids, clean(sig.Instance)), append(tasks, clean(sig.Task)), append(events, notNull(sig.Event))
	}
	return b.Queue(`INSERT INTO signals (instance, shard, task, event)
		SELECT i.id, i.shard, u.task, u.event FROM unnest($1::text[], $2::text[], $3::bytea[]) WITH ORDINALITY AS u (id, task, event, n)
			JOIN instances i ON i.id = u.id ORDER BY u.n
		RETURNING id, instance, shard, task, event`, ids, tasks, events)
}
