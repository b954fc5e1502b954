package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/database"
	"github.com/atollhq/atoll/internal/database/postgres"
	"github.com/atollhq/atoll/internal/database/sqlite"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/telemetry"
)

const (
	databaseLimit  = 60 * time.Second // for all databases of a start or reload to be there
	postgresGrace  = 10 * time.Second // for the private server to end by itself
	postgresServer = "postgres"       // its name in the logs
)

// databases provisions the databases of services. The server for PostgreSQL is found or started at the first need.
type databases struct {
	dir    string
	driver replica.Driver
	log    *slog.Logger
	record func(*telemetry.Record)
	notice func(text string)

	mu      sync.Mutex
	server  *postgres.Server // guarded by mu
	address string           // guarded by mu: of the administrator of server
	private replica.Process  // guarded by mu: the private server, if there is one
}

// provision answers the DATABASE_URL of each service that has a database.
func (d *databases) provision(ctx context.Context, app *manifest.App) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, databaseLimit)
	defer cancel()
	var (
		mu     sync.Mutex
		urls   = map[string]string{}
		failed error
		wait   sync.WaitGroup
	)
	for _, s := range app.Services {
		if s.Database.Kind == manifest.DatabaseNone {
			continue
		}
		wait.Go(func() {
			url, err := d.one(ctx, app, s)
			mu.Lock()
			defer mu.Unlock()
			urls[s.Name] = url
			failed = errors.Join(failed, err)
		})
	}
	wait.Wait()
	return urls, failed
}

func (d *databases) one(ctx context.Context, app *manifest.App, s *manifest.Service) (string, error) {
	var p database.Provisioner
	switch s.Database.Kind {
	case manifest.DatabaseExisting:
		return s.Database.URL, nil
	case manifest.DatabaseSQLite:
		p = sqlite.New(d.dir + "/data")
	default:
		server, err := d.postgres(ctx, app)
		if err != nil {
			return "", err
		}
		p = server
	}
	url, err := p.Provision(ctx, s.Name)
	if err != nil {
		return "", fmt.Errorf("database of %s: %w", s.Name, err)
	}
	return url, nil
}

// postgres is the server that the manifest names, else the environment, else a private one.
func (d *databases) postgres(ctx context.Context, app *manifest.App) (*postgres.Server, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	address := app.Postgres
	if address == "" {
		address = app.Env["ATOLL_POSTGRES"]
	}
	if d.server != nil && (address == d.address || address == "" && d.private != nil) {
		return d.server, nil
	}
	if address == "" {
		started, err := d.startPrivate(ctx)
		if err != nil {
			return nil, err
		}
		address = started
	}
	server, err := postgres.Dial(ctx, app.Name, address, d.dir+"/postgres")
	if err != nil {
		return nil, err
	}
	d.server, d.address = server, address
	return server, nil
}

// startPrivate starts a server and answers the URL of its administrator. The caller holds mu.
func (d *databases) startPrivate(ctx context.Context) (string, error) {
	private, err := postgres.NewPrivate(ctx, d.dir+"/postgres")
	if err != nil {
		return "", err
	}
	command, err := private.Command(ctx)
	if err != nil {
		return "", err
	}
	process, err := d.driver.Start(ctx, replica.Spec{
		Service: postgresServer, Replica: postgresServer, Dir: "/", Run: strings.Join(command, " "),
		Env: []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"},
		Output: func(l replica.Line) {
			d.record(&telemetry.Record{
				Time: l.Time, Service: postgresServer, Replica: postgresServer, Stream: l.Stream,
				Level: telemetry.LevelOf(l.Text), Text: l.Text,
			})
		},
	})
	if err != nil {
		return "", fmt.Errorf("start private PostgreSQL: %w", err)
	}
	d.private = process
	if err := private.Await(ctx, process.Done()); err != nil {
		return "", err
	}
	d.notice("no PostgreSQL server is named, so a private one runs, with its data in " + private.Dir())
	return private.Admin(), nil
}

// close ends the private server, if there is one.
func (d *databases) close() {
	d.mu.Lock()
	process := d.private
	d.private, d.server = nil, nil
	d.mu.Unlock()
	if process == nil {
		return
	}
	if err := process.Terminate(); err != nil {
		d.log.Warn("end private PostgreSQL", "error", err)
	}
	timer := time.NewTimer(postgresGrace)
	defer timer.Stop()
	select {
	case <-process.Done():
		return
	case <-timer.C:
	}
	if err := process.Kill(); err != nil {
		d.log.Warn("kill private PostgreSQL", "error", err)
	}
	<-process.Done()
}
