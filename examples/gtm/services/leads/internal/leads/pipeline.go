package leads

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/sdk"
)

// PipelineOptions are options of NewPipeline. The zero value is good.
type PipelineOptions struct {
	Replica  string                          // of this service; default "1"
	Workers  int                             // leads under way at once; default 8
	Patience time.Duration                   // of one step; default 30 s
	Backoff  func(attempt int) time.Duration // before the next try, attempts counted from 1; default Backoff
}

// Pipeline drives leads.
type Pipeline struct {
	store *Store
	calls Calls
	log   *slog.Logger
	opts  PipelineOptions
}

// NewPipeline makes a pipeline that does nothing yet.
func NewPipeline(store *Store, calls Calls, log *slog.Logger, opts *PipelineOptions) *Pipeline {
	var o PipelineOptions
	if opts != nil {
		o = *opts
	}
	o.Replica = cmp.Or(o.Replica, "1")
	o.Workers = cmp.Or(o.Workers, 8)
	o.Patience = cmp.Or(o.Patience, 30*time.Second)
	if o.Backoff == nil {
		o.Backoff = Backoff
	}
	return &Pipeline{store: store, calls: calls, log: log, opts: o}
}

// Backoff is exponential from half a second to five minutes, a random half of it taken away.
func Backoff(attempt int) time.Duration {
	full := 500 * time.Millisecond << min(attempt-1, 10)
	full = min(full, 5*time.Minute)
	return full/2 + rand.N(full/2)
}

// Start begins work; it ends when ctx ends or stop is called, which waits until it has.
func (p *Pipeline) Start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { p.drive(ctx) })
	wg.Go(func() { p.follow(ctx) })
	return func() { cancel(); wg.Wait() }
}

// drive claims leads and works on them until ctx ends, then waits for those under way. What is interrupted is
// tried again by whoever claims it next.
func (p *Pipeline) drive(ctx context.Context) {
	if err := p.store.Release(ctx, p.opts.Replica); err != nil && ctx.Err() == nil {
		p.log.ErrorContext(ctx, "release leads", slog.Any("error", err))
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	free := make(chan struct{}, p.opts.Workers)
	for range p.opts.Workers {
		free <- struct{}{}
	}
	look := time.NewTicker(500 * time.Millisecond) // for what other replicas took in, and for what is due again
	defer look.Stop()
	for ctx.Err() == nil {
		changed := p.store.Changed() // before the look, so that nothing falls between
		claimed, err := p.store.Claim(ctx, p.opts.Replica, len(free), p.lease())
		if err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "claim leads", slog.Any("error", err))
		}
		for _, lead := range claimed {
			<-free
			wg.Go(func() {
				p.work(sdk.NewTrace(ctx), &lead)
				free <- struct{}{}
			})
		}
		if len(claimed) > 0 && len(free) > 0 {
			continue // there may be more
		}
		p.rest(ctx, free, changed, look.C, len(claimed) == 0)
	}
}

// rest waits until it makes sense to look again: a worker is free, and something changed if there was nothing.
func (p *Pipeline) rest(ctx context.Context, free chan struct{}, changed <-chan struct{}, look <-chan time.Time, idle bool) {
	if idle {
		select {
		case <-changed:
		case <-look:
		case <-ctx.Done():
		}
	}
	select {
	case slot := <-free:
		free <- slot
	case <-ctx.Done():
	}
}

// lease is longer than a step with its patience, so that nobody else takes a lead that is under way.
func (p *Pipeline) lease() time.Duration { return p.opts.Patience + 30*time.Second }

// work takes a lead through all its steps, storing each, until it is done or a step fails.
func (p *Pipeline) work(ctx context.Context, lead *Lead) {
	lead.TraceID = sdk.TraceID(ctx)
	for lead.State != StateDone {
		if err := p.step(ctx, lead); err != nil {
			p.failed(ctx, lead, err)
			return
		}
		lease := p.lease()
		if lead.State == StateDone {
			lease = 0
		}
		if err := p.store.Save(ctx, lead, lease); err != nil {
			p.failed(ctx, lead, err)
			return
		}
	}
}

// step does the next step of a lead.
func (p *Pipeline) step(ctx context.Context, lead *Lead) error {
	ctx, cancel := context.WithTimeout(ctx, p.opts.Patience)
	defer cancel()
	switch lead.State {
	case StatePending:
		return p.enrich(ctx, lead)
	case StateEnriched:
		return p.qualify(ctx, lead)
	case StateQualified:
		if lead.Verdict == "MQL" || lead.Verdict == "MQA" {
			return p.route(ctx, lead)
		}
		return p.record(ctx, lead)
	case StateRouted:
		return p.record(ctx, lead)
	case StateDone:
	}
	return nil
}

func (p *Pipeline) enrich(ctx context.Context, lead *Lead) (err error) {
	if lead.Facts, err = p.calls.Enrich(ctx, lead); err != nil {
		return err
	}
	lead.Account = lead.account()
	lead.State = StateEnriched
	return nil
}

func (p *Pipeline) qualify(ctx context.Context, lead *Lead) error {
	contacts := 0
	if lead.Account != "" {
		var err error
		if contacts, err = p.store.Contacts(ctx, lead.Account); err != nil {
			return err
		}
	}
	j, err := p.calls.Qualify(ctx, lead, contacts)
	if err != nil {
		return err
	}
	lead.Verdict, lead.Score, lead.Fit, lead.Intent, lead.Reasons = j.Verdict, j.Score, j.Fit, j.Intent, j.Reasons
	lead.State = StateQualified
	if lead.Verdict == "disqualified" {
		lead.State = StateDone
	}
	return nil
}

func (p *Pipeline) route(ctx context.Context, lead *Lead) error {
	a, err := p.calls.Route(ctx, lead)
	if err != nil {
		return err
	}
	lead.Owner, lead.OwnerName, lead.Territory, lead.Segment = a.Owner, a.OwnerName, a.Territory, a.Segment
	lead.RoutedBecause = a.Reasons
	lead.State = StateRouted
	return nil
}

func (p *Pipeline) record(ctx context.Context, lead *Lead) error {
	r, err := p.calls.Record(ctx, lead)
	if err != nil {
		return err
	}
	lead.OpportunityID, lead.Stage = r.OpportunityID, r.Stage
	lead.State = StateDone
	return nil
}

// failed postpones a lead, or leaves it stuck when another try cannot help.
func (p *Pipeline) failed(ctx context.Context, lead *Lead, err error) {
	if ctx.Err() != nil {
		return // the service ends; the lease tells the next one
	}
	trouble, after, stuck := p.judge(err, lead.Attempts+1)
	p.log.WarnContext(ctx, "step failed", slog.String("lead", lead.ID), slog.String("state", string(lead.State)),
		slog.Int("attempt", lead.Attempts+1), slog.Bool("stuck", stuck), slog.Any("error", err))
	if err := p.store.Postpone(ctx, lead, trouble, after, stuck); err != nil && ctx.Err() == nil {
		p.log.ErrorContext(ctx, "postpone lead", slog.String("lead", lead.ID), slog.Any("error", err))
	}
}

// judge says what an error means for a lead: what people are told, when to try again, or that it is stuck.
func (p *Pipeline) judge(err error, attempt int) (trouble string, after time.Duration, stuck bool) {
	after = p.opts.Backoff(attempt)
	problem, ok := errors.AsType[*sdk.Problem](err)
	switch {
	case !ok:
		return "A service could not be reached. It is tried again.", after, false
	case problem.Temporary():
		return "A service is not available for now. It is tried again.", max(after, problem.RetryAfter), false
	}
	return cmp.Or(problem.Detail, problem.Title), 0, true
}

// follow takes over the stages that the CRM reports, until ctx ends.
func (p *Pipeline) follow(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; {
		err := p.followOnce(sdk.NewTrace(ctx))
		if err == nil {
			attempt = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		attempt++
		if attempt == 5 { // a CRM that restarts is no news
			p.log.WarnContext(ctx, "the CRM does not answer", slog.Any("error", err))
		}
		select {
		case <-time.After(min(p.opts.Backoff(attempt), 10*time.Second)):
		case <-ctx.Done():
		}
	}
}

func (p *Pipeline) followOnce(ctx context.Context) error {
	after, err := p.store.Followed(ctx)
	if err != nil {
		return err
	}
	changes, err := p.calls.Changes(ctx, after)
	if err != nil || len(changes) == 0 {
		return err
	}
	return p.store.Follow(ctx, changes)
}

// account is the domain of the company that a lead belongs to, or "" for one who writes from a free-mail or
// disposable address and names no company's domain.
func (l *Lead) account() string {
	own := Registered(l.Email[strings.LastIndexByte(l.Email, '@')+1:])
	if l.Text("email_kind") == "disposable" {
		return ""
	}
	if domain := l.company(); domain != own || l.Text("email_kind") == "work" {
		return domain
	}
	return ""
}

func (l *Lead) companyName() string { return cmp.Or(l.Text("company"), l.Company) }
func (l *Lead) country() string     { return cmp.Or(l.Country, l.Text("country")) }
func (l *Lead) name() string        { return strings.TrimSpace(l.FirstName + " " + l.LastName) }
