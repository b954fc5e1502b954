package replica

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// NameInEnv stands in a value of Service.Env for the name of the replica.
const NameInEnv = "${ATOLL_REPLICA}"

// Service is what the supervisor is told of a service, everything resolved. It is not changed after it was
// given away.
type Service struct {
	Name     string
	Version  string
	Dir      string   // absolute; where Build and Run are run
	Build    string   // command, "" for none
	Run      string   // command
	Env      []string // complete environment of a replica; PORT and ATOLL_REPLICA are added
	BuildEnv []string // complete environment of the build

	Port     int // port that the program insists on, 0 for a free one
	Protocol manifest.Protocol
	Ready    manifest.Readiness

	Replicas   int
	Grace      time.Duration // from SIGTERM to SIGKILL
	StartLimit time.Duration // from start to ready
	Limits     manifest.Limits
}

// most is how many of n replicas can run side by side: one on a fixed port.
func (s Service) most(n int) int {
	if s.Port != 0 {
		return min(n, 1)
	}
	return n
}

// clashes tells whether s and o insist on the same port.
func (s Service) clashes(o Service) bool { return s.Port != 0 && s.Port == o.Port }

// sameBuild tells whether what s builds is what o builds.
func (s Service) sameBuild(o Service) bool {
	return s.Build == o.Build && s.Dir == o.Dir && slices.Equal(s.BuildEnv, o.BuildEnv)
}

// sameProcess tells whether a process started for s would serve o as well.
func (s Service) sameProcess(o Service) bool {
	return s.Version == o.Version && s.Dir == o.Dir && s.Run == o.Run && slices.Equal(s.Env, o.Env) &&
		s.Port == o.Port && s.Protocol == o.Protocol && s.Ready == o.Ready && s.Limits == o.Limits
}

// Endpoint is a replica that serves.
type Endpoint struct {
	ID      string // of the replica; withdrawn before it stands for another process
	Service string
	Version string
	Addr    string // for display only
	// Dial opens a connection to the replica. It may be called by many at once, also after the replica
	// ended: it then fails, also when the port belongs to another by then.
	Dial func(context.Context) (net.Conn, error)
}

// The streams that a line can come from.
const (
	StreamStdout = "stdout"
	StreamStderr = "stderr"
	StreamBuild  = "build"
)

// Line is one line of output. Text is valid UTF-8 without the line's end; a line of more than MaxLine bytes
// comes as several.
type Line struct {
	Time    time.Time
	Service string
	Replica string // "" for lines of a build
	Stream  string
	Text    string
}

// MaxLine is the most bytes that a Line holds.
const MaxLine = 64 << 10

// Change is one change of a replica's state. The first of a replica, when it comes into being, is from Pending
// to Pending.
type Change struct {
	Time     time.Time
	Service  string
	Replica  string // "" when a build ended of which no replica waited
	Version  string
	From, To State
	Reason   string        // why, for users
	Exit     *Exit         // how the process ended, if that is what happened
	Fault    *fault.Error  // of a crash: what is wrong and what to do about it
	Restarts int           // how often it was started again after a crash
	ReadyIn  time.Duration // to Ready: from start to ready
	RetryIn  time.Duration // to BackingOff: until it is started again
	Loop     bool          // it crashes again and again; said once, until it was stable again
	Final    bool          // to Crashed: it is not started again until something changes
	Tail     []Line        // to Crashed: the last lines of its output, or of the build
}

// Status is how a replica stands now.
type Status struct {
	Service     string
	Replica     string
	State       State
	Version     string
	PID         int    // 0 without a process
	Addr        string // "" without a process
	Restarts    int
	Since       time.Time     // when it came into its state
	ReadyIn     time.Duration // from start to ready, 0 before
	MemoryBytes int64
	CPU         time.Duration // used since the process started
	Reason      string        // why it is in its state, for users
	Fault       *fault.Error  // of the last crash, while it is not ready
	LastExit    *Exit         // how its last process ended
	Served      time.Time     // when its process was ready for the first time, zero before
	Looping     bool          // it crashes again and again, and was not stable since
}
