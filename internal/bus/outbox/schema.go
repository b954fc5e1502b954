package outbox

import (
	"embed"
	"fmt"
	"net/url"

	"github.com/atollhq/atoll/internal/fault"
)

// Dialect is a kind of database.
type Dialect string

// The dialects.
const (
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql" // MariaDB too
	SQLite   Dialect = "sqlite"
)

// Dialects lists them.
func Dialects() []Dialect { return []Dialect{Postgres, MySQL, SQLite} }

//go:embed schema/*.sql
var schemas embed.FS

// Schema is the SQL that makes the tables of the outbox and the inbox where they are missing; "" for no dialect. Each
// statement ends with a semicolon at the end of a line, and no other line ends with one.
func Schema(d Dialect) string {
	outbox, err := schemas.ReadFile(fmt.Sprintf("schema/outbox_%s.sql", d))
	if err != nil {
		return ""
	}
	inbox, err := schemas.ReadFile(fmt.Sprintf("schema/inbox_%s.sql", d))
	if err != nil {
		return ""
	}
	return string(outbox) + "\n" + string(inbox)
}

// DialectOf is the dialect of a database's URL.
func DialectOf(databaseURL string) (Dialect, error) {
	u, err := url.Parse(databaseURL)
	if err == nil {
		switch u.Scheme {
		case "postgres", "postgresql":
			return Postgres, nil
		case "mysql", "mariadb":
			return MySQL, nil
		case "sqlite":
			return SQLite, nil
		}
	}
	return "", fault.New(fault.CodeOutboxURL, "the database has no address that an outbox can be read at").
		Fix("a URL that begins with postgres://, mysql:// or sqlite:/// is needed, as database: of service.yaml gives it")
}
