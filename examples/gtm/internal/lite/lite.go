// Package lite is a service's own SQLite database: many readers, one writer, and a commit that many share.
//
// # Guarantees
//
// When Write returns nil, what the function wrote is on disk (journal in WAL mode, synchronous=FULL). A function
// that returns an error leaves nothing behind, and the others that share its commit are not touched.
//
// # Events
//
// With Options.Events the file also holds the service's outbox and inbox. Add publishes what a transaction makes, once
// that is committed and only then; On takes deliveries, and makes the effect of an event once.
//
// # Sagas
//
// With Options.Sagas the file also holds the barrier of the service's steps. Step makes the effect of a step once, and undoes
// it once, in whatever order the calls come.
//
// # Ordering and backpressure
//
// Functions run one after another, in the order in which they came. The queue holds 256; a Write beyond waits
// until its context ends. As many as wait are committed together, so that they share one sync of the disk.
package lite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"sync"

	"github.com/atollhq/atoll/sdk"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// ErrClosed is returned by Write after Close.
var ErrClosed = errors.New("database is closed")

// Options of Open.
type Options struct {
	// MaxBatch is how many functions share one commit at most; default 64.
	MaxBatch int

	// Events says that the service publishes by Add or takes events by On.
	Events bool

	// Sagas says that the service takes steps of sagas by Step.
	Sagas bool
}

// DB is a database that is open. It is safe for concurrent use.
type DB struct {
	read, write *sql.DB
	queue       chan job
	maxBatch    int
	closing     chan struct{} // closed by Close
	ended       chan struct{} // closed when the writer has ended
	close       func() error  // once

	outbox *sdk.Outbox // nil without Options.Events, as is inbox
	inbox  *sdk.Inbox

	barrier *sdk.Barrier // nil without Options.Sagas

	mu      sync.Mutex    // guards changed
	changed chan struct{} // closed and replaced at each commit
}

type job struct {
	ctx  context.Context //nolint:containedctx // travels with the job through the queue, and is not kept
	fn   func(context.Context, *sql.Tx) error
	done chan error
}

// Open opens the file at path, makes it where it is missing, and brings its schema up to date: migrations are
// SQL scripts that are run once each, in order; one that was ever released is never changed.
func Open(ctx context.Context, path string, migrations []string, opts *Options) (*DB, error) {
	db := &DB{
		queue: make(chan job, 256), maxBatch: 64, closing: make(chan struct{}), ended: make(chan struct{}),
		changed: make(chan struct{}),
	}
	if opts != nil && opts.MaxBatch > 0 {
		db.maxBatch = opts.MaxBatch
	}
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String() +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
	var err error
	if db.write, err = sql.Open("sqlite", dsn+"&_txlock=immediate"); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.write.SetMaxOpenConns(1)
	if db.read, err = sql.Open("sqlite", dsn+"&_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), db.write.Close())
	}
	db.read.SetMaxOpenConns(4)
	if opts != nil && opts.Events {
		err = db.setupEvents(ctx)
	}
	if err == nil && opts != nil && opts.Sagas {
		err = db.setupSagas(ctx)
	}
	if err == nil {
		err = db.migrate(ctx, migrations)
	}
	if err != nil {
		return nil, errors.Join(err, db.read.Close(), db.write.Close())
	}
	db.close = sync.OnceValue(func() error {
		close(db.closing)
		<-db.ended
		return errors.Join(db.read.Close(), db.write.Close())
	})
	go db.commits(context.WithoutCancel(ctx))
	return db, nil
}

func (db *DB) migrate(ctx context.Context, migrations []string) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if version > len(migrations) {
		return fmt.Errorf("migrate: the file has schema %d, this program knows %d", version, len(migrations))
	}
	for i, script := range migrations[version:] {
		if _, err := tx.ExecContext(ctx, script); err != nil {
			return fmt.Errorf("migration %d: %w", version+i+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(migrations))); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return tx.Commit()
}

// Read is for queries.
func (db *DB) Read() *sql.DB { return db.read }

// Ping tells whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.read.PingContext(ctx) }

// Changed is closed at the next commit of this DB. Other programs share the file, so who must not miss what they write
// looks from time to time as well.
func (db *DB) Changed() <-chan struct{} {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.changed
}

func (db *DB) tell() {
	db.mu.Lock()
	defer db.mu.Unlock()
	close(db.changed)
	db.changed = make(chan struct{})
}

// Write runs fn in a transaction, and returns when that is on disk. The context given to fn has the values of the
// caller's, such as the trace, but does not end with it: a statement that is interrupted would undo the whole commit. When ctx ends while fn waits for
// its turn, fn is not run; while it runs, Write returns at once and fn may yet be committed.
func (db *DB) Write(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	j := job{ctx: ctx, fn: fn, done: make(chan error, 1)}
	select {
	case db.queue <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closing:
		return ErrClosed
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-db.ended:
		select {
		case err := <-j.done:
			return err
		default:
			return ErrClosed
		}
	}
}

// Close waits for the commit under way and closes the file. Functions that still wait get ErrClosed. A second
// Close does nothing.
func (db *DB) Close() error { return db.close() }

// commits is the writer's goroutine; Close ends it.
func (db *DB) commits(ctx context.Context) {
	defer close(db.ended)
	for {
		select {
		case <-db.closing:
			return
		default:
		}
		select {
		case <-db.closing:
			return
		case first := <-db.queue:
			db.commit(ctx, first)
		}
	}
}

// commit runs first and what else waits, and answers each.
func (db *DB) commit(ctx context.Context, first job) {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		first.done <- fmt.Errorf("begin: %w", err)
		return
	}
	var written []job
	for next, more := first, true; more; {
		if err := inSavepoint(ctx, tx, next); err != nil {
			next.done <- err
		} else {
			written = append(written, next)
		}
		if len(written) == db.maxBatch {
			break
		}
		select {
		case next = <-db.queue:
		default:
			more = false
		}
	}
	if err = tx.Commit(); err != nil {
		err = fmt.Errorf("commit: %w", err)
		_ = tx.Rollback() // the error of the commit is the one that matters
	}
	if err == nil {
		db.tell()
	}
	for _, j := range written {
		j.done <- err
	}
}

func inSavepoint(ctx context.Context, tx *sql.Tx, j job) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "SAVEPOINT one"); err != nil {
		return fmt.Errorf("savepoint: %w", err)
	}
	err := j.fn(context.WithoutCancel(j.ctx), tx) //nolint:contextcheck // the caller's, who waits for this
	if err != nil {
		if _, undo := tx.ExecContext(ctx, "ROLLBACK TO one"); undo != nil {
			err = errors.Join(err, fmt.Errorf("undo: %w", undo))
		}
	}
	if _, release := tx.ExecContext(ctx, "RELEASE one"); release != nil {
		err = errors.Join(err, fmt.Errorf("release: %w", release))
	}
	return err
}
