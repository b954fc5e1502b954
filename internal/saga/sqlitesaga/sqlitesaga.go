// Package sqlitesaga keeps sagas in a SQLite file on the machine itself.
//
// # Guarantees
//
// What is acknowledged is on the disk (write-ahead log, synchronous=FULL) and survives a cut of the power. A Commit is one
// transaction with one sync. When a sync or another operation of the disk fails, or the file is damaged, nothing is taken any more
// until the process starts again. A disk that is full is no such thing: Reset opens the file anew, and it goes on when there is room.
//
// # Ordering and backpressure
//
// There is one writer: commits run one after the other, in the order in which they come. Reads run beside them. The log is brought
// into the file by a goroutine of the store's own, which no commit waits for, but for what came while it did so.
//
// # One engine
//
// A file serves one engine, which owns its only shard. A second that opens it is refused; the lock is a file beside it.
package sqlitesaga

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/atollhq/atoll/internal/saga"
)

// Store is a saga.Store in a file.
type Store struct {
	path   string
	beside *conn // holds the lock
	read   *sql.DB
	notify chan struct{}
	keeper *keeper

	mu      sync.Mutex      // guards all that follows
	write   *conn           // nil once the store is closed, or cannot be used until Reset
	again   bool            // write is nil since something else than a Commit has failed: it is opened anew when it is needed
	broken  error           // why it can never be used again
	claimed bool            // it was asked who owns the shard
	hot     map[string]*hot // what is known of instances that were changed lately, by id
	lastN   int64           // number of an instance
	lastID  int64           // of a signal
	counted map[tally]int64 // what a transaction changes of counts
}

// tally is what instances are counted by.
type tally struct {
	saga  string
	phase int64
}

var _ saga.Store = (*Store)(nil)

const readers = 4

// Options of Open.
type Options struct {
	// Checkpoint is after how many bytes of commits, more or less, the log is brought into the file; default 32 MiB.
	Checkpoint int
}

// Open opens the file at path, or makes it. Its folder must be there.
func Open(ctx context.Context, path string, opts *Options) (*Store, error) {
	if opts == nil {
		opts = &Options{}
	}
	s := &Store{path: path, notify: make(chan struct{}, 1), hot: map[string]*hot{}, counted: map[tally]int64{}}
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	var err error
	if s.read, err = sql.Open("sqlite", fileURL(path)+"?_pragma=busy_timeout(10000)&_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(fmt.Errorf("open sagas: %w", err), s.Close())
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	s.keeper = startKeeper(context.WithoutCancel(ctx), path, cmp.Or(opts.Checkpoint, enough))
	return s, nil
}

// lock keeps other engines off the file. The lock ends with the process, if not before.
func (s *Store) lock(ctx context.Context) error {
	for _, path := range []string{s.path, s.path + "-lock"} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("open sagas: %w", err)
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("open sagas: %w", err)
		}
	}
	beside, err := dial(s.path+"-lock", "&_pragma=busy_timeout(0)")
	if err != nil {
		return fmt.Errorf("lock sagas: %w", err)
	}
	if _, err := beside.exec(ctx, "BEGIN EXCLUSIVE"); err != nil {
		return errors.Join(fmt.Errorf("lock sagas: another engine has %s: %w", s.path, err), beside.Close())
	}
	s.beside = beside
	return nil
}

// open opens the writer's connection. The caller holds mu, or nobody else knows the store.
func (s *Store) open(ctx context.Context) error {
	c, err := dial(s.path, "")
	if err == nil {
		s.write = c
		err = s.prepare(ctx)
	}
	if err != nil {
		return s.fail("open sagas", err)
	}
	return nil
}

func (s *Store) prepare(ctx context.Context) error {
	if v, err := s.write.number(ctx, "PRAGMA user_version"); err == nil && v == 0 {
		if _, err := s.write.exec(ctx, "PRAGMA auto_vacuum = INCREMENTAL"); err != nil { // takes hold where there is no table yet
			return err
		}
	}
	mode, err := s.write.one(ctx, "PRAGMA journal_mode = WAL")
	if err != nil {
		return err
	}
	if len(mode) != 1 || text(mode[0]) != "wal" {
		return fmt.Errorf("the file system of %s takes no write-ahead log: %v", s.path, mode)
	}
	for _, p := range []string{"synchronous = FULL", "wal_autocheckpoint = 0", "journal_size_limit = 67108864", "cache_size = -8000"} {
		if err := s.write.query(ctx, "PRAGMA "+p, nil, nothing); err != nil {
			return err
		}
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	clear(s.hot)
	clear(s.counted)
	if s.lastN, err = s.write.number(ctx, "SELECT max(n) FROM instances"); err != nil {
		return err
	}
	last, err := s.write.number(ctx, "SELECT max(id) FROM signals")
	s.lastID = max(s.lastID, last)
	return err
}

func (s *Store) migrate(ctx context.Context) error {
	return s.write.transaction(ctx, func() error {
		version, err := s.write.number(ctx, "PRAGMA user_version")
		if err != nil {
			return err
		}
		if version > int64(len(schemas())) {
			return fmt.Errorf("the file has schema %d, this program knows %d", version, len(schemas()))
		}
		for _, statements := range schemas()[version:] {
			for _, text := range statements {
				if _, err := s.write.exec(ctx, text); err != nil {
					return err
				}
			}
		}
		if version == int64(len(schemas())) {
			return nil
		}
		_, err = s.write.exec(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(schemas())))
		return err
	})
}

// fail tells that an operation has failed. After a grave error the store is never used again. The caller holds mu.
func (s *Store) fail(what string, err error) error {
	if grave(err) && s.broken == nil {
		s.broken = fmt.Errorf("%w: %w", saga.ErrBroken, err)
	}
	if s.broken != nil {
		return fmt.Errorf("%s: %w", what, s.broken)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// usable tells why nothing can be written, or nil. The caller holds mu.
func (s *Store) usable() error {
	if s.broken == nil && s.keeper != nil {
		s.broken = s.keeper.broken()
	}
	switch {
	case s.broken != nil:
		return s.broken
	case s.write == nil:
		return errors.New("the file is closed")
	}
	return nil
}

// change runs a function in a transaction that is on the disk when it returns nil. After any other error than ErrFenced, nothing can
// be written until Reset, if it was a Commit: who asked for something else asks again, and nobody calls Reset.
func (s *Store) change(ctx context.Context, what string, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again && s.broken == nil {
		if err := s.reopen(ctx); err != nil {
			return err
		}
	}
	if err := s.usable(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	s.keeper.finish(ctx, s.write)
	err := s.write.transaction(ctx, func() error {
		if err := fn(ctx); err != nil {
			return err
		}
		return s.saveCounts(ctx)
	})
	if err == nil {
		return nil
	}
	clear(s.hot)
	clear(s.counted)
	if !errors.Is(err, saga.ErrFenced) {
		_ = s.write.Close() // it is opened anew, or never
		s.write, s.again = nil, what != committing
	}
	return s.fail(what, err)
}

const committing = "commit sagas"

// reopen opens the writer's connection once more. The caller holds mu.
func (s *Store) reopen(ctx context.Context) error {
	err := s.open(ctx)
	if err != nil && s.write != nil {
		_ = s.write.Close()
		s.write = nil
	}
	s.again = s.again && err != nil
	return err
}

// transaction runs a function and commits what it has written, or undoes it.
func (c *conn) transaction(ctx context.Context, fn func() error) error {
	if _, err := c.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		_, err = c.exec(ctx, "COMMIT")
	}
	if err != nil {
		_, _ = c.exec(ctx, "ROLLBACK") // SQLite may have done it already; the first error is the one that matters
	}
	return err
}

// Claim implements saga.Store.
func (s *Store) Claim(context.Context) (saga.Claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := saga.Claim{Owned: []int{0}}
	if !s.claimed {
		c.Fresh = []int{0}
	}
	s.claimed = true
	return c, nil
}

// Reset implements saga.Store.
func (s *Store) Reset(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return fmt.Errorf("reset sagas: %w", s.broken)
	}
	if s.write != nil {
		return nil
	}
	return s.reopen(ctx)
}

// Notify implements saga.Store. Nothing ever comes from elsewhere, except a lock that a purge gives on.
func (s *Store) Notify() <-chan struct{} { return s.notify }

// Close implements saga.Store.
func (s *Store) Close() error {
	if s.keeper != nil {
		s.keeper.close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again = false
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	for _, c := range []**conn{&s.write, &s.beside} {
		if *c != nil {
			errs = append(errs, (*c).Close())
			*c = nil
		}
	}
	return errors.Join(errs...)
}
