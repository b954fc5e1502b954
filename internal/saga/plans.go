package saga

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/atollhq/atoll/internal/fault"
)

// plans holds the plans in force, and those that instances still run.
type plans struct {
	store   Store
	compile func([]byte) (*Plan, error)

	mu     sync.Mutex
	byName map[string]*Plan // guarded by mu: in force
	hashes map[string]*Plan // guarded by mu: all that are known
}

func newPlans(store Store, compile func([]byte) (*Plan, error)) *plans {
	return &plans{store: store, compile: compile, byName: map[string]*Plan{}, hashes: map[string]*Plan{}}
}

// errDefinition says that a definition that is kept cannot be used.
var errDefinition = errors.New("the definition cannot be used")

// load makes the plans known that instances run which have not ended, so that events find those that wait. Instances of one that
// cannot be used stay where they are; the others go on.
func (p *plans) load(ctx context.Context, log *slog.Logger) error {
	hashes, err := p.store.Hashes(ctx)
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		_, err := p.byHash(ctx, hash)
		switch {
		case errors.Is(err, errDefinition):
			log.Error("sagas: instances of this version do not go on", "version", hash, "error", err)
		case err != nil:
			return err
		}
	}
	return nil
}

// unended lists the plans that instances run which have not ended, but those that cannot be used.
func (p *plans) unended(ctx context.Context) ([]*Plan, error) {
	hashes, err := p.store.Hashes(ctx)
	if err != nil {
		return nil, fmt.Errorf("list versions of instances: %w", err)
	}
	var out []*Plan
	for _, hash := range hashes {
		plan, err := p.byHash(ctx, hash)
		if err != nil && !errors.Is(err, errDefinition) {
			return nil, err
		}
		if err == nil {
			out = append(out, plan)
		}
	}
	return out, nil
}

// save keeps plans.
func (p *plans) save(ctx context.Context, all []*Plan) error {
	for _, plan := range all {
		if err := p.store.SavePlan(ctx, plan.Hash, plan.Name, plan.Source); err != nil {
			return fmt.Errorf("keep definition of saga %s: %w", plan.Name, err)
		}
	}
	return nil
}

// apply puts plans into force that are kept.
func (p *plans) apply(all []*Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byName = map[string]*Plan{}
	for _, plan := range all {
		p.byName[plan.Name] = plan
		p.hashes[plan.Hash] = plan
	}
}

// current is the plan that new instances of a saga run.
func (p *plans) current(name string) (*Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if plan := p.byName[name]; plan != nil {
		return plan, nil
	}
	names := slices.Sorted(maps.Keys(p.byName))
	return nil, fault.New(fault.CodeSagaUnknown, "there is no saga %.80q", name).
		Fix("%s", map[bool]string{true: "no sagas are declared: name their files under sagas in atoll.yaml", false: "the sagas are " + strings.Join(names, ", ")}[len(names) == 0])
}

// byHash is the plan of a version.
func (p *plans) byHash(ctx context.Context, hash string) (*Plan, error) {
	p.mu.Lock()
	plan := p.hashes[hash]
	p.mu.Unlock()
	if plan != nil {
		return plan, nil
	}
	source, err := p.store.Plan(ctx, hash)
	if err != nil {
		return nil, fmt.Errorf("read definition %.12s: %w", hash, err)
	}
	if source == nil {
		return nil, fmt.Errorf("read definition %.12s: %w: it is not in the store", hash, errDefinition)
	}
	if plan, err = p.compile(source); err != nil {
		return nil, fmt.Errorf("read definition %.12s: %w: %w", hash, errDefinition, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hashes[hash] = plan
	return plan, nil
}

// all lists the plans that are known, those in force first.
func (p *plans) all() (inForce, known []*Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(p.byName)) {
		inForce = append(inForce, p.byName[name])
	}
	return inForce, slices.Collect(maps.Values(p.hashes))
}

// bySubject is what of an event is compared where a definition does not say.
const bySubject = "${event.subject}"

// channel is where a task waits: the topic, and what of its events is compared with the key.
func (p *Plan) channel(w Await) string {
	name, _, _ := strings.Cut(w.Task, ".")
	for i := range p.Steps {
		if p.Steps[i].Name == name {
			return p.channelOf(i)
		}
	}
	return w.Topic
}

// channelOf is the channel of a step that waits for events, or "".
func (p *Plan) channelOf(i int) string {
	step := &p.Steps[i]
	topic, by := step.Topic, ""
	if p.Saga != nil && p.Saga.Steps[i].Wait != nil {
		by = p.Saga.Steps[i].Wait.By
	}
	if step.Do != nil && step.Do.Async != nil {
		topic, by = step.Do.Async.Topic, ""
		if p.Saga != nil {
			by = p.Saga.Steps[i].Do.Async.By
		}
	}
	if topic == "" {
		return ""
	}
	if by == "" {
		by = bySubject
	}
	return topic + " " + by
}

// by is what of an event a step compares; nil for steps that wait for none.
func (s *Step) by() (topic string, by Text) {
	if s.Do != nil && s.Do.Async != nil {
		return s.Do.Async.Topic, s.Do.Async.By
	}
	return s.Topic, s.WaitBy
}
