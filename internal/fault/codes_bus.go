package fault

// Codes of the event bus.
const (
	CodeEventInvalid        Code = "event-invalid"
	CodeEventTooLarge       Code = "event-too-large"
	CodePublishUndeclared   Code = "publish-undeclared"
	CodeBusBusy             Code = "bus-busy"
	CodeBusFull             Code = "bus-full"
	CodeSubscriptionUnknown Code = "subscription-unknown"
	CodeDeadLetterUnknown   Code = "dead-letter-unknown"
	CodeOffsetGone          Code = "offset-gone"
)
