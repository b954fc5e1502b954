package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica"
)

// process is one running replica.
type process struct {
	group  *group
	spec   replica.Spec
	host   string
	port   int
	limits *cgroup
	usage  *usage

	done chan struct{}
	exit replica.Exit // valid once done is closed
}

var _ replica.Process = (*process)(nil)

// watch waits for the end.
func (p *process) watch(d *Driver) {
	defer close(p.done)
	exit := p.group.wait()
	exit.OutOfMemory = exit.Signal != "" && p.limits.outOfMemory()
	exit.PortTaken = portTaken(d.o.Host, p.port)
	p.limits.remove()
	p.exit = exit
}

// portTaken tells whether somebody listens on a port, by trying to.
func portTaken(host string, port int) bool {
	for _, h := range []string{host, ""} {
		var lc net.ListenConfig
		l, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort(h, strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRINUSE) {
			return true
		}
		if err == nil {
			l.Close()
		}
	}
	return false
}

// PID is the process's, which is its group's as well.
func (p *process) PID() int { return p.group.pid }

// Addr is host and port.
func (p *process) Addr() string { return net.JoinHostPort(p.host, strconv.Itoa(p.port)) }

// Dial connects to the process's port. A program that listens on IPv6 loopback alone (many do when told
// "localhost") is found there.
func (p *process) Dial(ctx context.Context) (net.Conn, error) {
	select {
	case <-p.done: // the port may be somebody else's by now
		return nil, fmt.Errorf("dial %s: %w", p.Addr(), net.ErrClosed)
	default:
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.Addr())
	if err != nil && p.host == "127.0.0.1" && errors.Is(err, syscall.ECONNREFUSED) {
		if conn, err6 := d.DialContext(ctx, "tcp", net.JoinHostPort("::1", strconv.Itoa(p.port))); err6 == nil {
			return conn, nil
		}
	}
	return conn, err
}

// Probe asks in the way that the service's readiness says.
func (p *process) Probe(ctx context.Context) error {
	switch p.spec.Ready.Kind {
	case manifest.ReadyHTTP:
		return probeHTTP(ctx, p)
	case manifest.ReadyGRPC:
		return probeGRPC(ctx, p)
	case manifest.ReadyTCP:
		return probeTCP(ctx, p)
	default:
		return fmt.Errorf("readiness %q is not known", p.spec.Ready.Kind)
	}
}

// Done is closed at the end.
func (p *process) Done() <-chan struct{} { return p.done }

// Exit is how it ended.
func (p *process) Exit() replica.Exit { return p.exit }

// Terminate sends SIGTERM to the group.
func (p *process) Terminate() error { return p.group.terminate() }

// Kill sends SIGKILL to the group.
func (p *process) Kill() error { return p.group.kill() }

// Usage is the sum over the group.
func (p *process) Usage() replica.Usage {
	select {
	case <-p.done:
		return replica.Usage{}
	default:
		return p.usage.of(p.group.pid)
	}
}

// wholeRunes is the length of b without an incomplete character at its end.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if utf8.FullRune(b[i:]) {
				return len(b)
			}
			return i
		}
	}
	return len(b)
}
