package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/atollhq/atoll/bench/internal/report"
)

const (
	peersFolder  = "bench/telemetry/peers"
	jaegerSource = "github.com/jaegertracing/jaeger/cmd/jaeger"
	jaegerNote   = nameJaeger + ": v1.76.0 (its program v2), as its config-badger.yaml sets it up, without a user interface, an archive and metrics of its own: " +
		"it acknowledges what is in its batch processor, before it is on disk; badger does not sync. Size on disk: after it has ended, so that all is in its files."
	buildLimit = 30 * time.Minute
	startLimit = time.Minute
)

// jaegerConfig wants where it takes OTLP over gRPC, where it is asked over HTTP and over gRPC, and a folder.
const jaegerConfig = `service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {receivers: [otlp], processors: [batch], exporters: [jaeger_storage_exporter]}
  telemetry:
    metrics: {level: none}
    logs: {level: error}
extensions:
  jaeger_query:
    storage: {traces: store}
    http: {endpoint: %[2]q}
    grpc: {endpoint: %[3]q}
  jaeger_storage:
    backends:
      store:
        badger:
          directories: {keys: %[4]q, values: %[4]q}
          ephemeral: false
          ttl: {spans: 720h}
receivers:
  otlp: {protocols: {grpc: {endpoint: %[1]q}}}
processors:
  batch:
exporters:
  jaeger_storage_exporter: {trace_storage: store}
`

// jaeger is a running Jaeger.
type jaeger struct {
	server

	cmd    *exec.Cmd
	dir    string // of its files
	client *asker
}

// findJaeger finds Jaeger in PATH, or else builds it, which takes some minutes when nothing of it was built before.
func findJaeger(ctx context.Context, dir string) (string, error) {
	if program, err := exec.LookPath("jaeger"); err == nil {
		return program, nil
	}
	program := filepath.Join(dir, "jaeger")
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	return program, build(ctx, program, jaegerSource, peersFolder)
}

// startJaeger starts Jaeger with nothing in it.
func startJaeger(ctx context.Context, dir string) (*jaeger, error) {
	program, err := findJaeger(ctx, dir)
	if err != nil {
		return nil, err
	}
	j := &jaeger{server: server{name: nameJaeger}, dir: filepath.Join(dir, "jaeger-data")}
	var addr [3]string
	for i := range addr {
		if addr[i], err = freeAddress(ctx); err != nil {
			return nil, err
		}
	}
	j.grpc = addr[0]
	j.client = &asker{base: "http://" + addr[1], client: &http.Client{Transport: &http.Transport{}}}
	config := filepath.Join(dir, "jaeger.yaml")
	err = os.MkdirAll(j.dir, 0o750)
	if err == nil {
		err = os.WriteFile(config, fmt.Appendf(nil, jaegerConfig, addr[0], addr[1], addr[2], j.dir), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("write configuration of Jaeger: %w", err)
	}
	j.cmd = exec.Command(program, "--config", config) //nolint:noctx // ended by stop
	if err := j.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Jaeger: %w", err)
	}
	j.pid = j.cmd.Process.Pid
	if err := errors.Join(reachable(ctx, addr[0]), reachable(ctx, addr[1])); err != nil {
		return nil, errors.Join(err, j.stop())
	}
	return j, nil
}

func (j *jaeger) stop() error {
	j.client.close()
	return end(j.cmd)
}

// reachable waits until something listens.
func reachable(ctx context.Context, addr string) error {
	var d net.Dialer
	for ends := time.Now().Add(startLimit); ; {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(ends) {
			return fmt.Errorf("connect to %s: %w", addr, err)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// questions are what is asked of Jaeger.
func (j *jaeger) questions(p *picked, from time.Time, rounds int) []*question {
	r := rand.New(rand.NewPCG(1, 2))
	return []*question{
		{name: askedTrace, asked: max(1, 200/rounds), p99: true, path: func() string { return "/api/traces/" + p.traces.any(r).String() }},
		{name: askedOrder, asked: 4, p99: true, path: func() string {
			o := p.orders.any(r)
			tags, _ := json.Marshal(map[string]string{"order.id": o.id}) // texts can be written
			v := url.Values{"service": {o.service}, "tags": {string(tags)}, "limit": {"100"}}
			v.Set("start", strconv.FormatInt(from.UnixMicro(), 10))
			v.Set("end", strconv.FormatInt(time.Now().UnixMicro(), 10))
			return "/api/traces?" + v.Encode()
		}},
	}
}

// beside measures Atoll and Jaeger with the same spans, by turns.
func (b *bench) beside(ctx context.Context) (err error) {
	b.tell("build and start Jaeger")
	j, err := startJaeger(ctx, b.dir)
	if err != nil {
		b.add(report.Result{Case: "absent", Subject: nameJaeger, Metric: fmt.Sprintf("%.300v", err)})
		b.quoted()
		return nil
	}
	b.notes = append(b.notes, jaegerNote)
	stopped := false
	defer func() {
		if !stopped {
			err = errors.Join(err, j.stop())
		}
	}()
	a, err := startApp(ctx, b.program, filepath.Join(b.dir, "beside"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.down(ctx)) }()
	now := time.Now()
	ours, theirs := newLong(b.peerSpans, 0, b.rounds, b.window, now), newLong(b.peerSpans, 0, b.rounds, b.window, now)
	ourMemory, theirMemory := watch(ctx, a.pid), watch(ctx, j.pid)
	for i := range b.rounds {
		b.tell("both, slice %d of %d", i+1, b.rounds)
		if err := errors.Join(ours.slice(ctx, &a.server, b.connections), theirs.slice(ctx, &j.server, b.connections)); err != nil {
			return err
		}
	}
	q := overSocket(a.socket)
	defer q.close()
	within := url.Values{"from": {ours.from.Add(-time.Hour).UTC().Format(time.RFC3339)}}
	ourQuestions, theirQuestions := questions(ours.picks[0], within, b.rounds)[:2:2], j.questions(theirs.picks[0], ours.from.Add(-time.Hour), b.rounds)
	for range b.rounds {
		if err := errors.Join(ask(ctx, q, ourQuestions), ask(ctx, j.client, theirQuestions)); err != nil {
			return err
		}
	}
	us, them := found2{nameAtoll, ours, ourQuestions, ourMemory().peak, 0}, found2{nameJaeger, theirs, theirQuestions, theirMemory().peak, 0}
	if us.bytes, err = a.perSpan(); err != nil {
		return err
	}
	stopped = true
	if err := j.stop(); err != nil {
		return err
	}
	used, err := allocated(j.dir)
	if err != nil {
		return err
	}
	them.bytes = float64(used) / float64(theirs.sent[whatSpans])
	b.compare(us, them)
	return nil
}

// found2 is what was found of one of two.
type found2 struct {
	name      string
	long      *long
	questions []*question
	memory    float64 // MB
	bytes     float64 // on disk, a span
}

// results are in the same order for all.
func (f *found2) results(kase string) []report.Result {
	out := f.long.loaded[whatSpans].results(kase, f.name, "spans", 0)[:2]
	out = append(out, report.Result{Case: kase, Subject: f.name, Metric: "on disk", Value: f.bytes, Unit: "B/span"},
		report.Result{Case: kase, Subject: f.name, Metric: "resident memory, peak", Value: f.memory, Unit: "MB"})
	for _, q := range f.questions {
		plain := *q
		plain.atMost = 0
		out = append(out, plain.results(kase, f.name)...)
	}
	return out
}

func (b *bench) compare(us, them found2) {
	name := "beside, " + number(us.long.sent[whatSpans]) + " spans"
	ours, theirs := us.results(name), them.results(name)
	for i := range ours {
		b.add(ours[i].Against(theirs[i]), theirs[i])
	}
}

// quoted are figures that others have measured elsewhere, or at another time.
func (b *bench) quoted() {
	const name = "quoted, not measured here"
	for _, r := range []report.Result{
		{Subject: "jaeger 2.20, badger", Metric: "spans acknowledged, at most", Value: 11_000, Unit: "spans/s"},
		{Subject: "jaeger 2.20, badger", Metric: "spans a second of CPU, at most", Value: 8700, Unit: "spans/s a core"},
		{Subject: "jaeger 2.20, badger", Metric: "on disk", Value: 713, Unit: "B/span"},
		{Subject: "jaeger 2.20, badger", Metric: "resident memory", Value: 2700, Unit: "MB"},
		{Subject: "jaeger 2.20, badger", Metric: askedTrace, Value: 1.3, Unit: "ms"},
		{Subject: "jaeger, ClickHouse, 4 cores", Metric: "spans", Value: 52_000, Unit: "spans/s"},
		{Subject: "jaeger, ClickHouse, 4 cores", Metric: "on disk", Value: 76, Unit: "B/span"},
		{Subject: "jaeger, ClickHouse, 4 cores", Metric: askedTrace, Value: 101, Unit: "ms"},
		{Subject: "jaeger, ClickHouse, 4 cores", Metric: "attribute search", Value: 1769, Unit: "ms"},
	} {
		r.Case = name
		b.add(r)
	}
}
