package platform

import (
	"context"
	"log/slog"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/telemetry"
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

// Collector is for tests.
type Collector struct{ c *collector }

// StartCollector is for tests.
func StartCollector(take func(context.Context, *telemetry.Batch) error) *Collector {
	return &Collector{newCollector(take, slog.New(slog.DiscardHandler))}
}

// Span, Record and Close are for tests.
func (c *Collector) Span(s *telemetry.Span) { c.c.span(s) }

func (c *Collector) Record(r *telemetry.Record) { c.c.record(r) }

func (c *Collector) Close() { c.c.close() }
