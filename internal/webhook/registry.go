package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Store keeps documents by name. It is safe for concurrent use.
type Store interface {
	// Save keeps documents in the place of those before; nil takes one away. All are durable when it returns. After an error
	// they are there all or not at all.
	Save(ctx context.Context, docs map[string][]byte) error
	// Load returns all documents whose names begin with a prefix.
	Load(ctx context.Context, prefix string) (map[string][]byte, error)
}

// docPrefix begins the names of endpoints' documents.
const docPrefix = "webhook.endpoint."

// RegistryOptions are settings of a Registry. Their zero values are good.
type RegistryOptions struct {
	// Allow are networks that every endpoint may lie in, as those of the Sender.
	Allow []netip.Prefix
	// OnChange is told of each endpoint after it was made or changed, and of the id of one that was removed, in order. It must
	// neither block nor call the registry's methods that change. Nil means nobody.
	OnChange func(id string)
}

// Registry keeps the endpoints of an application. It is safe for concurrent use. Errors that are no *fault.Error are the
// store's.
type Registry struct {
	store    Store
	guard    *guard
	onChange func(id string)

	changing sync.Mutex // held by who changes endpoints, while that is made durable

	mu   sync.RWMutex // guards byID; held for no I/O
	byID map[string]Endpoint
}

// Spec is what may be chosen of an endpoint.
type Spec struct {
	Name         string
	URL          string
	Topics       []string
	Filter       map[string]string
	AllowPrivate bool
}

// OpenRegistry reads the endpoints that a store keeps.
func OpenRegistry(ctx context.Context, store Store, opts *RegistryOptions) (*Registry, error) {
	var o RegistryOptions
	if opts != nil {
		o = *opts
	}
	r := &Registry{store: store, guard: newGuard(o.Allow), onChange: o.OnChange, byID: map[string]Endpoint{}}
	if r.onChange == nil {
		r.onChange = func(string) {}
	}
	docs, err := store.Load(ctx, docPrefix)
	if err != nil {
		return nil, fmt.Errorf("load webhooks: %w", err)
	}
	for name, text := range docs {
		e, err := unmarshal(text)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		r.byID[strings.TrimPrefix(name, docPrefix)] = e
	}
	return r, nil
}

// Create makes an endpoint, and tells its secret for the only time but Reveal.
func (r *Registry) Create(ctx context.Context, s Spec, now time.Time) (e Endpoint, secret string, err error) {
	e = Endpoint{ID: newID(), State: StateActive, Since: now, Created: now, secrets: &secrets{current: random(32)}}
	e = e.with(s)
	if err := e.check(r.guard); err != nil {
		return Endpoint{}, "", err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	if n := r.count(); n >= MaxEndpoints {
		return Endpoint{}, "", fault.New(fault.CodeWebhookTooMany, "there are %d webhooks already", n).
			Fix("remove those that are no longer in use: atoll events webhooks ls")
	}
	if err := r.save(ctx, e); err != nil {
		return Endpoint{}, "", err
	}
	return e.clone(), encodeStandard(e.secrets.current), nil
}

// List returns all endpoints, the oldest first.
func (r *Registry) List() []Endpoint {
	r.mu.RLock()
	list := slices.Collect(maps.Values(r.byID))
	r.mu.RUnlock()
	slices.SortFunc(list, func(a, b Endpoint) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	for i := range list {
		list[i] = list[i].clone()
	}
	return list
}

// Get returns an endpoint.
func (r *Registry) Get(id string) (Endpoint, error) {
	r.mu.RLock()
	e, ok := r.byID[id]
	r.mu.RUnlock()
	if !ok {
		return Endpoint{}, unknown(id)
	}
	return e.clone(), nil
}

// Reveal tells the secrets that sign at a time, the present one first.
func (r *Registry) Reveal(id string, now time.Time) ([]string, error) {
	e, err := r.Get(id)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, key := range e.signing(now).keys {
		list = append(list, encodeStandard(key))
	}
	return list, nil
}

// Update puts a new choice in the place of the old one.
func (r *Registry) Update(ctx context.Context, id string, s Spec) (Endpoint, error) {
	return r.change(ctx, id, func(e Endpoint) (Endpoint, error) {
		e = e.with(s)
		return e, e.check(r.guard)
	})
}

// Rotate makes a new secret and tells it. The old one signs too, for Overlap, and those before it to their own ends; while
// there are five of them it refuses.
func (r *Registry) Rotate(ctx context.Context, id string, now time.Time) (e Endpoint, secret string, err error) {
	e, err = r.change(ctx, id, func(e Endpoint) (Endpoint, error) {
		s, err := e.secrets.rotated(now)
		e.secrets = s
		return e, err
	})
	if err != nil {
		return Endpoint{}, "", err
	}
	return e, encodeStandard(e.secrets.current), nil
}

// Disable lets an endpoint get nothing until it is enabled.
func (r *Registry) Disable(ctx context.Context, id string, now time.Time) (Endpoint, error) {
	return r.change(ctx, id, func(e Endpoint) (Endpoint, error) { return e.disabled(ReasonAsked, now), nil })
}

// Enable lets an endpoint get webhooks again, and forgets its failures.
func (r *Registry) Enable(ctx context.Context, id string, now time.Time) (Endpoint, error) {
	return r.change(ctx, id, func(e Endpoint) (Endpoint, error) {
		if e.State != StateActive {
			e.State, e.Reason, e.Since = StateActive, ReasonNone, now
		}
		e.Failing = time.Time{}
		return e, nil
	})
}

// Remove forgets an endpoint and its secrets.
func (r *Registry) Remove(ctx context.Context, id string) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	if _, err := r.Get(id); err != nil {
		return err
	}
	if err := r.store.Save(ctx, map[string][]byte{docPrefix + id: nil}); err != nil {
		return fmt.Errorf("remove webhook: %w", err)
	}
	r.mu.Lock()
	delete(r.byID, id)
	r.mu.Unlock()
	r.onChange(id)
	return nil
}

// Record takes note of what came of a try: of the first failure after a success, of the first success after failures, and
// of what disables the endpoint; all else costs nothing. The notice is not nil if it was disabled by this try. An endpoint
// that was removed meanwhile is no error.
func (r *Registry) Record(ctx context.Context, id string, result Result) (notice *fault.Error, err error) {
	e, err := r.Get(id)
	if err != nil || same(e, e.settle(result)) {
		return nil, nil //nolint:nilerr // it has been removed
	}
	wasActive := false
	e, err = r.change(ctx, id, func(e Endpoint) (Endpoint, error) {
		wasActive = e.State == StateActive
		return e.settle(result), nil
	})
	switch {
	case fault.CodeOf(err) == fault.CodeWebhookUnknown:
		return nil, nil
	case err != nil:
		return nil, err
	case wasActive && e.State == StateDisabled:
		return e.Notice(), nil
	}
	return nil, nil
}

func same(a, b Endpoint) bool { return a.State == b.State && a.Failing.Equal(b.Failing) }

// change makes a changed endpoint durable and then visible.
func (r *Registry) change(ctx context.Context, id string, f func(Endpoint) (Endpoint, error)) (Endpoint, error) {
	r.changing.Lock()
	defer r.changing.Unlock()
	e, err := r.Get(id)
	if err != nil {
		return Endpoint{}, err
	}
	if e, err = f(e); err != nil {
		return Endpoint{}, err
	}
	if err := r.save(ctx, e); err != nil {
		return Endpoint{}, err
	}
	return e.clone(), nil
}

// save makes an endpoint durable and then visible. The caller holds changing.
func (r *Registry) save(ctx context.Context, e Endpoint) error {
	text, err := marshal(e)
	if err != nil {
		return fmt.Errorf("write webhook: %w", err)
	}
	if err := r.store.Save(ctx, map[string][]byte{docPrefix + e.ID: text}); err != nil {
		return fmt.Errorf("save webhook: %w", err)
	}
	r.mu.Lock()
	r.byID[e.ID] = e
	r.mu.Unlock()
	r.onChange(e.ID)
	return nil
}

func (r *Registry) count() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.byID)
}

// with is an endpoint of another choice. The failures at another URL say nothing about this one.
func (e Endpoint) with(s Spec) Endpoint {
	if e.URL != s.URL {
		e.Failing = time.Time{}
	}
	e.Name, e.URL, e.AllowPrivate = s.Name, s.URL, s.AllowPrivate
	e.Topics, e.Filter = slices.Compact(slices.Sorted(slices.Values(s.Topics))), maps.Clone(s.Filter)
	return e
}

// clone shares nothing that can be changed.
func (e Endpoint) clone() Endpoint {
	e.Topics, e.Filter = slices.Clone(e.Topics), maps.Clone(e.Filter)
	return e
}

func unknown(id string) *fault.Error {
	return fault.New(fault.CodeWebhookUnknown, "there is no webhook %q", id).
		Fix("`atoll events webhooks ls` lists those that there are")
}

// document is an endpoint as it is stored. Its keys are for ever.
type document struct {
	ID            string            `json:"id"`
	Name          string            `json:"name,omitempty"`
	URL           string            `json:"url"`
	Topics        []string          `json:"topics"`
	Filter        map[string]string `json:"filter,omitempty"`
	AllowPrivate  bool              `json:"allow_private,omitempty"`
	State         State             `json:"state"`
	Reason        Reason            `json:"reason,omitempty"`
	Since         time.Time         `json:"since"`
	Created       time.Time         `json:"created"`
	Failing       time.Time         `json:"failing,omitzero"`
	Secret        []byte            `json:"secret"`
	Former        []former          `json:"former,omitempty"`
	Previous      []byte            `json:"previous,omitempty"`      // is read, and no longer written: former holds it
	PreviousUntil time.Time         `json:"previous_until,omitzero"` // likewise
}

func marshal(e Endpoint) ([]byte, error) {
	return json.Marshal(document{
		ID: e.ID, Name: e.Name, URL: e.URL, Topics: e.Topics, Filter: e.Filter, AllowPrivate: e.AllowPrivate,
		State: e.State, Reason: e.Reason, Since: e.Since, Created: e.Created, Failing: e.Failing,
		Secret: e.secrets.current, Former: e.secrets.former,
	})
}

func unmarshal(text []byte) (Endpoint, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return Endpoint{}, err
	}
	if d.ID == "" || len(d.Secret) == 0 {
		return Endpoint{}, errors.New("it has no id or no secret")
	}
	if len(d.Former) == 0 && len(d.Previous) > 0 {
		d.Former = []former{{d.Previous, d.PreviousUntil}}
	}
	return Endpoint{
		ID: d.ID, Name: d.Name, URL: d.URL, Topics: d.Topics, Filter: d.Filter, AllowPrivate: d.AllowPrivate,
		State: d.State, Reason: d.Reason, Since: d.Since, Created: d.Created, Failing: d.Failing,
		secrets: &secrets{current: d.Secret, former: d.Former},
	}, nil
}
