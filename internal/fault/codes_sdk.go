package fault

// Codes of the Go SDK.
const (
	CodeSDKNoPort         Code = "sdk-no-port"
	CodeSDKUndeclaredCall Code = "sdk-undeclared-call"
	CodeSDKDatabaseURL    Code = "sdk-database-url"
)
