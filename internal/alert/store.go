package alert

import (
	"context"
	"errors"
	"time"
)

// Store keeps what the engine must not forget. Only one engine uses it at a time, and calls one method at a time.
type Store interface {
	// Load returns what was saved last, or nil where nothing was. An error that is ErrDamaged says that what was saved cannot be read and was set
	// aside, so that the next Save is not refused.
	Load(ctx context.Context) (*Snapshot, error)
	// Save replaces what is kept, whole or not at all. When it has returned nil, it is durable.
	Save(ctx context.Context, s *Snapshot) error
}

// ErrDamaged says that what a store has kept cannot be read.
var ErrDamaged = errors.New("the kept state of alerts cannot be read and was set aside")

// Snapshot is all that is kept. It marshals to JSON.
type Snapshot struct {
	Alerts   []Kept              `json:"alerts,omitempty"`
	Silences []Silence           `json:"silences,omitempty"`
	Groups   map[string][]*Group `json:"groups,omitempty"` // by receiver
	History  []Change            `json:"history,omitempty"`
}

// Kept is an alert that is pending, firing or resolved.
type Kept struct {
	Rule     string   `json:"rule"`
	Labels   Labels   `json:"labels"`
	Severity Severity `json:"severity"`
	Summary  string   `json:"summary,omitempty"`
	State    State    `json:"state"`
}

// Change is an entry of the history.
type Change struct {
	At      time.Time `json:"at"`
	Kind    Event     `json:"kind"`
	Rule    string    `json:"rule,omitempty"`
	Labels  Labels    `json:"labels,omitempty"`
	Value   float64   `json:"value,omitempty"`
	Unit    Unit      `json:"unit,omitempty"`
	Summary string    `json:"summary,omitempty"` // or what an error says, or a silence's comment
	Reason  Reason    `json:"reason,omitempty"`
	Subject string    `json:"subject,omitempty"` // id of a silence, or name of a receiver
	By      string    `json:"by,omitempty"`      // who silenced
	Err     error     `json:"-"`                 // the cause, for the operator's log; nothing of it is shown to users
}

// Event is what an entry of the history is about.
type Event string

// The events.
const (
	EventFiring        Event = "firing"
	EventResolved      Event = "resolved"
	EventRuleFailing   Event = "rule-failing"   // its question cannot be answered
	EventRuleAnswered  Event = "rule-answered"  // it can be again
	EventAlertsDropped Event = "alerts-dropped" // a rule has more than MaxAlerts
	EventTellFailing   Event = "tell-failing"   // a receiver cannot be told
	EventTold          Event = "told-again"     // it can be again
	EventSilenced      Event = "silenced"
	EventSilenceEnded  Event = "silence-ended" // before its time
	EventStateLost     Event = "state-lost"    // what was kept cannot be read
	EventStateFailing  Event = "state-failing" // state cannot be kept
	EventStateKept     Event = "state-kept"    // it can be again
)
