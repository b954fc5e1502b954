package fault

// Codes of the event log in a NATS cluster.
const (
	CodeEventsOwned Code = "events-owned"
)
