package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// HeaderDeliverAt says, in RFC 3339, before when nobody gets the events of a request.
const HeaderDeliverAt = "Atoll-Deliver-At"

// PublisherOptions are options of NewPublisher. The zero value is good.
type PublisherOptions struct {
	// Timeout of Publish, all tries together, with a context that has no deadline; default 30 s.
	Timeout time.Duration

	// Getenv is used in place of os.Getenv.
	Getenv func(string) string
}

// Publisher publishes events. It is safe for concurrent use.
type Publisher struct {
	base    *url.URL
	service string
	timeout time.Duration
	http    *http.Client
}

// NewPublisher returns the way to publish events: its address is the environment variable EVENTS_URL, which Atoll sets for
// services that publish.
func NewPublisher(opts *PublisherOptions) (*Publisher, error) {
	o := PublisherOptions{}
	if opts != nil {
		o = *opts
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	base, err := url.Parse(o.Getenv("EVENTS_URL"))
	if err != nil || base.Host == "" {
		return nil, fault.New(CodeNoEvents, "This service has no address to publish events to: EVENTS_URL is not set to one.").
			Fix("add the topics to the list `publishes` in service.yaml; Atoll then sets EVENTS_URL").Because(err)
	}
	return &Publisher{
		base: base, service: o.Getenv("ATOLL_SERVICE"), timeout: o.Timeout,
		http: &http.Client{Transport: transport(), CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}, nil
}

// Publish publishes events to a topic and returns nil once all of them are on disk. Several, at most
// 1,000, go as one batch: one request, in order, of one DeliverAt. The trace of ctx goes along.
//
// While Atoll is busy or cannot be reached, the same events are sent again, with the same ids, until ctx ends. After an
// error some of them may be published. A refusal is a *Problem error, which says why.
func (p *Publisher) Publish(ctx context.Context, topic string, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	header, body, err := p.encode(ctx, topic, events)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.timeout)
		defer cancel()
	}
	for try := 0; ; try++ {
		err := p.post(ctx, topic, header, body)
		if err == nil {
			return nil
		}
		after, again := retryAfter(err, try)
		if !again || !waitFor(ctx, after) {
			return fmt.Errorf("publish to %s: %w", topic, err)
		}
	}
}

// Close closes the idle connections.
func (p *Publisher) Close() { p.http.CloseIdleConnections() }

// encode makes a request of events: one in binary mode, several as a batch.
func (p *Publisher) encode(ctx context.Context, topic string, events []Event) (http.Header, []byte, error) {
	header, now := http.Header{}, time.Now()
	at := events[0].DeliverAt
	if !at.IsZero() {
		header.Set(HeaderDeliverAt, at.UTC().Format(time.RFC3339Nano))
	}
	if trace := Traceparent(ctx); trace != "" {
		header.Set(HeaderTrace, trace)
	}
	if len(events) == 1 {
		e := events[0].complete(topic, p.service, Traceparent(ctx), now)
		if err := e.checkDataType(); err != nil {
			return nil, nil, err
		}
		if _, _, err := mime.ParseMediaType(e.DataType); e.DataType != "" && err != nil {
			return nil, nil, fmt.Errorf("the type of the data %q: %w", e.DataType, err)
		}
		e.setHeader(header)
		return header, e.Data, nil
	}
	batch := make([]map[string]any, len(events))
	for i := range events {
		if !events[i].DeliverAt.Equal(at) {
			return nil, nil, errors.New("the events are to be delivered at different times: publish them one by one")
		}
		e := events[i].complete(topic, p.service, Traceparent(ctx), now)
		if err := e.checkDataType(); err != nil {
			return nil, nil, err
		}
		var err error
		if batch[i], err = e.structured(); err != nil {
			return nil, nil, err
		}
	}
	header.Set("Content-Type", cloudEvents)
	body, err := json.Marshal(batch)
	return header, body, err
}

// setHeader writes the attributes as headers, percent-encoded as the HTTP binding of CloudEvents wants it.
func (e *Event) setHeader(h http.Header) {
	for name, value := range e.attributes() {
		if name == "datacontenttype" {
			h.Set("Content-Type", value)
			continue
		}
		h.Set("Ce-"+name, encodeHeader(value))
	}
}

// encodeHeader encodes what is not printable ASCII, and space, double quote and per cent.
func encodeHeader(value string) string {
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (p *Publisher) post(ctx context.Context, topic string, header http.Header, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base.JoinPath(url.PathEscape(topic)).String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header.Clone()
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return readProblem(resp, "event bus")
	}
	return nil
}

// retryAfter tells whether a try that ended with err is worth repeating, and how long to wait before.
func retryAfter(err error, try int) (time.Duration, bool) {
	d := min(50*time.Millisecond<<min(try, 10), 5*time.Second)
	d = d/2 + rand.N(d/2)
	problem, ok := errors.AsType[*Problem](err)
	if !ok {
		return d, true // it could not be reached, or the answer was lost: the ids stay, so a repetition does no harm
	}
	return max(d, problem.RetryAfter), problem.Temporary()
}

// waitFor waits, and tells whether ctx goes on.
func waitFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
