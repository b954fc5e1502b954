package sdk

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

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

// TableOptions are options of NewOutbox and NewInbox. The zero value is good.
type TableOptions struct {
	// Dialect is the kind of the service's database; default what DATABASE_URL says.
	Dialect Dialect

	// Getenv is used in place of os.Getenv.
	Getenv func(string) string
}

func (o *TableOptions) withDefaults() (TableOptions, error) {
	var out TableOptions
	if o != nil {
		out = *o
	}
	if out.Getenv == nil {
		out.Getenv = os.Getenv
	}
	if out.Dialect == "" {
		scheme, _, _ := strings.Cut(out.Getenv("DATABASE_URL"), ":")
		switch scheme {
		case "postgres", "postgresql":
			out.Dialect = Postgres
		case "mysql", "mariadb":
			out.Dialect = MySQL
		case "sqlite":
			out.Dialect = SQLite
		}
	}
	if out.Dialect != Postgres && out.Dialect != MySQL && out.Dialect != SQLite {
		return out, fault.New(CodeNoDialect, "DATABASE_URL does not say which kind of database this is.").
			Fix("add `database:` to service.yaml, or set TableOptions.Dialect to sdk.Postgres, sdk.MySQL or sdk.SQLite")
	}
	return out, nil
}

//go:embed schema/*.sql
var schemas embed.FS

// setup makes the tables of one schema file where they are missing.
func (d Dialect) setup(ctx context.Context, db *sql.DB, which string) error {
	script, err := schemas.ReadFile(fmt.Sprintf("schema/%s_%s.sql", which, d))
	if err != nil {
		return err
	}
	if d == Postgres {
		return setupPostgres(ctx, db, string(script))
	}
	return execScript(ctx, db, string(script))
}

// setupPostgres makes tables in one transaction, under a lock, since two replicas that make the same at one time fail.
func setupPostgres(ctx context.Context, db *sql.DB, script string) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtext('atoll_outbox setup'))"); err != nil {
		return err
	}
	if err := execScript(ctx, tx, script); err != nil {
		return err
	}
	return tx.Commit()
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// execScript runs the statements of a script, each of which ends with a semicolon at the end of a line.
func execScript(ctx context.Context, on execer, script string) error {
	for statement := range strings.SplitSeq(script, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := on.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// query puts the dialect's placeholders in the place of question marks. Times are marked by @, as each dialect takes them
// in its own form.
func (d Dialect) query(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		switch {
		case r != '?' && r != '@':
			b.WriteRune(r)
			continue
		case d == Postgres:
			n++
			b.WriteString("$" + strconv.Itoa(n))
		case d == MySQL && r == '@':
			b.WriteString("FROM_UNIXTIME(CAST(? AS DECIMAL(20, 6)))") // whatever the session's time zone is
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

// time is the argument of an @ in a query; nil for no time.
func (d Dialect) time(t time.Time) any {
	switch {
	case t.IsZero():
		return nil
	case d == Postgres:
		return t
	case d == MySQL:
		return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000)
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
