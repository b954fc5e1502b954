package postgres_test

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/atollhq/atoll/internal/database"
	"github.com/atollhq/atoll/internal/database/databasetest"
	"github.com/atollhq/atoll/internal/database/postgres"
	"github.com/atollhq/atoll/internal/fault"
)

// start runs a private server until the test ends and returns the URL of its administrator.
func start(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := postgres.NewPrivate(ctx, t.TempDir()+"/postgres")
	if err != nil {
		t.Fatalf("%v (PostgreSQL is installed by `make test-deps`)", err)
	}
	command, err := p.Command(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); _ = cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		<-exited
		if err := os.RemoveAll(p.Dir()); err != nil {
			t.Error(err)
		}
	})
	if err := p.Await(ctx, exited); err != nil {
		t.Fatal(err)
	}
	return p.Admin()
}

func query(ctx context.Context, t *testing.T, url string, f func(*pgx.Conn) error) error {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return f(conn)
}

func TestPrivateServer(t *testing.T) {
	admin, dir := start(t), t.TempDir()
	dial := func(t *testing.T) database.Provisioner {
		t.Helper()
		s, err := postgres.Dial(t.Context(), "shop", admin, dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	databasetest.Suite{
		New: dial,
		Write: func(t *testing.T, url, text string) error {
			t.Helper()
			return query(t.Context(), t, url, func(c *pgx.Conn) error {
				if _, err := c.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS t (x TEXT)"); err != nil {
					return err
				}
				_, err := c.Exec(t.Context(), "INSERT INTO t VALUES ($1)", text)
				return err
			})
		},
		Read: func(t *testing.T, url string) (text string, err error) {
			t.Helper()
			err = query(t.Context(), t, url, func(c *pgx.Conn) error {
				return c.QueryRow(t.Context(), "SELECT x FROM t").Scan(&text)
			})
			return text, err
		},
	}.Run(t)
	t.Run("NoServiceCanLogInToAnothersDatabase", func(t *testing.T) { cannotCross(t, dial(t)) })
	t.Run("AnAdministratorWithoutPasswordIsRefusedWithARemedy", func(t *testing.T) {
		u, err := url.Parse(admin)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("atoll", "wrong")
		_, err = postgres.Dial(t.Context(), "shop", u.String(), dir)
		if fault.CodeOf(err) != fault.CodeDatabaseUnreachable {
			t.Errorf("got %v", err)
		}
	})
	t.Run("ALostPasswordFileLocksNobodyOut", func(t *testing.T) {
		s, err := postgres.Dial(t.Context(), "shop", admin, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		own, err := s.Provision(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		if err := query(t.Context(), t, own, func(c *pgx.Conn) error { return c.Ping(t.Context()) }); err != nil {
			t.Error(err)
		}
	})
}

// cannotCross tries every way in to what is another's.
func cannotCross(t *testing.T, p database.Provisioner) {
	t.Helper()
	urls := map[string]*url.URL{}
	for _, name := range []string{"mallory", "victim"} {
		text, err := p.Provision(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if urls[name], err = url.Parse(text); err != nil {
			t.Fatal(err)
		}
	}
	ping := func(u url.URL) error {
		return query(t.Context(), t, u.String(), func(c *pgx.Conn) error { return c.Ping(t.Context()) })
	}
	if err := ping(*urls["mallory"]); err != nil {
		t.Fatalf("its own database: %v", err)
	}
	for _, path := range []string{urls["victim"].Path, "/postgres", "/template1"} {
		u := *urls["mallory"]
		u.Path = path
		if ping(u) == nil {
			t.Errorf("mallory is let in to %s", path)
		}
	}
	u := *urls["victim"]
	u.User = url.User(urls["victim"].User.Username())
	if ping(u) == nil {
		t.Error("the victim's role is let in without its password")
	}
	err := query(t.Context(), t, urls["mallory"].String(), func(c *pgx.Conn) error {
		_, err := c.Exec(t.Context(), "SET ROLE "+urls["victim"].User.Username())
		return err
	})
	if err == nil {
		t.Error("mallory becomes the victim")
	}
}
