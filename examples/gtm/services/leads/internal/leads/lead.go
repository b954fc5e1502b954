package leads

import (
	"encoding/json"
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Submission is a lead as somebody sends it.
type Submission struct {
	Email     string `json:"email"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	JobTitle  string `json:"job_title"`
	Company   string `json:"company"`
	Domain    string `json:"domain"`  // the company's web domain or site
	Country   string `json:"country"` // of the person, ISO 3166-1 alpha-2
	Seats     int    `json:"seats"`   // asked for; 0: not said
	Interest  string `json:"interest"`
	Message   string `json:"message"`
	Source    string `json:"source"`
	Synthetic bool   `json:"synthetic"` // the person is made up, for demonstration
}

// State is how far the pipeline has come with a lead.
type State string

// The states.
const (
	StatePending   State = "pending"
	StateEnriched  State = "enriched"
	StateQualified State = "qualified"
	StateRouted    State = "routed"
	StateDone      State = "done"
)

// States are all states, in order.
func States() []State {
	return []State{StatePending, StateEnriched, StateQualified, StateRouted, StateDone}
}

// Fact is something that enrichment found, with where it is from.
type Fact struct {
	Value  json.RawMessage `json:"value"`
	Source string          `json:"source"`
}

// Lead is a person who may become a customer.
type Lead struct {
	ID string `json:"id"`
	Submission
	State     State      `json:"state"`
	CreatedAt time.Time  `json:"created_at"`
	ChangedAt time.Time  `json:"changed_at"`
	DoneAt    *time.Time `json:"done_at,omitempty"`
	Arrival   int64      `json:"arrival"` // in the order in which leads came
	Number    int64      `json:"number"`  // of the last change
	TraceID   string     `json:"trace_id,omitempty"`
	Result

	Later []Later `json:"later,omitempty"` // what the person sent since; only where one lead is asked for
}

// Later is what a person sent who was a lead already.
type Later struct {
	Submission
	CreatedAt time.Time `json:"created_at"`
}

// Result is what the pipeline found and decided.
type Result struct {
	Facts         map[string]Fact `json:"facts,omitempty"`
	Account       string          `json:"account,omitempty"` // the company's domain, if the lead belongs to one
	Verdict       string          `json:"verdict,omitempty"`
	Score         int             `json:"score"`
	Fit           int             `json:"fit"`
	Intent        int             `json:"intent"`
	Reasons       []string        `json:"reasons,omitempty"`
	Owner         string          `json:"owner,omitempty"`
	OwnerName     string          `json:"owner_name,omitempty"`
	Territory     string          `json:"territory,omitempty"`
	Segment       string          `json:"segment,omitempty"`
	RoutedBecause []string        `json:"routed_because,omitempty"`
	OpportunityID int64           `json:"opportunity_id,omitempty"`
	Stage         string          `json:"stage,omitempty"` // of the opportunity
}

// Interests are what a lead may be interested in.
func Interests() []string {
	return []string{"demo", "pricing", "trial", "webinar", "whitepaper", "newsletter", "job", "other"}
}

// Invalid says what is wrong with a submission.
type Invalid struct {
	Field  string
	Reason string
}

func (i *Invalid) Error() string { return fmt.Sprintf("%s: %s", i.Field, i.Reason) }

func invalid(field, format string, args ...any) *Invalid {
	return &Invalid{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Normal is the submission with every field brought into one form, or an *Invalid.
func (s Submission) Normal() (Submission, error) {
	for name, field := range s.fields() {
		limit := 200
		if name == "message" {
			limit = 4000
		}
		*field = strings.TrimSpace(*field)
		switch {
		case !utf8.ValidString(*field):
			return s, invalid(name, "is not UTF-8 text")
		case utf8.RuneCountInString(*field) > limit:
			return s, invalid(name, "is longer than %d characters", limit)
		case strings.ContainsFunc(*field, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }):
			return s, invalid(name, "has control characters")
		}
		if name != "message" {
			*field = strings.Join(strings.Fields(*field), " ")
		}
	}
	s.Email = strings.ToLower(s.Email)
	if err := checkEmail(s.Email); err != nil {
		return s, err
	}
	if s.Domain != "" {
		domain, err := domainOf(s.Domain)
		if err != nil {
			return s, err
		}
		s.Domain = domain
	}
	s.Country = strings.ToUpper(s.Country)
	if s.Country != "" && (len(s.Country) != 2 || strings.Trim(s.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		return s, invalid("country", "%q is no code of two letters (ISO 3166-1)", s.Country)
	}
	s.Interest = strings.ToLower(s.Interest)
	if s.Interest != "" && !slices.Contains(Interests(), s.Interest) {
		return s, invalid("interest", "%q is none of %s", s.Interest, strings.Join(Interests(), ", "))
	}
	if s.Seats < 0 || s.Seats > 1_000_000 {
		return s, invalid("seats", "%d is not between 0 and 1000000", s.Seats)
	}
	return s, nil
}

func (s *Submission) fields() map[string]*string {
	return map[string]*string{
		"email": &s.Email, "first_name": &s.FirstName, "last_name": &s.LastName, "job_title": &s.JobTitle,
		"company": &s.Company, "domain": &s.Domain, "country": &s.Country, "interest": &s.Interest,
		"message": &s.Message, "source": &s.Source,
	}
}

// hostPattern is a host name in ASCII with at least two labels.
var hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`)

func checkEmail(email string) error {
	if email == "" {
		return invalid("email", "is missing")
	}
	a, err := mail.ParseAddress(email)
	if err != nil || a.Address != email || len(email) > 254 {
		return invalid("email", "%q is no email address", email)
	}
	if domain := email[strings.LastIndexByte(email, '@')+1:]; !hostPattern.MatchString(domain) {
		return invalid("email", "%q has no web domain after the @", email)
	}
	return nil
}

// domainOf is the registered domain of what people write into a field for a company's site.
func domainOf(site string) (string, error) {
	text := strings.ToLower(site)
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || !hostPattern.MatchString(u.Hostname()) {
		return "", invalid("domain", "%q is no web domain", site)
	}
	return Registered(u.Hostname()), nil
}

// Registered is the domain that somebody registered: the last two labels, or three where the second level of a
// country is a category (example.co.uk). It is a rule of thumb for telling companies apart, and does without the
// public suffix list, which is ten thousand lines long and changes weekly.
func Registered(domain string) string {
	labels := strings.Split(domain, ".")
	n := 2
	if len(labels) > 2 && len(labels[len(labels)-1]) == 2 &&
		slices.Contains([]string{"ac", "co", "com", "edu", "gob", "gov", "ne", "net", "or", "org"}, labels[len(labels)-2]) {
		n = 3
	}
	return strings.Join(labels[max(len(labels)-n, 0):], ".")
}

// Key tells people apart: two addresses with one key reach one person. The address is normal.
func Key(email string) string {
	at := strings.LastIndexByte(email, '@')
	local, domain := email[:at], email[at+1:]
	if plus := strings.IndexByte(local, '+'); plus > 0 {
		local = local[:plus]
	}
	if domain == "gmail.com" || domain == "googlemail.com" {
		local, domain = strings.ReplaceAll(local, ".", ""), "gmail.com"
	}
	return local + "@" + domain
}

// company is the domain by which leads of one company are found: what the lead says, else that of the address.
func (s Submission) company() string {
	if s.Domain != "" {
		return s.Domain
	}
	return s.addressDomain()
}

func (s Submission) addressDomain() string {
	return Registered(s.Email[strings.LastIndexByte(s.Email, '@')+1:])
}
