package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
)

// maxTunnels is how many connections one pair may have open; more are closed at once.
const maxTunnels = 4096

// serveTCP relays the bytes of each connection.
func (p *policy) serveTCP(ctx context.Context, ln net.Listener) error {
	base, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	var tunnels sync.WaitGroup
	var open atomic.Int64
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	err := p.accept(ln, func(conn net.Conn) {
		if open.Add(1) > maxTunnels {
			open.Add(-1)
			conn.Close()
			return
		}
		tunnels.Go(func() {
			defer open.Add(-1)
			p.tunnel(base, conn)
		})
	})
	ln.Close()
	timer := time.AfterFunc(p.m.opts.Drain, abort)
	defer timer.Stop()
	tunnels.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// accept takes connections until the listener is closed or fails. A lack of resources is waited out.
func (p *policy) accept(ln net.Listener, serve func(net.Conn)) error {
	for pause := time.Duration(0); ; {
		conn, err := ln.Accept()
		if err == nil {
			pause = 0
			serve(conn)
			continue
		}
		if ne, ok := errors.AsType[*net.OpError](err); !ok || errors.Is(ne, net.ErrClosed) || pause >= time.Second {
			return fmt.Errorf("accept calls of %s: %w", p.pair, err)
		}
		pause = max(2*pause, 5*time.Millisecond)
		<-time.After(pause)
	}
}

// tunnel relays one connection.
func (p *policy) tunnel(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	hop := relay.Hop{
		Kind: relay.KindCall, Start: time.Now(), Trace: relay.NewTrace(), Caller: p.caller, Service: p.callee,
		Protocol: "tcp", Remote: p.caller, GRPCCode: -1, Tries: 1,
	}
	err := p.carry(ctx, conn, &hop)
	if err != nil {
		hop.Code, hop.Err = fault.CodeOf(err), err.Error()
		p.m.opts.Logger.Warn("call over tcp failed", slog.String("call", p.String()), slog.Any("error", err))
	}
	hop.Duration = time.Since(hop.Start)
	p.m.opts.OnHop(hop)
}

func (p *policy) carry(ctx context.Context, conn net.Conn, hop *relay.Hop) error {
	call, refusal := p.m.allowed(p.pair)
	if refusal != nil {
		return refusal
	}
	dialing, cancel := context.WithCancel(ctx)
	defer cancel()
	if t := call.Timeout.Std(); t > 0 {
		dialing, cancel = context.WithTimeout(ctx, t)
		defer cancel()
	}
	up, held, err := p.m.up.Connect(dialing, p.callee)
	if err != nil {
		return err
	}
	defer held.End()
	defer up.Close()
	hop.Endpoint, hop.Version = held.Endpoint()
	hop.Waited = held.Waited()
	stop := context.AfterFunc(ctx, func() {
		conn.Close()
		up.Close()
	})
	defer stop()
	var there sync.WaitGroup
	there.Go(func() { hop.BytesIn = pipe(up, conn) })
	hop.BytesOut = pipe(conn, up)
	there.Wait()
	return nil
}

// pipe copies until src ends, and passes the end on; an error ends both ways.
func pipe(dst, src net.Conn) int64 {
	n, err := io.Copy(dst, src)
	half, ok := dst.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		dst.Close()
		src.Close()
	}
	return n
}
