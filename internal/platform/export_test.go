package platform

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
)

// What the tests of this package look at from outside.
type (
	Events    = events
	Databases = databases
)

// NewEvents, Only, Passed and Shown are for tests.
var (
	NewEvents = newEvents
	Only      = only
	Passed    = passed
	Shown     = shown
)

// TryRequest, AsTried and MayBeSecret are for tests.
var (
	TryRequest  = tryRequest
	AsTried     = tried
	MayBeSecret = mayBeSecret
)

// Restless is for tests.
type Restless = restless

// Filter is for tests.
var Filter = (*restless).filter

// JoinHooks, MessageOf and OutcomeOf are for tests.
var (
	JoinHooks = joinHooks
	MessageOf = messageOf
	OutcomeOf = outcomeOf
)

// StartKey and Whole are for tests.
var (
	StartKey = startKey
	Whole    = whole
)

// Add and Read are for tests.
var (
	Add  = (*events).add
	Read = (*events).read
)

// MaxEvents is for tests.
const MaxEvents = maxEvents

// NewDatabases provisions the databases of an application in dir, and tells of errors and of what there is to notice.
func NewDatabases(dir string, driver replica.Driver, record func(*telemetry.Line), notice func(string)) *Databases {
	return &databases{dir: dir, driver: driver, log: slog.New(slog.DiscardHandler), record: record, notice: notice}
}

// Provision is for tests.
func Provision(ctx context.Context, d *Databases, app *manifest.App) (map[string]string, error) {
	return d.provision(ctx, app)
}

// CloseDatabases is for tests.
var CloseDatabases = (*databases).close

// PrivateDir is where the private server, which runs, has its data.
func PrivateDir(d *Databases) string { return d.private.program.Dir() }

// SwapDriver changes by what the private server is started.
func SwapDriver(d *Databases, driver replica.Driver) (before replica.Driver) {
	before, d.driver = d.driver, driver
	return before
}

// SetAlerts gives a platform an engine of alerts.
func (p *Platform) SetAlerts(e *alert.Engine) { p.alerts.Store(e) }

// Watched is a platform of which only what sees requests is there.
type Watched struct {
	p   *Platform
	dir string
}

// NewWatched makes one, and what ends it.
func NewWatched(dir string, log *slog.Logger) (w *Watched, end func() error, err error) {
	t := &manifest.Telemetry{Sample: 100}
	o, err := openObservatory(func(name string) string { return filepath.Join(dir, name) }, t, log, func(*fault.Error) {})
	if err != nil {
		return nil, nil, err
	}
	return &Watched{&Platform{telemetry: o, errors: newErrorCounts()}, dir}, o.close, nil
}

// Hop is told of a request.
func (w *Watched) Hop(h relay.Hop) { w.p.hop(h) }

// Counted is what was counted.
func (w *Watched) Counted() string {
	m := &exposition{}
	m.requests(w.p.telemetry.requests)
	return m.out.String()
}

// Kept are the spans that a query chooses, after the end.
func (w *Watched) Kept(ctx context.Context, text string) ([]telemetry.Span, error) {
	store, err := block.Open(filepath.Join(w.dir, "telemetry"), &block.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	q, err := telemetry.ParseQuery(text, telemetry.Spans)
	if err != nil {
		return nil, err
	}
	var out []telemetry.Span
	err = store.Scan(ctx, telemetry.Spans, telemetry.Range{}, q.Where, func(r telemetry.Row) error {
		out = append(out, *r.Span)
		return nil
	})
	return out, err
}

// Collector, NewCollector and ListenOTLP are for tests.
type Collector = collector

var (
	NewCollector = newCollector
	ListenOTLP   = listenOTLP
)

// StartCollector is for tests.
func StartCollector(take func(context.Context, *telemetry.Batch) error) *Collector {
	return newCollector(take, slog.New(slog.DiscardHandler))
}

// Span, Record, Settle, Left and Close are for tests.
func (c *collector) Span(s *telemetry.Span)     { c.span(s) }
func (c *collector) Record(r *telemetry.Record) { c.record(r) }
func (c *collector) Settle(ctx context.Context) { c.settle(ctx) }
func (c *collector) Left() int64                { return c.left() }
func (c *collector) Close()                     { c.close() }

// HeatOf and DifferenceOf are for tests.
var (
	HeatOf       = heatOf
	DifferenceOf = differenceOf
)
