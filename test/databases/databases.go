// Package databases gives tests real databases: SQLite files, and servers of PostgreSQL and MariaDB that it starts from the
// programs installed on the machine (test/install) and ends again. They listen on loopback, at ports that the system picks.
package databases

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/atollhq/atoll/internal/database/postgres"
)

// The kinds of databases.
const (
	Postgres = "postgres"
	MySQL    = "mysql"
	SQLite   = "sqlite"
)

// Kinds lists them.
func Kinds() []string { return []string{Postgres, MySQL, SQLite} }

// Servers starts a server when a test first needs it. It is safe for concurrent use.
type Servers struct {
	postgres, mariadb func() (*server, error)

	mu      sync.Mutex // guards running
	running []*server
}

type server struct {
	admin string // URL of an administrator
	cmd   *exec.Cmd
	stop  io.Closer
	dirs  []string // to be removed
}

// New returns servers of which none runs yet.
func New() *Servers {
	s := &Servers{}
	s.postgres = sync.OnceValues(func() (*server, error) { return s.start(startPostgres) })
	s.mariadb = sync.OnceValues(func() (*server, error) { return s.start(startMariaDB) })
	return s
}

func (s *Servers) start(how func(context.Context, string) (*server, error)) (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "atoll-test-database")
	if err != nil {
		return nil, err
	}
	started, err := how(ctx, dir)
	if started == nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	started.dirs = append(started.dirs, dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = append(s.running, started)
	return started, err
}

// run runs a server that gets a signal when stop is closed or this process has ended, however it did.
func run(ctx context.Context, signal string, command ...string) (*server, error) {
	script := `"$@" & read -r _; kill -` + signal + ` $!; wait`
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "sh", append([]string{"-c", script, "sh"}, command...)...)
	cmd.Dir = "/"
	stop, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &server{cmd: cmd, stop: stop}, nil
}

// Close ends the servers and removes their data.
func (s *Servers) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.running {
		_ = r.stop.Close()
		_ = r.cmd.Wait() // nobody needs the data, nor to know how it ended
		for _, dir := range r.dirs {
			_ = os.RemoveAll(dir)
		}
	}
	s.running = nil
}

// Database is one that a test has for itself.
type Database struct {
	Kind string
	URL  string // as DATABASE_URL has it
	DB   *sql.DB
}

// Fresh returns an empty database, which is closed when the test ends.
func (s *Servers) Fresh(tb testing.TB, kind string) *Database {
	tb.Helper()
	d := &Database{Kind: kind}
	switch kind {
	case SQLite:
		d.URL = "sqlite://" + filepath.Join(tb.TempDir(), "service.db")
	case Postgres:
		d.URL = s.create(tb, s.postgres, kind)
	case MySQL:
		d.URL = s.create(tb, s.mariadb, kind)
	}
	d.DB = Open(tb, kind, d.URL)
	return d
}

// Open opens a database as a service would, until the test ends.
func Open(tb testing.TB, kind, databaseURL string) *sql.DB {
	tb.Helper()
	var db *sql.DB
	var err error
	switch kind {
	case SQLite:
		db, err = sql.Open("sqlite", "file:"+strings.TrimPrefix(databaseURL, "sqlite://")+
			"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	case Postgres:
		db, err = sql.Open("pgx", databaseURL)
	case MySQL:
		db, err = sql.Open("mysql", mysqlDSN(databaseURL))
	default:
		tb.Fatalf("no such kind of database: %s", kind)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// create makes a database on a server, and returns its URL.
func (s *Servers) create(tb testing.TB, start func() (*server, error), kind string) string {
	tb.Helper()
	srv, err := start()
	if err != nil {
		tb.Fatalf("%v (databases are installed by `make test-deps`)", err)
	}
	u, err := url.Parse(srv.admin)
	if err != nil {
		tb.Fatal(err)
	}
	name := "test_" + strconv.FormatInt(time.Now().UnixNano(), 36)
	if _, err := Open(tb, kind, srv.admin).ExecContext(tb.Context(), "CREATE DATABASE "+name); err != nil {
		tb.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// mysqlDSN is a mysql:// URL as Go's driver wants it.
func mysqlDSN(databaseURL string) string {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return databaseURL
	}
	password, _ := u.User.Password()
	return fmt.Sprintf("%s:%s@tcp(%s)%s", u.User.Username(), password, u.Host, u.Path)
}

func startPostgres(ctx context.Context, dir string) (*server, error) {
	p, err := postgres.NewPrivate(ctx, filepath.Join(dir, "postgres"))
	if err != nil {
		return nil, err
	}
	command, err := p.Command(ctx)
	if err != nil {
		return nil, err
	}
	s, err := run(ctx, "QUIT", command...)
	if err != nil {
		return nil, err
	}
	s.admin, s.dirs = p.Admin(), []string{p.Dir()}
	return s, await(ctx, func() error {
		conn, err := pgx.Connect(ctx, s.admin)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// startMariaDB makes the data and starts the server as the user that runs the test, root included.
func startMariaDB(ctx context.Context, dir string) (*server, error) {
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	install := exec.CommandContext(ctx, "mariadb-install-db", "--no-defaults", "--datadir="+data, "--user="+me.Username,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	if out, err := install.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	program, err := exec.LookPath("mariadbd")
	if err != nil {
		program = "/usr/sbin/mariadbd" // not in everybody's PATH
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	const password = "made-for-tests"
	begin := filepath.Join(dir, "begin.sql")
	text := "CREATE USER app@'127.0.0.1' IDENTIFIED BY '" + password + "';\nGRANT ALL ON *.* TO app@'127.0.0.1';\n"
	if err := os.WriteFile(begin, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s, err := run(ctx, "TERM", program, "--no-defaults", "--datadir="+data, "--user="+me.Username,
		"--bind-address=127.0.0.1", "--port="+port, "--socket="+filepath.Join(dir, "socket"), "--pid-file="+filepath.Join(dir, "pid"),
		"--skip-name-resolve", "--init-file="+begin, "--log-error="+filepath.Join(dir, "log"), "--innodb-buffer-pool-size=64M")
	if err != nil {
		return nil, err
	}
	s.admin = "mysql://app:" + password + "@127.0.0.1:" + port + "/mysql"
	return s, await(ctx, func() error {
		db, err := sql.Open("mysql", mysqlDSN(s.admin))
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		return db.PingContext(ctx)
	})
}

func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// await asks until there is no error, and returns the last one if that takes too long.
func await(ctx context.Context, ask func() error) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

// Statements splits a script at the semicolons that end lines.
func Statements(script string) []string {
	var out []string
	for s := range strings.SplitSeq(script, ";\n") {
		if strings.TrimSpace(s) != "" {
			out = append(out, s)
		}
	}
	return out
}
