// Package postgres gives each service a database and a role of its own on a PostgreSQL server, which is one that the
// user names or a private one (Private) that Atoll runs.
//
// A role may log in to its own database and, because CONNECT is revoked from everybody else there, no other role of
// Atoll's can. Passwords are random, kept in a file that only Atoll's user can read, and set again at every
// start, so a lost file locks nobody out.
package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/atollhq/atoll/internal/database"
	"github.com/atollhq/atoll/internal/fault"
)

// Server makes databases on a PostgreSQL server.
type Server struct {
	app   string
	admin string
	file  string

	mu        sync.Mutex
	passwords map[string]string // guarded by mu: by service
}

var _ database.Provisioner = (*Server)(nil)

// Dial returns the server at the URL admin, whose role may create databases and roles. Passwords are kept in
// dir. It connects to tell early of a server that does not answer.
func Dial(ctx context.Context, app, admin, dir string) (*Server, error) {
	s := &Server{app: app, admin: admin, file: filepath.Join(dir, "passwords.json"), passwords: map[string]string{}}
	text, err := os.ReadFile(s.file)
	if err == nil {
		if err := json.Unmarshal(text, &s.passwords); err != nil {
			s.passwords = map[string]string{} // torn or foreign: new ones are set below
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read database passwords: %w", err)
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := conn.Close(ctx); err != nil {
		return nil, fmt.Errorf("close connection to PostgreSQL: %w", err)
	}
	return s, nil
}

func (s *Server) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(s.admin)
	if err != nil {
		return nil, fault.New(fault.CodeDatabaseUnreachable, "the URL of the PostgreSQL server cannot be read").
			Fix("write postgres://USER:PASSWORD@HOST:PORT/postgres").Because(err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fault.New(fault.CodeDatabaseUnreachable, "the PostgreSQL server at %s:%d does not let %s in",
			config.Host, config.Port, config.User).
			Fix("check that it runs, and the user and password in postgres: of atoll.yaml or in ATOLL_POSTGRES; " +
				"without both, atoll up starts a private server").Because(err)
	}
	return conn, nil
}

// Provision makes role and database of a service where they are missing.
func (s *Server) Provision(ctx context.Context, service string) (string, error) {
	password, err := s.password(service)
	if err != nil {
		return "", err
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	name := database.Name(s.app, service)
	if err := s.provision(ctx, conn, pgx.Identifier{name}.Sanitize(), password); err != nil {
		return "", err
	}
	config := conn.Config()
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(name, password),
		Host: fmt.Sprintf("%s:%d", config.Host, config.Port), Path: "/" + name,
	}
	if config.TLSConfig == nil {
		u.RawQuery = "sslmode=disable"
	}
	return u.String(), nil
}

// The states of PostgreSQL for what is there already.
const (
	duplicateObject   = "42710"
	duplicateDatabase = "42P04"
	uniqueViolation   = "23505" // two that make the same thing at the same moment
)

// provision runs the statements; name is quoted, and the password is hexadecimal.
// The lock, which ends with the connection, keeps two that provision the same service out of each other's way.
func (s *Server) provision(ctx context.Context, conn *pgx.Conn, name, password string) error {
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtext($1))", name); err != nil {
		return fmt.Errorf("lock database %s: %w", name, err)
	}
	statements := []string{
		"CREATE ROLE " + name + " LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE",
		"ALTER ROLE " + name + " PASSWORD '" + password + "'",
		"GRANT " + name + " TO CURRENT_USER", // so that an admin without superuser may give the database away
		"CREATE DATABASE " + name + " OWNER " + name,
		"REVOKE CONNECT, TEMPORARY ON DATABASE " + name + " FROM PUBLIC",
	}
	for _, statement := range statements {
		_, err := conn.Exec(ctx, statement)
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
			switch pg.Code {
			case duplicateObject, duplicateDatabase, uniqueViolation:
				continue
			}
		}
		if err != nil {
			return fault.New(fault.CodeDatabaseUnreachable, "the PostgreSQL server refuses to make a database").
				Fix("give the role %s CREATEDB and CREATEROLE; the operator's log, .atoll/atoll.log, has the server's words", conn.Config().User).
				Because(fmt.Errorf("provision database %s: %w", name, err))
		}
	}
	return nil
}

// password returns the service's password, which is on disk when it returns.
func (s *Server) password(service string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.passwords[service]; p != "" {
		return p, nil
	}
	s.passwords[service] = database.NewPassword()
	text, err := json.Marshal(s.passwords)
	if err != nil {
		return "", fmt.Errorf("encode database passwords: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(s.file), 0o700); err != nil {
		return "", fmt.Errorf("make folder of database passwords: %w", err)
	}
	if err := os.WriteFile(s.file, text, 0o600); err != nil {
		return "", fmt.Errorf("write database passwords: %w", err)
	}
	return s.passwords[service], nil
}
