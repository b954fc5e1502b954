package outbox

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
)

// Publish publishes events of any topics, in order. It returns nil once all of them are durable. With an error of which
// Options.Final says so, the bus refuses one of them for good and has taken none; any other means that it may take them
// later, and that it may have taken some now.
type Publish func(ctx context.Context, events []*bus.Event) error

// Phase is what a Forwarder is at.
type Phase string

// The phases.
const (
	PhaseUnreachable Phase = "unreachable" // the database does not answer
	PhaseNoTables    Phase = "no-tables"   // it does, and waits for the service to make the tables
	PhaseStandby     Phase = "standby"     // another Forwarder works on this database
	PhaseRunning     Phase = "running"
	PhaseHeldUp      Phase = "held-up" // the bus does not take what is there
)

// State is a phase, and why it is no better one: a *fault.Error, or nil.
type State struct {
	Phase Phase
	Err   error
}

// Batch tells of rows that have been dealt with.
type Batch struct {
	Published int
	Refused   int
	Oldest    time.Time // when the oldest of them happened
}

// Refusal tells of a row that was moved to the table atoll_outbox_refused.
type Refusal struct {
	Topic, EventID string
	Err            error // a *fault.Error
}

// Options of New. Its functions are called from within Run, one at a time, and hold it up.
type Options struct {
	// Logger takes what operators want to know. Default: nobody.
	Logger *slog.Logger

	// Source is the source of events whose row names none, such as /services/orders. Default: /services/unknown.
	Source string

	// Final tells whether an error of Publish means that the bus will never take the event. Default: event-invalid,
	// event-too-large.
	Final func(error) bool

	OnState   func(State)   // is called when the state changes
	OnBatch   func(Batch)   // is called when rows have left the table
	OnRefusal func(Refusal) // is called for each row that was refused
}

// Forwarder empties the outbox of one database. Run may be called once at a time.
type Forwarder struct {
	dial    func(ctx context.Context) (table, error)
	publish Publish
	opts    Options
	phase   Phase // the one that was told last
}

// New returns a Forwarder of the database at a URL: postgres://…, mysql://user:password@host:3306/name, or
// sqlite:///path. It does not connect yet.
func New(databaseURL string, publish Publish, opts *Options) (*Forwarder, error) {
	f := &Forwarder{publish: publish}
	if opts != nil {
		f.opts = *opts
	}
	if f.opts.Logger == nil {
		f.opts.Logger = slog.New(slog.DiscardHandler)
	}
	if f.opts.Source == "" {
		f.opts.Source = "/services/unknown"
	}
	if f.opts.Final == nil {
		f.opts.Final = func(err error) bool {
			code := fault.CodeOf(err)
			return code == fault.CodeEventInvalid || code == fault.CodeEventTooLarge
		}
	}
	var err error
	f.dial, err = dialer(databaseURL)
	return f, err
}

func dialer(databaseURL string) (func(context.Context) (table, error), error) {
	d, err := DialectOf(databaseURL)
	if err != nil {
		return nil, err
	}
	switch d {
	case Postgres:
		return postgresDialer(databaseURL)
	case MySQL:
		return mysqlDialer(databaseURL)
	default:
		return sqliteDialer(databaseURL)
	}
}

// table is the outbox of a database within one session, and the session itself. After an error, unless it is errBusy,
// the session is of no more use.
type table interface {
	// lock makes this session the one that works on the table, and tells whether it did.
	lock(ctx context.Context) (bool, error)
	// exists tells whether the tables are there.
	exists(ctx context.Context) (bool, error)
	// read returns the first rows that have been committed, one batch.
	read(ctx context.Context) ([]row, error)
	// settle takes rows out of the table in one transaction: those that are published, and those to be kept as refused.
	settle(ctx context.Context, published []int64, refused []refused) error
	// wait returns when something may have been committed since the last read, of which so many found nothing.
	wait(ctx context.Context, quiet int) error
	close()
}

type refused struct {
	row   *row
	fault *fault.Error
}

var (
	errBusy     = errors.New("the database is locked by others")
	errNoTables = errors.New("there is no database yet")
)

const (
	between     = 250 * time.Millisecond // two looks at whether there are tables, or whether the lock is free
	settleLimit = 5 * time.Second        // how long rows that are published may take to be deleted after Run's end
)

// Run forwards until ctx ends, and then returns nil. What is published by then is deleted before it returns.
func (f *Forwarder) Run(ctx context.Context) error {
	var pace backoff
	for ctx.Err() == nil {
		f.rest(ctx, f.session(ctx, &pace), &pace)
	}
	return nil
}

// rest tells why a session has ended, and waits until it is time for another.
func (f *Forwarder) rest(ctx context.Context, err error, pace *backoff) {
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, errNoTables):
		f.sayNoTables(ctx)
		pace.reset()
		pause(ctx, between)
	default:
		f.say(ctx, PhaseUnreachable, fault.New(fault.CodeOutboxDatabase, "the outbox cannot be read: its database does not answer as it should").
			Fix("see that the database runs; it is tried again by itself").Because(err))
		pause(ctx, pace.next(5*time.Second))
	}
}

// session works over one connection until that breaks or ctx ends.
func (f *Forwarder) session(ctx context.Context, pace *backoff) error {
	t, err := f.dial(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	if err := f.await(ctx, t.lock, func() { f.say(ctx, PhaseStandby, nil) }); err != nil {
		return err
	}
	if err := f.await(ctx, t.exists, func() { f.sayNoTables(ctx) }); err != nil {
		return err
	}
	return f.empty(ctx, t, pace)
}

// await asks again and again until the answer is yes, and calls otherwise while it is not.
func (f *Forwarder) await(ctx context.Context, ask func(context.Context) (bool, error), otherwise func()) error {
	for {
		yes, err := ask(ctx)
		if err != nil || yes {
			return err
		}
		otherwise()
		if !pause(ctx, between) {
			return ctx.Err()
		}
	}
}

// empty empties the table whenever something is in it. The first read that succeeds ends the backoff of sessions.
func (f *Forwarder) empty(ctx context.Context, t table, sessions *backoff) error {
	var quiet int
	var pace backoff
	for {
		rows, err := t.read(ctx)
		if err != nil {
			return err
		}
		sessions.reset()
		if pace.tries == 0 {
			f.say(ctx, PhaseRunning, nil)
		}
		if len(rows) == 0 {
			quiet++
			if err := t.wait(ctx, quiet); err != nil {
				return err
			}
			continue
		}
		quiet = 0
		out, held := f.send(ctx, rows)
		if err := f.settle(ctx, t, out); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if held == nil {
			pace.reset()
			continue
		}
		f.say(ctx, PhaseHeldUp, held)
		pause(ctx, pace.next(2*time.Second))
	}
}

// settle takes rows out of the table, even when ctx has ended meanwhile, and tells of them.
func (f *Forwarder) settle(ctx context.Context, t table, out outcome) error {
	if len(out.published)+len(out.refused) == 0 {
		return nil
	}
	for {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
		err := t.settle(bounded, out.published, out.refused)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, errBusy) || !pause(ctx, 20*time.Millisecond) {
			return err
		}
	}
	f.report(ctx, out)
	return nil
}

func (f *Forwarder) report(ctx context.Context, out outcome) {
	for _, r := range out.refused {
		f.opts.Logger.WarnContext(ctx, "event of an outbox refused", slog.String("topic", r.row.topic),
			slog.String("event", r.row.eventID), slog.Any("error", r.fault))
		if f.opts.OnRefusal != nil {
			f.opts.OnRefusal(Refusal{Topic: r.row.topic, EventID: r.row.eventID, Err: r.fault})
		}
	}
	if f.opts.OnBatch != nil {
		f.opts.OnBatch(Batch{Published: len(out.published), Refused: len(out.refused), Oldest: out.oldest})
	}
}

func (f *Forwarder) sayNoTables(ctx context.Context) {
	f.say(ctx, PhaseNoTables, fault.Warn(fault.CodeOutboxTables, "the service's database has no tables atoll_outbox and atoll_outbox_refused yet").
		Fix("let the service make them when it starts"))
}

// say tells of a phase, once.
func (f *Forwarder) say(ctx context.Context, p Phase, err error) {
	if p == f.phase {
		return
	}
	f.phase = p
	attrs := []any{slog.String("phase", string(p))}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err), slog.Any("cause", errors.Unwrap(err)))
	}
	f.opts.Logger.InfoContext(ctx, "outbox", attrs...)
	if f.opts.OnState != nil {
		f.opts.OnState(State{Phase: p, Err: err})
	}
}

// backoff is how long to wait before the next try: half of 100 ms doubled with each try, and as much again at random.
type backoff struct{ tries int }

func (b *backoff) next(most time.Duration) time.Duration {
	d := min(100*time.Millisecond<<min(b.tries, 10), most) / 2
	b.tries++
	return d + rand.N(d)
}

func (b *backoff) reset() { b.tries = 0 }

// pause waits, and tells whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
