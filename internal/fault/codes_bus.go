package fault

// Codes of the event bus.
const (
	CodeEventInvalid        Code = "event-invalid"
	CodeEventTooLarge       Code = "event-too-large"
	CodePublishUndeclared   Code = "publish-undeclared"
	CodeRestartNeeded       Code = "restart-needed"
	CodeBusBusy             Code = "bus-busy"
	CodeBusUnsure           Code = "bus-unsure"
	CodeEventsUnreachable   Code = "events-unreachable"
	CodeBusFull             Code = "bus-full"
	CodeTopicUnknown        Code = "topic-unknown"
	CodeSubscriptionGone    Code = "subscription-gone"
	CodeSubscriptionUnknown Code = "subscription-unknown"
	CodeDeadLetter          Code = "dead-letter"
	CodeDeadLetterUnknown   Code = "dead-letter-unknown"
	CodeOffsetGone          Code = "offset-gone"
)
