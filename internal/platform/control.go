package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/control"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/database"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica"
)

var _ control.App = (*Platform)(nil)

// startControl serves the control API on its socket and on loopback TCP, and writes how it is reached.
func (p *Platform) startControl(ctx context.Context) error {
	handler := control.NewHandler(p, p.log)
	if err := p.startConsole(ctx, handler); err != nil { // first: the API says where it is
		return err
	}
	token := database.NewPassword()
	socket := p.state.socketPath()
	if err := removeIfThere(socket); err != nil { // of a run that was killed; the lock says that it is not in use
		return fmt.Errorf("remove old control socket: %w", err)
	}
	var lc net.ListenConfig
	unix, err := lc.Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen on control socket: %w", err)
	}
	p.controls.serve(unix, handler, p.log)
	if err := os.Chmod(socket, 0o600); err != nil {
		return fmt.Errorf("close control socket to others: %w", err)
	}
	tcp, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for control on loopback: %w", err)
	}
	p.controls.serve(tcp, control.RequireToken(control.OneToken(token), handler), p.log)
	return p.state.writeRun(&api.Run{
		PID: os.Getpid(), Socket: socket, Addr: tcp.Addr().String(), Token: token, App: p.Info(),
	})
}

// controls are the servers of the control API.
type controls struct {
	servers []*http.Server
	wait    sync.WaitGroup
}

func (c *controls) serve(ln net.Listener, h http.Handler, log *slog.Logger) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	c.servers = append(c.servers, server)
	c.wait.Go(func() {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("control ends", "error", err)
		}
	})
}

// close ends all servers, and what is under way with them.
func (c *controls) close() error {
	var failed error
	for _, s := range c.servers {
		failed = errors.Join(failed, s.Close())
	}
	c.wait.Wait()
	return failed
}

// current is the App in force.
func (p *Platform) current() *manifest.App {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.app
}

// Info describes the application.
func (p *Platform) Info() api.App {
	app := p.current()
	scheme := "http://"
	if app.Gateway.TLS != nil {
		scheme = "https://"
	}
	return api.App{
		App: app.Name, Dir: p.o.Dir, Environment: p.o.Environment, Copy: p.o.Copy, Version: p.o.Version,
		PID: os.Getpid(), Started: p.started, Gateway: scheme + p.edge.address(), Console: p.console.url, State: p.stateName(),
		MemoryBytes: residentBytes(),
	}
}

// stateName is running once every replica is ready or stands still.
func (p *Platform) stateName() string {
	p.mu.Lock()
	stopping := p.stopping
	p.mu.Unlock()
	if stopping {
		return "stopping"
	}
	for _, s := range p.supervisor.Status() {
		if s.State < replica.Ready {
			return "starting"
		}
	}
	return "running"
}

// Services describes all services.
func (p *Platform) Services() []api.Service {
	app, replicas := p.current(), p.Replicas()
	out := make([]api.Service, len(app.Services))
	for i, s := range app.Services {
		out[i] = p.describe(app, s, replicas)
	}
	return out
}

// Service describes one service.
func (p *Platform) Service(name string) (api.Service, error) {
	app := p.current()
	s := app.Service(name)
	if s == nil {
		return api.Service{}, unknownService(app, name)
	}
	return p.describe(app, s, p.Replicas()), nil
}

func unknownService(app *manifest.App, name string) *fault.Error {
	names := make([]string, len(app.Services))
	for i, s := range app.Services {
		names[i] = s.Name
	}
	return fault.New(fault.CodeServiceUnknown, "no service %q runs", name).Fix("those that run are %s", strings.Join(names, ", "))
}

func (p *Platform) describe(app *manifest.App, s *manifest.Service, replicas []api.Replica) api.Service {
	addr := func(callee string) string { return p.calls.addr(s.Name, callee) }
	out := api.Service{
		Service: s.Name, Owner: s.Owner, Summary: s.Summary, Dir: s.Dir, Build: s.Written["build"], Run: manifest.ExpandCalls(s.Written["run"], addr), API: s.API,
		Protocol: string(s.Protocol), Port: s.Port, Ready: s.Ready.String(), Database: string(s.Database.Kind), Replicas: p.wanted(s),
		Calls: []api.Call{}, CalledBy: []string{}, Routes: []api.Route{}, Publishes: s.Topics(),
		Subscribes: map[string]string{}, Sagas: orEmpty(s.Sagas), Takes: sagaUses(app, s.Name), Secrets: orEmpty(s.Secrets), Env: shown(s, addr), Running: []api.Replica{},
	}
	for topic, sub := range s.Subscribes {
		out.Subscribes[topic] = sub.To
	}
	for _, call := range s.Calls {
		out.Calls = append(out.Calls, api.Call{
			Service: call.Service, Addr: addr(call.Service), Timeout: call.Timeout.String(), Tries: call.Tries,
		})
	}
	for _, other := range app.Services {
		if slices.ContainsFunc(other.Calls, func(c manifest.Call) bool { return c.Service == s.Name }) {
			out.CalledBy = append(out.CalledBy, other.Name)
		}
	}
	for _, r := range app.Gateway.Routes {
		if r.To != s.Name {
			continue
		}
		out.Routes = append(out.Routes, describeRoute(&r))
	}
	for _, r := range replicas {
		if r.Service == s.Name {
			out.Running = append(out.Running, r)
		}
	}
	return out
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// wanted is how many replicas a service should have.
func (p *Platform) wanted(s *manifest.Service) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n, ok := p.scaled[s.Name]; ok {
		return n
	}
	return s.Replicas.Min
}

// Replicas lists all replicas, by service and name.
func (p *Platform) Replicas() []api.Replica {
	app, failures := p.current(), p.errors.all()
	list := p.supervisor.Status()
	out := make([]api.Replica, len(list))
	for i, s := range list {
		url := ""
		if s.Addr != "" {
			scheme := "http://"
			if speaksTCP(app, s.Service) {
				scheme = "tcp://"
			}
			url = scheme + s.Addr
		}
		out[i] = api.Replica{
			Service: s.Service, Replica: s.Replica, State: s.State.String(), PID: s.PID, URL: url, Version: s.Version,
			Restarts: s.Restarts, ReadyMS: ready(s.ReadyIn), MemoryBytes: s.MemoryBytes, CPUMS: s.CPU.Milliseconds(),
			Since: s.Since, Reason: reason(&s), Errors: failures[s.Replica],
		}
	}
	return out
}

// reason is why a replica is in its state; of one that serves again, why it was started again.
func reason(s *replica.Status) string {
	if s.Reason == "" && s.Restarts > 0 && s.LastExit != nil {
		return "started again, was " + s.LastExit.String()
	}
	return s.Reason
}

// Findings is what the last load of the manifests found.
func (p *Platform) Findings() fault.List {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.findings
}

// Restart replaces the replicas of a service.
func (p *Platform) Restart(ctx context.Context, service string) error {
	if app := p.current(); app.Service(service) == nil {
		return unknownService(app, service)
	}
	return p.supervisor.Restart(ctx, service)
}

// Scale sets the number of replicas of a service, until Atoll ends or the manifest's own number changes.
func (p *Platform) Scale(ctx context.Context, service string, replicas int) error {
	app := p.current()
	s := app.Service(service)
	if s == nil {
		return unknownService(app, service)
	}
	if s.Port > 0 && replicas > 1 {
		return fault.New(fault.CodeReplicasNeedOwnPort, "%s insists on port %d, which only one replica can listen on", service, s.Port).
			Fix("take port away from its service.yaml and let the program listen on $PORT")
	}
	p.mu.Lock()
	p.scaled[service] = replicas
	p.mu.Unlock()
	return p.supervisor.Scale(ctx, service, replicas)
}

// Events reads what happened.
func (p *Platform) Events(ctx context.Context, after int64, follow bool, yield func(api.Event) error) error {
	return p.events.read(ctx, after, follow, yield)
}
