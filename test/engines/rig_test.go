package engines_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/test/databases"
)

var (
	servers  = databases.New()
	programs string // folder of the programs under test
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	defer servers.Close()
	dir, err := os.MkdirTemp("", "ae")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs = dir
	for _, name := range []string{"sagaengine", "sagasvc"} {
		args := []string{"build", "-o", filepath.Join(dir, name), "github.com/atollhq/atoll/test/" + name}
		if name == "sagaengine" {
			args = append(args[:1:1], append([]string{"-race"}, args[1:]...)...)
		}
		cmd := exec.CommandContext(context.Background(), "go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
			return 1
		}
	}
	return m.Run()
}

// process is a program that the test started.
type process struct {
	cmd  *exec.Cmd
	addr string
	log  *os.File
	done chan struct{} // closed when it has ended
}

func launch(t *testing.T, log string, env []string, announces bool, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(filepath.Join(programs, name), args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if p.log, err = os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	if announces && in.Scan() {
		p.addr = in.Text()
	}
	go func() {
		_, _ = io.Copy(io.Discard, out)
		_ = p.cmd.Wait() // it is killed
		p.log.Close()
		close(p.done)
	}()
	return p
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Errorf("signal %v: %v", s, err)
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// wire is the way of an engine to the database, which can be cut: what is under way comes to nothing, and nobody is told.
type wire struct {
	ln     net.Listener
	target string

	mu    sync.Mutex
	cut   bool                  // guarded by mu
	conns map[net.Conn]net.Conn // guarded by mu
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{ln: ln, target: target, conns: map[net.Conn]net.Conn{}}
	t.Cleanup(func() { w.ln.Close(); w.set(true); w.drop() })
	go w.serve()
	return w
}

func (w *wire) serve() {
	for {
		c, err := w.ln.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", w.target)
		if err != nil {
			c.Close()
			continue
		}
		w.mu.Lock()
		w.conns[c] = up
		w.mu.Unlock()
		go w.carry(up, c)
		go w.carry(c, up)
	}
}

// carry copies what comes, as long as the wire is whole.
func (w *wire) carry(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		cut := w.cut
		w.mu.Unlock()
		if cut {
			continue // into the void
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

// drop ends the connections, as happens to those that were cut once somebody notices.
func (w *wire) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for a, b := range w.conns {
		a.Close()
		b.Close()
		delete(w.conns, a)
	}
}

// through is a database URL whose way leads over a wire.
func (w *wire) through(t *testing.T, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = w.ln.Addr().String()
	return u.String()
}

// fleet is engines and services.
type fleet struct {
	t        *testing.T
	dir      string
	db       *databases.Database
	services map[string]string

	mu      sync.Mutex
	engines []*process // guarded by mu
	wires   []*wire
}

const engines = 3

func newFleet(t *testing.T, canonical []byte) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), db: servers.Fresh(t, databases.Postgres), services: map[string]string{}, engines: make([]*process, engines)}
	if err := os.WriteFile(filepath.Join(f.dir, "book.json"), canonical, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stock", "money", "post"} {
		f.services[name] = f.service(name)
	}
	u, err := url.Parse(f.db.URL)
	if err != nil {
		t.Fatal(err)
	}
	for i := range engines {
		f.wires = append(f.wires, newWire(t, u.Host))
		f.start(i)
	}
	t.Cleanup(func() {
		for _, e := range f.engines {
			e.kill()
		}
	})
	return f
}

func (f *fleet) service(name string) string {
	f.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	ln.Close()
	p := launch(f.t, filepath.Join(f.dir, name+".log"), []string{"PORT=" + port, "DATABASE_URL=sqlite://" + filepath.Join(f.dir, name+".db")}, false,
		"sagasvc", "-role", name, "-dir", f.dir)
	f.t.Cleanup(p.kill)
	return "127.0.0.1:" + port
}

func (f *fleet) start(i int) {
	f.t.Helper()
	services, err := json.Marshal(f.services)
	if err != nil {
		f.t.Fatal(err)
	}
	p := launch(f.t, f.log(i), nil, true, "sagaengine", "-db", f.wires[i].through(f.t, f.db.URL), "-lease", "2s",
		"-book", filepath.Join(f.dir, "book.json"), "-services", string(services))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.engines[i] = p
}

func (f *fleet) log(i int) string { return filepath.Join(f.dir, fmt.Sprintf("engine%d.log", i)) }

func (f *fleet) engine(i int) *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.engines[i]
}

// ask starts an instance at an engine. The status is 0 where there was no answer.
func (f *fleet) ask(ctx context.Context, engine int, key, input string) (status int, id string) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.engine(engine).addr+"/start", bytes.NewReader([]byte(input)))
	if err != nil {
		return 0, ""
	}
	req.Header.Set("Idempotency-Key", key)
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, ""
	}
	return res.StatusCode, strings.TrimSpace(string(text))
}
