package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/atollhq/atoll/internal/fault"
)

// mysqlTable works over one connection, which holds the lock too: when it has lost that, it can delete nothing more.
type mysqlTable struct{ sqlTable }

var _ table = (*mysqlTable)(nil)

func mysqlDialer(databaseURL string) (func(context.Context) (table, error), error) {
	config, err := mysqlConfig(databaseURL)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fault.New(fault.CodeOutboxURL, "the database's address cannot be used").
			Fix("write it as mysql://user:password@host:3306/name").Because(err)
	}
	q := query(func(column string) string { return "CAST(" + column + " AS CHAR)" })
	return func(ctx context.Context) (table, error) {
		t, err := openTable(ctx, sql.OpenDB(connector))
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		t.query, t.drop = q, dropByKey
		t.isolation = sql.LevelReadCommitted // locks no gaps, into which others insert
		t.count = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ('atoll_outbox', 'atoll_outbox_refused')"
		return &mysqlTable{t}, nil
	}, nil
}

// mysqlConfig reads a URL. Of its parameters only tls is for us; others are for the drivers of other languages.
func mysqlConfig(databaseURL string) (*mysql.Config, error) {
	u, err := url.Parse(databaseURL)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") == "" {
		return nil, fault.New(fault.CodeOutboxURL, "the database's address names no host or no database").
			Fix("write it as mysql://user:password@host:3306/name").Because(err)
	}
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", net.JoinHostPort(u.Hostname(), port)
	config.User, config.DBName = u.User.Username(), strings.Trim(u.Path, "/")
	config.Passwd, _ = u.User.Password()
	config.TLSConfig = u.Query().Get("tls")
	config.Timeout = 10 * time.Second
	config.Logger = &mysql.NopLogger{} // what it would say is in the errors
	config.InterpolateParams = true    // one round trip for each statement
	config.Params = map[string]string{"time_zone": "'+00:00'"}
	return config, nil
}

// lock takes a name that belongs to the server, so it holds the database's name; hashed, as names have a limit.
func (t *mysqlTable) lock(ctx context.Context) (bool, error) {
	var yes sql.NullInt64
	if err := t.conn.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT('atoll_outbox.', MD5(DATABASE())), 0)").Scan(&yes); err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	return yes.Int64 == 1, nil
}

// dropByKey deletes rows by looking each up in the primary key. A list after IN may be answered by a scan of the table,
// which would wait for rows that others have inserted and not committed.
func dropByKey(ctx context.Context, tx *sql.Tx, ids []int64) error {
	for some := range slices.Chunk(ids, 250) {
		var list strings.Builder
		for i, id := range some {
			if i > 0 {
				list.WriteString(" UNION ALL ")
			}
			list.WriteString("SELECT " + strconv.FormatInt(id, 10) + " AS id")
		}
		_, err := tx.ExecContext(ctx, "DELETE o FROM ("+list.String()+") AS d STRAIGHT_JOIN atoll_outbox AS o FORCE INDEX (PRIMARY) ON o.id = d.id")
		if err != nil {
			return err
		}
	}
	return nil
}

// wait polls: 20 ms after something was found, and more and more seldom, up to 250 ms, while nothing is.
func (t *mysqlTable) wait(ctx context.Context, quiet int) error {
	const busy, idle = 20 * time.Millisecond, 250 * time.Millisecond
	// Ten looks at the busy pace, so that a service that publishes now and then is served promptly.
	if !pause(ctx, min(busy<<max(0, min(quiet/10, 4)), idle)) {
		return ctx.Err()
	}
	return nil
}
