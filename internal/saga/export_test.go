package saga

// What tests of the outside look at.
var (
	EncodeState   = encodeState
	EncodeRecords = encodeRecords
)
