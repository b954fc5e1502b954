package fault

// Codes of outboxes.
const (
	CodeOutboxURL      Code = "outbox-url"      // the database is none that can have an outbox
	CodeOutboxDatabase Code = "outbox-database" // the database does not answer
	CodeOutboxTables   Code = "outbox-tables"   // the tables are not there yet
	CodeOutboxRow      Code = "outbox-row"      // a row that makes no event
)

// Codes of events in the Go SDK.
const (
	CodeSDKNoEvents  Code = "sdk-no-events"
	CodeSDKNoDialect Code = "sdk-no-dialect"
)
