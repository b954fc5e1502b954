package fault

// Codes of the event bus.
const (
	CodeEventInvalid  Code = "event-invalid"
	CodeEventTooLarge Code = "event-too-large"
)
