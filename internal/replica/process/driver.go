package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/replica"
)

// Options tune a Driver; nil and the zero value are usable.
type Options struct {
	Dir    string       // folder of the file that names the processes; "" keeps none
	Logger *slog.Logger // for operators; nil discards
	Guard  []string     // command line of the guard, such as {"/path/atoll", "guard"}; nil goes without
	Host   string       // loopback address of the replicas; 127.0.0.1

	// Warn is given, besides the logger, what a user should know: that limits are not enforced. It is called
	// at most once with each code, by any goroutine, and must not block. nil is not called.
	Warn func(*fault.Error)
}

// Driver starts processes. Its methods may be called by many goroutines at once.
type Driver struct {
	o       Options
	mark    string // of everything that it starts
	forks   *forks
	guard   *guard
	ledger  *ledger
	cgroups *cgroups
	usage   *usage
	limits  sync.Once // warns that limits are not enforced

	mu    sync.Mutex // guards ports
	ports map[int]bool
}

var _ replica.Driver = (*Driver)(nil)

// New returns a driver. The caller closes it when every process has ended.
func New(o *Options) (*Driver, error) {
	d := &Driver{ports: map[int]bool{}, usage: &usage{}}
	if o != nil {
		d.o = *o
	}
	if d.o.Logger == nil {
		d.o.Logger = slog.New(slog.DiscardHandler)
	}
	if d.o.Host == "" {
		d.o.Host = "127.0.0.1"
	}
	var err error
	if d.mark, err = newMark(d.o.Dir); err != nil {
		return nil, err
	}
	if d.ledger, err = openLedger(d.o.Dir); err != nil {
		return nil, err
	}
	d.forks = newForks()
	if len(d.o.Guard) > 0 {
		if d.guard, err = startGuard(d.o.Guard, d.mark, d.o.Logger); err != nil {
			d.forks.close()
			return nil, err
		}
	}
	d.cgroups = newCgroups()
	return d, nil
}

// Close ends the guard, which kills whatever still runs, kills what left its group, and gives everything back.
func (d *Driver) Close() error {
	err := d.guard.close()
	d.forks.close()
	sweep(ofDriver(d.mark), 0)
	d.cgroups.close()
	return errors.Join(err, d.ledger.close())
}

// Listen opens a listener on the driver's loopback address: processes share the network of Atoll.
func (d *Driver) Listen(ctx context.Context, _ string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", net.JoinHostPort(d.o.Host, "0"))
}

// Start starts a process.
func (d *Driver) Start(ctx context.Context, spec replica.Spec) (replica.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	port, release, err := d.port(ctx, spec.Port)
	if err != nil {
		return nil, err
	}
	env := append(marked(spec.Env, d.mark, spec.Replica), "PORT="+strconv.Itoa(port))
	cmd, err := command(spec.Service, "run", spec.Dir, spec.Run, env)
	if err != nil {
		release()
		return nil, err
	}
	out := output{service: spec.Service, replica: spec.Replica, take: spec.Output}
	limits := d.confine(spec)
	g, err := d.spawn(cmd, limits, spec.Service, spec.Replica, out, replica.StreamStdout, replica.StreamStderr)
	if err != nil {
		limits.remove()
		release()
		return nil, startFault(spec.Replica, cmd.Path, err)
	}
	p := &process{
		group: g, spec: spec, host: d.o.Host, port: port, limits: limits, usage: d.usage, done: make(chan struct{}),
	}
	go func() { //nolint:contextcheck // a process outlives the context of its start
		defer release()
		p.watch(d)
	}()
	return p, nil
}

// confine makes the cgroup of a replica with limits; nil if there are none, or they cannot be enforced.
func (d *Driver) confine(spec replica.Spec) *cgroup {
	if spec.Limits.Memory == 0 && spec.Limits.CPU == 0 {
		return nil
	}
	c, err := d.cgroups.make(spec.Replica, spec.Limits)
	if err != nil {
		d.limits.Do(func() {
			f := fault.Warn(fault.CodeReplicaLimitsOff, "limits of memory and CPU are not enforced").
				Fix("on Linux, run Atoll where it may make cgroups: as root, or as a systemd unit with Delegate=yes")
			d.o.Logger.Warn(f.Text, "code", string(f.Code), "remedy", f.Remedy, "error", err)
			if d.o.Warn != nil {
				d.o.Warn(f.Because(err))
			}
		})
		return nil
	}
	return c
}

func startFault(who, path string, err error) error {
	return fault.New(fault.CodeReplicaStart, "%s cannot be started: the operating system refuses to run %s", who, path).
		Because(err).Fix("check that the file is executable and made for this machine (`file %s`)", path)
}

// Build runs a build command.
func (d *Driver) Build(ctx context.Context, spec replica.BuildSpec) error {
	who := "build:" + spec.Service
	cmd, err := command(spec.Service, "build", spec.Dir, spec.Command, marked(spec.Env, d.mark, who))
	if err != nil {
		return err
	}
	out := output{service: spec.Service, take: spec.Output}
	g, err := d.spawn(cmd, nil, spec.Service, "", out, replica.StreamBuild)
	if err != nil {
		return startFault("the build of "+spec.Service, cmd.Path, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = g.kill() }) // an ended group needs no kill
	exit := g.wait()
	stop()
	switch {
	case ctx.Err() != nil:
		sweep(ofOne(d.mark, who), g.start)
		return ctx.Err()
	case exit.Code == 0:
		return nil
	default:
		return fault.New(fault.CodeReplicaBuildFailed, "the build of %s failed: %s", spec.Service, exit).
			Fix("correct what the build says; it is built again when a file changes")
	}
}

// spawn starts cmd in a group of its own, known to the guard and the ledger, its output read by line. With
// one stream name both outputs go there.
func (d *Driver) spawn(cmd *exec.Cmd, limits *cgroup, service, id string, out output, streams ...string) (*group, error) {
	g := &group{cmd: cmd, ended: d.forgetGroup}
	if id != "" {
		g.strays = ofOne(d.mark, id)
	}
	for i, stream := range streams {
		w, err := g.pipe(out.stream(stream))
		if err != nil {
			g.closePipes()
			return nil, err
		}
		if i == 0 {
			cmd.Stdout = w
		}
		cmd.Stderr = w
	}
	prepare(cmd, limits)
	if err := d.forks.start(cmd); err != nil {
		g.closePipes()
		return nil, err
	}
	if err := g.begin(); err != nil {
		d.o.Logger.Warn("what a process starts may outlive it", "replica", id, "error", err)
	}
	if err := limits.add(g.pid); err != nil {
		d.o.Logger.Warn("a process could not be put into its cgroup", "replica", id, "error", err)
	}
	d.guard.add(g.pid, g.start)
	if err := d.ledger.add(entry{PID: g.pid, Start: g.start, Service: service, Replica: id}); err != nil {
		d.o.Logger.Warn("a process could not be written down", "replica", id, "error", err)
	}
	return g, nil
}

func (d *Driver) forgetGroup(pid int) {
	d.guard.remove(pid)
	if err := d.ledger.remove(pid); err != nil {
		d.o.Logger.Warn("the end of a process could not be written down", "pid", pid, "error", err)
	}
}

// port takes the fixed port, or a free one that no other replica was given.
func (d *Driver) port(ctx context.Context, fixed int) (port int, release func(), err error) {
	if fixed != 0 {
		return fixed, func() {}, nil
	}
	for range 100 {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(d.o.Host, "0"))
		if err != nil {
			return 0, nil, fmt.Errorf("find a free port: %w", err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if d.reserve(port) {
			return port, func() { d.unreserve(port) }, nil
		}
	}
	return 0, nil, errors.New("find a free port: the system offers only ports that are given away already")
}

func (d *Driver) reserve(port int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ports[port] {
		return false
	}
	d.ports[port] = true
	return true
}

func (d *Driver) unreserve(port int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.ports, port)
}

// output says where lines go.
type output struct {
	service, replica string
	take             func(replica.Line)
}

// stream returns a taker of the lines of one stream.
func (o output) stream(name string) func([]byte) {
	return func(line []byte) {
		for _, text := range replica.SplitLine(string(bytes.TrimSuffix(line, []byte("\r")))) {
			o.take(replica.Line{Time: time.Now(), Service: o.service, Replica: o.replica, Stream: name, Text: text})
		}
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
