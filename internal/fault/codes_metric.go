package fault

// Codes of queries of metrics.
const (
	CodeMetricQuery Code = "metric-query" // an expression of PromQL that cannot be understood
	CodeMetricAsk   Code = "metric-ask"   // an expression that has no answer, or a parameter that cannot be
	CodeMetricLimit Code = "metric-limit" // a query that asks for too much, or too long
	CodeMetricBusy  Code = "metric-busy"  // too many queries at once
)
