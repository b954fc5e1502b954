package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/database"
	"github.com/atollhq/atoll/internal/database/postgres"
	"github.com/atollhq/atoll/internal/database/sqlite"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/telemetry"
)

const databaseLimit = 60 * time.Second // for all databases of a start or reload to be there

// databases provisions the databases of services. The server for PostgreSQL is found or started at the first need.
type databases struct {
	dir    string
	driver replica.Driver
	log    *slog.Logger
	record func(*telemetry.Line)
	notice func(text string)

	mu      sync.Mutex
	named   *postgres.Server // guarded by mu: the server that is named, if one is
	address string           // guarded by mu: of the administrator of named
	private *private         // guarded by mu: the server that runs here, if one does
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
	address := app.Postgres
	if address == "" {
		address = app.Env["ATOLL_POSTGRES"]
	}
	if address == "" {
		return d.own(ctx, app.Name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.named != nil && address == d.address {
		return d.named, nil
	}
	server, err := postgres.Dial(ctx, app.Name, address, d.dir+"/postgres")
	if err != nil {
		return nil, err
	}
	d.named, d.address = server, address
	return server, nil
}

// provisionPostgres answers the URL of a database in PostgreSQL, of a service or of Atoll's own.
func (d *databases) provisionPostgres(ctx context.Context, app *manifest.App, service string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, databaseLimit)
	defer cancel()
	server, err := d.postgres(ctx, app)
	if err != nil {
		return "", err
	}
	return server.Provision(ctx, service)
}

// own is the private server, which is started at the first need. One that is being started again is waited for.
func (d *databases) own(ctx context.Context, app string) (*postgres.Server, error) {
	d.mu.Lock()
	private := d.private
	if private == nil {
		defer d.mu.Unlock()
		started, err := d.startPrivate(ctx, app)
		if err != nil {
			return nil, err
		}
		d.private = started
		return started.server, nil
	}
	d.mu.Unlock()
	if err := private.program.Await(ctx, nil); err != nil {
		return nil, err
	}
	return private.server, nil
}

// close ends the private server, if there is one.
func (d *databases) close() {
	d.mu.Lock()
	private := d.private
	d.private, d.named = nil, nil
	d.mu.Unlock()
	if private != nil {
		private.close()
	}
}
