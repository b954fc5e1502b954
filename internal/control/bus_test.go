package control_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
)

func cloudEvent() []byte {
	return []byte(`{"specversion":"1.0","id":"1","source":"/services/orders","type":"order.placed","data":{"a":1}}`)
}

func (a *app) Bus(context.Context) (api.Bus, error) {
	return api.Bus{
		Log: api.EventLog{First: 1, Next: 3, Events: 2, Bytes: 9, Oldest: at()}, Dead: 1, Delayed: 1,
		Topics: []api.Topic{{Topic: "order.placed", Publishers: []string{"orders"}, Subscribers: []string{}, Rate: 0.5}},
		Subscriptions: []api.Subscription{
			{Subscription: "crm/order.placed", Topics: []string{"order.placed"}, State: api.SubscriptionFull, Oldest: at()},
		},
	}, nil
}

func stored() api.StoredEvent {
	return api.StoredEvent{Offset: 1, Topic: "order.placed", Stored: at(), Publisher: "orders", Key: "7", Only: "a/b", Due: at(), Event: cloudEvent()}
}

func (a *app) StoredEvents(_ context.Context, q *api.EventQuery, yield func(*api.StoredEvent) error) error {
	a.query = *q
	e := stored()
	return yield(&e)
}

func (a *app) StoredEvent(_ context.Context, offset uint64) (api.StoredEvent, error) {
	if offset != 1 {
		return api.StoredEvent{}, fault.New(fault.CodeOffsetGone, "there is nothing").Fix("it never was")
	}
	return stored(), nil
}

func (a *app) PublishEvents(_ context.Context, topic string, h http.Header, body []byte) ([]api.Published, error) {
	if topic != "order.placed" {
		return nil, fault.New(fault.CodeTopicUnknown, "there is no topic").Fix("see those there are")
	}
	if h.Get("Ce-Key") == "bad" {
		return nil, fault.New(fault.CodeEventContract, "it does not fit").Fix("mend it")
	}
	return []api.Published{{ID: string(body), Offset: 1}, {ID: "2", Due: at()}}, nil
}

func (a *app) ReplayEvents(_ context.Context, r api.Replay) (api.Replayed, error) {
	return api.Replayed{From: r.Offset, Events: 3, More: r.DryRun}, nil
}

func letter() api.DeadLetter {
	return api.DeadLetter{
		Offset: 1, Subscription: "crm/order.placed", Topic: "order.placed", Origin: 2, Stored: at(), Died: at(), Cause: "it failed", Failed: 1,
		Attempts: []api.Attempt{{Time: at(), TookMS: 1, Status: 500, Text: "no", Replica: "crm-1"}}, Event: cloudEvent(),
	}
}

func (a *app) DeadLetters(_ context.Context, subscription, topic string, from uint64, limit int) (api.DeadLetters, error) {
	a.page = strings.Join([]string{subscription, topic}, "|")
	return api.DeadLetters{DeadLetters: []api.DeadLetter{letter()}, Next: from + uint64(limit)}, nil
}

func (a *app) DeadLetter(context.Context, uint64) (api.DeadLetter, error) { return letter(), nil }

func (a *app) ReplayDead(_ context.Context, s api.Selection) (api.Settled, error) {
	a.selected = s
	return api.Settled{Done: len(s.Offsets), Failed: []api.SettleFailure{{Offset: 9, Fault: fault.New(fault.CodeDeadLetterUnknown, "gone").Fix("look")}}}, nil
}

func (a *app) DropDead(_ context.Context, s api.Selection) (api.Settled, error) {
	a.selected = s
	return api.Settled{Failed: []api.SettleFailure{}}, nil
}

func (a *app) DelayedEvents(_ context.Context, _ uint64, limit int) (api.DelayedEvents, error) {
	return api.DelayedEvents{Events: []api.StoredEvent{stored()}, Next: uint64(limit)}, nil
}

func (a *app) DropDelayed(ctx context.Context, s api.Selection) (api.Settled, error) {
	return a.DropDead(ctx, s)
}

func (a *app) AsyncAPI() ([]byte, error) { return []byte("asyncapi: 3.0.0\n"), nil }

func (a *app) Metrics(context.Context) ([]byte, error) { return []byte("up 1\n"), nil }

func hook(secret string) api.Webhook {
	return api.Webhook{
		ID: "wh_1", Name: "partner", URL: "https://partner.example/hooks", Topics: []string{"*"}, Filter: map[string]string{"type": "x"},
		AllowPrivate: true, State: "disabled", Reason: "gone", Since: at(), Created: at(), FailingSince: at(), Secret: secret,
	}
}

func (a *app) Webhooks() ([]api.Webhook, error) { return []api.Webhook{hook("")}, nil }

func (a *app) Webhook(id string) (api.Webhook, error) {
	if id != "wh_1" {
		return api.Webhook{}, fault.New(fault.CodeWebhookUnknown, "there is no webhook").Fix("see those there are")
	}
	return hook(""), nil
}

func (a *app) CreateWebhook(_ context.Context, s api.WebhookSpec) (api.Webhook, error) {
	if s.URL == "" {
		return api.Webhook{}, fault.New(fault.CodeWebhookInvalid, "no URL").Fix("write one")
	}
	return hook("whsec_x"), nil
}

func (a *app) RotateWebhook(context.Context, string) (api.Webhook, error) {
	return hook("whsec_y"), nil
}

func (a *app) UpdateWebhook(context.Context, string, api.WebhookSpec) (api.Webhook, error) {
	return hook(""), nil
}

func (a *app) RemoveWebhook(_ context.Context, id string) error {
	_, err := a.Webhook(id)
	return err
}

func (a *app) EnableWebhook(_ context.Context, _ string, enabled bool) (api.Webhook, error) {
	h := hook("")
	if enabled {
		h.State, h.Reason = "active", ""
	}
	return h, nil
}

func (a *app) WebhookDeliveries(_ context.Context, _ string, before uint64, _ int) ([]api.WebhookDelivery, error) {
	return []api.WebhookDelivery{{
		Delivery: before, Time: at(), Message: "msg_1", Topic: "order.placed", EventID: "1", Offset: 1, Attempt: 2, Status: 500, TookMS: 3,
		Class: "status", Text: "no", Answer: "no\n",
	}}, nil
}

func (a *app) ReplayWebhook(context.Context, string, api.WebhookReplay) (api.Settled, error) {
	return api.Settled{Done: 1, Failed: []api.SettleFailure{}}, nil
}

func TestEveryAnswerAboutEventsIsAsTheDescriptionSays(t *testing.T) {
	_, h := serve(t)
	_, schema := description(t)
	for _, c := range []struct {
		request, body string
		status        int
		schema        string
	}{
		{"GET /v1/bus", "", 200, "Bus"},
		{"GET /v1/bus/events", "", 200, "StoredEvent"},
		{"GET /v1/bus/events?since=yesterday", "", 400, "Problem"},
		{"GET /v1/bus/events?last=-1", "", 400, "Problem"},
		{"GET /v1/bus/events/1", "", 200, "StoredEvent"},
		{"GET /v1/bus/events/2", "", 404, "Problem"},
		{"GET /v1/bus/events/x", "", 400, "Problem"},
		{"POST /v1/bus/topics/order.placed/events", "1", 200, "PublishedEvents"},
		{"POST /v1/bus/topics/other/events", "1", 404, "Problem"},
		{"POST /v1/bus/replay", `{"subscription": "a/b", "offset": 1}`, 200, "Replayed"},
		{"POST /v1/bus/replay", `{"subscription": "a/b", "from": 1}`, 400, "Problem"},
		{"GET /v1/bus/dead", "", 200, "DeadLetters"},
		{"GET /v1/bus/dead/1", "", 200, "DeadLetter"},
		{"POST /v1/bus/dead/replay", `{"offsets": [1]}`, 200, "Settled"},
		{"POST /v1/bus/dead/replay", `{}`, 400, "Problem"},
		{"POST /v1/bus/dead/replay", `{"all": true, "offsets": [1]}`, 400, "Problem"},
		{"POST /v1/bus/dead/replay", `{"offsets": [1], "topic": "x"}`, 400, "Problem"},
		{"POST /v1/bus/dead/drop", `{"all": true, "topic": "order.placed"}`, 200, "Settled"},
		{"GET /v1/bus/delayed?limit=2", "", 200, "DelayedEvents"},
		{"POST /v1/bus/delayed/drop", `{"offsets": [1]}`, 200, "Settled"},
		{"GET /v1/webhooks", "", 200, "Webhooks"},
		{"POST /v1/webhooks", `{"url": "https://partner.example", "topics": ["*"]}`, 201, "Webhook"},
		{"POST /v1/webhooks", `{"topics": ["*"]}`, 400, "Problem"},
		{"GET /v1/webhooks/wh_1", "", 200, "Webhook"},
		{"GET /v1/webhooks/wh_2", "", 404, "Problem"},
		{"PUT /v1/webhooks/wh_1", `{"url": "https://partner.example", "topics": ["*"]}`, 200, "Webhook"},
		{"POST /v1/webhooks/wh_1/rotate", "", 200, "Webhook"},
		{"POST /v1/webhooks/wh_1/enable", "", 200, "Webhook"},
		{"POST /v1/webhooks/wh_1/disable", "", 200, "Webhook"},
		{"POST /v1/webhooks/wh_1/replay", `{}`, 200, "Settled"},
		{"GET /v1/webhooks/wh_1/deliveries", "", 200, "WebhookDeliveries"},
		{"DELETE /v1/webhooks/wh_1", "", 204, ""},
		{"DELETE /v1/webhooks/wh_2", "", 404, "Problem"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		w := do(t, h, method, path, c.body)
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.request, w.Code, c.status, w.Body)
			continue
		}
		if c.schema == "" {
			continue
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
		if err != nil {
			t.Fatalf("%s: %v", c.request, err)
		}
		if err := schema(c.schema).Validate(v); err != nil {
			t.Errorf("%s: %v", c.request, err)
		}
	}
}

func TestWhatIsAskedOfEventsReachesTheBus(t *testing.T) {
	a, h := serve(t)
	do(t, h, "GET", "/v1/bus/events?from=5&last=20000&before=9&limit=3&follow=true&topic=order.*&type=t&key=k&id=i&source=s&since=2026-01-02T03:04:05.000000006Z", "")
	want := api.EventQuery{
		From: 5, Last: 10_000, Before: 9, Limit: 3, Follow: true, Topic: "order.*", Type: "t", Key: "k", ID: "i", Source: "s", Since: at(),
	}
	if a.query != want {
		t.Errorf("query %+v, want %+v", a.query, want)
	}
	do(t, h, "GET", "/v1/bus/dead?subscription=a/b&topic=c", "")
	if a.page != "a/b|c" {
		t.Errorf("page %q", a.page)
	}
	do(t, h, "POST", "/v1/bus/dead/replay", `{"offsets": [4], "data": "eyJhIjoxfQ=="}`)
	if string(a.selected.Data) != `{"a":1}` || len(a.selected.Offsets) != 1 || a.selected.Offsets[0] != 4 {
		t.Errorf("selected %+v", a.selected)
	}
}

func TestWhatDoesNotFitATopicIsUnprocessable(t *testing.T) {
	_, h := serve(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/bus/topics/order.placed/events", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Ce-Key", "bad")
	w := answerOf(h, req)
	if w.Code != http.StatusUnprocessableEntity {
		t.Errorf("status %d", w.Code)
	}
}

func TestTextsAreNotJSON(t *testing.T) {
	_, h := serve(t)
	for path, want := range map[string]string{"/metrics": "text/plain; version=0.0.4; charset=utf-8", "/v1/bus/asyncapi": "application/yaml"} {
		w := do(t, h, "GET", path, "")
		if w.Code != 200 || w.Header().Get("Content-Type") != want || w.Body.Len() == 0 {
			t.Errorf("%s: %d %q %q", path, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
}
