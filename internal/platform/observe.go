package platform

import (
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/telemetry"
)

// record keeps a line of output.
func (p *Platform) record(r *telemetry.Line) { p.telemetry.collector.record(p.recordOf(r)) }

func (p *Platform) recordOf(r *telemetry.Line) *telemetry.Record {
	record := telemetry.Record{
		Resource: p.telemetry.resource(r.Service, r.Replica), Scope: p.telemetry.scope, Time: r.Time.UnixNano(), Severity: r.Level.Severity(),
		Body: telemetry.String(r.Text), Attrs: []telemetry.Attr{text(telemetry.AttrStream, r.Stream)},
	}
	record.TraceID, record.SpanID = telemetry.TraceOfLine(r.Text)
	return &record
}

// event keeps an event: a record with a name.
func (p *Platform) event(at time.Time, name, service, replica string, level telemetry.Level, body string, attrs ...telemetry.Attr) {
	p.telemetry.collector.record(p.eventRecord(at, name, service, replica, level, body, attrs...))
}

func (p *Platform) eventRecord(at time.Time, name, service, replica string, level telemetry.Level, body string, attrs ...telemetry.Attr) *telemetry.Record {
	return &telemetry.Record{
		Resource: p.telemetry.resource(service, replica), Scope: p.telemetry.scope, Time: at.UnixNano(), Severity: level.Severity(), Name: name,
		Body: telemetry.String(body), Attrs: attrs,
	}
}

// The names of events.
const (
	eventReplica = "atoll.replica.state"
	eventReload  = "atoll.reload"
)

// line takes a line of output of a replica or a build.
func (p *Platform) line(l replica.Line) {
	level := telemetry.LevelOf
	if l.Stream == replica.StreamBuild {
		level = telemetry.LevelOfBuild
	}
	p.record(&telemetry.Line{
		Time: l.Time, Service: l.Service, Replica: l.Replica, Stream: l.Stream, Level: level(l.Text), Text: l.Text,
	})
}

// streamAtoll is the stream of what Atoll itself says of a replica.
const streamAtoll = "atoll"

// say puts a change that somebody will look for beside the replica's output: that it crashed, cannot serve, or is
// back.
func (p *Platform) say(c *replica.Change) {
	level, text := telemetry.LevelInfo, c.Reason
	switch {
	case c.To == replica.Crashed:
		level = telemetry.LevelError
	case c.To == replica.Unready:
		level = telemetry.LevelWarn
	case c.To == replica.Ready && c.Restarts > 0:
		text = "ready again"
	default:
		return
	}
	p.record(&telemetry.Line{
		Time: c.Time, Service: c.Service, Replica: c.Replica, Stream: streamAtoll, Level: level, Text: c.To.String() + ": " + text,
	})
}

// sayOf puts what Atoll has to say of a service beside the output of its replicas.
func (p *Platform) sayOf(service string, level telemetry.Level, text string) {
	p.record(&telemetry.Line{Time: time.Now(), Service: service, Replica: service, Stream: streamAtoll, Level: level, Text: text})
}

// change tells of a change of a replica's state.
func (p *Platform) change(c replica.Change) {
	e := api.Event{
		Time: c.Time, Kind: api.EventReplica, Service: c.Service, Replica: c.Replica,
		From: c.From.String(), To: c.To.String(), ReadyMS: ready(c.ReadyIn), Text: c.Reason,
		Fault: c.Fault, Final: c.Final, Loop: c.Loop,
	}
	for _, l := range c.Tail {
		e.Lines = append(e.Lines, l.Text)
	}
	p.say(&c)
	level := telemetry.LevelInfo
	if c.To == replica.Crashed {
		level = telemetry.LevelError
	}
	p.event(c.Time, eventReplica, c.Service, c.Replica, level, e.From+" → "+e.To+colon(c.Reason),
		text("atoll.replica.from", e.From), text("atoll.replica.to", e.To), text("atoll.reason", c.Reason))
	p.telemetry.replicas.change(&c)
	p.log.Info("replica", "service", c.Service, "replica", c.Replica, "from", e.From, "to", e.To, "reason", c.Reason)
	p.events.add(e)
}

func colon(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// ready is a time to readiness in whole milliseconds, at least one when it is known at all.
func ready(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return max(d.Milliseconds(), 1)
}

// endpoints takes the whole set of a service's ready replicas.
func (p *Platform) endpoints(service string, list []replica.Endpoint) {
	out := make([]relay.Endpoint, len(list))
	for i, e := range list {
		out[i] = relay.Endpoint{ID: e.ID, Service: e.Service, Version: e.Version, Dial: e.Dial}
	}
	p.serving.Lock()
	defer p.serving.Unlock()
	p.endpointsOf[service] = out
	if len(out) == 0 {
		delete(p.endpointsOf, service)
	}
	p.upstreams.Set(service, out)
}

// errorCounts counts failed requests by replica. It is safe for concurrent use.
type errorCounts struct {
	mu    sync.Mutex
	count map[string]int64 // guarded by mu
}

func newErrorCounts() *errorCounts { return &errorCounts{count: map[string]int64{}} }

func (c *errorCounts) add(replica string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[replica]++
}

func (c *errorCounts) all() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.count)
}

// gatewayName is what the gateway's access log is kept under.
const gatewayName = "gateway"

// accessLog is a logger whose lines are log records of the gateway.
func (p *Platform) accessLog() *slog.Logger {
	return slog.New(slog.NewJSONHandler(recordWriter{p}, nil))
}

// recordWriter makes a log record of each line; slog writes a line at a time.
type recordWriter struct{ p *Platform }

func (w recordWriter) Write(line []byte) (int, error) {
	text := strings.TrimSuffix(string(line), "\n")
	w.p.telemetry.collector.offer(w.p.recordOf(&telemetry.Line{
		Time: time.Now(), Service: gatewayName, Replica: gatewayName, Stream: replica.StreamStdout,
		Level: telemetry.LevelInfo, Text: text, // as the gateway writes all of them: reading it out of the line takes longer than the rest
	}))
	return len(line), nil
}
