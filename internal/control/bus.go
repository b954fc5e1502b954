package control

import (
	"context"
	"net/http"

	"github.com/atollhq/atoll/internal/control/api"
)

// EventBus is the events of an application, as the API needs them. An application that has no topics has none of them, which
// is no error where there is only nothing to show.
type EventBus interface {
	Bus(ctx context.Context) (api.Bus, error)
	// StoredEvents calls yield until there is nothing more, ctx ends, or yield fails.
	StoredEvents(ctx context.Context, q *api.EventQuery, yield func(*api.StoredEvent) error) error
	StoredEvent(ctx context.Context, offset uint64) (api.StoredEvent, error)
	// PublishEvents publishes for an operator what a request of CloudEvents' HTTP binding holds.
	PublishEvents(ctx context.Context, topic string, h http.Header, body []byte) ([]api.Published, error)
	ReplayEvents(ctx context.Context, r api.Replay) (api.Replayed, error)
	// DeadLetters returns a page; subscription and topic may be "".
	DeadLetters(ctx context.Context, subscription, topic string, from uint64, limit int) (api.DeadLetters, error)
	DeadLetter(ctx context.Context, offset uint64) (api.DeadLetter, error)
	ReplayDead(ctx context.Context, s api.Selection) (api.Settled, error)
	DropDead(ctx context.Context, s api.Selection) (api.Settled, error)
	DelayedEvents(ctx context.Context, from uint64, limit int) (api.DelayedEvents, error)
	DropDelayed(ctx context.Context, s api.Selection) (api.Settled, error)
	// AsyncAPI describes the events, as YAML.
	AsyncAPI() ([]byte, error)
	// Metrics is all that is counted, in the text format of Prometheus.
	Metrics(ctx context.Context) ([]byte, error)
}

// Webhooks is the parties outside that take events.
type Webhooks interface {
	Webhooks() ([]api.Webhook, error)
	Webhook(id string) (api.Webhook, error)
	// CreateWebhook and RotateWebhook answer with the secret, which nothing else tells.
	CreateWebhook(ctx context.Context, s api.WebhookSpec) (api.Webhook, error)
	RotateWebhook(ctx context.Context, id string) (api.Webhook, error)
	UpdateWebhook(ctx context.Context, id string, s api.WebhookSpec) (api.Webhook, error)
	RemoveWebhook(ctx context.Context, id string) error
	EnableWebhook(ctx context.Context, id string, enabled bool) (api.Webhook, error)
	// WebhookDeliveries are the newest tries below a number, 0 meaning the end; the newest first.
	WebhookDeliveries(ctx context.Context, id string, before uint64, limit int) ([]api.WebhookDelivery, error)
	ReplayWebhook(ctx context.Context, id string, r api.WebhookReplay) (api.Settled, error)
}
