package alert

import (
	"slices"
	"time"
)

// metricRequests is the histogram of the requests that services get, from outside and from each other, after OpenTelemetry's conventions.
const metricRequests = "http_server_request_duration_seconds"

// DefaultPolicy is how patient a rule is that says nothing about it.
func DefaultPolicy(wait time.Duration) Policy {
	return Policy{For: wait, Keep: time.Minute, Stale: 5 * time.Minute, Retain: 15 * time.Minute}
}

// The times between two questions. Rows of spans and logs are read anew for each answer, the samples of metrics are few.
const (
	everyMetrics = 15 * time.Second
	everyRows    = 30 * time.Second
	everySLO     = 30 * time.Second
)

// Defaults are the rules that every application has without a word, by name. Each has the label service, but those of sagas,
// which have the label saga. Their bounds are meant to be right for most and quiet for all:
//
//   - error-ratio: more than 5 % of the requests to a service were answered by a 5xx, over 5 minutes and at least 20 requests. Below that number one
//     failure would be 5 %.
//   - latency: one request in a hundred takes longer than 1 s, over 5 minutes, for 10 minutes, and at least 100 requests, since a p99 of fewer is their
//     maximum. One second is about the limit for a person's flow of thought to stay uninterrupted (Nielsen, Usability Engineering, 1993, chapter 5).
//   - crash-loop: a service's replicas end again and again right after their start.
//   - event-lag: the oldest event that a subscription has not settled is older than 5 minutes.
//   - dead-letters: a subscription has given an event up, within 15 minutes.
//   - parked-sagas: an instance of a saga waits for a person.
func Defaults() []*Rule {
	const service, group = "by (service) ", "by (messaging_consumer_group_name) "
	// A subscription is named SERVICE/TOPIC; all webhooks together are webhook/* and belong to no service.
	owned := func(query string) string {
		return `label_replace(` + query + `, "service", "$1", "messaging_consumer_group_name", "([^/]+)/[^*].*")`
	}
	const count, failed = metricRequests + "_count", metricRequests + `_count{http_response_status_code=~"5.."}`
	requests := func(least string) string { return " and sum " + service + "(increase(" + count + "[5m])) >= " + least }
	rate := "sum " + service + "(rate(" + count + "[5m]))"
	rules := []*Rule{
		{
			Name: "error-ratio", Compare: Above, Threshold: 0.05, Unit: UnitShare, Severity: Critical, Policy: DefaultPolicy(0),
			Query:   "(sum " + service + "(rate(" + failed + "[5m])) or " + rate + " * 0) / (" + rate + " > 0)" + requests("20"),
			Summary: "{{value}} of the requests to {{service}} fail",
		},
		{
			Name: "latency", Compare: Above, Threshold: 1, Unit: UnitSeconds, Severity: Warning, Policy: DefaultPolicy(10 * time.Minute),
			Query:   "histogram_quantile(0.99, sum by (service, le) (rate(" + metricRequests + "_bucket[5m])))" + requests("100"),
			Summary: "one request in a hundred to {{service}} takes longer than {{value}}",
		},
		{
			Name: "crash-loop", Compare: Above, Threshold: 0, Severity: Critical, Policy: DefaultPolicy(0),
			Query:   "max " + service + "(atoll_replica_crash_loop)",
			Summary: "{{service}} ends again and again right after its start",
		},
		{
			Name: "event-lag", Compare: Above, Threshold: 300, Unit: UnitSeconds, Severity: Warning, Policy: DefaultPolicy(time.Minute),
			Query:   owned("max " + group + "(atoll_events_oldest_seconds)"),
			Summary: "{{messaging_consumer_group_name}} lags behind: its oldest event waits for {{value}}",
		},
		{
			Name: "dead-letters", Compare: Above, Threshold: 0, Severity: Warning, Policy: DefaultPolicy(0),
			Query:   owned("sum " + group + "(increase(atoll_events_dead_letters_total[15m]))"),
			Summary: "{{messaging_consumer_group_name}} has given events up in the last 15 minutes: about {{value}}",
		},
		{
			Name: "parked-sagas", Compare: Above, Threshold: 0, Severity: Warning, Policy: DefaultPolicy(0),
			Query:   `sum by (saga) (atoll_saga_instances{state="parked"})`,
			Summary: "{{saga}}: {{value}} parked, waiting for a person",
		},
	}
	for _, r := range rules {
		r.Source, r.Every, r.Default = SourceMetrics, everyMetrics, true
	}
	slices.SortFunc(rules, byName)
	return rules
}
