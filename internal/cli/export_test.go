package cli

import (
	"io"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
)

// SubscriptionLines is the table of subscriptions on a terminal.
func SubscriptionLines(list []api.Subscription, width int, now time.Time) []string {
	return subscriptionTable(false, list, width, now).lines(width)
}

// WebhookLines is the table of webhooks on a terminal.
func WebhookLines(list []api.Webhook, width int, now time.Time) []string {
	return webhookTable(false, list, width, now).lines(width)
}

// DrawSaga draws steps as atoll saga graph does.
func DrawSaga(w io.Writer, steps []api.SagaStep, states map[string]string, width int) {
	(&graph{title: "x", steps: steps, states: states}).text(w, false, width)
}

// ParkedHints are the commands that free an instance.
func ParkedHints(d *api.SagaDetail) []string { return parkedHints(d) }

// Wrap breaks a text into lines.
func Wrap(text string, width int) []string { return wrap(text, width) }
