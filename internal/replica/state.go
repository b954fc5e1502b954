package replica

import "fmt"

// State is where a replica stands in its life.
type State int

// The states.
const (
	Pending    State = iota // waits for its build, or for its predecessor to free the port
	Building                // its service is being built
	Starting                // its process runs or is being started, and has not been ready yet
	Ready                   // serves
	Unready                 // its process runs but says that it cannot serve
	Draining                // is being ended: requests in flight finish, then its process ends
	Stopped                 // ended because it was told to
	Crashed                 // its process ended untold, was not ready in time, or could not be started
	BackingOff              // crashed; will be started again
)

func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Building:
		return "building"
	case Starting:
		return "starting"
	case Ready:
		return "ready"
	case Unready:
		return "unready"
	case Draining:
		return "draining"
	case Stopped:
		return "stopped"
	case Crashed:
		return "crashed"
	case BackingOff:
		return "backing-off"
	default:
		return fmt.Sprintf("state(%d)", int(s))
	}
}

// MarshalText is the state's text form.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a state's text form.
func (s *State) UnmarshalText(text []byte) error {
	for c := Pending; c <= BackingOff; c++ {
		if c.String() == string(text) {
			*s = c
			return nil
		}
	}
	return fmt.Errorf("parse state: %q is none", text)
}
