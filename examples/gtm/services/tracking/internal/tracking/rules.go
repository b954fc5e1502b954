package tracking

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// mostHits is how many hits before an event, and how many after it, are looked at.
const mostHits = 500

// Rules are what a signal follows.
type Rules struct {
	Rules []Rule `json:"rules"`
}

// Rule tells a signal when enough happened within a span of time. It has either All or Score.
type Rule struct {
	Name   string `json:"name"`
	Text   string `json:"text"`   // for people
	By     By     `json:"by"`     // whose events are counted together
	Within Span   `json:"within"` // the length of a window
	All    []Need `json:"all,omitempty"`
	Score  *Score `json:"score,omitempty"`
}

// By says whose events are counted together.
type By string

// Whose events are counted together.
const (
	ByVisitor By = "visitor"
	ByCompany By = "company"
)

// Need is met when so many events match.
type Need struct {
	When  Match `json:"when"`
	Times int   `json:"times"`
}

// Score is met when the points of all events reach a number.
type Score struct {
	AtLeast int      `json:"at_least"`
	Points  []Points `json:"points"` // of those that match an event, the first counts
}

// Points are what an event is worth.
type Points struct {
	When   Match `json:"when"`
	Points int   `json:"points"`
}

// Match says which events are meant.
type Match struct {
	Kind   Kind   `json:"kind"`
	Path   string `json:"path"`             // /x, /x/** (with all below), or ** for every path
	Target string `json:"target,omitempty"` // of a click
}

// Span is a time span that is written as 30m or 24h.
type Span time.Duration

// UnmarshalText reads a span.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = Span(d)
	return err
}

// MarshalText writes a span.
func (s Span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// Parse reads rules. Its error names every rule that makes no sense.
func Parse(text []byte) (Rules, error) {
	var r Rules
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, fmt.Errorf("decode: %w", err)
	}
	var errs []error
	seen := map[string]bool{}
	for i, rule := range r.Rules {
		err := rule.validate()
		if seen[rule.Name] {
			err = errors.Join(err, errors.New("the name is taken"))
		}
		seen[rule.Name] = true
		if err != nil {
			errs = append(errs, fmt.Errorf("rules[%d] %q: %w", i, rule.Name, err))
		}
	}
	return r, errors.Join(errs...)
}

func (r Rule) validate() error {
	switch {
	case r.Name == "" || r.Text == "":
		return errors.New("name and text are needed")
	case r.By != ByVisitor && r.By != ByCompany:
		return fmt.Errorf(`"by" is %q and should be visitor or company`, r.By)
	case r.Within <= 0 || time.Duration(r.Within) > Retention:
		return fmt.Errorf(`"within" is %s and should be more than 0, and at most %s`, time.Duration(r.Within), Retention)
	case (len(r.All) == 0) == (r.Score == nil):
		return errors.New("one of all and score is needed")
	}
	for _, n := range r.All {
		if n.Times < 1 || n.Times > mostHits {
			return fmt.Errorf(`"times" should be between 1 and %d`, mostHits)
		}
	}
	for m := range r.matches() {
		if m.Kind != Page && m.Kind != Click || m.Path == "" {
			return fmt.Errorf(`a "when" needs kind, page or click, and path`)
		}
	}
	if r.Score != nil && (r.Score.AtLeast < 1 || r.Score.AtLeast > mostHits || slices.ContainsFunc(r.Score.Points, func(p Points) bool { return p.Points < 1 })) {
		return fmt.Errorf(`"at_least" should be between 1 and %d, and "points" 1 or more`, mostHits)
	}
	return nil
}

// matches are the rule's conditions, each with its place in hit.part.
func (r Rule) matches() func(yield func(Match) bool) {
	return func(yield func(Match) bool) {
		for _, n := range r.All {
			if !yield(n.When) {
				return
			}
		}
		if r.Score != nil {
			for _, p := range r.Score.Points {
				if !yield(p.When) {
					return
				}
			}
		}
	}
}

// part is the place of the first condition that an event matches.
func (r Rule) part(e Event) (part int, ok bool) {
	for m := range r.matches() {
		if m.holds(e) {
			return part, true
		}
		part++
	}
	return 0, false
}

func (m Match) holds(e Event) bool {
	if m.Kind != e.Kind || m.Target != "" && m.Target != e.Target {
		return false
	}
	prefix, below := strings.CutSuffix(m.Path, "/**")
	switch {
	case m.Path == "**":
		return true
	case below:
		return e.Path == prefix || strings.HasPrefix(e.Path, prefix+"/")
	}
	return e.Path == m.Path
}

// hit is an event that matched a part of a rule.
type hit struct {
	at   time.Time
	part int
}

// window is a window of a rule: from its first event, for the rule's span.
type window struct {
	from, last time.Time
	score      int // points, or the number of events
}

// detect looks for a window that holds the hit at now, meets the rule, and ends before the next window that has told begins
// (zero: there is none). The hits are those of the rule's subject less than a span away from now that are not spent, with
// the one at now among them, in the order of time.
func (r Rule) detect(hits []hit, now, next time.Time) (window, bool) {
	for i, first := range hits {
		if first.at.After(now) {
			break
		}
		end := first.at.Add(time.Duration(r.Within))
		if !now.Before(end) {
			continue
		}
		if !next.IsZero() && end.After(next) {
			break
		}
		var inside []hit
		for _, h := range hits[i:] {
			if h.at.Before(end) {
				inside = append(inside, h)
			}
		}
		if score, ok := r.met(inside); ok {
			return window{from: first.at, last: inside[len(inside)-1].at, score: score}, true
		}
	}
	return window{}, false
}

// met tells whether hits suffice.
func (r Rule) met(hits []hit) (score int, ok bool) {
	if r.Score != nil {
		for _, h := range hits {
			score += r.Score.Points[h.part].Points
		}
		return score, score >= r.Score.AtLeast
	}
	counts := make([]int, len(r.All))
	for _, h := range hits {
		counts[h.part]++
	}
	for i, n := range r.All {
		if counts[i] < n.Times {
			return 0, false
		}
	}
	return len(hits), true
}
