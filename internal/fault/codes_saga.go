package fault

// Codes of sagas.
const (
	CodeSagaShape            Code = "saga-shape"             // a definition that cannot be compensated, or whose graph is none
	CodeSagaExpression       Code = "saga-expression"        // an expression that does not compile or has the wrong type
	CodeSagaDuplicate        Code = "saga-duplicate"         // two definitions of one name
	CodeSagaUnknown          Code = "saga-unknown"           // no saga of that name
	CodeSagaUndeclared       Code = "saga-undeclared"        // a service uses a saga that its manifest does not name
	CodeSagaInput            Code = "saga-input"             // an input that is not as the definition wants it
	CodeSagaInstanceUnknown  Code = "saga-instance-unknown"  // no instance of that id
	CodeSagaKeyReused        Code = "saga-key-reused"        // an idempotency key with another input
	CodeSagaBusy             Code = "saga-busy"              // more instances than the engine takes
	CodeSagaUnsure           Code = "saga-unsure"            // it is not known whether it is durable
	CodeSagaPastPivot        Code = "saga-past-pivot"        // too late to cancel
	CodeSagaEnded            Code = "saga-ended"             // the instance has ended
	CodeSagaStep             Code = "saga-step"              // the step is not there, or not in a state for what was asked
	CodeSagaParked           Code = "saga-parked"            // an instance waits for a person
	CodeSagaMigration        Code = "saga-migration"         // a migration that its history forbids
	CodeSagaCallback         Code = "saga-callback"          // a callback that belongs to no step that waits
	CodeSagaStoreUnreachable Code = "saga-store-unreachable" // the store cannot be opened
	CodeSagaReason           Code = "saga-reason"            // an operator's action without a reason
)
