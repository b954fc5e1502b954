package mesh

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// Options are settings whose zero values are usable.
type Options struct {
	// Logger takes what operators should know. Nil discards.
	Logger *slog.Logger
	// OnHop is told of each call once it has ended. It must not block. Nil means that of the upstreams.
	OnHop func(relay.Hop)
	// Drain is how long calls in flight may take when Serve ends; 0 means 10 s.
	Drain time.Duration
	// StallTimeout is how long a body may not move, in either direction; 0 means 60 s.
	StallTimeout time.Duration
}

// Mesh decides on calls. It is safe for concurrent use.
type Mesh struct {
	up   *relay.Upstreams
	opts Options
	snap atomic.Pointer[snapshot]
}

// snapshot is who may call whom. It is never changed.
type snapshot struct {
	calls   map[pair]manifest.Call
	callers map[string]callerInfo
}

type pair struct{ caller, callee string }

// callerInfo is what a refusal needs, to name the line that would allow the call.
type callerInfo struct {
	file  string
	calls []string
}

// New returns a mesh in which nobody may call anybody yet.
func New(up *relay.Upstreams, opts *Options) *Mesh {
	m := &Mesh{up: up}
	if opts != nil {
		m.opts = *opts
	}
	m.opts.Logger = cmp.Or(m.opts.Logger, slog.New(slog.DiscardHandler))
	m.opts.Drain = cmp.Or(m.opts.Drain, 10*time.Second)
	m.opts.StallTimeout = cmp.Or(m.opts.StallTimeout, time.Minute)
	if m.opts.OnHop == nil {
		m.opts.OnHop = up.OnHop()
	}
	m.snap.Store(&snapshot{})
	return m
}

// Apply takes over from a manifest who may call whom, and how patient they are.
func (m *Mesh) Apply(app *manifest.App) {
	s := &snapshot{calls: map[pair]manifest.Call{}, callers: map[string]callerInfo{}}
	for _, service := range app.Services {
		info := callerInfo{file: app.FileOf(service)}
		for _, call := range service.Calls {
			s.calls[pair{service.Name, call.Service}] = call
			info.calls = append(info.calls, call.Service)
		}
		s.callers[service.Name] = info
	}
	m.snap.Store(s)
}

// Serve serves the listener of a pair until ctx ends, then lets calls in flight end, bounded by Options.Drain, and
// returns nil. It closes the listener. The protocol is the callee's; where it comes to be tcp or ceases to be, the pair is
// to be served anew.
func (m *Mesh) Serve(ctx context.Context, ln net.Listener, caller, callee string, protocol manifest.Protocol) error {
	p := &policy{m: m, pair: pair{caller, callee}}
	if protocol == manifest.ProtocolTCP {
		return p.serveTCP(ctx, ln)
	}
	return m.up.Driver().Serve(ctx, ln, &relay.Server{
		Kind: relay.KindCall, Upstreams: m.up, Policy: p, OnHop: m.opts.OnHop, Logger: m.opts.Logger,
		HeaderTimeout: 30 * time.Second, IdleTimeout: 5 * time.Minute, StallTimeout: m.opts.StallTimeout,
		MaxHeader: 1 << 20, Drain: m.opts.Drain,
	})
}

// policy decides on the calls of one pair.
type policy struct {
	m *Mesh
	pair
}

// Decide implements relay.Policy.
func (p *policy) Decide(_ context.Context, r *relay.Request) relay.Decision {
	d := relay.Decision{Caller: p.caller, Service: p.callee, Remote: p.caller}
	call, refusal := p.m.allowed(p.pair)
	if refusal != nil {
		d.Reply = relay.Refuse(403, refusal)
		return d
	}
	d.Path, d.Query = r.RawPath, r.Query
	d.Idempotent = relay.Idempotent(r.Method, r.Header)
	d.Tries, d.TryTimeout = cmp.Or(call.Tries, 3), call.TryTimeout.Std()
	d.Timeout = earlier(call.Timeout.Std(), r.Header.Get(relay.DeadlineHeader))
	relay.Scrub(r.Header, reserved)
	d.Upstream = []relay.Field{{Name: relay.CallerHeader, Value: p.caller}}
	return d
}

// reserved tells whether a field of a caller must not reach the callee.
func reserved(name string) bool {
	return relay.Reserved(name) && name != relay.SubjectHeader && name != relay.AuthHeader
}

// earlier is the smaller of a timeout (0: none) and the milliseconds that a caller's own deadline leaves it.
func earlier(timeout time.Duration, deadline string) time.Duration {
	ms, err := strconv.ParseInt(deadline, 10, 32)
	if err != nil || ms <= 0 {
		return timeout
	}
	left := time.Duration(ms) * time.Millisecond
	if timeout == 0 {
		return left
	}
	return min(timeout, left)
}

// allowed returns the declared call, or why there is none.
func (m *Mesh) allowed(p pair) (manifest.Call, *fault.Error) {
	s := m.snap.Load()
	if call, ok := s.calls[p]; ok {
		return call, nil
	}
	err := fault.New(fault.CodeCallUndeclared, "service %q does not declare that it calls %q", p.caller, p.callee)
	info, known := s.callers[p.caller]
	if !known {
		return manifest.Call{}, err.Fix("service %q is no longer part of the application", p.caller)
	}
	calls := slices.Concat(info.calls, []string{p.callee})
	return manifest.Call{}, err.Fix("write `calls: [%s]` in %s", strings.Join(calls, ", "), info.file)
}

// String is "caller -> callee".
func (p pair) String() string { return p.caller + " -> " + p.callee }
