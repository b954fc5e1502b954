package process

import (
	"os/exec"
	"runtime"
	"sync"
)

// forks starts every process from one thread of the operating system, which lives as long as it: Linux sends
// the Pdeathsig of a child when the thread that forked it ends, and Go ends threads when it likes
// (golang.org/issue/27505).
type forks struct {
	requests chan fork
	stop     sync.Once
	done     chan struct{}
}

type fork struct {
	cmd *exec.Cmd
	err chan error
}

func newForks() *forks {
	f := &forks{requests: make(chan fork), done: make(chan struct{})}
	go f.run()
	return f
}

func (f *forks) run() {
	defer close(f.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread() // a thread that is still locked would end here, and take what it forked with it
	for r := range f.requests {
		r.err <- r.cmd.Start()
	}
}

// start starts cmd; not to be called after close.
func (f *forks) start(cmd *exec.Cmd) error {
	r := fork{cmd: cmd, err: make(chan error, 1)}
	f.requests <- r
	return <-r.err
}

func (f *forks) close() {
	f.stop.Do(func() { close(f.requests) })
	<-f.done
}
