package fault

// Codes of alerts.
const (
	CodeAlertUnknown   Code = "alert-unknown"
	CodeSilenceUnknown Code = "silence-unknown"
	CodeSilenceInvalid Code = "silence-invalid"
)
