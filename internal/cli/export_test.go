package cli

import (
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
