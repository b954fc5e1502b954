package fault

// Codes of sagas in the Go SDK.
const (
	CodeSDKNoSagas Code = "sdk-no-sagas"
)
