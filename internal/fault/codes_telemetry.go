package fault

// Codes of telemetry.
const (
	CodeBadLevel Code = "bad-level"
)

// Codes of questions about telemetry.
const (
	CodeQueryInvalid  Code = "query-invalid"   // a query that cannot be understood
	CodeQueryTooBroad Code = "query-too-broad" // a query whose answer would be too large
)
