package platform

import (
	"context"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/webhook"
)

// needHooks is what sends webhooks, or why there is nothing to send.
func (p *Platform) needHooks() (*hooks, error) {
	if _, err := p.needBus(); err != nil {
		return nil, err
	}
	return p.bus.webhooks(), nil
}

func webhookOf(e webhook.Endpoint, secret string) api.Webhook {
	return api.Webhook{
		ID: e.ID, Name: e.Name, URL: e.URL, Topics: orEmpty(e.Topics), Filter: e.Filter, AllowPrivate: e.AllowPrivate, State: string(e.State),
		Reason: string(e.Reason), Since: e.Since, Created: e.Created, FailingSince: e.Failing, Secret: secret,
	}
}

func specOf(s api.WebhookSpec) webhook.Spec {
	return webhook.Spec{Name: s.Name, URL: s.URL, Topics: s.Topics, Filter: s.Filter, AllowPrivate: s.AllowPrivate}
}

// Webhooks lists all webhooks, the oldest first.
func (p *Platform) Webhooks() ([]api.Webhook, error) {
	out := []api.Webhook{}
	h := p.bus.webhooks()
	if h == nil {
		return out, nil
	}
	for _, e := range h.registry.List() {
		out = append(out, webhookOf(e, ""))
	}
	return out, nil
}

// Webhook is one of them.
func (p *Platform) Webhook(id string) (api.Webhook, error) {
	h, err := p.needHooks()
	if err != nil {
		return api.Webhook{}, err
	}
	e, err := h.registry.Get(id)
	return webhookOf(e, ""), err
}

// changeWebhook makes a change and puts it into force.
func (p *Platform) changeWebhook(ctx context.Context, change func(*webhook.Registry) (webhook.Endpoint, string, error)) (api.Webhook, error) {
	h, err := p.needHooks()
	if err != nil {
		return api.Webhook{}, err
	}
	e, secret, err := change(h.registry)
	if err != nil {
		return api.Webhook{}, err
	}
	return webhookOf(e, secret), p.bus.refresh(context.WithoutCancel(ctx))
}

// CreateWebhook makes a webhook, which gets what is published from now on.
func (p *Platform) CreateWebhook(ctx context.Context, s api.WebhookSpec) (api.Webhook, error) {
	if err := checkTopics(p.current(), s.Topics); err != nil {
		return api.Webhook{}, err
	}
	return p.changeWebhook(ctx, func(r *webhook.Registry) (webhook.Endpoint, string, error) {
		return r.Create(ctx, specOf(s), time.Now())
	})
}

// UpdateWebhook puts another choice in the place of a webhook's.
func (p *Platform) UpdateWebhook(ctx context.Context, id string, s api.WebhookSpec) (api.Webhook, error) {
	if err := checkTopics(p.current(), s.Topics); err != nil {
		return api.Webhook{}, err
	}
	return p.changeWebhook(ctx, func(r *webhook.Registry) (webhook.Endpoint, string, error) {
		e, err := r.Update(ctx, id, specOf(s))
		return e, "", err
	})
}

// RotateWebhook gives a webhook another secret.
func (p *Platform) RotateWebhook(ctx context.Context, id string) (api.Webhook, error) {
	return p.changeWebhook(ctx, func(r *webhook.Registry) (webhook.Endpoint, string, error) { return r.Rotate(ctx, id, time.Now()) })
}

// EnableWebhook lets a webhook get events, from where it stood, or lets it get none.
func (p *Platform) EnableWebhook(ctx context.Context, id string, enabled bool) (api.Webhook, error) {
	return p.changeWebhook(ctx, func(r *webhook.Registry) (webhook.Endpoint, string, error) {
		change := r.Disable
		if enabled {
			change = r.Enable
		}
		e, err := change(ctx, id, time.Now())
		return e, "", err
	})
}

// RemoveWebhook forgets a webhook.
func (p *Platform) RemoveWebhook(ctx context.Context, id string) error {
	_, err := p.changeWebhook(ctx, func(r *webhook.Registry) (webhook.Endpoint, string, error) {
		return webhook.Endpoint{}, "", r.Remove(ctx, id)
	})
	if err != nil {
		return err
	}
	return p.bus.current().Forget(ctx, hookPrefix+id)
}

// WebhookDeliveries lists the newest tries, the newest first.
func (p *Platform) WebhookDeliveries(ctx context.Context, id string, before uint64, limit int) ([]api.WebhookDelivery, error) {
	h, err := p.needHooks()
	if err != nil {
		return nil, err
	}
	if _, err := h.registry.Get(id); err != nil {
		return nil, err
	}
	records, err := h.bus.Newest(ctx, bus.StreamDeliveries, bus.Offset(before), limit, func(e *bus.Event) bool { return e.Topic == hookPrefix+id })
	if err != nil {
		return nil, err
	}
	out := make([]api.WebhookDelivery, 0, len(records))
	for _, r := range slices.Backward(records) {
		d, err := readDelivery(r)
		if err != nil {
			return nil, err
		}
		out = append(out, api.WebhookDelivery{
			Delivery: uint64(r.Offset), Time: r.Event.Time, Message: d.Message, Topic: d.Topic, EventID: d.EventID, Offset: uint64(d.Origin),
			Attempt: d.Attempt, Status: d.Status, TookMS: d.Took.Milliseconds(), Class: d.Class, Text: d.Text, Answer: d.Answer,
		})
	}
	return out, nil
}

// ReplayWebhook sends to a webhook again: what one delivery was about, or all that was given up.
func (p *Platform) ReplayWebhook(ctx context.Context, id string, r api.WebhookReplay) (api.Settled, error) {
	h, err := p.needHooks()
	if err != nil {
		return api.Settled{}, err
	}
	e, err := h.registry.Get(id)
	if err != nil {
		return api.Settled{}, err
	}
	if notice := e.Notice(); notice != nil {
		return api.Settled{}, fault.New(fault.CodeWebhookDisabled, "%s", notice.Text).Fix("%s", notice.Remedy)
	}
	if r.Delivery == 0 {
		return p.ReplayDead(ctx, api.Selection{All: true, Subscription: hookPrefix + id})
	}
	out := api.Settled{Failed: []api.SettleFailure{}}
	err = settleOne(&out, r.Delivery, h.again(ctx, id, bus.Offset(r.Delivery)))
	return out, err
}

// again sends an event to an endpoint, as a new event that is for it alone.
func (h *hooks) again(ctx context.Context, id string, delivery bus.Offset) error {
	r, err := h.bus.Get(ctx, bus.StreamDeliveries, delivery)
	if err != nil {
		return err
	}
	if r.Event.Topic != hookPrefix+id {
		return fault.New(fault.CodeOffsetGone, "delivery %d is none of the webhook %s", delivery, id).
			Fix("see its deliveries with atoll events webhooks deliveries %s", id)
	}
	d, err := readDelivery(r)
	if err != nil {
		return err
	}
	event, err := h.bus.Get(ctx, bus.StreamEvents, d.Origin)
	if err != nil {
		return err
	}
	return h.bus.Address(ctx, hookPrefix+id, event.Event)
}
