package platform

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/database/postgres"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/telemetry"
)

const (
	postgresGrace  = 10 * time.Second       // for the private server to end by itself
	postgresFirst  = 200 * time.Millisecond // before it is started again; doubles
	postgresMost   = 5 * time.Second        // between two starts at most
	postgresStable = 30 * time.Second       // having run for so long, it is started again as if for the first time
	postgresServer = "postgres"             // its name in the logs
)

// private is the PostgreSQL server that runs here. One goroutine, supervise, owns the process: it starts it again
// whenever it ends, on the same port, so that the URLs that services have been given stay true.
type private struct {
	program *postgres.Private
	server  *postgres.Server
	driver  replica.Driver
	log     *slog.Logger
	record  func(*telemetry.Line)
	notice  func(text string)

	stop context.CancelFunc
	done chan struct{} // closed when supervise has ended, and the process with it
}

// startPrivate starts a server of which nothing is left if it fails.
func (d *databases) startPrivate(ctx context.Context, app string) (*private, error) {
	program, err := postgres.NewPrivate(ctx, d.dir+"/postgres")
	if err != nil {
		return nil, err
	}
	p := &private{program: program, driver: d.driver, log: d.log, record: d.record, notice: d.notice, done: make(chan struct{})}
	process, err := p.start(ctx)
	if err != nil {
		return nil, err
	}
	if p.server, err = postgres.Dial(ctx, app, program.Admin(), d.dir+"/postgres"); err != nil {
		p.end(process)
		return nil, err
	}
	p.notice("no PostgreSQL server is named, so a private one runs, with its data in " + program.Dir())
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	go p.supervise(life, process)
	return p, nil
}

// start starts the process and returns when it answers. One that does not answer is ended.
func (p *private) start(ctx context.Context) (replica.Process, error) {
	ctx, cancel := context.WithTimeout(ctx, databaseLimit)
	defer cancel()
	command, err := p.program.Command(ctx)
	if err != nil {
		return nil, err
	}
	process, err := p.driver.Start(ctx, replica.Spec{
		Service: postgresServer, Replica: postgresServer, Dir: "/", Run: quoted(command),
		Env: []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"},
		Output: func(l replica.Line) {
			p.record(&telemetry.Line{
				Time: l.Time, Service: postgresServer, Replica: postgresServer, Stream: l.Stream,
				Level: telemetry.LevelOf(l.Text), Text: l.Text,
			})
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start private PostgreSQL: %w", err)
	}
	if err := p.program.Await(ctx, process.Done()); err != nil {
		p.end(process)
		return nil, err
	}
	return process, nil
}

// supervise starts the server again whenever it ends, until ctx does; then it ends the server.
func (p *private) supervise(ctx context.Context, process replica.Process) {
	defer close(p.done)
	delay, since := postgresFirst, time.Now()
	for {
		select {
		case <-ctx.Done():
			p.end(process)
			return
		case <-process.Done():
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(since) > postgresStable {
			delay = postgresFirst
		}
		p.tell("the private PostgreSQL server has ended (" + process.Exit().String() + ") and is started again")
		if process, delay = p.restart(ctx, delay); process == nil {
			return
		}
		since = time.Now()
		p.notice("the private PostgreSQL server runs again")
	}
}

// restart tries until the server answers, after the delay, which doubles. It returns no process when ctx ends.
func (p *private) restart(ctx context.Context, delay time.Duration) (replica.Process, time.Duration) {
	for {
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, 0
		case <-timer.C:
		}
		delay = min(2*delay, postgresMost)
		process, err := p.start(ctx)
		if err == nil {
			return process, delay
		}
		if ctx.Err() == nil {
			p.tell("the private PostgreSQL server cannot be started: " + err.Error())
		}
	}
}

// tell says in the server's log and as an event what is the matter.
func (p *private) tell(text string) {
	p.record(&telemetry.Line{
		Time: time.Now(), Service: postgresServer, Replica: postgresServer, Stream: "atoll",
		Level: telemetry.LevelError, Text: text,
	})
	p.notice(text)
}

// end ends the process and returns when it has ended.
func (p *private) end(process replica.Process) {
	if err := process.Terminate(); err != nil {
		p.log.Warn("end private PostgreSQL", "error", err)
	}
	timer := time.NewTimer(postgresGrace)
	defer timer.Stop()
	select {
	case <-process.Done():
		return
	case <-timer.C:
	}
	if err := process.Kill(); err != nil {
		p.log.Warn("kill private PostgreSQL", "error", err)
	}
	<-process.Done()
}

// close ends the server and returns when it has ended.
func (p *private) close() {
	p.stop()
	<-p.done
}

// quoted is a command as a shell reads it, whatever its words hold.
func quoted(command []string) string {
	words := make([]string, len(command))
	for i, word := range command {
		words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}
