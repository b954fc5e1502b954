package fault

// Codes that belong to no single part.
const (
	CodeInternal Code = "internal" // a broken invariant of Atoll itself
)
