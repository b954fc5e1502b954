package chaos_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
	"github.com/atollhq/atoll/internal/telemetry/metric"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// collectDir is the variable that makes the test program a collector of OTLP that keeps what it takes in a folder: the stores and
// the receiver as Atoll joins them, but with small tables in memory, so that blocks are written all the while.
const collectDir = "ATOLL_TEST_COLLECT_DIR"

// collect is the collector. It says where it listens, and serves until it is killed.
func collect(dir string) error {
	store, err := block.Open(filepath.Join(dir, "telemetry"), &block.Options{MemRows: 1000})
	if err != nil {
		return err
	}
	metrics, err := metric.Open(filepath.Join(dir, "metrics"), nil)
	if err != nil {
		return err
	}
	receiver := otlp.NewReceiver(func(ctx context.Context, b *telemetry.Batch) error {
		if len(b.Metrics) > 0 {
			if dropped, err := metrics.Append(ctx, b.Metrics); err != nil || dropped > 0 {
				return errors.Join(err, fmt.Errorf("%d samples were dropped", dropped))
			}
		}
		return store.Append(ctx, b)
	}, nil)
	failed := make(chan error)
	for _, run := range []func(context.Context, net.Listener) error{receiver.RunHTTP, receiver.RunGRPC} {
		ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(ln.Addr()) //nolint:forbidigo // the parent reads it
		go func() { failed <- run(context.Background(), ln) }()
	}
	return <-failed
}

const rowsOfExport = 5

// exporter sends one export after the other, each once.
type exporter struct {
	name   string
	signal otlp.Signal
	grpc   bool
	sent   int
	acked  []int // numbers of exports
}

func exporters() []*exporter {
	var list []*exporter
	for _, kind := range []struct {
		signal otlp.Signal
		http   int
		grpc   int
	}{{otlp.Traces, 2, 2}, {otlp.Logs, 2, 1}, {otlp.Metrics, 1, 1}} {
		for i := range kind.http + kind.grpc {
			list = append(list, &exporter{name: fmt.Sprintf("e%d", len(list)), signal: kind.signal, grpc: i >= kind.http})
		}
	}
	return list
}

// request is the n-th export; each of its rows has who sent it, n, and its place.
func (e *exporter) request(n int) []byte {
	r := &telemetry.Resource{Service: e.name}
	var spans []telemetry.Span
	var records []telemetry.Record
	var points []telemetry.Point
	now := time.Now().UnixNano()
	for i := range rowsOfExport {
		attrs := []telemetry.Attr{{Key: "n", Value: telemetry.Int(int64(n))}, {Key: "i", Value: telemetry.Int(int64(i))}}
		switch e.signal {
		case otlp.Traces:
			spans = append(spans, telemetry.Span{
				Resource: r, TraceID: telemetry.TraceID{1, byte(n), byte(n >> 8)}, SpanID: telemetry.SpanID{1, byte(i)}, Name: "op", Start: now, Duration: 1, Attrs: attrs,
			})
		case otlp.Logs:
			records = append(records, telemetry.Record{Resource: r, Time: now, Severity: telemetry.SeverityInfo, Body: telemetry.String("placed an order"), Attrs: attrs})
		case otlp.Metrics: // the value tells which it is
			points = append(points, telemetry.Point{Time: now, Value: float64(n), Attrs: attrs[1:]})
		}
	}
	switch e.signal {
	case otlp.Traces:
		return otlp.AppendTraces(nil, spans)
	case otlp.Logs:
		return otlp.AppendLogs(nil, records)
	case otlp.Metrics:
	}
	return otlp.AppendMetrics(nil, []telemetry.Metric{{Resource: r, Name: "export", Kind: telemetry.Gauge, Points: points}})
}

// run sends exports until ctx ends or the collector does.
func (e *exporter) run(ctx context.Context, httpAddr, grpcAddr string) error {
	send, done, err := e.overHTTP(httpAddr)
	if e.grpc {
		send, done, err = e.overGRPC(grpcAddr)
	}
	if err != nil {
		return err
	}
	defer done()
	for ctx.Err() == nil {
		n := e.sent
		e.sent++
		if err := send(ctx, e.request(n)); err != nil {
			return nil // it was killed; this export was not acknowledged
		}
		e.acked = append(e.acked, n)
		if e.signal == otlp.Metrics { // samples of a millisecond are one
			<-time.After(2 * time.Millisecond)
		}
	}
	return nil
}

type sendFunc func(ctx context.Context, request []byte) error

func (e *exporter) overHTTP(addr string) (send sendFunc, done func(), err error) {
	path := map[otlp.Signal]string{otlp.Traces: "traces", otlp.Logs: "logs", otlp.Metrics: "metrics"}[e.signal]
	transport := &http.Transport{}
	return func(ctx context.Context, request []byte) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/"+path, bytes.NewReader(request))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return err
	}, transport.CloseIdleConnections, nil
}

func (e *exporter) overGRPC(addr string) (send sendFunc, done func(), err error) {
	method := map[otlp.Signal]string{
		otlp.Traces: "trace.v1.TraceService", otlp.Logs: "logs.v1.LogsService", otlp.Metrics: "metrics.v1.MetricsService",
	}[e.signal]
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, request []byte) error {
		return conn.Invoke(ctx, "/opentelemetry.proto.collector."+method+"/Export", request, new([]byte), grpc.ForceCodec(bytesCodec{}))
	}, func() { _ = conn.Close() }, nil
}

// bytesCodec sends messages as their bytes.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) ([]byte, error) {
	b, _ := v.([]byte)
	return b, nil
}

func (bytesCodec) Unmarshal(b []byte, v any) error {
	if to, ok := v.(*[]byte); ok {
		*to = bytes.Clone(b)
	}
	return nil
}

// collectRound runs the collector, lets exporters send, and kills it at a random moment, perhaps before it is ready.
func collectRound(t *testing.T, dir string, list []*exporter) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), collectDir+"="+dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if rand.IntN(8) == 0 { // while it brings back what was
		<-time.After(time.Duration(rand.IntN(150)) * time.Millisecond)
		_ = cmd.Process.Kill() // SIGKILL
		_ = cmd.Wait()         // it was killed
		return
	}
	lines := bufio.NewScanner(out)
	var addrs []string
	for len(addrs) < 2 && lines.Scan() {
		addrs = append(addrs, lines.Text())
	}
	if len(addrs) < 2 {
		t.Fatalf("the collector does not start: %v\n%s", cmd.Wait(), said.Bytes())
	}
	var sending sync.WaitGroup
	for _, e := range list {
		sending.Go(func() {
			if err := e.run(ctx, addrs[0], addrs[1]); err != nil {
				t.Error(err)
			}
		})
	}
	<-time.After(time.Duration(50+rand.IntN(700)) * time.Millisecond)
	_ = cmd.Process.Kill() // SIGKILL
	_ = cmd.Wait()         // it was killed
	cancel()
	sending.Wait()
	if text := said.String(); strings.Contains(text, "DATA RACE") {
		t.Errorf("the collector has a data race:\n%s", text)
	}
}

// missing opens the stores in a folder and says what of the exports is lost, and what is there more than once.
func missing(t *testing.T, dir string, list []*exporter, o *block.Options) (problems []string) {
	t.Helper()
	s, err := block.Open(filepath.Join(dir, "telemetry"), o)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	type row struct {
		from string
		n, i int64
	}
	found := map[row]int{}
	for _, signal := range []telemetry.Signal{telemetry.Spans, telemetry.Logs} {
		if err := s.Scan(t.Context(), signal, telemetry.Range{}, nil, func(r telemetry.Row) error {
			from, _ := r.Field(telemetry.FieldService)
			n, _ := r.Field("n")
			i, _ := r.Field("i")
			found[row{strings.Clone(from.Str()), n.Int(), i.Int()}]++
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
	for _, e := range list {
		if e.signal == otlp.Metrics {
			continue
		}
		for _, n := range e.acked {
			for i := range rowsOfExport {
				if r := (row{e.name, int64(n), int64(i)}); found[r] == 0 {
					problems = append(problems, fmt.Sprintf("%v was acknowledged and is lost", r))
				}
			}
		}
	}
	u, err := s.Usage(t.Context())
	if err != nil || len(u.Torn) > 0 {
		problems = append(problems, fmt.Sprintf("set aside: %q, %v", u.Torn, err))
	}
	return problems
}

// missingMetrics says which samples are lost.
func missingMetrics(t *testing.T, dir string, list []*exporter) (problems []string) {
	t.Helper()
	s, err := metric.Open(filepath.Join(dir, "metrics"), nil)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, e := range list {
		if e.signal != otlp.Metrics {
			continue
		}
		table, err := s.Instant(t.Context(), fmt.Sprintf(`export{service=%q}[2h]`, e.name), time.Now())
		if err != nil {
			return append(problems, err.Error())
		}
		if len(e.acked) > 0 && len(table.Series) != rowsOfExport {
			problems = append(problems, fmt.Sprintf("%s has %d series", e.name, len(table.Series)))
		}
		for _, series := range table.Series {
			found := map[int]int{}
			for _, p := range series.Points {
				found[int(p.V)]++
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

// collectRounds is how often the collector is killed.
func collectRounds() int {
	if soak() {
		return 100
	}
	return 5
}

// TestNoAcknowledgedExportIsLostOrComesTwiceWhenItsCollectorIsKilled kills a collector while exporters send spans, log records and metrics over
// HTTP and gRPC, and looks after each time for all that was acknowledged. No export is sent twice, so none may be there twice.
func TestNoAcknowledgedExportIsLostOrComesTwiceWhenItsCollectorIsKilled(t *testing.T) {
	dir := t.TempDir()
	list := exporters()
	for round := range collectRounds() {
		collectRound(t, dir, list)
		// To look only changes nothing; now and then it is opened for writing, as the next collector does.
		problems := missing(t, dir, list, &block.Options{ReadOnly: round%4 != 3})
		if round%4 == 3 || round == collectRounds()-1 {
			problems = append(problems, missing(t, dir, list, nil)...)
			problems = append(problems, missingMetrics(t, dir, list)...)
		}
		if len(problems) > 0 {
			t.Fatalf("round %d: %d problems, at first: %q", round, len(problems), problems[:min(len(problems), 5)])
		}
	}
	acked, sent := 0, 0
	for _, e := range list {
		acked, sent = acked+len(e.acked), sent+e.sent
	}
	blocks, _ := filepath.Glob(filepath.Join(dir, "telemetry", "*", "*", "*.parquet"))
	t.Logf("%d rounds, %d exports sent, %d acknowledged, %d blocks", collectRounds(), sent, acked, len(blocks))
	if len(blocks) == 0 && soak() { // the short form is over before there is one where the machine is busy
		t.Error("no block was written")
	}
}
