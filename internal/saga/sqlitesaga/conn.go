package sqlitesaga

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// conn is a connection by the driver's own interface, which costs about half of what database/sql costs. Statements are prepared
// once. It is for one goroutine at a time.
type conn struct {
	driver.Conn
	statements map[string]driver.Stmt
	args       []driver.NamedValue // used again by each statement
}

func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String()
}

func dial(path, pragmas string) (*conn, error) {
	c, err := (&sqlite.Driver{}).Open(fileURL(path) + "?_pragma=busy_timeout(10000)" + pragmas)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, statements: map[string]driver.Stmt{}}, nil
}

// Close closes the connection. What was begun is undone.
func (c *conn) Close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.Conn.Close())...)
}

func (c *conn) prepare(ctx context.Context, text string) (driver.Stmt, error) {
	if s := c.statements[text]; s != nil {
		return s, nil
	}
	preparer, ok := c.Conn.(driver.ConnPrepareContext)
	if !ok {
		return nil, errors.New("the driver of SQLite prepares nothing")
	}
	s, err := preparer.PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, text)
	}
	c.statements[text] = s
	return s, nil
}

func (c *conn) named(args []any) []driver.NamedValue {
	c.args = c.args[:0]
	for i, a := range args {
		if b, ok := a.([]byte); ok && b == nil {
			a = []byte{} // and not NULL
		}
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return c.args
}

// exec runs a statement and tells how many rows it has changed. A context that ends does not interrupt it: that would undo the whole
// transaction. Arguments are int64, string, []byte or nil.
func (c *conn) exec(ctx context.Context, text string, args ...any) (int64, error) {
	ctx = context.WithoutCancel(ctx)
	s, err := c.prepare(ctx, text)
	if err != nil {
		return 0, err
	}
	run, ok := s.(driver.StmtExecContext)
	if !ok {
		return 0, errors.New("the driver of SQLite executes nothing")
	}
	r, err := run.ExecContext(ctx, c.named(args))
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// query hands each row of an answer to a function. The values are valid until it returns, but for texts and blobs, which may be kept.
func (c *conn) query(ctx context.Context, text string, args []any, row func([]driver.Value) error) error {
	ctx = context.WithoutCancel(ctx)
	s, err := c.prepare(ctx, text)
	if err != nil {
		return err
	}
	run, ok := s.(driver.StmtQueryContext)
	if !ok {
		return errors.New("the driver of SQLite queries nothing")
	}
	rows, err := run.QueryContext(ctx, c.named(args))
	if err != nil {
		return err
	}
	values := make([]driver.Value, len(rows.Columns()))
	for err == nil {
		if err = rows.Next(values); err == nil {
			err = row(values)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, rows.Close())
}

// one returns the only row of an answer, or nil.
func (c *conn) one(ctx context.Context, text string, args ...any) (found []driver.Value, err error) {
	err = c.query(ctx, text, args, func(values []driver.Value) error {
		found = append(found, values...)
		return nil
	})
	return found, err
}

// number returns the only number of an answer, or 0.
func (c *conn) number(ctx context.Context, text string, args ...any) (int64, error) {
	row, err := c.one(ctx, text, args...)
	if err != nil || len(row) == 0 {
		return 0, err
	}
	return number(row[0]), nil
}

func number(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

func text(v driver.Value) string {
	s, _ := v.(string)
	return s
}

func blob(v driver.Value) []byte {
	b, _ := v.([]byte)
	return b
}

// grave tells whether an error says that the file, or what holds it, cannot be trusted any more. That a file could not be synced is
// one of them: what was not written then may be taken for written, so nothing is tried again.
func grave(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}
