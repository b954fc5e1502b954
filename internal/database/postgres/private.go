package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/atollhq/atoll/internal/database"
	"github.com/atollhq/atoll/internal/fault"
)

// Private is a PostgreSQL server of the application's own, made of the programs that are installed on the
// machine. It listens on loopback only, asks for passwords, and syncs every commit.
type Private struct {
	bin   string // folder of initdb and postgres
	dir   string
	port  int      // 0 until Command chose one
	admin string   // empty until then
	drop  []string // command that becomes a lesser user, which PostgreSQL demands of root
}

const adminRole = "atoll"

// NewPrivate finds PostgreSQL on this machine, and makes the server's data in dir where there are none.
func NewPrivate(ctx context.Context, dir string) (*Private, error) {
	bin, err := Find()
	if err != nil {
		return nil, err
	}
	p := &Private{bin: bin, dir: dir}
	if os.Geteuid() == 0 {
		if err := p.becomeLesser(); err != nil {
			return nil, err
		}
	}
	if err := p.initialise(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Dir is the folder of the server's data.
func (p *Private) Dir() string { return p.dir }

// Find returns the folder of the PostgreSQL programs: it looks in PATH and where Debian and others keep them, newest first.
func Find() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	var dirs []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", fmt.Errorf("look for PostgreSQL: %w", err)
		}
		dirs = append(dirs, found...)
	}
	slices.SortFunc(dirs, func(a, b string) int { return version(b) - version(a) })
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", fault.New(fault.CodeDatabaseUnreachable, "a service wants a PostgreSQL database, and none is named or installed").
		Fix("install PostgreSQL (Debian: apt-get install postgresql), or name a server by postgres: in atoll.yaml or by ATOLL_POSTGRES")
}

// version is the number in a folder's name.
func version(dir string) int {
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, filepath.Base(filepath.Dir(dir)))
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// becomeLesser prepares to run as the user postgres, since PostgreSQL refuses to be run by root. The data go to where
// that user can reach them.
func (p *Private) becomeLesser() error {
	u, err := user.Lookup("postgres")
	setpriv, err2 := exec.LookPath("setpriv")
	if err := errors.Join(err, err2); err != nil {
		return fault.New(fault.CodeDatabaseUnreachable, "PostgreSQL refuses to run as root, and there is no user postgres to run it as").
			Fix("run atoll as another user than root, or name a server by ATOLL_POSTGRES").Because(err)
	}
	p.drop = []string{setpriv, "--reuid=" + u.Uid, "--regid=" + u.Gid, "--clear-groups", "--"}
	p.dir = reachable(p.dir)
	if err := errors.Join(os.MkdirAll(filepath.Dir(p.dir), 0o755), os.MkdirAll(p.dir, 0o700)); err != nil {
		return fmt.Errorf("make folder of PostgreSQL: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("read user postgres: %w", err)
	}
	if err := os.Chown(p.dir, uid, gid); err != nil {
		return fmt.Errorf("give folder to user postgres: %w", err)
	}
	return nil
}

// Remove removes the data of a private server that does not run and was made in dir.
func Remove(dir string) error {
	if os.Geteuid() == 0 {
		if err := os.RemoveAll(reachable(dir)); err != nil {
			return fmt.Errorf("remove data of PostgreSQL: %w", err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove data of PostgreSQL: %w", err)
	}
	return nil
}

// reachable is dir if every folder above it may be entered by anybody, else a folder of its own below /var/lib.
func reachable(dir string) string {
	for at := filepath.Dir(dir); ; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && info.Mode().Perm()&0o001 == 0 {
			return filepath.Join("/var/lib/atoll/postgres", strings.Trim(strings.ReplaceAll(dir, "/", "-"), "-"))
		}
		if at == filepath.Dir(at) {
			return dir
		}
	}
}

func (p *Private) data() string { return filepath.Join(p.dir, "data") }

// lock is the file by which PostgreSQL holds its data, and tells of itself.
func (p *Private) lock() string { return filepath.Join(p.data(), "postmaster.pid") }

func (p *Private) passwordFile() string { return filepath.Join(p.dir, "password") }

// initialise makes the administrator's password and the data folder, each whole or not at all.
func (p *Private) initialise(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(p.data(), "PG_VERSION")); err == nil {
		return nil
	}
	fresh := p.data() + ".new"
	if err := errors.Join(os.MkdirAll(p.dir, 0o700), os.RemoveAll(fresh)); err != nil {
		return fmt.Errorf("make folder of PostgreSQL: %w", err)
	}
	if err := p.writePassword(); err != nil {
		return err
	}
	args := append(slices.Clone(p.drop), filepath.Join(p.bin, "initdb"), "-D", fresh, "-U", adminRole, "-A", "scram-sha-256",
		"--pwfile", p.passwordFile(), "-E", "UTF8", "--locale=C", "--no-instructions")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		return fault.New(fault.CodeDatabaseUnreachable, "a private PostgreSQL server cannot be made in %s", p.dir).
			Fix("look at the operator's log, or name a server by ATOLL_POSTGRES").
			Because(fmt.Errorf("initdb: %w: %s", err, out))
	}
	if err := os.Rename(fresh, p.data()); err != nil {
		return fmt.Errorf("put PostgreSQL's data in place: %w", err)
	}
	return nil
}

// writePassword makes a password that the server's user can read, as initdb wants it.
func (p *Private) writePassword() error {
	if err := os.WriteFile(p.passwordFile(), []byte(database.NewPassword()+"\n"), 0o600); err != nil {
		return fmt.Errorf("write PostgreSQL's password: %w", err)
	}
	info, err := os.Stat(p.dir)
	if err != nil {
		return fmt.Errorf("look at folder of PostgreSQL: %w", err)
	}
	return giveToOwnerOf(info, p.passwordFile())
}

// Command returns the command that runs the server, to be run in the root folder. It chooses a port the first time and
// keeps it, so that a server that is started again is found where it was.
func (p *Private) Command(ctx context.Context) ([]string, error) {
	if err := p.awaitPredecessor(ctx); err != nil {
		return nil, err
	}
	if p.port == 0 {
		if err := p.choosePort(ctx); err != nil {
			return nil, err
		}
	}
	return append(slices.Clone(p.drop), filepath.Join(p.bin, "postgres"), "-D", p.data(),
		"-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=400"), nil
}

// choosePort settles where the server listens, and with it the administrator's URL.
func (p *Private) choosePort(ctx context.Context) error {
	password, err := os.ReadFile(p.passwordFile())
	if err != nil {
		return fmt.Errorf("read PostgreSQL's password: %w", err)
	}
	if p.port, err = freePort(ctx); err != nil {
		return err
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(adminRole, strings.TrimSpace(string(password))),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)), Path: "/postgres", RawQuery: "sslmode=disable",
	}
	p.admin = u.String()
	return nil
}

// awaitPredecessor waits until the server of an earlier run, which was killed, is gone. One that is dead but still waits
// for its parent to notice would be taken for alive by PostgreSQL, so its lock is removed here: that Atoll holds the
// application's own lock is proof enough that nobody else uses the data.
func (p *Private) awaitPredecessor(ctx context.Context) error {
	const limit, between = 10 * time.Second, 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(between)
	defer ticker.Stop()
	for {
		text, err := os.ReadFile(p.lock())
		if err != nil {
			return nil // there is no lock, or PostgreSQL says what is the matter with it
		}
		first, _, _ := strings.Cut(string(text), "\n")
		pid, err := strconv.Atoi(strings.TrimSpace(first))
		if err != nil || !running(pid, p.data()) {
			if err := os.Remove(p.lock()); err != nil {
				return fmt.Errorf("remove lock of a PostgreSQL that is gone: %w", err)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.CodeDatabaseUnreachable, "a PostgreSQL server of an earlier run still uses %s (pid %d)", p.data(), pid).
				Fix("end it: kill %d", pid)
		case <-ticker.C:
		}
	}
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Admin is the URL by which databases are made, once Command has been called.
func (p *Private) Admin() string { return p.admin }

// Await returns when the server answers, or with the reason why it does not: ctx ended, or exited was closed. It
// connects only when the server has said that it is ready, since a server that is asked earlier logs an error.
func (p *Private) Await(ctx context.Context, exited <-chan struct{}) error {
	const between = 20 * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL: %w", ctx.Err())
		case <-exited:
			return fault.New(fault.CodeDatabaseUnreachable, "the private PostgreSQL server ended at its start").
				Fix("look at its log: atoll logs postgres")
		case <-timer.C:
		}
		if p.ready() {
			if conn, err := pgx.Connect(ctx, p.admin); err == nil {
				return closeCommonDatabases(ctx, conn)
			}
		}
		timer.Reset(between)
	}
}

// ready tells whether the lock file says that the server lets clients in, which stands in its eighth line.
func (p *Private) ready() bool {
	text, err := os.ReadFile(p.lock())
	lines := strings.Split(string(text), "\n")
	return err == nil && len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready"
}

// closeCommonDatabases shuts everybody but the administrator out of the databases that come with the server.
func closeCommonDatabases(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return fmt.Errorf("close common databases: %w", err)
	}
	return nil
}
