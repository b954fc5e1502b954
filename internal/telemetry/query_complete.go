package telemetry

// CompletionKind is what a Completion puts in.
type CompletionKind string

// The kinds of completions.
const (
	CompleteField    CompletionKind = "field"
	CompleteOperator CompletionKind = "operator"
	CompleteValue    CompletionKind = "value"
	CompleteFunction CompletionKind = "function"
	CompleteKeyword  CompletionKind = "keyword"
	CompleteSign     CompletionKind = "sign"
)
