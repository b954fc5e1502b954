package alert

import "time"

// Phase is where an alert is in its life.
type Phase string

// The phases. Inactive is the zero value: nothing is known of the alert, or nothing is wrong.
const (
	Inactive Phase = ""
	Pending  Phase = "pending"  // wrong, but not for long enough
	Firing   Phase = "firing"   // wrong
	Resolved Phase = "resolved" // it was wrong
)

// Policy is how patient a rule is.
type Policy struct {
	For    time.Duration // how long it must be wrong before it fires
	Keep   time.Duration // how long it must be fine before it is resolved
	Stale  time.Duration // how long there may be no data before that counts as the end; a longer gap ends what For and Keep count too
	Retain time.Duration // how long a resolved alert is shown
}

// State is what is known of one alert. The zero value is an alert of which nothing is known.
type State struct {
	Phase   Phase     `json:"phase,omitempty"`
	Since   time.Time `json:"since,omitzero"`   // when the phase began
	Started time.Time `json:"started,omitzero"` // when it became wrong
	Seen    time.Time `json:"seen,omitzero"`    // when there was an answer last
	Fine    time.Time `json:"fine,omitzero"`    // since when a firing alert is fine; zero while it is wrong
	Missing time.Time `json:"missing,omitzero"` // since when there is no data; zero while there is
	Value   float64   `json:"value,omitempty"`  // of the last answer

	// While it is pending again: when it became wrong the time before, and when it ceased to fire.
	Fired time.Time `json:"fired,omitzero"`
	Ended time.Time `json:"ended,omitzero"`
}

// notAfter sets times that lie ahead to now.
func (s *State) notAfter(now time.Time) {
	for _, t := range []*time.Time{&s.Since, &s.Started, &s.Seen, &s.Fine, &s.Missing, &s.Fired, &s.Ended} {
		if t.After(now) {
			*t = now
		}
	}
}

// Kind is what happened to an alert.
type Kind uint8

// The kinds of happenings.
const (
	SeenWrong Kind = iota + 1 // the answer is wrong
	SeenFine                  // the answer is not wrong
	NoData                    // there is an answer, without this alert
	NoAnswer                  // the question could not be answered
)

// Happening is what the machine is told: the answer to one question.
type Happening struct {
	At    time.Time
	Kind  Kind
	Value float64 // of SeenWrong and SeenFine
}

// Reason is why an alert changed.
type Reason string

// The reasons.
const (
	ReasonWrong  Reason = "wrong"   // it was wrong for long enough
	ReasonFine   Reason = "fine"    // it was fine for long enough
	ReasonNoData Reason = "no-data" // there was no data for too long
	ReasonGone   Reason = "gone"    // its rule is no longer in force
)

// Effect is what follows: nothing, or that the alert has begun or ceased to fire.
type Effect struct {
	Phase  Phase // Firing, Resolved, or Inactive for nothing
	Reason Reason
}

// Step decides what becomes of an alert. It is pure: it has no clock, and the same state and happening have the same result. What happened before the
// last answer is ignored, so that a clock that is set back changes nothing until it has caught up.
func Step(p Policy, s State, h Happening) (State, Effect) {
	if h.At.Before(s.Seen) || h.At.Before(s.Since) || h.At.Before(s.Missing) {
		return s, Effect{}
	}
	if s.Phase == Resolved && h.At.Sub(s.Since) >= p.Retain {
		s = State{}
	}
	switch h.Kind {
	case SeenWrong:
		return wrong(p, s, h)
	case SeenFine:
		return fine(p, s, h)
	case NoData:
		return noData(p, s, h)
	case NoAnswer:
		s.Missing = time.Time{} // an error is no sign that the alert is gone
	}
	return s, Effect{}
}

// answered notes an answer, and tells whether the one before is so long ago that nothing can be said of the time between.
func (s *State) answered(p Policy, h Happening) (gap bool) {
	gap = !s.Seen.IsZero() && h.At.Sub(s.Seen) > p.Stale
	s.Seen, s.Value, s.Missing = h.At, h.Value, time.Time{}
	return gap
}

func wrong(p Policy, s State, h Happening) (State, Effect) {
	gap := s.answered(p, h)
	s.Fine = time.Time{}
	switch {
	case s.Phase == Firing:
		return s, Effect{}
	case s.Phase != Pending || gap:
		if s.Phase == Resolved {
			s.Fired, s.Ended = s.Started, s.Since
		}
		s.Phase, s.Since, s.Started = Pending, h.At, h.At
	}
	if h.At.Sub(s.Since) < p.For {
		return s, Effect{}
	}
	s.Phase, s.Since, s.Fired, s.Ended = Firing, h.At, time.Time{}, time.Time{}
	return s, Effect{Phase: Firing, Reason: ReasonWrong}
}

func fine(p Policy, s State, h Happening) (State, Effect) {
	switch s.Phase {
	case Inactive, Pending:
		return State{}, Effect{}
	case Resolved:
		s.answered(p, h)
		return s, Effect{}
	case Firing:
	}
	if gap := s.answered(p, h); gap || s.Fine.IsZero() {
		s.Fine = h.At
	}
	if h.At.Sub(s.Fine) < p.Keep {
		return s, Effect{}
	}
	return s.end(h.At), Effect{Phase: Resolved, Reason: ReasonFine}
}

func noData(p Policy, s State, h Happening) (State, Effect) {
	if s.Phase != Pending && s.Phase != Firing {
		return s, Effect{}
	}
	if s.Missing.IsZero() {
		s.Missing = h.At
	}
	switch {
	case h.At.Sub(s.Missing) < p.Stale:
		return s, Effect{}
	case s.Phase == Pending:
		return State{}, Effect{}
	}
	return s.end(h.At), Effect{Phase: Resolved, Reason: ReasonNoData}
}

// end is a firing alert resolved.
func (s State) end(at time.Time) State {
	s.Phase, s.Since, s.Fine, s.Missing = Resolved, at, time.Time{}, time.Time{}
	return s
}
