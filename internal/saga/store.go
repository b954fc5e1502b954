package saga

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"time"
)

// Row is what a store keeps of one instance.
type Row struct {
	ID      string
	Saga    string
	Hash    string
	Key     string // business key
	Phase   Phase
	Step    string // of what is parked, or else of what went wrong
	Error   string // the same
	Wake    Wake
	Shard   int
	Parent  string // id, of a child
	Started time.Time
	Ended   time.Time // zero until then
	Purge   time.Time // when an instance that has ended may go; zero until then
	Rev     int64     // 1 when it is created; each change adds 1
	State   []byte    // JSON
}

// Wake says when a store is to hand out an instance that no engine has in memory, in milliseconds since 1970.
type Wake int64

// The wakes that are no times.
const (
	WakeActive Wake = 0             // an engine works on it: at once, once there is no such engine any more
	WakeNever  Wake = math.MaxInt64 // only a signal wakes it
)

// WakeAt is the wake at a time.
func WakeAt(t time.Time) Wake { return Wake(max(1, t.UnixMilli())) }

// PhaseNumber is a phase as stores keep it. Those from 4 on are ends; indexes depend on it.
func PhaseNumber(p Phase) int { return slices.Index(Phases(), p) + 1 }

// PhaseOf is the phase of a number, or "".
func PhaseOf(n int) Phase {
	if all := Phases(); n >= 1 && n <= len(all) {
		return all[n-1]
	}
	return ""
}

// Change is one step of one instance, or what is to be kept without one.
type Change struct {
	Row     *Row // as it is after the change; nil where only signals are taken
	Create  *Origin
	Records []byte   // lines of history, JSON; nil for none
	Forget  []string // tasks that no longer wait for events; done before Await
	Await   []Waiter
	Release string   // lock to give up, whether it is held or waited for; done before Acquire
	Acquire string   // lock to take, or to wait for; taking it again changes nothing
	Taken   []int64  // signals that led to the change
	Send    []Signal // to other instances
}

// Origin is how an instance came to be.
type Origin struct {
	Idem  string // idempotency key: unique among the instances of one saga while they are kept; "" for none
	Print string // fingerprint of the input
}

// Waiter is a task that waits for an event. It waits until it is forgotten, and is told of each event that comes. Where some came
// before it waited, it is told of the oldest of those that are not older than its instance.
type Waiter struct {
	Task    string
	Channel string // topic, and what of the event is compared
	Key     string
}

// Signal is something that an instance is to be told. It is kept until a change takes it.
type Signal struct {
	ID       int64 // that the store gives
	Instance string
	Task     string          // name of the task that it is about, or ""
	Event    json.RawMessage // an Event
}

// Outcome is what became of a change.
type Outcome struct {
	// Existing is the instance that has the idempotency key already, or the id, with its fingerprint: the change was left out. What
	// other changes of the same Commit do to it may be seen in it, or not.
	Existing *Row
	Print    string
	// Orphan tells that the change creates a child of an instance that is not there, and was left out.
	Orphan bool
	// Granted tells that the instance has the lock that it asked for.
	Granted bool
	// Sent is the signals that the change has led to, of whichever instance: those in Send, for locks that were given on, and for
	// events that had come before somebody waited for them.
	Sent []Signal
}

// Mail is an event for those that wait for it, now or later.
type Mail struct {
	Channel string
	Key     string
	ID      string // what names the event: it is kept once
	At      time.Time
	Event   json.RawMessage // as a Signal carries it: an Event of kind EventTold
}

// Query finds instances.
type Query struct {
	Saga   string    // "" for all
	Phases []Phase   // none for all
	Key    string    // exact
	Step   string    // of Cause, exact
	Error  string    // part of the text, whatever the case
	Parent string    // children of this one
	From   time.Time // started at or after
	To     time.Time // started before
	Before string    // id: only older ones, for the next page
	Limit  int
}

// Claim is the shards that an engine owns.
type Claim struct {
	Owned []int
	Fresh []int         // of Owned: those that it did not own before
	Again time.Duration // ask again after that; 0 for never
}

// The errors of a Store that an engine acts on.
var (
	// ErrFenced says that another engine owns the shard by now, or that an instance is further than this engine knows.
	ErrFenced = errors.New("saga: another engine has taken over")
	// ErrBroken says that the store cannot be trusted until the process starts again.
	ErrBroken = errors.New("saga: the store is broken")
)

// Store keeps instances on stable storage. It is the driver of sagas. Several engines may share one; then each instance lies in a
// shard that one of them owns. It is safe for concurrent use. Errors are for operators.
type Store interface {
	// Claim takes or keeps shards, and tells which this engine owns. Until it is asked again in time, no other engine's changes to
	// them are taken, and afterwards none of this one's.
	Claim(ctx context.Context) (Claim, error)
	// Commit makes changes, in order. All of them are durable when it returns without an error; with one, all or none are there,
	// with ErrFenced none. A row is changed only from the revision before. The outcomes are in the order of the changes.
	Commit(ctx context.Context, changes []*Change) ([]Outcome, error)
	// Reset is called after a Commit has failed, once nothing is under way. It returns nil when the store can be used again, and
	// ErrBroken if it never can.
	Reset(ctx context.Context) error

	// Due returns instances of shards whose wake lies above after and at or before until, by wake and id, with their states.
	Due(ctx context.Context, shards []int, after, until Wake, limit int) ([]Row, error)
	// Active returns instances of shards with WakeActive whose id is greater than after, by id.
	Active(ctx context.Context, shards []int, after string, limit int) ([]Row, error)
	// Signals returns those for instances of shards whose id is greater than after, by id.
	Signals(ctx context.Context, shards []int, after int64, limit int) ([]Signal, error)
	// Notify returns a channel that holds a value after signals have come from elsewhere, as far as the store can tell.
	Notify() <-chan struct{}
	// Send keeps signals for instances; those for instances that are not there are left out. It returns those that were kept.
	Send(ctx context.Context, signals []Signal) ([]Signal, error)
	// Deliver keeps mail, and makes a signal for each waiter that it is for. Mail that is kept already is left out.
	Deliver(ctx context.Context, mail []Mail) ([]Signal, error)

	// Row returns an instance with its state; nil where there is none.
	Row(ctx context.Context, id string) (*Row, error)
	// Find returns instances without their states, the newest first.
	Find(ctx context.Context, q *Query) ([]Row, error)
	// History returns the lines of an instance, as they were given, in order.
	History(ctx context.Context, id string) ([]json.RawMessage, error)
	// Count returns how many instances there are by saga and phase.
	Count(ctx context.Context) (map[string]map[Phase]int, error)

	// SavePlan keeps a definition by its hash; one that is there already stays.
	SavePlan(ctx context.Context, hash, saga string, source []byte) error
	// Hashes returns the definitions that instances run which have not ended.
	Hashes(ctx context.Context) ([]string, error)
	// Plan returns a definition; nil where there is none.
	Plan(ctx context.Context, hash string) ([]byte, error)

	// Mark keeps a time under a name; a later one takes the place of an earlier one, and an earlier one none.
	Mark(ctx context.Context, name string, at time.Time) error
	// Marks returns them all.
	Marks(ctx context.Context) (map[string]time.Time, error)

	// Purge removes instances whose Purge is at or before now, with all that belongs to them, and mail older than mailBefore, at most
	// limit of each; it tells how many instances went. A child goes with its parent. It is called until it returns 0.
	Purge(ctx context.Context, now, mailBefore time.Time, limit int) (int, error)
	Close() error
}
