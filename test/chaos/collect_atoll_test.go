package chaos_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// collecting is an Atoll that only collects.
const collecting = `app: collect
services: []
gateway: {listen: "127.0.0.1:0"}
alerting: {off: all}
telemetry:
  otlp: {grpc: "127.0.0.1:0", http: "127.0.0.1:0"}
  limits: {spans: 1000000, logs: 1000000}
`

// collectAtollRounds is how often Atoll is killed.
func collectAtollRounds() int {
	if soak() {
		return 100
	}
	return 5
}

// TestNoAcknowledgedExportIsLostOrComesTwiceWhenAtollIsKilled does to the program itself what is done to its stores above: atoll up is killed
// while exporters send, or while it starts, and its control API is asked for all that was acknowledged.
func TestNoAcknowledgedExportIsLostOrComesTwiceWhenAtollIsKilled(t *testing.T) {
	dir, err := os.MkdirTemp("", "ac") //nolint:usetesting // a short name, for the socket
	if err != nil {
		t.Fatal(err)
	}
	a := &app{dir: dir}
	t.Cleanup(func() { a.finish(t) })
	a.write(t, "atoll.yaml", collecting)
	list := exporters()
	acked := make([]int, len(list)) // before the latest round
	var began time.Time
	started := 0
	for round := range collectAtollRounds() {
		if rand.IntN(6) == 0 { // while it brings back what was
			a.killAfter(t, nil)
		}
		a.killAfter(t, func(ctx context.Context, c *client.Client, addrs *api.TelemetryUsage) {
			started++
			from, since := began, acked
			if round%20 == 0 {
				from, since = time.Time{}, make([]int, len(list))
			}
			failOn(t, round, missingOf(ctx, c, list, since, from))
			for i, e := range list {
				acked[i] = len(e.acked)
			}
			began = time.Now().Add(-time.Second)
			sendUntilKilled(ctx, t, a, list, addrs)
		})
	}
	a.killAfter(t, func(ctx context.Context, c *client.Client, _ *api.TelemetryUsage) {
		failOn(t, collectAtollRounds(), append(missingOf(ctx, c, list, make([]int, len(list)), time.Time{}), missingSamples(ctx, c, list)...))
	})
	sent, taken := 0, 0
	for _, e := range list {
		sent, taken = sent+e.sent, taken+len(e.acked)
	}
	blocks, _ := filepath.Glob(filepath.Join(dir, ".atoll", "telemetry", "*", "*", "*.parquet"))
	t.Logf("%d rounds, %d exports sent, %d acknowledged, %d blocks", started, sent, taken, len(blocks))
	if started < collectAtollRounds() || taken < 10*started {
		t.Errorf("only %d exports were acknowledged in %d rounds", taken, started)
	}
}

func failOn(t *testing.T, round int, problems []string) {
	t.Helper()
	if len(problems) > 0 {
		t.Fatalf("round %d: %d problems, at first: %q", round, len(problems), problems[:min(len(problems), 5)])
	}
}

// killAfter starts Atoll in the foreground and kills it when work has returned, or, without work, at a random moment of its start.
func (a *app) killAfter(t *testing.T, work func(context.Context, *client.Client, *api.TelemetryUsage)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := a.command(ctx, "up", "--no-watch")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := false
	defer func() {
		if work != nil && !ready {
			_ = cmd.Process.Signal(syscall.SIGQUIT) // so that it says what it waits for
			<-time.After(2 * time.Second)
		}
		_ = cmd.Process.Kill() // SIGKILL
		_ = cmd.Wait()         // it was killed
		if work != nil && !ready {
			t.Logf("Atoll said:\n%s", said.Bytes())
		}
	}()
	if work == nil {
		<-time.After(time.Duration(rand.IntN(600)) * time.Millisecond)
		return
	}
	var c *client.Client
	usage := &api.TelemetryUsage{}
	await(t, 30*time.Second, "Atoll takes exports", func() bool {
		var err error
		if c, err = client.Dial(ctx, platform.StateDir(a.dir, "")); err != nil {
			return false // not yet, or what the one before has left
		}
		usage, err = c.TelemetryUsage(ctx)
		return err == nil && usage.GRPC != "" && usage.HTTP != ""
	})
	defer c.Close()
	a.killed, ready = cmd, true
	work(ctx, c, usage)
}

// sendUntilKilled lets exporters send, and kills Atoll meanwhile.
func sendUntilKilled(ctx context.Context, t *testing.T, a *app, list []*exporter, addrs *api.TelemetryUsage) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sending sync.WaitGroup
	for _, e := range list {
		sending.Go(func() {
			if err := e.run(ctx, addrs.HTTP, addrs.GRPC); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Go(func() {
		if err := fill(ctx, addrs.HTTP); err != nil {
			t.Error(err)
		}
	})
	<-time.After(time.Duration(50+rand.IntN(500)) * time.Millisecond)
	_ = a.killed.Process.Kill() // SIGKILL
	cancel()
	sending.Wait()
}

// fill sends spans that nobody looks for, so that tables become blocks now and then, until Atoll is killed.
func fill(ctx context.Context, addr string) error {
	send, done, err := (&exporter{signal: otlp.Traces}).overHTTP(addr)
	if err != nil {
		return err
	}
	defer done()
	spans := make([]telemetry.Span, 2000)
	for i := range spans {
		spans[i] = telemetry.Span{Resource: &telemetry.Resource{Service: "fill"}, Name: "fill", Start: time.Now().UnixNano(), Duration: 1}
		spans[i].TraceID[0], spans[i].SpanID = 2, telemetry.SpanID{1, byte(i), byte(i >> 8)}
	}
	request := otlp.AppendTraces(nil, spans)
	for ctx.Err() == nil && send(ctx, request) == nil { //nolint:revive // it is all there is to do
	}
	return nil
}

// missingOf asks for what was acknowledged since some number of each exporter, and says what is lost, and what is there more than once.
func missingOf(ctx context.Context, c *client.Client, list []*exporter, since []int, from time.Time) (problems []string) {
	type row struct {
		from string
		n, i int64
	}
	found := map[row]int{}
	count := func(r *telemetry.Resource, attrs []telemetry.Attr) {
		x := row{from: strings.Clone(r.Service)}
		for _, a := range attrs {
			switch a.Key {
			case "n":
				x.n = a.Value.Int()
			case "i":
				x.i = a.Value.Int()
			}
		}
		found[x]++
	}
	decoder := otlp.NewDecoder(otlp.Limits{}, time.Now)
	for _, signal := range []otlp.Signal{otlp.Traces, otlp.Logs} {
		q := &api.ExportQuery{Signal: signal.String(), Query: `service ~ "^e[0-9]+$"`, From: from}
		if err := c.Export(ctx, q, func(request []byte) error {
			batch, _, err := decoder.DecodeJSON(signal, request)
			if err != nil {
				return err
			}
			for i := range batch.Spans {
				count(batch.Spans[i].Resource, batch.Spans[i].Attrs)
			}
			for i := range batch.Records {
				count(batch.Records[i].Resource, batch.Records[i].Attrs)
			}
			decoder.Reset()
			return nil
		}); err != nil {
			return []string{err.Error()}
		}
	}
	for r, times := range found {
		if times > 1 {
			problems = append(problems, fmt.Sprintf("%v is there %d times", r, times))
		}
	}
	for at, e := range list {
		if e.signal == otlp.Metrics {
			continue
		}
		for _, n := range e.acked[since[at]:] {
			for i := range rowsOfExport {
				if r := (row{e.name, int64(n), int64(i)}); found[r] == 0 {
					problems = append(problems, fmt.Sprintf("%v was acknowledged and is lost", r))
				}
			}
		}
	}
	return problems
}

// missingSamples asks for the samples by PromQL, and says which are lost.
func missingSamples(ctx context.Context, c *client.Client, list []*exporter) (problems []string) {
	for _, e := range list {
		if e.signal != otlp.Metrics || len(e.acked) == 0 {
			continue
		}
		answer, err := c.Metrics(ctx, fmt.Sprintf(`export{service=%q}[2h]`, e.name), time.Time{})
		if err != nil {
			return append(problems, err.Error())
		}
		if len(answer.Series) != rowsOfExport {
			problems = append(problems, fmt.Sprintf("%s has %d series", e.name, len(answer.Series)))
		}
		for _, series := range answer.Series {
			found := map[int]int{}
			for _, p := range series.Points {
				found[int(p.Value)]++
			}
			for _, n := range e.acked {
				if found[n] != 1 {
					problems = append(problems, fmt.Sprintf("sample %d of %s is there %d times", n, e.name, found[n]))
				}
			}
		}
	}
	return problems
}
