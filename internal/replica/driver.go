package replica

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
)

// Driver runs copies of services. Its methods may be called by many goroutines at once.
type Driver interface {
	// Start starts one copy and returns when it runs; readiness is asked for by Process.Probe. The context
	// bounds the start only, never the life of the process. What cannot succeed by trying again is a
	// *fault.Error with code replica-program-missing, replica-folder-missing or replica-command; after any
	// other error the start is tried again.
	Start(ctx context.Context, spec Spec) (Process, error)

	// Build runs a build command to its end, or until the context ends. A command that fails is a
	// *fault.Error with the code replica-build-failed; its output went to BuildSpec.Output before.
	Build(ctx context.Context, spec BuildSpec) error

	// Listen opens a listener where the calls of the given service leave: on loopback, inside the network
	// of that service if it has one of its own. The caller closes it.
	Listen(ctx context.Context, service string) (net.Listener, error)
}

// Spec is one copy to start.
type Spec struct {
	Service  string
	Replica  string
	Version  string
	Dir      string
	Run      string
	Env      []string // complete but for PORT, which the driver adds
	Port     int      // 0: the driver picks a free one
	Protocol manifest.Protocol
	Ready    manifest.Readiness
	Limits   manifest.Limits

	// Output takes each line that the process writes; not nil. Lines of one stream come in order, the two
	// streams may call at once. While it blocks, the process waits when it writes.
	Output func(Line)
}

// BuildSpec is one build to run.
type BuildSpec struct {
	Service string
	Dir     string
	Command string
	Env     []string   // complete
	Output  func(Line) // as in Spec; the stream is StreamBuild
}

// Process is one running copy. Its methods may be called by many goroutines at once, and also after it ended.
type Process interface {
	PID() int     // 0 when there is no such thing
	Addr() string // where it listens, for display
	// Dial opens a connection to the copy's port.
	Dial(ctx context.Context) (net.Conn, error)
	// Probe asks once whether the copy is ready, within ctx; nil means that it is. The error's text is for
	// users.
	Probe(ctx context.Context) error
	// Done is closed when the copy has ended, everything that it started is being ended, and its output has
	// been delivered (except what a stray descendant may still write).
	Done() <-chan struct{}
	// Exit tells how it ended; valid once Done is closed.
	Exit() Exit
	// Terminate asks the copy to end (SIGTERM), Kill ends it and everything it started. Both return at once
	// and are nil when it has ended already.
	Terminate() error
	Kill() error
	// Usage is what the copy uses, at most a second old; zero where that cannot be told.
	Usage() Usage
}

// Usage is what a copy uses, everything that it started included.
type Usage struct {
	MemoryBytes int64
	CPU         time.Duration
}

// Exit is how a copy ended.
type Exit struct {
	At          time.Time
	Code        int    // exit code, -1 when a signal ended it
	Signal      string // name of the signal that ended it, such as SIGKILL, or ""
	OutOfMemory bool   // it was killed because it used more than its memory limit
	PortTaken   bool   // the port that it was given belongs to somebody else
}

func (e Exit) String() string {
	switch {
	case e.OutOfMemory:
		return "killed because it used more than its memory limit"
	case e.Signal != "":
		return "killed by " + e.Signal
	case e.Code == 127:
		return "exit code 127 (a command was not found)"
	default:
		return fmt.Sprintf("exit code %d", e.Code)
	}
}
