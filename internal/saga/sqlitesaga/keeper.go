package sqlitesaga

import (
	"context"
	"database/sql/driver"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/atollhq/atoll/internal/saga"
)

// keeper brings the log into the file beside the commits. The log begins anew only when all of it is in the file, which under load
// never happens by this alone: what was written meanwhile is left. So the writer does the rest itself, before its next transaction;
// it is little.
type keeper struct {
	path  string
	kick  chan struct{}
	ended chan struct{}
	stop  context.CancelFunc
	rest  atomic.Bool // the writer is to do the rest
	often int         // bytes that are committed until the next time
	due   int         // bytes that were committed since the last time; the writer's
	failn sync.Mutex  // guards fault
	fault error
}

const enough = 32 << 20

func startKeeper(ctx context.Context, path string, often int) *keeper {
	ctx, stop := context.WithCancel(ctx)
	k := &keeper{path: path, kick: make(chan struct{}, 1), ended: make(chan struct{}), stop: stop, often: often}
	go k.run(ctx)
	return k
}

func (k *keeper) close() {
	k.stop()
	<-k.ended
}

func (k *keeper) run(ctx context.Context) {
	defer close(k.ended)
	var c *conn
	for {
		select {
		case <-ctx.Done():
			if c != nil {
				_ = c.Close() // it only read and copied
			}
			return
		case <-k.kick:
		}
		if c == nil {
			var err error
			if c, err = dial(k.path, "&_pragma=synchronous(FULL)"); err != nil {
				c = nil
				continue // it is tried again
			}
		}
		k.checkpoint(ctx, c)
		k.rest.Store(true)
	}
}

// checkpoint copies what no reader hinders. That others are at work is no failure; that the disk fails is one for good.
func (k *keeper) checkpoint(ctx context.Context, c *conn) {
	if err := c.query(ctx, "PRAGMA wal_checkpoint(PASSIVE)", nil, nothing); grave(err) {
		k.failn.Lock()
		defer k.failn.Unlock()
		k.fault = fmt.Errorf("%w: checkpoint: %w", saga.ErrBroken, err)
	}
}

func nothing([]driver.Value) error { return nil }

func (k *keeper) broken() error {
	k.failn.Lock()
	defer k.failn.Unlock()
	return k.fault
}

// wrote tells how many bytes were committed, more or less.
func (k *keeper) wrote(bytes int) {
	if k.due += bytes; k.due < k.often {
		return
	}
	k.due = 0
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// finish does the rest, if there is one.
func (k *keeper) finish(ctx context.Context, c *conn) {
	if k.rest.CompareAndSwap(true, false) {
		k.checkpoint(ctx, c)
	}
}
