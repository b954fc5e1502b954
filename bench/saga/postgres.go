package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/atollhq/atoll/internal/database/postgres"
)

// server is a PostgreSQL server of the bench's own, as Debian sets it up: it syncs each commit.
type server struct {
	private *postgres.Private
	cmd     *exec.Cmd
	version string
}

const startLimit = 60 * time.Second

func startPostgres(ctx context.Context, dir string) (*server, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	p, err := postgres.NewPrivate(ctx, filepath.Join(dir, "postgres"))
	if err != nil {
		return nil, fmt.Errorf("make PostgreSQL server: %w", err)
	}
	command, err := p.Command(ctx)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	s := &server{private: p, cmd: exec.Command(command[0], command[1:]...)} //nolint:noctx // ended by stop
	s.cmd.Dir = "/"
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := p.Await(ctx, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), s.stop())
	}
	err = s.ask(ctx, "SELECT split_part(version(), ' ', 2)", &s.version)
	return s, err
}

// stop ends the server at once (SIGINT: fast shutdown), and removes its data.
func (s *server) stop() error {
	return errors.Join(end(s.cmd, syscall.SIGINT), postgres.Remove(s.private.Dir()))
}

func (s *server) ask(ctx context.Context, query string, into ...any) error {
	conn, err := pgx.Connect(ctx, s.private.Admin())
	if err != nil {
		return fmt.Errorf("ask PostgreSQL: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if len(into) == 0 {
		_, err = conn.Exec(ctx, query)
	} else {
		err = conn.QueryRow(ctx, query).Scan(into...)
	}
	if err != nil {
		return fmt.Errorf("ask PostgreSQL: %w", err)
	}
	return nil
}

// database makes a database and returns its URL.
func (s *server) database(ctx context.Context, name string) (string, error) {
	if err := s.ask(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return "", err
	}
	u, err := url.Parse(s.private.Admin())
	if err != nil {
		return "", fmt.Errorf("make database: %w", err)
	}
	u.Path = "/" + name
	return u.String(), nil
}

// size is how many bytes a database has once all of it is in its files.
func (s *server) size(ctx context.Context, name string) (n int64, err error) {
	if err := s.ask(ctx, "CHECKPOINT"); err != nil {
		return 0, err
	}
	err = s.ask(ctx, "SELECT pg_database_size('"+name+"')", &n)
	return n, err
}

func (s *server) time() (time.Duration, error) { return familyTime(s.cmd.Process.Pid) }
