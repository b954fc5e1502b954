package process

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// guardLives is how often a guard that ended by itself is started again.
const guardLives = 5

// guardFarewell is how long Close waits for the guard to end.
const guardFarewell = 2 * time.Second

// guard is the process that ends every group when Atoll dies, seen from Atoll. A nil guard does nothing.
type guard struct {
	command []string
	mark    string
	logger  *slog.Logger
	gone    sync.WaitGroup // the goroutine that waits for the guard

	mu     sync.Mutex // guards what follows
	pipe   *os.File   // its standard input; it ends with us
	proc   *os.Process
	groups map[int]uint64 // pgid -> start time
	closed bool
}

// startGuard starts the guard, which must run GuardMain.
func startGuard(command []string, mark string, logger *slog.Logger) (*guard, error) {
	g := &guard{command: command, mark: mark, logger: logger, groups: map[int]uint64{}}
	g.mu.Lock()
	defer g.mu.Unlock()
	cmd, err := g.launch()
	if err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	g.gone.Go(func() { g.watch(cmd) })
	return g, nil
}

// pipeRoom is what a pipe holds on every system while nobody reads it.
const pipeRoom = 4096

// launch starts a guard and tells it what there is; mu is held. As much as the pipe holds waits for it there
// when it starts: should Atoll die in this very moment, the guard knows of it still.
func (g *guard) launch() (*exec.Cmd, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	text := g.all()
	first := min(len(text), pipeRoom)
	cmd := &exec.Cmd{Path: g.command[0], Args: g.command, Env: []string{}, Stdin: r, SysProcAttr: detached()}
	_, err = w.Write(text[:first])
	if err == nil {
		err = cmd.Start()
	}
	r.Close()
	if err != nil {
		w.Close()
		return nil, err
	}
	g.pipe, g.proc = w, cmd.Process
	_, _ = w.Write(text[first:]) // an error means that the guard has ended, which watch sees
	return cmd, nil
}

// all is everything that a guard is to know, the mark first: on Linux it stands for all groups; mu is held.
func (g *guard) all() []byte {
	text := fmt.Appendf(nil, "=%s\n", g.mark)
	for pgid, start := range g.groups {
		text = fmt.Appendf(text, "+%d %d\n", pgid, start)
	}
	return text
}

// watch waits for guards, and starts another when one ended by itself.
func (g *guard) watch(cmd *exec.Cmd) {
	for range guardLives {
		err := cmd.Wait()
		g.mu.Lock()
		g.pipe.Close()
		if g.closed {
			g.mu.Unlock()
			return
		}
		g.logger.Warn("the guard ended; starting another", "error", err)
		cmd, err = g.launch()
		g.mu.Unlock()
		if err != nil {
			g.logger.Error("the guard cannot be started again: processes may outlive a kill of Atoll", "error", err)
			return
		}
	}
	_ = cmd.Wait() // how the last one ended changes nothing
	g.logger.Error("the guard ended too often: processes may outlive a kill of Atoll")
}

// tell writes to the guard; mu is held. An error means that the guard has ended, which watch sees.
func (g *guard) tell(format string, args ...any) { _, _ = fmt.Fprintf(g.pipe, format, args...) }

func (g *guard) add(pgid int, start uint64) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups[pgid] = start
	g.tell("+%d %d\n", pgid, start)
}

func (g *guard) remove(pgid int) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.groups, pgid)
	g.tell("-%d\n", pgid)
}

func (g *guard) close() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	g.closed = true
	g.pipe.Close()
	timer := time.AfterFunc(guardFarewell, func() { _ = g.proc.Kill() })
	g.mu.Unlock()
	defer timer.Stop()
	g.gone.Wait()
	return nil
}

// GuardMain is the body of the guard: it reads "=MARK", "+PGID START" and "-PGID" lines from stdin until that
// ends, which means that Atoll has, and then kills the groups that were added and not removed, and whatever
// else bears the mark of the driver. A group whose first
// process has another start time is somebody else's by now and is left alone. It ignores the signals that end
// programs: it is to outlive Atoll by a moment. It returns the context's error if that ends first, and kills
// nothing then.
func GuardMain(ctx context.Context, stdin io.Reader) error {
	ignoreSignals()
	var c charge
	ended := make(chan error, 1)
	go func() { ended <- c.read(stdin) }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-ended:
		c.end()
		return err
	}
}

// charge is what a guard watches over.
type charge struct {
	mark   string         // "" if it was not told
	groups map[int]uint64 // pgid -> start time, 0 if not known
}

// end kills it.
func (c *charge) end() {
	for pgid, start := range c.groups {
		if now, ok := startTime(pgid); !ok || start == 0 || now == start {
			killPID(-pgid)
		}
	}
	if c.mark != "" {
		sweep(ofDriver(c.mark), 0)
	}
}

// read applies lines until the end. A line that it does not understand is skipped: better to go on than to
// leave what is known.
func (c *charge) read(r io.Reader) error {
	c.groups = map[int]uint64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		sign, rest := byte(0), lines.Text()
		if rest != "" {
			sign, rest = rest[0], rest[1:]
		}
		if sign == '=' {
			c.mark = rest
			continue
		}
		number, start, _ := strings.Cut(rest, " ")
		pgid, err := strconv.Atoi(number)
		if err != nil || pgid <= 1 {
			continue
		}
		switch sign {
		case '+':
			c.groups[pgid], _ = strconv.ParseUint(start, 10, 64) // 0 stands for not known
		case '-':
			delete(c.groups, pgid)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the groups: %w", err)
	}
	return nil
}
