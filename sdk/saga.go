package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Headers of the calls of a saga, beside HeaderIdempotencyKey, HeaderDeadline and HeaderTrace.
const (
	HeaderSaga     = "Atoll-Saga"     // the saga's name
	HeaderAttempt  = "Atoll-Attempt"  // how often this call was tried, this time included
	HeaderCallback = "Atoll-Callback" // of an async step: where to say how it ended, see CompleteStep
)

// SagasOptions are options of NewSagas. The zero value is good.
type SagasOptions struct {
	// Timeout of a method, all tries together, with a context that has no deadline; default 30 s. Wait has none.
	Timeout time.Duration

	// MaxBody is how many bytes of an answer are read at most; default 10 MB.
	MaxBody int64

	// Getenv is used in place of os.Getenv.
	Getenv func(string) string
}

// Sagas starts sagas and asks what became of them. It is safe for concurrent use.
//
// While Atoll is busy or cannot be reached, its methods try again until ctx ends. A refusal is a *Problem error, whose Code says
// why, such as saga-undeclared, saga-unknown, saga-instance-unknown, saga-input or saga-key-reused.
type Sagas struct {
	base    *url.URL
	timeout time.Duration
	maxBody int64
	http    *http.Client
}

// NewSagas returns the way to start sagas: its address is the environment variable SAGAS_URL, which Atoll sets for services
// that say in service.yaml which sagas they start.
func NewSagas(opts *SagasOptions) (*Sagas, error) {
	o := SagasOptions{}
	if opts != nil {
		o = *opts
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 10_000_000
	}
	base, err := url.Parse(o.Getenv("SAGAS_URL"))
	if err != nil || base.Host == "" {
		return nil, fault.New(CodeNoSagas, "This service has no address to start sagas at: SAGAS_URL is not set to one.").
			Fix("add the sagas to the list `sagas` in service.yaml; Atoll then sets SAGAS_URL").Because(err)
	}
	return &Sagas{base: base, timeout: o.Timeout, maxBody: o.MaxBody, http: sagaHTTP()}, nil
}

func sagaHTTP() *http.Client {
	return &http.Client{Transport: transport(), CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// Close closes the idle connections.
func (s *Sagas) Close() { s.http.CloseIdleConnections() }

// SagaState is how far an instance is.
type SagaState string

// The states of an instance.
const (
	SagaRunning      SagaState = "running"
	SagaCompensating SagaState = "compensating" // what was done is being undone
	SagaCompleted    SagaState = "completed"    // ended: all steps are done
	SagaCompensated  SagaState = "compensated"  // ended: all that was done is undone
	SagaParked       SagaState = "parked"       // it waits for an operator
)

// SagaInstance is one run of a saga.
type SagaInstance struct {
	ID      string          `json:"id"`
	Saga    string          `json:"saga"`    // the saga's name
	Version string          `json:"version"` // of its definition: 12 hex digits
	Key     string          `json:"key"`     // what its definition has it searched by
	State   SagaState       `json:"state"`
	Input   json.RawMessage `json:"input"`
	Output  json.RawMessage `json:"output"` // of one that is completed
	Error   *SagaError      `json:"error"`  // why it is compensated or parked; nil if nothing is wrong
	Started time.Time       `json:"started"`
	Ended   time.Time       `json:"ended"` // zero until it has
}

// SagaError is why a saga did not go on.
type SagaError struct {
	Step string `json:"step"` // "" if it was no step
	Text string `json:"text"`
}

// Error is the step and the text.
func (e *SagaError) Error() string {
	if e.Step == "" {
		return e.Text
	}
	return e.Step + ": " + e.Text
}

// HasEnded tells whether the instance is completed or compensated. One that is parked has not ended.
func (i *SagaInstance) HasEnded() bool {
	return i.State == SagaCompleted || i.State == SagaCompensated
}

// Decode reads the output of a completed instance into v. Of any other it is an error, which says how far it is and why.
func (i *SagaInstance) Decode(v any) error {
	if i.State != SagaCompleted {
		err := fmt.Errorf("saga %s %s is %s", i.Saga, i.ID, i.State)
		if i.Error != nil {
			err = fmt.Errorf("%w: %w", err, i.Error)
		}
		return err
	}
	if len(i.Output) == 0 {
		return fmt.Errorf("saga %s %s has no output", i.Saga, i.ID)
	}
	if err := json.Unmarshal(i.Output, v); err != nil {
		return fmt.Errorf("saga %s %s: decode the output: %w", i.Saga, i.ID, err)
	}
	return nil
}

// StartOptions are options of Start. The zero value is good.
type StartOptions struct {
	// Key is the idempotency key, of printable ASCII: a second start of the same saga with it starts nothing and returns the
	// first instance, or is refused with the code saga-key-reused if its input is another. Default one that no other
	// start has.
	Key string

	// Wait is how long the start waits for the end of the instance, in whole seconds, rounded up. Default not at all.
	Wait time.Duration
}

// Start starts a saga with input, which is sent as JSON. It returns once the start is on disk, or, with StartOptions.Wait, once
// the instance has ended or that time is over: see SagaInstance.HasEnded. It is tried again with the same key, so that one
// instance is started however often it is tried. After an error there may be one nevertheless.
func (s *Sagas) Start(ctx context.Context, name string, input any, opts *StartOptions) (*SagaInstance, error) {
	o := StartOptions{}
	if opts != nil {
		o = *opts
	}
	if o.Key == "" {
		o.Key = newEventID()
	}
	if err := checkKey(o.Key); err != nil {
		return nil, fmt.Errorf("start saga %s: %w", name, err)
	}
	header := http.Header{HeaderIdempotencyKey: {o.Key}}
	wait := max(0, (o.Wait+time.Second-1)/time.Second)
	if wait > 0 {
		header.Set("Prefer", "wait="+strconv.FormatInt(int64(wait), 10))
	}
	ctx, cancel := s.limit(ctx, wait*time.Second)
	defer cancel()
	started := &SagaInstance{}
	if err := s.do(ctx, request{method: http.MethodPost, path: []string{name}, header: header, body: input, has: true}, started); err != nil {
		return nil, fmt.Errorf("start saga %s: %w", name, err)
	}
	return started, nil
}

// checkKey refuses what cannot stand in a header, which would look like a connection that fails.
func checkKey(key string) error {
	for _, c := range []byte(key) {
		if c < ' ' || c > '~' {
			return fmt.Errorf("the key %q is not of printable ASCII", key)
		}
	}
	if strings.TrimSpace(key) != key {
		return fmt.Errorf("the key %q begins or ends with a space", key)
	}
	return nil
}

// Get returns an instance as it is.
func (s *Sagas) Get(ctx context.Context, name, id string) (*SagaInstance, error) {
	ctx, cancel := s.limit(ctx, 0)
	defer cancel()
	got := &SagaInstance{}
	if err := s.do(ctx, request{method: http.MethodGet, path: []string{name, id}}, got); err != nil {
		return nil, fmt.Errorf("get saga %s: %w", name, err)
	}
	return got, nil
}

// Wait returns an instance once it has ended. One that is parked may take as long as its operator. If ctx ends before, it
// returns the instance as it was last seen, nil if it was not, and an error that wraps that of ctx.
func (s *Sagas) Wait(ctx context.Context, name, id string) (*SagaInstance, error) {
	var last *SagaInstance
	for try := 0; ; try++ {
		wait := 30 * time.Second
		if deadline, ok := ctx.Deadline(); ok {
			wait = min(wait, max(time.Until(deadline).Truncate(time.Second), time.Second))
		}
		got, began := &SagaInstance{}, time.Now()
		err := s.do(ctx, request{method: http.MethodGet, path: []string{name, id}, query: url.Values{"wait": {wait.String()}}}, got)
		switch {
		case err == nil && got.HasEnded():
			return got, nil
		case err == nil:
			last = got
		case ctx.Err() == nil:
			return last, fmt.Errorf("wait for saga %s: %w", name, err)
		}
		if time.Since(began) > time.Second {
			try = 0
		} // otherwise it is answered at once, which is no reason to ask at once
		if after, _ := retryAfter(errNotEnded, try); ctx.Err() != nil || !waitFor(ctx, after) {
			return last, fmt.Errorf("wait for saga %s: %w", name, context.Cause(ctx))
		}
	}
}

var errNotEnded = errors.New("it has not ended")

// Cancel asks for an instance to be undone, for a reason that its history tells, and returns it as it is then. One that is past
// its pivot is not undone any more, which is a *Problem error.
func (s *Sagas) Cancel(ctx context.Context, name, id, reason string) (*SagaInstance, error) {
	ctx, cancel := s.limit(ctx, 0)
	defer cancel()
	got := &SagaInstance{}
	body := map[string]string{"reason": reason}
	if err := s.do(ctx, request{method: http.MethodPost, path: []string{name, id, "cancel"}, body: body, has: true}, got); err != nil {
		return nil, fmt.Errorf("cancel saga %s: %w", name, err)
	}
	return got, nil
}

// FindOptions say which instances Find returns. The zero value is all of them.
type FindOptions struct {
	Key    string      // that their definition has them searched by
	States []SagaState // in one of which they are
	Limit  int         // how many at most; default what Atoll has for it
	Before string      // SagaPage.Next of the page before this
}

// SagaPage is some of the instances that were asked for.
type SagaPage struct {
	Instances []SagaInstance `json:"instances"`
	Next      string         `json:"next"` // "" if there are no more
}

// Find returns instances of a saga.
func (s *Sagas) Find(ctx context.Context, name string, opts *FindOptions) (*SagaPage, error) {
	o := FindOptions{}
	if opts != nil {
		o = *opts
	}
	query := url.Values{}
	for _, state := range o.States {
		query.Add("state", string(state))
	}
	for key, value := range map[string]string{"key": o.Key, "before": o.Before} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if o.Limit > 0 {
		query.Set("limit", strconv.Itoa(o.Limit))
	}
	ctx, cancel := s.limit(ctx, 0)
	defer cancel()
	page := &SagaPage{}
	if err := s.do(ctx, request{method: http.MethodGet, path: []string{name}, query: query}, page); err != nil {
		return nil, fmt.Errorf("find saga %s: %w", name, err)
	}
	return page, nil
}

// limit gives a context without a deadline one.
func (s *Sagas) limit(ctx context.Context, more time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.timeout+more)
}

// request is what is sent, the same in every try.
type request struct {
	method string
	path   []string // below SAGAS_URL
	query  url.Values
	header http.Header
	body   any
	has    bool // it has a body
}

// do sends a request until it is answered or refused, and decodes the answer into out.
func (s *Sagas) do(ctx context.Context, r request, out any) error {
	at := s.base
	for _, p := range r.path {
		if p == "" || p == "." || p == ".." {
			return fmt.Errorf("%q is no name", p)
		}
		at = at.JoinPath(url.PathEscape(p))
	}
	at.RawQuery = r.query.Encode()
	body := []byte(nil)
	if r.has {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return err
		}
	}
	return sendAgain(ctx, s.http, s.maxBody, r.method, at.String(), r.header, body, out)
}

// sendAgain sends the same request until there is an answer that another try would not change.
func sendAgain(ctx context.Context, c *http.Client, limit int64, method, address string, header http.Header, body []byte, out any) error {
	for try := 0; ; try++ {
		answer, err := send(ctx, c, limit, method, address, header, body)
		if err == nil && out != nil {
			err = json.Unmarshal(answer, out)
			if err != nil {
				return fmt.Errorf("decode the answer: %w", err)
			}
		}
		if err == nil {
			return nil
		}
		after, again := retryAfter(err, try)
		if errors.Is(err, errTooLarge) || !again || !waitFor(ctx, after) {
			return err
		}
	}
}

var errTooLarge = errors.New("the answer is larger than may be")

func send(ctx context.Context, c *http.Client, limit int64, method, address string, header http.Header, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header.Clone()
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if trace := Traceparent(ctx); trace != "" {
		req.Header.Set(HeaderTrace, trace)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return nil, readProblem(resp, "for sagas")
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(answer)) > limit {
		err = fmt.Errorf("%w: %d bytes", errTooLarge, limit)
	}
	return answer, err
}

// CompleteStep says that an async step, which was answered with 202, is done, with its output. The address is that of the header
// HeaderCallback; keep it with what the step makes. It is tried again until ctx ends, or for 30 s if that has no deadline, so
// call it again later after an error that is no *Problem. A *Problem may also mean that the end was told before, by a try whose
// answer was lost.
func CompleteStep(ctx context.Context, callbackURL string, output any) error {
	if err := callBack(ctx, callbackURL, map[string]any{"output": output}); err != nil {
		return fmt.Errorf("complete step: %w", err)
	}
	return nil
}

// RefuseStep is CompleteStep for a step that is refused: the saga undoes what came before it, and tells why.
func RefuseStep(ctx context.Context, callbackURL, why string) error {
	if why == "" {
		why = "the service refused the step" // an empty text would be no refusal
	}
	if err := callBack(ctx, callbackURL, map[string]any{"refused": why}); err != nil {
		return fmt.Errorf("refuse step: %w", err)
	}
	return nil
}

func callBack(ctx context.Context, callbackURL string, what map[string]any) error {
	u, err := url.Parse(callbackURL)
	if err != nil || u.Host == "" {
		return fmt.Errorf("%q is no address to call back", callbackURL)
	}
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
	}
	c := sagaHTTP()
	defer c.CloseIdleConnections()
	return sendAgain(ctx, c, 64<<10, http.MethodPost, callbackURL, nil, body, nil)
}
