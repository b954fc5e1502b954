package fault

// Codes of telemetry.
const (
	CodeBadLevel Code = "bad-level"
)
