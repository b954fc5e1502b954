package memory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/replica"
)

// Program is the body of a copy; it returns the exit code. When the copy is killed, its context ends, and
// what the program then returns does not matter; it must return soon.
type Program func(ctx context.Context, c *Copy) int

// Build is the body of a build command. An error makes the build fail.
type Build func(ctx context.Context, spec replica.BuildSpec) error

// Driver runs programs by name. The zero value has none. Once it runs, Install changes what it has.
type Driver struct {
	mu       sync.Mutex         // guards what follows, once the driver runs
	Programs map[string]Program // by the first word of a run command
	Builds   map[string]Build   // by the first word of a build command
	copies   []*Copy
	pids     int
}

var (
	_ replica.Driver  = (*Driver)(nil)
	_ replica.Process = (*Copy)(nil)
)

// Install makes name stand for a program and a build, from the next start and build on; nil leaves one as it
// is.
func (d *Driver) Install(name string, p Program, b Build) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p != nil {
		d.Programs[name] = p
	}
	if b != nil {
		d.Builds[name] = b
	}
}

func (d *Driver) find(name string) (Program, Build) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Programs[name], d.Builds[name]
}

// Start starts the program that spec.Run begins with.
func (d *Driver) Start(ctx context.Context, spec replica.Spec) (replica.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name, args := split(spec.Run)
	program, _ := d.find(name)
	if program == nil {
		return nil, fault.New(fault.CodeReplicaProgramMissing, "the program %q of %s is not there", name, spec.Service).
			Fix("give the driver a program of that name")
	}
	c := d.newCopy(spec, args)
	go c.run(program) //nolint:contextcheck // a copy outlives the context of its start
	return c, nil
}

// Build runs the build that spec.Command begins with.
func (d *Driver) Build(ctx context.Context, spec replica.BuildSpec) error {
	name, _ := split(spec.Command)
	_, build := d.find(name)
	if build == nil {
		return fault.New(fault.CodeReplicaProgramMissing, "the program %q that builds %s is not there", name, spec.Service).
			Fix("give the driver a build of that name")
	}
	if err := build(ctx, spec); err != nil {
		return fault.New(fault.CodeReplicaBuildFailed, "the build of %s failed", spec.Service).Because(err).
			Fix("read the compiler's lines")
	}
	return nil
}

// Listen opens a listener on loopback.
func (d *Driver) Listen(ctx context.Context, _ string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", "127.0.0.1:0")
}

// Copies is every copy that was ever started, oldest first.
func (d *Driver) Copies() []*Copy {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.copies)
}

// Running is the copies that have not ended, oldest first.
func (d *Driver) Running() []*Copy {
	return slices.DeleteFunc(d.Copies(), func(c *Copy) bool {
		select {
		case <-c.done:
			return true
		default:
			return false
		}
	})
}

func split(command string) (name string, args []string) {
	words := strings.Fields(command)
	if len(words) == 0 {
		return "", nil
	}
	return words[0], words[1:]
}

func (d *Driver) newCopy(spec replica.Spec, args []string) *Copy {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pids++
	port := spec.Port
	if port == 0 {
		port = 20000 + d.pids
	}
	spec.Env = append(slices.Clone(spec.Env), fmt.Sprintf("PORT=%d", port))
	c := &Copy{
		Spec: spec, Args: args, pid: d.pids, port: port,
		terminated: make(chan struct{}), killed: make(chan struct{}), done: make(chan struct{}),
		conns: make(chan net.Conn),
	}
	d.copies = append(d.copies, c)
	return c
}

// Copy is one running program, as the program and as the supervisor see it.
type Copy struct {
	Spec replica.Spec // Env with PORT
	Args []string     // the words of Spec.Run after the first
	pid  int
	port int

	terminated chan struct{}
	killed     chan struct{}
	done       chan struct{}
	conns      chan net.Conn

	mu     sync.Mutex // guards what follows
	state  error      // what Probe returns
	known  bool       // state was set
	termed bool
	dead   bool
	forced *replica.Exit // how it ends, whatever the program returns
	exit   replica.Exit
	probes int
}

func (c *Copy) run(program Program) {
	defer close(c.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	code := make(chan int, 1)
	go func() { code <- program(ctx, c) }()
	exit := replica.Exit{}
	select {
	case exit.Code = <-code:
	case <-c.killed:
		cancel()
		<-code
		exit = replica.Exit{Code: -1, Signal: "SIGKILL"}
	}
	exit.At = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forced != nil {
		exit = *c.forced
		exit.At = time.Now()
	}
	c.exit = exit
}

// Ready makes the copy answer probes with err; nil means that it is ready. Before the first call it is not.
func (c *Copy) Ready(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.known = err, true
}

// Print writes a line to standard output.
func (c *Copy) Print(text string) { c.print(replica.StreamStdout, text) }

// PrintErr writes a line to standard error.
func (c *Copy) PrintErr(text string) { c.print(replica.StreamStderr, text) }

func (c *Copy) print(stream, text string) {
	for _, part := range replica.SplitLine(text) {
		c.Spec.Output(replica.Line{
			Time: time.Now(), Service: c.Spec.Service, Replica: c.Spec.Replica, Stream: stream, Text: part,
		})
	}
}

// Terminated is closed when the copy was asked to end.
func (c *Copy) Terminated() <-chan struct{} { return c.terminated }

// Accept waits for a connection to the copy's port.
func (c *Copy) Accept(ctx context.Context) (net.Conn, error) {
	select {
	case conn := <-c.conns:
		return conn, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Crash ends the copy from outside, with the exit given.
func (c *Copy) Crash(exit replica.Exit) {
	c.mu.Lock()
	c.forced = &exit
	c.mu.Unlock()
	_ = c.Kill() // never fails
	<-c.done
}

// Probes is how often the copy was asked whether it is ready.
func (c *Copy) Probes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.probes
}

// PID is a number that no other copy of the driver has.
func (c *Copy) PID() int { return c.pid }

// Addr is a name for the copy's port.
func (c *Copy) Addr() string { return fmt.Sprintf("memory:%d", c.port) }

// Dial connects to the copy, which has to Accept.
func (c *Copy) Dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case c.conns <- far:
		return near, nil
	case <-c.done:
		return nil, errors.New("dial: the copy has ended")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Probe answers what Ready was told.
func (c *Copy) Probe(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probes++
	select {
	case <-c.done:
		return errors.New("it has ended")
	default:
	}
	if !c.known {
		return errors.New("it does not listen")
	}
	return c.state
}

// Done is closed when the program has returned.
func (c *Copy) Done() <-chan struct{} { return c.done }

// Exit is how it ended.
func (c *Copy) Exit() replica.Exit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exit
}

// Terminate asks the program to return.
func (c *Copy) Terminate() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.termed {
		c.termed = true
		close(c.terminated)
	}
	return nil
}

// Kill ends the program's context.
func (c *Copy) Kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead {
		c.dead = true
		close(c.killed)
	}
	return nil
}

// Usage is nothing.
func (c *Copy) Usage() replica.Usage { return replica.Usage{} }

// Serve is a Program that is ready at once and ends when it is asked to.
func Serve(ctx context.Context, c *Copy) int {
	c.Ready(nil)
	select {
	case <-c.Terminated():
		return 0
	case <-ctx.Done():
		return 1
	}
}
