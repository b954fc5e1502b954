package fault

// Codes of what a manifest says about events, of CloudEvents over HTTP, and of contracts.
const (
	CodeBadCron         Code = "bad-cron"
	CodeTopicUndeclared Code = "topic-undeclared"
	CodeTopicSchemas    Code = "topic-schemas-differ"
	CodeEventReserved   Code = "event-reserved"
	CodeEventDeliverAt  Code = "event-deliver-at"
	CodeEventContract   Code = "event-contract"
	CodeContractInvalid Code = "contract-invalid"
)
