package std

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
)

// budget bounds the bytes that requests hold together.
type budget struct {
	max  int64
	used atomic.Int64
}

// take tells whether there are n bytes left, and takes them.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) <= b.max {
		return true
	}
	b.used.Add(-n)
	return false
}

func (b *budget) giveBack(n int64) { b.used.Add(-n) }

// showBody lets the policy see the whole body, and takes its reply into the decision. It tells whether that came so far;
// if not, the request has been answered.
func (x *exchange) showBody(out *http.Request) bool {
	start, d := time.Now(), &x.decision
	ctx := out.Context()
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, start.Add(d.Timeout), errTimeout)
		defer cancel()
	}
	var whole []byte
	if x.body != nil {
		if err := x.holdBody(ctx, out); err != nil {
			if err = x.explain(ctx, err); errors.Is(err, errTimeout) {
				err = errClientLate // it was the client that was waited for
			}
			x.fail(err)
			return false
		}
		whole = x.body.whole()
	}
	d.Reply = d.Body(ctx, whole)
	if d.Timeout > 0 { // what is left of it
		d.Timeout = max(time.Until(start.Add(d.Timeout)), time.Millisecond)
	}
	return true
}

// holdBody reads the body to its end and keeps all of it, so that every try finds it from its beginning.
func (x *exchange) holdBody(ctx context.Context, out *http.Request) error {
	b := x.body
	b.keep = b.max
	if b.max == 0 {
		b.keep = x.h.held.max
	}
	r := b.open(out)
	stop := context.AfterFunc(ctx, func() { // a read waits for the client, not for ctx
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			r.giveUp()
		}
	})
	defer stop()
	chunk := x.h.proxy.BufferPool.Get()
	defer x.h.proxy.BufferPool.Put(chunk)
	for {
		n, err := r.Read(chunk)
		if !x.h.held.take(int64(n)) {
			return errHeld
		}
		x.held += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// whole is the body, once it has been read to its end.
func (b *body) whole() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept
}

// errHeld says that too much is held already.
var errHeld = errors.New("too many bytes of bodies are held")

func tooMuchHeld() *relay.Reply {
	return relay.Refuse(http.StatusServiceUnavailable,
		fault.New(fault.CodeServiceBusy, "too many requests with bodies are looked at already").Fix("try again in a moment"),
		relay.Field{Name: "Retry-After", Value: "1"})
}
