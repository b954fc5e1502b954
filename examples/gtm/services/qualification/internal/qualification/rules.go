// Package qualification judges leads: how well one fits the ideal customer profile, how strong its intent is,
// and what follows. The judgement is a pure function of the rules and what is known of the lead; what is not
// known counts neither for nor against it.
//
// It takes lead.enriched and publishes lead.qualified, and stores nothing. An event that is delivered again is judged
// again and published under the same id, which whoever takes it takes once.
package qualification

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Subject is what is known of a lead. Empty and zero mean unknown.
type Subject struct {
	EmailKind       string // work, free or disposable
	Company         string
	Country         string // ISO 3166-1 alpha-2
	JobTitle        string
	Interest        string
	Message         string
	Seats           int
	AccountContacts int // people of the same company, this one included
}

// Verdict is what follows for a lead.
type Verdict string

// The verdicts.
const (
	MQL          Verdict = "MQL"          // a marketing qualified lead: fit and intent of the person suffice
	MQA          Verdict = "MQA"          // a marketing qualified account: several people of a company that fits
	Nurture      Verdict = "nurture"      // neither yet
	Disqualified Verdict = "disqualified" // never
)

// Judgement is a verdict with its reasons.
type Judgement struct {
	Verdict Verdict  `json:"verdict"`
	Score   int      `json:"score"`  // 0 to 100, for sorting: three fifths fit, two fifths intent
	Fit     int      `json:"fit"`    // 0 to 100
	Intent  int      `json:"intent"` // 0 to 100
	Reasons []string `json:"reasons"`
}

// Rules are what a judgement follows.
type Rules struct {
	Thresholds Thresholds `json:"thresholds"`
	Disqualify []Rule     `json:"disqualify"` // the first that matches decides
	Fit        []Rule     `json:"fit"`        // of those about one field, the first that matches counts
	Intent     []Rule     `json:"intent"`     // likewise
}

// Thresholds are the points at which a verdict follows.
type Thresholds struct {
	Fit             int `json:"fit"`    // MQL from here,
	Intent          int `json:"intent"` // and from here
	AccountFit      int `json:"account_fit"`
	AccountIntent   int `json:"account_intent"`
	AccountContacts int `json:"account_contacts"` // people of one company that make an MQA
}

// Rule gives points, and the reason for them.
type Rule struct {
	When   Condition `json:"when"`
	Points int       `json:"points,omitempty"`
	Reason string    `json:"reason"`
}

// Condition is about one field; exactly one of the others is set.
type Condition struct {
	Field    string   `json:"field"`
	In       []string `json:"in,omitempty"`       // the value is one of these
	Contains []string `json:"contains,omitempty"` // one of these stands in the value, as whole words
	AtLeast  *int     `json:"at_least,omitempty"` // the number is no less
	Known    bool     `json:"known,omitempty"`    // there is a value
}

// Parse reads rules. Its error names every rule that makes no sense.
func Parse(text []byte) (Rules, error) {
	var r Rules
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return Rules{}, fmt.Errorf("decode: %w", err)
	}
	var errs []error
	for name, rules := range map[string][]Rule{"disqualify": r.Disqualify, "fit": r.Fit, "intent": r.Intent} {
		for i, rule := range rules {
			if err := rule.validate(); err != nil {
				errs = append(errs, fmt.Errorf("%s[%d]: %w", name, i, err))
			}
		}
	}
	return r, errors.Join(errs...)
}

func (r Rule) validate() error {
	c := r.When
	_, isNumber := numbers(Subject{})[c.Field]
	if _, isText := texts(Subject{})[c.Field]; !isText && !isNumber {
		return fmt.Errorf("the field %q is not known", c.Field)
	}
	set := 0
	for _, yes := range []bool{len(c.In) > 0, len(c.Contains) > 0, c.AtLeast != nil, c.Known} {
		if yes {
			set++
		}
	}
	switch {
	case set != 1:
		return errors.New("one of in, contains, at_least and known is needed")
	case (c.AtLeast != nil) != isNumber:
		return fmt.Errorf("the field %q cannot be compared like that", c.Field)
	case r.Reason == "":
		return errors.New("the reason is missing")
	}
	return nil
}

func texts(s Subject) map[string]string {
	return map[string]string{
		"email_kind": s.EmailKind, "company": s.Company, "country": s.Country,
		"job_title": s.JobTitle, "interest": s.Interest, "message": s.Message,
	}
}

func numbers(s Subject) map[string]int {
	return map[string]int{"seats": s.Seats, "account_contacts": s.AccountContacts}
}

// holds tells whether the condition is met; an unknown value meets none.
func (c Condition) holds(s Subject) bool {
	if c.AtLeast != nil {
		n := numbers(s)[c.Field]
		return n != 0 && n >= *c.AtLeast
	}
	value := texts(s)[c.Field]
	if value == "" {
		return false
	}
	equal := func(want string) bool { return strings.EqualFold(want, value) }
	within := func(want string) bool { return strings.Contains(words(value), words(want)) }
	return c.Known || slices.ContainsFunc(c.In, equal) || slices.ContainsFunc(c.Contains, within)
}

// words is the text in lower case with one space before, between and after its words.
func words(text string) string {
	split := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }
	return " " + strings.Join(strings.FieldsFunc(strings.ToLower(text), split), " ") + " "
}

// Judge judges a lead.
func (r Rules) Judge(s Subject) Judgement {
	for _, rule := range r.Disqualify {
		if rule.When.holds(s) {
			return Judgement{Verdict: Disqualified, Reasons: []string{rule.Reason}}
		}
	}
	fit, why := points(r.Fit, s)
	intent, whyIntent := points(r.Intent, s)
	j := Judgement{Fit: fit, Intent: intent, Score: (fit*3 + intent*2) / 5, Reasons: append(why, whyIntent...)}
	t := r.Thresholds
	switch {
	case s.AccountContacts >= t.AccountContacts && fit >= t.AccountFit && intent >= t.AccountIntent:
		j.Verdict = MQA
	case fit >= t.Fit && intent >= t.Intent:
		j.Verdict = MQL
	default:
		j.Verdict = Nurture
		if fit < t.Fit {
			j.Reasons = append(j.Reasons, fmt.Sprintf("fit is %d, %d are needed", fit, t.Fit))
		}
		if intent < t.Intent {
			j.Reasons = append(j.Reasons, fmt.Sprintf("intent is %d, %d are needed", intent, t.Intent))
		}
	}
	return j
}

// points adds up, at most to 100; of the rules about one field only the first that matches counts.
func points(rules []Rule, s Subject) (sum int, reasons []string) {
	counted := map[string]bool{}
	for _, rule := range rules {
		if counted[rule.When.Field] || !rule.When.holds(s) {
			continue
		}
		counted[rule.When.Field] = true
		sum += rule.Points
		reasons = append(reasons, fmt.Sprintf("%s (%+d)", rule.Reason, rule.Points))
	}
	return min(max(sum, 0), 100), reasons
}
