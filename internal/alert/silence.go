package alert

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/fault"
)

// The limits of a silence.
const (
	MaxSilenceTime = 90 * 24 * time.Hour
	keptSilence    = 5 * 24 * time.Hour // after its end
	maxMatchers    = 20
	maxText        = 1000 // bytes of a value, a comment or a name
)

// MatchOp is how a matcher compares.
type MatchOp string

// The comparisons. Regular expressions are RE2 and match the whole value.
const (
	MatchEqual    MatchOp = "="
	MatchNotEqual MatchOp = "!="
	MatchRegex    MatchOp = "=~"
	MatchNotRegex MatchOp = "!~"
)

// Matcher compares one label. A label that is not there is as one that is empty.
type Matcher struct {
	Label string  `json:"label"`
	Op    MatchOp `json:"op"`
	Value string  `json:"value"`

	form *regexp.Regexp
}

var matcherForm = regexp.MustCompile(`^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(?s:(.*?))\s*$`)

// plainValue is one that needs no quotes.
var plainValue = regexp.MustCompile(`^[\pL\pN_./:-]+$`)

// ParseMatcher reads label=value, label!=value, label=~"form" or label!~"form"; the quotes may be left out. The error is a *fault.Error.
func ParseMatcher(text string) (Matcher, error) {
	p := matcherForm.FindStringSubmatch(text)
	if p == nil {
		return Matcher{}, fault.New(fault.CodeSilenceInvalid, "%.80q is no matcher", text).Fix(`write LABEL=VALUE, or != or =~ or !~ in the place of =, such as service=orders`)
	}
	value := p[3]
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(value[1 : len(value)-1])
	}
	m := Matcher{Label: p[1], Op: MatchOp(p[2]), Value: value}
	return m, m.prepare()
}

// prepare checks a matcher and compiles its form.
func (m *Matcher) prepare() error {
	invalid := func(format string, args ...any) *fault.Error {
		return fault.New(fault.CodeSilenceInvalid, format, args...)
	}
	switch {
	case !utf8.ValidString(m.Value):
		return invalid("the value of a matcher is UTF-8 text").Fix("write it as such")
	case m.Label == "" || len(m.Label) > maxText || len(m.Value) > maxText:
		return invalid("a matcher names a label and a value of at most %d bytes", maxText).Fix("write LABEL=VALUE, such as service=orders")
	case m.Op == MatchEqual || m.Op == MatchNotEqual:
		return nil
	case m.Op != MatchRegex && m.Op != MatchNotRegex:
		return invalid("%.20q is no comparison of labels", m.Op).Fix("write one of =, !=, =~ and !~")
	}
	form, err := regexp.Compile(`^(?s:` + m.Value + `)$`)
	if err != nil {
		return invalid("%.80q is no regular expression", m.Value).Fix("write one of RE2, such as api-.*").Because(err)
	}
	m.form = form
	return nil
}

// Matches tells whether labels fit.
func (m *Matcher) Matches(l Labels) bool {
	value := l[m.Label]
	switch m.Op {
	case MatchEqual:
		return value == m.Value
	case MatchNotEqual:
		return value != m.Value
	case MatchRegex:
		return m.form.MatchString(value)
	case MatchNotRegex:
		return !m.form.MatchString(value)
	}
	return false
}

// String is the matcher as it is written.
func (m Matcher) String() string {
	value := m.Value
	if !plainValue.MatchString(value) {
		value = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
	}
	return m.Label + string(m.Op) + value
}

// Silence keeps alerts from being told of. They are shown all the same.
type Silence struct {
	ID       string    `json:"id"`
	Matchers []Matcher `json:"matchers"` // all must match
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	By       string    `json:"by"`
	Comment  string    `json:"comment,omitempty"`
}

// Active tells whether a silence is in force.
func (s *Silence) Active(now time.Time) bool { return !now.Before(s.From) && now.Before(s.Until) }

// Matches tells whether it is about an alert of these labels.
func (s *Silence) Matches(l Labels) bool {
	for i := range s.Matchers {
		if !s.Matchers[i].Matches(l) {
			return false
		}
	}
	return true
}

// check refuses what would silence everything, or for ever, or in nobody's name.
func (s *Silence) check(now time.Time) error {
	invalid := func(format string, args ...any) *fault.Error {
		return fault.New(fault.CodeSilenceInvalid, format, args...)
	}
	for i := range s.Matchers {
		if err := s.Matchers[i].prepare(); err != nil {
			return err
		}
	}
	switch {
	case len(s.Matchers) == 0 || s.Matches(Labels{}):
		return invalid("this would silence every alert there is, or almost").Fix("name what is meant by at least one label that has a value, such as service=orders")
	case len(s.Matchers) > maxMatchers:
		return invalid("these are %d matchers, at most %d are possible", len(s.Matchers), maxMatchers).Fix("write one with =~ in the place of several")
	case !s.Until.After(now):
		return invalid("the silence would be over before it begins").Fix("write how long it lasts, such as 2h, or an end that lies ahead")
	case s.Until.Sub(now) > MaxSilenceTime:
		return invalid("a silence of more than 90 days would be forgotten").Fix("write a shorter one, or take the alert away: alerting: {off: [NAME]}")
	case s.By == "":
		return invalid("it is not said who silences").Fix("write who it is")
	case len(s.By) > maxText || len(s.Comment) > maxText:
		return invalid("name and comment may be %d bytes long", maxText).Fix("write less")
	}
	return nil
}

// silenced lists the ids of the silences in force that are about an alert.
func silenced(list []Silence, l Labels, now time.Time) []string {
	var ids []string
	for i := range list {
		if list[i].Active(now) && list[i].Matches(l) {
			ids = append(ids, list[i].ID)
		}
	}
	return ids
}

// sortSilences puts those in force first, those that end first before others.
func sortSilences(list []Silence, now time.Time) {
	rank := func(s *Silence) int {
		if s.Active(now) {
			return 0
		}
		return 1
	}
	slices.SortFunc(list, func(a, b Silence) int {
		return cmp.Or(cmp.Compare(rank(&a), rank(&b)), a.Until.Compare(b.Until), cmp.Compare(a.ID, b.ID))
	})
}
