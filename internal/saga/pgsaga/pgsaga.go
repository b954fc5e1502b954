// Package pgsaga keeps sagas in PostgreSQL, for several engines at once.
//
// # Guarantees
//
// A Commit is one transaction. It is refused with saga.ErrFenced when another engine owns a shard by now, when the lease of one has
// run out by the clock of the database, or when a row is further than this engine knows. When the connection is lost while a commit
// is under way, nobody knows what became of it: then it is a plain error, and what is read afterwards tells.
//
// # Shards
//
// There are 256. Engines register and are alive while they are seen; each takes free shards up to its fair share, and gives back what
// it has too many. Each change of the owner makes the shard's epoch grow. Only one engine at a time claims, under an advisory lock.
//
// A commit locks its engine's row (FOR KEY SHARE, which a heartbeat does not hinder) before it looks at its shards, and who takes a
// shard away locks the row of the owner (FOR UPDATE) before it does so. So a shard changes its owner either before the commit
// looks, and the commit is fenced, or after it has ended. A transaction whose engine has stopped is ended by the server after the time
// of a lease, so that nobody waits for it for ever.
//
// # Races between engines
//
// What engines share are idempotency keys, locks, and addresses of mail. A transaction first takes an advisory lock for each of those
// that it touches, all in one order, so that two transactions never wait for each other; the statements that follow see what those
// before have committed, since each statement reads anew (READ COMMITTED) and advisory locks are let go after the commit is seen. So a
// waiter is queued either before the holder releases, and is told, or after, and finds the lock free; and likewise an event.
//
// # Ordering
//
// Ids of signals grow as they are made, not as they are committed: who reads on from the last that it has seen may miss one, and is to
// read from the beginning from time to time.
package pgsaga

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nuid"

	"github.com/atollhq/atoll/internal/saga"
)

// Shards is how many shards there are.
const Shards = 256

// Options of Open.
type Options struct {
	Schema string        // where the tables are; default atoll_sagas
	Lease  time.Duration // how long an engine owns its shards unless it claims them again; default 10 s
	Logger *slog.Logger  // told when the connection that listens is lost; nil for nobody
}

// Store is a saga.Store in PostgreSQL, for one engine of several.
type Store struct {
	pool   *pgxpool.Pool
	engine string // names this one
	schema string
	lease  time.Duration
	log    *slog.Logger
	notify chan struct{}
	stop   context.CancelFunc // ends the goroutine that listens
	ended  chan struct{}

	lined atomic.Bool // the lifeline holds

	mu    sync.Mutex
	owned map[int]int64 // guarded by mu: epochs of the shards that this engine owns, as far as it knows
}

var _ saga.Store = (*Store)(nil)

// Open connects, and makes or updates the tables.
func Open(ctx context.Context, databaseURL string, opts *Options) (*Store, error) {
	if opts == nil {
		opts = &Options{}
	}
	s := &Store{
		engine: nuid.Next(), schema: cmp.Or(opts.Schema, "atoll_sagas"), lease: cmp.Or(opts.Lease, 10*time.Second), log: opts.Logger,
		notify: make(chan struct{}, 1), ended: make(chan struct{}), owned: map[int]int64{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if !regexp.MustCompile(`^[a-z_][a-z0-9_]{0,50}$`).MatchString(s.schema) {
		return nil, fmt.Errorf("open sagas: %q cannot be the name of a schema", s.schema)
	}
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("open sagas: %w", err)
	}
	s.configure(config)
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("open sagas: %w", err)
	}
	if err := s.migrate(ctx); err != nil {
		s.pool.Close()
		return nil, fmt.Errorf("open sagas: %w", err)
	}
	listening, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go s.listen(listening, config.ConnConfig.Copy())
	return s, nil
}

func (s *Store) configure(config *pgxpool.Config) {
	params := config.ConnConfig.RuntimeParams
	params["application_name"] = "atoll sagas"
	params["search_path"] = s.schema
	params["default_transaction_isolation"] = "read committed"
	params["idle_in_transaction_session_timeout"] = strconv.FormatInt(s.lease.Milliseconds(), 10)
	// Everything here is found by an index. While the server does not know yet how large tables that grow fast have become, it would rather
	// read them whole, with each commit.
	for _, way := range []string{"enable_seqscan", "enable_hashjoin", "enable_mergejoin"} {
		params[way] = "off"
	}
	params["plan_cache_mode"] = "force_generic_plan" // else many are planned anew with each commit
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error { // what is stricter stays
		_, err := c.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')")
		return err
	}
}

// listen tells of signals that other engines have made, until its context ends.
func (s *Store) listen(ctx context.Context, config *pgx.ConnConfig) {
	defer close(s.ended)
	for {
		err := s.hear(ctx, config)
		if ctx.Err() != nil {
			return
		}
		s.log.LogAttrs(ctx, slog.LevelWarn, "sagas: listening for signals was interrupted", slog.Any("error", err))
		timer := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func (s *Store) hear(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // it may be broken
	}()
	// The lifeline: the server lets this lock go when the connection ends, so that others need not wait for the lease of an engine that
	// has been killed.
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", s.lifeline(s.engine)); err != nil {
		return err
	}
	s.lined.Store(true)
	defer s.lined.Store(false)
	if _, err := conn.Exec(ctx, "LISTEN "+s.schema); err != nil {
		return err
	}
	s.tell() // what came before is not told
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if n.Payload != s.engine {
			s.tell()
		}
	}
}

func (s *Store) tell() {
	select {
	case s.notify <- struct{}{}:
	default:
	}
}

// Notify implements saga.Store.
func (s *Store) Notify() <-chan struct{} { return s.notify }

// Reset implements saga.Store. There is nothing to be mended here: it asks whether the database answers.
func (s *Store) Reset(ctx context.Context) error {
	if err := s.pool.Ping(ctx); err != nil {
		return fmt.Errorf("reset sagas: %w", err)
	}
	return nil
}

// Close implements saga.Store. The engine's shards are free at once.
func (s *Store) Close() error {
	s.stop()
	<-s.ended
	ctx, cancel := context.WithTimeout(context.Background(), min(s.lease, 10*time.Second))
	defer cancel()
	err := s.leave(ctx)
	s.pool.Close()
	if err != nil {
		return fmt.Errorf("close sagas: %w", err)
	}
	return nil
}

// change runs a function in a transaction. It waits for the locks of what is touched first.
func (s *Store) change(ctx context.Context, what string, touched *touched, fn func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if touched != nil {
			if err := touched.lock(ctx, tx, s.schema); err != nil {
				return err
			}
		}
		return fn(tx)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// clean is a text as PostgreSQL can keep it.
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

var errFenced = fmt.Errorf("its shards or instances are not what it knows: %w", saga.ErrFenced)

func fenced(format string, args ...any) error {
	return errors.Join(errFenced, fmt.Errorf(format, args...))
}
