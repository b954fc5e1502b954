package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// The limits of one try.
const (
	TryTimeout = 15 * time.Second // from the first look-up to the end of the answer
	MaxAnswer  = 1 << 10          // bytes of the answer's body that a Result holds

	maxAnswerHead = 64 << 10
	maxDrain      = 16 << 10         // bytes of the answer's body that are read so that the connection can be used again
	maxRetryAfter = 24 * time.Hour   // beyond it Retry-After is not believed
	idleTimeout   = 30 * time.Second // of a connection
	maxIdle       = 100              // connections
)

// Headers of a message besides those of Standard Webhooks.
const (
	HeaderTopic   = "Atoll-Topic"
	HeaderAttempt = "Atoll-Attempt" // counts the tries, from 1
)

// contentType is that of a CloudEvent in structured form.
const contentType = "application/cloudevents+json; charset=utf-8"

// Message is one try to tell an endpoint of an event.
type Message struct {
	ID          string    // the same in every try; without full stops
	Timestamp   time.Time // of the try
	Body        []byte
	Topic       string
	ContentType string // default that of a CloudEvent as JSON
	Attempt     int    // counts the tries, from 1
}

// Class is why a try failed.
type Class string

// The classes.
const (
	ClassNone    Class = ""        // it did not
	ClassStatus  Class = "status"  // the answer was not 2xx
	ClassTimeout Class = "timeout" // no answer within TryTimeout
	ClassAddress Class = "address" // the host's addresses are not such as webhooks go to
	ClassDNS     Class = "dns"     // the host's name could not be resolved
	ClassConnect Class = "connect" // no connection
	ClassTLS     Class = "tls"     // the host could not prove who it is
	ClassBroken  Class = "broken"  // the connection ended without an answer
	ClassAborted Class = "aborted" // the sender was stopped amid the try; it says nothing about the endpoint
	ClassInvalid Class = "invalid" // the message or the endpoint cannot be sent
)

// Result is what came of a try.
type Result struct {
	At         time.Time // when it began
	Duration   time.Duration
	Status     int           // 0 if there was no answer
	Answer     []byte        // the beginning of the answer's body
	RetryAfter time.Duration // what the receiver asked for, or 0
	Class      Class
	Err        error // for operators; nil if there was an answer
}

// SenderOptions are settings of a Sender. Their zero values are good.
type SenderOptions struct {
	// Allow are networks that every endpoint may lie in, whatever they are.
	Allow []netip.Prefix
	// Roots are the authorities that prove receivers; nil means the system's.
	Roots *x509.CertPool
	// Resolver resolves names; nil means the system's.
	Resolver *net.Resolver
	// Timeout bounds a try; 0 means TryTimeout.
	Timeout time.Duration
	// UserAgent is what the sender calls itself; default Atoll-Webhooks.
	UserAgent string
}

// Sender makes tries. It is safe for concurrent use.
type Sender struct {
	agent           string
	timeout         time.Duration
	public, private *http.Client // two, so that none uses the other's connections
}

// NewSender returns a sender.
func NewSender(opts *SenderOptions) *Sender {
	var o SenderOptions
	if opts != nil {
		o = *opts
	}
	g := newGuard(o.Allow)
	return &Sender{
		agent: cmp.Or(o.UserAgent, "Atoll-Webhooks"), timeout: cmp.Or(o.Timeout, TryTimeout),
		public: newClient(o, g, false), private: newClient(o, g, true),
	}
}

func newClient(o SenderOptions, g *guard, private bool) *http.Client {
	dialer := &net.Dialer{
		Resolver: o.Resolver,
		// It is told the address that is about to be connected to, after names are resolved.
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return fault.New(fault.CodeWebhookAddress, "%s is no address that webhooks go to", address).Because(err)
			}
			return g.check(to.Addr(), private)
		},
	}
	t := &http.Transport{
		Proxy:                  nil, // a proxy would resolve names itself, and lead anywhere
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswerHead,
		MaxIdleConns:           maxIdle,
		IdleConnTimeout:        idleTimeout,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	t.Protocols.SetHTTP2(true)
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close closes the connections that are kept. No try may be under way.
func (s *Sender) Close() {
	s.public.CloseIdleConnections()
	s.private.CloseIdleConnections()
}

// Send makes one try: it signs the message with the endpoint's secrets of that time, sends it, and waits for the answer. If
// ctx ends before, the result is of ClassAborted.
func (s *Sender) Send(ctx context.Context, e Endpoint, m Message) Result {
	if m.Timestamp.IsZero() {
		m.Timestamp = time.Now()
	}
	r := Result{At: m.Timestamp}
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTryTimeout)
	defer cancel()
	req, err := s.request(ctx, e, m)
	if err != nil {
		r.Class, r.Err = ClassInvalid, err
		return r
	}
	client := s.public
	if e.AllowPrivate {
		client = s.private
	}
	res, err := client.Do(req)
	if err != nil {
		r.Class, r.Err = classify(ctx, err), err
	} else {
		r.read(res, m.Timestamp)
	}
	r.Duration = time.Since(start)
	return r
}

var errTryTimeout = errors.New("the receiver did not answer in time")

// request makes the signed request of a try.
func (s *Sender) request(ctx context.Context, e Endpoint, m Message) (*http.Request, error) {
	if m.ID == "" || strings.Contains(m.ID, ".") || !isName(m.ID) {
		return nil, fault.New(fault.CodeWebhookInvalid, "%q cannot name a message: printable characters without blanks and full stops do", m.ID)
	}
	keys := e.signing(m.Timestamp)
	if keys == nil {
		return nil, fault.New(fault.CodeWebhookInvalid, "the endpoint %s has no secret to sign with", e.ID).
			Fix("take the endpoint from the registry, and rotate its secret")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(m.Body))
	if err != nil {
		return nil, err
	}
	h := req.Header
	h.Set("Content-Type", cmp.Or(m.ContentType, contentType))
	h.Set("User-Agent", s.agent)
	h.Set(HeaderAttempt, strconv.Itoa(max(m.Attempt, 1)))
	if m.Topic != "" {
		h.Set(HeaderTopic, m.Topic)
	}
	for _, f := range keys.Sign(m.ID, m.Timestamp, m.Body) {
		h.Set(f.Name, f.Value)
	}
	return req, nil
}

// read takes what matters out of an answer.
func (r *Result) read(res *http.Response, now time.Time) {
	defer res.Body.Close()
	r.Status = res.StatusCode
	if r.Status < 200 || r.Status > 299 {
		r.Class = ClassStatus
		r.RetryAfter = retryAfter(res.Header.Get("Retry-After"), now)
	}
	if r.Status == http.StatusSwitchingProtocols {
		return // what follows is no body, and has no end
	}
	// The status has been said; a body that breaks off or takes too long changes nothing.
	r.Answer, _ = io.ReadAll(io.LimitReader(res.Body, MaxAnswer))
	_, _ = io.CopyN(io.Discard, res.Body, maxDrain)
}

// retryAfter reads Retry-After (RFC 9110, 10.2.3): seconds, or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// classify says why there is no answer.
func classify(ctx context.Context, err error) Class {
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, errTryTimeout) {
			return ClassTimeout
		}
		return ClassAborted
	}
	if fault.CodeOf(err) == fault.CodeWebhookAddress {
		return ClassAddress
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return ClassDNS
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return ClassConnect
	}
	if isTLS(err) {
		return ClassTLS
	}
	return ClassBroken
}

func isTLS(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	return verification || record || alert
}
