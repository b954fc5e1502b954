package process

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/replica"
)

// strayOutput is how long output is read after the process has ended, for the sake of descendants that left
// its group and hold the pipe open.
const strayOutput = 100 * time.Millisecond

// group is a process and everything in its process group.
type group struct {
	cmd   *exec.Cmd
	pid   int
	start uint64 // start time of the process, 0 if not known
	ended func(pid int)
	// strays matches the mark of what left the group and is to end with it; nil for a build, whose daemons
	// are left for the next one.
	strays func(mark string) bool

	enclosure enclosure

	readEnds  []*os.File
	writeEnds []*os.File
	takers    []func([]byte)
	readers   sync.WaitGroup

	mu   sync.Mutex // guards over, and is held while a signal is sent
	over bool       // the process has been waited for: its pid may stand for another
}

// pipe makes a pipe whose lines go to take, and returns its writing end.
func (g *group) pipe(take func([]byte)) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	g.readEnds, g.writeEnds, g.takers = append(g.readEnds, r), append(g.writeEnds, w), append(g.takers, take)
	return w, nil
}

func (g *group) closePipes() {
	closeAll(g.writeEnds)
	closeAll(g.readEnds)
}

// begin notes who the process is and reads its output. The process was just started. An error means that
// what the process starts cannot be held together.
func (g *group) begin() error {
	closeAll(g.writeEnds)
	g.pid = g.cmd.Process.Pid
	g.start, _ = startTime(g.pid)
	var err error
	g.enclosure, err = enclose(g.pid)
	for i, r := range g.readEnds {
		g.readers.Go(func() { readLines(r, g.takers[i]) })
	}
	return err
}

// wait returns when the process has ended, what is left of it is killed and its output is read.
func (g *group) wait() replica.Exit {
	awaitEnd(g.pid)
	exit := g.reap()
	exit.At = time.Now()
	if g.strays != nil {
		sweep(g.strays, g.start)
	}
	g.ended(g.pid)
	for _, r := range g.readEnds {
		_ = r.SetReadDeadline(exit.At.Add(strayOutput)) // a pipe has deadlines; without one it is read to its end
	}
	g.readers.Wait()
	closeAll(g.readEnds)
	return exit
}

// reap kills what is left of the group and takes the exit status. Where awaitEnd can wait without reaping,
// the pid is still the process's own while the group is killed.
func (g *group) reap() replica.Exit {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = killGroup(g) // the group may be empty
	err := g.cmd.Wait()
	g.over = true
	g.enclosure.close()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitOf(exit.ProcessState)
	}
	return exitOf(g.cmd.ProcessState)
}

func (g *group) terminate() error { return g.signal(terminateGroup) }
func (g *group) kill() error      { return g.signal(killGroup) }

func (g *group) signal(send func(*group) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return nil
	}
	return send(g)
}

// readLines reads r to its end, or its deadline, and gives every line to take. A line longer than MaxLine is
// given in pieces.
func readLines(r *os.File, take func([]byte)) {
	b := bufio.NewReaderSize(r, replica.MaxLine-utf8.UTFMax)
	var rest []byte // the incomplete character that a piece ended with
	for {
		piece, err := b.ReadSlice('\n')
		line := append(rest, piece...)
		rest = nil
		switch {
		case err == nil:
			take(line[:len(line)-1])
		case errors.Is(err, bufio.ErrBufferFull):
			cut := wholeRunes(line)
			rest = append(rest, line[cut:]...)
			take(line[:cut])
		default:
			if len(line) > 0 {
				take(line)
			}
			return
		}
	}
}
