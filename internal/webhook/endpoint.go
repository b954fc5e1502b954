package webhook

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// State tells whether an endpoint gets webhooks.
type State string

// The states.
const (
	StateActive   State = "active"
	StateDisabled State = "disabled"
)

// Reason is why an endpoint is in its state.
type Reason string

// The reasons.
const (
	ReasonNone    Reason = ""        // it is active
	ReasonAsked   Reason = "asked"   // somebody disabled it
	ReasonGone    Reason = "gone"    // the receiver answered 410
	ReasonFailing Reason = "failing" // nothing but failures for GiveUpAfter
)

// The limits of endpoints.
const (
	MaxEndpoints = 1000
	MaxTopics    = 100
	MaxFilters   = 20

	maxURL   = 2048
	maxValue = 256 // of a filter
	maxName  = 200 // of an endpoint

	maxFormer = 5 // secrets of an endpoint that sign beside the current one
)

// Overlap is how long a secret signs on after the rotation that replaced it, whatever rotations follow.
const Overlap = 24 * time.Hour

// Endpoint is where a party outside takes events. It is a value; a Registry alone changes what is kept of it.
type Endpoint struct {
	ID           string
	Name         string            // for people; may be empty
	URL          string            // https, or http where AllowPrivate is set
	Topics       []string          // names; one that ends with ".*" stands for all below, "*" for all
	Filter       map[string]string // attributes that an event must have with exactly this value
	AllowPrivate bool              // private and loopback addresses are good, and http

	State   State
	Reason  Reason
	Since   time.Time // of the state
	Created time.Time
	Failing time.Time // when the first try after the last success began; zero if the last try was one

	secrets *secrets // nil outside of a registry; a pointer, so that nothing prints them
}

// secrets are those of an endpoint. They are never changed, but replaced.
type secrets struct {
	current []byte
	former  []former // those before the last rotations, the newest first
}

// former is a secret that was rotated away. Its keys are for ever: it is stored.
type former struct {
	Secret []byte    `json:"secret"`
	Until  time.Time `json:"until"` // it no longer signs
}

// signing are the former secrets that sign at a time.
func (s *secrets) signing(now time.Time) []former {
	return slices.DeleteFunc(slices.Clone(s.former), func(f former) bool { return !now.Before(f.Until) })
}

// rotated puts a new secret in the place of the current one, which signs on for Overlap, as does each before it to its own end.
func (s *secrets) rotated(now time.Time) (*secrets, error) {
	old := s.signing(now)
	if len(old) >= maxFormer {
		return nil, fault.New(fault.CodeWebhookRotated, "the webhook has %d former secrets that still sign, and takes no more", len(old)).
			Fix("rotate again after %s, when the oldest of them ends", old[len(old)-1].Until.UTC().Format(time.RFC3339))
	}
	return &secrets{current: random(32), former: append([]former{{s.current, now.Add(Overlap)}}, old...)}, nil
}

// Wants tells whether an endpoint is for events of a topic with certain attributes; the function returns an attribute by its
// name, "" if the event lacks it. It does not ask for the state.
func (e Endpoint) Wants(topic string, attribute func(name string) string) bool {
	if !slices.ContainsFunc(e.Topics, func(pattern string) bool { return matches(pattern, topic) }) {
		return false
	}
	for name, value := range e.Filter {
		if attribute(name) != value {
			return false
		}
	}
	return true
}

func matches(pattern, topic string) bool {
	if below, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(topic, below)
	}
	return pattern == topic
}

// signing returns the keys that sign at a time, nil if there are none.
func (e Endpoint) signing(now time.Time) *Keys {
	if e.secrets == nil {
		return nil
	}
	k := &Keys{scheme: standard{}, keys: [][]byte{e.secrets.current}}
	for _, old := range e.secrets.signing(now) {
		k.keys = append(k.keys, old.Secret)
	}
	return k
}

// settle is what becomes of an endpoint after a try.
func (e Endpoint) settle(r Result) Endpoint {
	switch {
	case r.Class == ClassAborted, r.Class == ClassInvalid: // neither says anything about the receiver
	case Judge(r) == VerdictDone:
		e.Failing = time.Time{}
	case Judge(r) == VerdictGone:
		e = e.disabled(ReasonGone, r.At)
	case e.Failing.IsZero() || e.Failing.After(r.At):
		e.Failing = r.At
	case r.At.Sub(e.Failing) >= GiveUpAfter:
		e = e.disabled(ReasonFailing, r.At)
	}
	return e
}

// disabled is an endpoint that gets nothing from now on. One that is disabled already keeps its reason.
func (e Endpoint) disabled(why Reason, now time.Time) Endpoint {
	if e.State != StateDisabled {
		e.State, e.Reason, e.Since = StateDisabled, why, now
	}
	return e
}

// Notice says to whom it concerns why an endpoint gets nothing; nil if it is active.
func (e Endpoint) Notice() *fault.Error {
	if e.State != StateDisabled {
		return nil
	}
	why := "somebody disabled it"
	switch e.Reason {
	case ReasonGone:
		why = "the receiver answered 410 Gone"
	case ReasonFailing:
		why = "every delivery since " + e.Failing.UTC().Format(time.RFC3339) + " failed"
	case ReasonAsked, ReasonNone:
	}
	return fault.Warn(fault.CodeWebhookDisabled, "the webhook %s to %s gets nothing since %s: %s",
		e.ID, e.URL, e.Since.UTC().Format(time.RFC3339), why).
		Fix("when its receiver is well again: atoll events webhooks enable %s, then replay what it missed", e.ID)
}

// MessageID names the message of an event, in every try and to every endpoint: it stands for source and id, which name the
// event, in characters that Standard Webhooks allows.
func MessageID(source, id string) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(len(source)) + ":" + source + id))
	return "msg_" + word(sum[:16])
}

func newID() string { return "wh_" + word(random(15)) }

func word(raw []byte) string {
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(raw))
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

var (
	topicForm     = regexp.MustCompile(`^([a-z0-9]+([._-][a-z0-9]+)*(\.\*)?|\*)$`)
	attributeForm = regexp.MustCompile(`^[a-z0-9]{1,40}$`)
)

// check tells what of an endpoint cannot be.
func (e Endpoint) check(g *guard) error {
	if err := checkURL(e.URL, e.AllowPrivate, g); err != nil {
		return err
	}
	if len(e.Name) > maxName || strings.ContainsFunc(e.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return invalid("the name is longer than %d bytes or not one line", maxName).Fix("write a short name on one line")
	}
	if len(e.Topics) == 0 || len(e.Topics) > MaxTopics {
		return invalid("%d topics are named, from 1 to %d are taken", len(e.Topics), MaxTopics).Fix("name the topics to send, or * for all")
	}
	for _, topic := range e.Topics {
		if len(topic) > 128 || !topicForm.MatchString(topic) {
			return invalid("%q is no topic", topic).Fix("write a topic such as order.placed, order.* for all below order, or *")
		}
	}
	if len(e.Filter) > MaxFilters {
		return invalid("the filter names %d attributes, at most %d are taken", len(e.Filter), MaxFilters).Fix("filter by fewer")
	}
	for name, value := range e.Filter {
		if !attributeForm.MatchString(name) || value == "" || len(value) > maxValue {
			return invalid("the filter %s=%s cannot match", name, value).
				Fix("write the name of an attribute of CloudEvents and a value of 1 to %d bytes", maxValue)
		}
	}
	return nil
}

// checkURL refuses what is no address to send to. An address by its number is looked at now; a name when it is resolved.
func checkURL(text string, private bool, g *guard) error {
	u, err := url.Parse(text)
	switch {
	case err != nil, len(text) > maxURL, u.Host == "", u.Hostname() == "", u.Opaque != "":
		return invalid("the URL is none that can be sent to").Fix("write a URL such as https://partner.example/hooks").Because(err)
	case u.User != nil:
		return invalid("the URL holds a user name or a password").Fix("leave them away: a webhook proves itself by its signature")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return invalid("the URL holds a fragment, which is never sent").Fix("leave away what stands behind #")
	case u.Scheme != "https" && (u.Scheme != "http" || !private):
		return invalid("the URL does not begin with https").
			Fix("write https://…; http is taken for endpoints that may have private addresses")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return invalid("%s is no port", port).Fix("write a port from 1 to 65535")
		}
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return g.check(addr, private)
	}
	if name := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		loopback, _ := netip.AddrFromSlice(net.IPv6loopback)
		return g.check(loopback, private)
	}
	return nil
}

func invalid(format string, args ...any) *fault.Error {
	return fault.New(fault.CodeWebhookInvalid, format, args...)
}
