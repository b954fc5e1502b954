package fault

// Codes of databases.
const (
	CodeDatabaseUnreachable Code = "database-unreachable"
)
