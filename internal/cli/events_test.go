package cli_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/cli"
	"github.com/atollhq/atoll/internal/control/api"
)

func now() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func fits(t *testing.T, lines []string, width int) {
	t.Helper()
	for _, line := range lines {
		if utf8.RuneCountInString(line) > width {
			t.Errorf("wider than %d columns: %s", width, line)
		}
	}
}

func TestANarrowTerminalStillShowsWhatIsWrongWithASubscription(t *testing.T) {
	list := []api.Subscription{
		{
			Subscription: "notifications/customer.subscription.cancelled", State: api.SubscriptionUnreachable, Waiting: 123456, Oldest: now().Add(-time.Hour),
			InFlight: 64, Failing: 77, Dead: 4321, Rate: 1234, Attempts: 1234567, Failed: 98765,
		},
		{Subscription: "webhook/wh_abcdefghijklmnopqrstuvwx", State: api.SubscriptionFailing},
	}
	for width, want := range map[int]string{
		0:   "SUBSCRIPTION STATE WAITING OLDEST FLYING FAILING DEAD RATE ATTEMPTS FAILED",
		200: "SUBSCRIPTION STATE WAITING OLDEST FLYING FAILING DEAD RATE ATTEMPTS FAILED",
		80:  "SUBSCRIPTION STATE WAITING FLYING FAILING DEAD FAILED",
		60:  "SUBSCRIPTION STATE WAITING DEAD FAILED",
	} {
		lines := cli.SubscriptionLines(list, width, now())
		if got := strings.Join(strings.Fields(lines[0]), " "); got != want {
			t.Errorf("%d columns: %s", width, got)
		}
		for _, value := range []string{"notifications/", "nobody there", "4321", "98765"} {
			if !strings.Contains(lines[1], value) {
				t.Errorf("%d columns do not show %s: %s", width, value, lines[1])
			}
		}
		if !strings.Contains(lines[2], "failing") {
			t.Errorf("%d columns do not show that a webhook fails: %s", width, lines[2])
		}
		if width > 0 {
			fits(t, lines, width)
		}
	}
}

func TestANarrowTerminalStillShowsWhichReceiverAWebhookGoesTo(t *testing.T) {
	const id = "wh_abcdefghijklmnopqrstuvwx"
	hook := func(url string) api.Webhook {
		return api.Webhook{ID: id, State: "active", FailingSince: now(), Since: now(), Topics: []string{"order.placed", "payment.received"}, URL: url}
	}
	lines := cli.WebhookLines([]api.Webhook{
		hook("https://partner.example/integrations/atoll/hooks/v2/eu-west/orders-7"), hook("https://a.example/h"),
		hook("https://" + strings.Repeat("very-", 20) + "long.example/hooks/8"), hook("http://10.0.0.1/" + strings.Repeat("é/", 40) + "end"),
	}, 80, now())
	fits(t, lines, 80)
	for i, want := range [][]string{{"partner.example", "rs-7"}, {"a.example/h"}, {"very-", "ks/8"}, {"http://10.0.0.1", "end"}} {
		for _, part := range append(want, id, "failing") {
			if !strings.Contains(lines[i+1], part) {
				t.Errorf("80 columns do not show %q: %s", part, lines[i+1])
			}
		}
		if strings.Contains(lines[i+1], "https://") {
			t.Errorf("room is spent on what all have: %s", lines[i+1])
		}
	}
	url := "https://partner.example/integrations"
	if wide := cli.WebhookLines([]api.Webhook{hook(url)}, 0, now()); !strings.Contains(wide[1], url) {
		t.Errorf("where there is no terminal the URL is not as it is: %s", wide[1])
	}
}
