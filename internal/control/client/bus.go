package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
)

// Bus says how the events between services stand.
func (c *Client) Bus(ctx context.Context) (api.Bus, error) {
	var out api.Bus
	return out, c.do(ctx, http.MethodGet, "/v1/bus", nil, &out)
}

// StoredEvents calls yield with the events that q chooses, until there are no more, or ctx ends where q follows.
func (c *Client) StoredEvents(ctx context.Context, q *api.EventQuery, yield func(*api.StoredEvent) error) error {
	v := url.Values{}
	for name, n := range map[string]uint64{"from": q.From, "before": q.Before, "last": uint64(q.Last), "limit": uint64(q.Limit)} {
		if n > 0 {
			v.Set(name, strconv.FormatUint(n, 10))
		}
	}
	for name, text := range map[string]string{"topic": q.Topic, "type": q.Type, "key": q.Key, "id": q.ID, "source": q.Source} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	return follow(ctx, c, "/v1/bus/events?"+v.Encode(), yield)
}

// StoredEvent returns the event at an offset.
func (c *Client) StoredEvent(ctx context.Context, offset uint64) (api.StoredEvent, error) {
	var out api.StoredEvent
	return out, c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/bus/events/%d", offset), nil, &out)
}

// PublishEvents publishes to a topic what CloudEvents' HTTP binding makes of headers and a body.
func (c *Client) PublishEvents(ctx context.Context, topic string, h http.Header, body []byte) ([]api.Published, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://atoll/v1/bus/topics/"+url.PathEscape(topic)+"/events", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header = h
	resp, err := c.exchange(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var out struct{ Events []api.Published }
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("read answer of control API: %w", err)
	}
	return out.Events, nil
}

// ReplayEvents delivers events to a subscription again, or says what it would.
func (c *Client) ReplayEvents(ctx context.Context, r api.Replay) (api.Replayed, error) {
	var out api.Replayed
	return out, c.do(ctx, http.MethodPost, "/v1/bus/replay", r, &out)
}

// DeadLetters returns a page of dead letters; subscription and topic may be "".
func (c *Client) DeadLetters(ctx context.Context, subscription, topic string, from uint64, limit int) (api.DeadLetters, error) {
	v := url.Values{"from": {strconv.FormatUint(from, 10)}, "limit": {strconv.Itoa(limit)}, "subscription": {subscription}, "topic": {topic}}
	var out api.DeadLetters
	return out, c.do(ctx, http.MethodGet, "/v1/bus/dead?"+v.Encode(), nil, &out)
}

// DeadLetter returns one.
func (c *Client) DeadLetter(ctx context.Context, offset uint64) (api.DeadLetter, error) {
	var out api.DeadLetter
	return out, c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/bus/dead/%d", offset), nil, &out)
}

// ReplayDead delivers dead letters again.
func (c *Client) ReplayDead(ctx context.Context, s api.Selection) (api.Settled, error) {
	return c.settle(ctx, "/v1/bus/dead/replay", s)
}

// DropDead drops dead letters.
func (c *Client) DropDead(ctx context.Context, s api.Selection) (api.Settled, error) {
	return c.settle(ctx, "/v1/bus/dead/drop", s)
}

// DelayedEvents returns a page of events that wait for their time.
func (c *Client) DelayedEvents(ctx context.Context, from uint64, limit int) (api.DelayedEvents, error) {
	var out api.DelayedEvents
	return out, c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/bus/delayed?from=%d&limit=%d", from, limit), nil, &out)
}

// DropDelayed drops events that wait for their time.
func (c *Client) DropDelayed(ctx context.Context, s api.Selection) (api.Settled, error) {
	return c.settle(ctx, "/v1/bus/delayed/drop", s)
}

func (c *Client) settle(ctx context.Context, path string, in any) (api.Settled, error) {
	var out api.Settled
	return out, c.do(ctx, http.MethodPost, path, in, &out)
}

// webhookPath is the path of a webhook, and of something of it.
func webhookPath(id, of string) string { return "/v1/webhooks/" + url.PathEscape(id) + of }

// Webhooks lists all webhooks.
func (c *Client) Webhooks(ctx context.Context) ([]api.Webhook, error) {
	var out struct{ Webhooks []api.Webhook }
	err := c.do(ctx, http.MethodGet, "/v1/webhooks", nil, &out)
	return out.Webhooks, err
}

// Webhook returns one.
func (c *Client) Webhook(ctx context.Context, id string) (api.Webhook, error) {
	var out api.Webhook
	return out, c.do(ctx, http.MethodGet, webhookPath(id, ""), nil, &out)
}

// CreateWebhook makes a webhook, and returns it with its secret.
func (c *Client) CreateWebhook(ctx context.Context, s api.WebhookSpec) (api.Webhook, error) {
	var out api.Webhook
	return out, c.do(ctx, http.MethodPost, "/v1/webhooks", s, &out)
}

// RemoveWebhook forgets a webhook.
func (c *Client) RemoveWebhook(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, webhookPath(id, ""), nil, nil)
}

// RotateWebhook gives a webhook another secret, and returns it with that.
func (c *Client) RotateWebhook(ctx context.Context, id string) (api.Webhook, error) {
	var out api.Webhook
	return out, c.do(ctx, http.MethodPost, webhookPath(id, "/rotate"), nil, &out)
}

// EnableWebhook lets a webhook get events, or lets it get none.
func (c *Client) EnableWebhook(ctx context.Context, id string, enabled bool) (api.Webhook, error) {
	var out api.Webhook
	path := map[bool]string{true: "/enable", false: "/disable"}[enabled]
	return out, c.do(ctx, http.MethodPost, webhookPath(id, path), nil, &out)
}

// WebhookDeliveries lists the newest tries, the newest first.
func (c *Client) WebhookDeliveries(ctx context.Context, id string, limit int) ([]api.WebhookDelivery, error) {
	var out struct{ Deliveries []api.WebhookDelivery }
	err := c.do(ctx, http.MethodGet, webhookPath(id, "/deliveries?limit="+strconv.Itoa(limit)), nil, &out)
	return out.Deliveries, err
}

// ReplayWebhook sends to a webhook again: what one delivery was about, or all that was given up.
func (c *Client) ReplayWebhook(ctx context.Context, id string, r api.WebhookReplay) (api.Settled, error) {
	return c.settle(ctx, webhookPath(id, "/replay"), r)
}
