package fault

// Codes of alerts.
const (
	CodeAlertUnknown   Code = "alert-unknown"
	CodeAlertUntold    Code = "alert-untold"
	CodeSilenceUnknown Code = "silence-unknown"
	CodeSilenceInvalid Code = "silence-invalid"
)
