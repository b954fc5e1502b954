package cli

import (
	"context"
	"io"
	"strings"
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

// AlertLines are the tables of alerts, rules and receivers on a terminal.
func AlertLines(list *api.Alerts, width int, now time.Time) (alerts, rules, receivers []string) {
	return alertTable(false, list.Alerts, width, now).lines(width), ruleTable(false, list.Rules, width, now).lines(width), receiverTable(false, list.Receivers, now).lines(width)
}

// DrawSaga draws steps as atoll saga graph does.
func DrawSaga(w io.Writer, steps []api.SagaStep, states map[string]string, width int) {
	(&graph{title: "x", steps: steps, states: states}).text(w, false, width)
}

// ParkedHints are the commands that free an instance.
func ParkedHints(d *api.SagaDetail) []string { return parkedHints(d) }

// Wrap breaks a text into lines.
func Wrap(text string, width int) []string { return wrap(text, width) }

// WriteTrace draws a trace as atoll trace does.
func WriteTrace(w io.Writer, t *api.Trace, width int, color, unfold, logs bool) {
	writeTrace(w, t, traceOptions{paint: paint(color), width: width, unfold: unfold, logs: logs, zone: time.UTC})
}

// WriteFound shows what a query found as atoll traces does.
func WriteFound(w io.Writer, f *api.Found, width int, color bool, now time.Time) {
	writeFound(w, f, foundOptions{paint: paint(color), width: width, now: now})
}

// CriticalTimes are the times that the trace waited for each span, by its id.
func CriticalTimes(spans []api.Span) map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, s := range newWaterfall(spans).spans {
		for _, c := range s.critical {
			out[s.SpanID] += time.Duration(c[1] - c[0])
		}
	}
	return out
}

// Sparkline draws values as blocks.
func Sparkline(values []float64, room int) string { return sparkline(values, room) }

// ShortNumber has few digits.
func ShortNumber(v float64) string { return shortNumber(v) }

// WritePlot draws series as atoll metrics does.
func WritePlot(w io.Writer, s []api.Series, from, to time.Time, width int, color bool) {
	writePlot(w, s, plotOptions{paint: paint(color), width: width, from: from, to: to, zone: time.UTC})
}

// WriteInstant shows the values of one moment.
func WriteInstant(w io.Writer, m *api.Metrics, width int, color bool) {
	writeInstant(w, m, plotOptions{paint: paint(color), width: width, zone: time.UTC})
}

// TopScreen is what atoll top shows.
func TopScreen(top *api.Top, width int, color bool, sort rune, reverse bool) string {
	o := topOptions{paint: paint(color), width: width, sort: sort, reverse: reverse}
	lines := append([]string{topSummary("shop", top, o.paint, width, time.UTC)}, topLines(top, o)...)
	return strings.Join(append(lines, topHelp(top, width)), "\n") + "\n"
}

// NiceTicks are the ticks of an axis.
func NiceTicks(least, most float64, n int) []float64 { return niceScale(least, most, n).ticks }

// TopLoop shows services on a screen of some size.
func TopLoop(
	ctx context.Context, ask func(context.Context) (*api.Top, error), keys <-chan rune, ticks <-chan time.Time, width, height int, draw func(string),
) error {
	s := topScreen{app: "shop", sort: 'r', zone: time.UTC}
	return s.loop(ctx, ask, keys, ticks, func(s *topScreen) { draw(s.draw(width, height)) })
}
