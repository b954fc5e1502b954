package platform_test

import (
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/webhook"
)

func TestAThousandWebhooksAreOneSeries(t *testing.T) {
	now := time.Now()
	joined := platform.JoinHooks([]bus.SubscriptionInfo{
		{Name: "crm/order.placed", Waiting: 1},
		{Name: "webhook/1", Waiting: 2, Accepted: 3, Oldest: now, Durations: bus.Durations{Count: 1}},
		{Name: "webhook/2", Waiting: 4, Accepted: 5, Oldest: now.Add(-time.Minute), Durations: bus.Durations{Count: 2}},
	})
	if len(joined) != 2 || joined[0].Waiting != 1 {
		t.Fatalf("joined %+v", joined)
	}
	all := joined[1]
	if all.Name != "webhook/*" || all.Waiting != 6 || all.Accepted != 8 || all.Durations.Count != 3 || !all.Oldest.Equal(now.Add(-time.Minute)) {
		t.Errorf("joined %+v", all)
	}
}

func TestAPartyOutsideDoesNotSeeWhatAtollNotesForItself(t *testing.T) {
	e := &bus.Event{ID: "1", Source: "/services/orders", Type: "order.placed", Topic: "order.placed"}
	e.SetExtension(bus.AttributeOnly, "webhook/1")
	e.SetExtension(bus.AttributePublisher, "orders")
	e.SetExtension(bus.AttributeKey, "7")
	m := platform.MessageOf(bus.Delivery{Record: bus.Record{Event: e}, Attempt: 3})
	if body := string(m.Body); strings.Contains(body, "atoll") || !strings.Contains(body, `"partitionkey":"7"`) {
		t.Errorf("body %s", body)
	}
	if m.ID != webhook.MessageID("/services/orders", "1") || m.Attempt != 3 || m.Topic != "order.placed" {
		t.Errorf("message %+v", m)
	}
	if e.Extension(bus.AttributeOnly) == "" {
		t.Error("the event itself was changed")
	}
}

func TestWhatCameOfATryDecidesWhatBecomesOfTheEvent(t *testing.T) {
	for name, c := range map[string]struct {
		result webhook.Result
		want   bus.Outcome
	}{
		"taken":    {webhook.Result{Status: 204}, bus.Outcome{Verdict: bus.Accepted, Status: 204}},
		"refused":  {webhook.Result{Status: 400, Class: webhook.ClassStatus, Answer: []byte("no\nmore")}, bus.Outcome{Verdict: bus.Failed, Status: 400, Text: "no"}},
		"gone":     {webhook.Result{Status: 410, Class: webhook.ClassStatus, Answer: []byte("x")}, bus.Outcome{Verdict: bus.Unreachable, Status: 410, Text: "x"}},
		"told off": {webhook.Result{Status: 429, Class: webhook.ClassStatus, RetryAfter: time.Hour}, bus.Outcome{Verdict: bus.Failed, Status: 429, Text: "no text", After: time.Hour}},
		"nobody":   {webhook.Result{Class: webhook.ClassConnect}, bus.Outcome{Verdict: bus.Failed, Text: "no connection"}},
	} {
		if got := platform.OutcomeOf(c.result); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
