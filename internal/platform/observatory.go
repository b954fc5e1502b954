package platform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
	"github.com/atollhq/atoll/internal/telemetry/metric"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// observatory is all that keeps telemetry: what comes over OTLP, what Atoll sees itself, and what is scraped goes through take.
type observatory struct {
	log  *slog.Logger
	warn func(*fault.Error)
	path func(name string) string

	store     *block.Store
	metrics   *metric.Store
	collector *collector
	receiver  *otlp.Receiver
	requests  *requestMetrics
	replicas  *replicaCounts
	scope     *telemetry.Scope
	resources resources
	usage     cpuRates

	intake   intake
	forwards forwards

	opened  startOnly // what the stores were opened with
	applied startOnly // of the manifest that is in force

	background sync.WaitGroup
	end        context.CancelFunc // of background; nil until it runs
}

// openObservatory opens the stores with what the manifest says of them.
func openObservatory(path func(string) string, t *manifest.Telemetry, log *slog.Logger, warn func(*fault.Error)) (*observatory, error) {
	o := &observatory{
		log: log, warn: warn, path: path, requests: newRequestMetrics(), replicas: newReplicaCounts(), scope: &telemetry.Scope{Name: scopeName},
		resources: resources{by: map[[2]string]*telemetry.Resource{}}, opened: startOnly{t.Metrics, t.Sample}, applied: startOnly{t.Metrics, t.Sample},
	}
	var err error
	if o.store, err = block.Open(path("telemetry"), blockOptions(t, log)); err != nil {
		return nil, err
	}
	o.metrics, err = metric.Open(path("telemetry/metrics"), &metric.Options{
		Age: t.Metrics.Age.Std(), Bytes: int64(t.Metrics.Size), MaxSeries: t.Metrics.Series, MaxServiceSeries: max(t.Metrics.Series/5, 1000), Log: log,
	})
	if err != nil {
		return nil, errors.Join(err, o.store.Close())
	}
	o.collector = newCollector(o.take, log)
	o.receiver = otlp.NewReceiver(o.take, &otlp.ReceiverOptions{Log: log})
	o.intake = intake{receiver: o.receiver, log: log, warn: warn}
	o.forwards = forwards{dir: path("telemetry/forward"), log: log}
	return o, nil
}

func blockOptions(t *manifest.Telemetry, log *slog.Logger) *block.Options {
	return &block.Options{
		MaxBytes: int64(t.Keep.Size), MaxAge: t.Keep.Age.Std(), SpansPerSecond: int64(t.Limits.Spans), RecordsPerSecond: int64(t.Limits.Logs),
		Sample: t.Sample.Ratio(), Logger: log,
	}
}

// startOnly is what a reload does not change.
type startOnly struct {
	metrics manifest.TelemetryMetric
	sample  manifest.Percent
}

// sayWhatStays tells, once, of a change that holds from the next start alone.
func (o *observatory) sayWhatStays(t *manifest.Telemetry) {
	next := startOnly{t.Metrics, t.Sample}
	if next == o.applied {
		return
	}
	o.applied = next
	var keys []string
	if next.metrics != o.opened.metrics {
		keys = append(keys, "telemetry.metrics")
	}
	if next.sample != o.opened.sample {
		keys = append(keys, "telemetry.sample")
	}
	if len(keys) > 0 {
		o.warn(fault.Warn(fault.CodeRestartNeeded, "%s changed, which holds when the application starts again", strings.Join(keys, " and ")).
			Fix("end it with atoll down and start it when it suits; nothing of what is kept is lost"))
	}
}

// take keeps a batch, wherever it comes from, and hands it to the backends that get a copy. When it returns nil what was taken is
// durable.
func (o *observatory) take(ctx context.Context, b *telemetry.Batch) error {
	if len(b.Metrics) > 0 {
		if _, err := o.metrics.Append(ctx, b.Metrics); err != nil {
			return err
		}
	}
	if len(b.Spans)+len(b.Records) > 0 {
		if err := o.store.Append(ctx, b); err != nil {
			return err
		}
	}
	o.forwards.enqueue(b)
	return nil
}

// run starts what goes on by itself: scraping, and taking in Atoll's own metrics.
func (o *observatory) run(ctx context.Context, every time.Duration, targets func() []metric.Target, own func(context.Context) ([]byte, error)) {
	ctx, o.end = context.WithCancel(context.WithoutCancel(ctx))
	scraper := metric.NewScraper(o.metrics, targets, &metric.ScrapeOptions{Interval: every, Log: o.log})
	o.background.Go(func() { scraper.Run(ctx) })
	o.background.Go(func() { o.readOwn(ctx, every, own) })
}

// readOwn takes Atoll's own metrics in, as if they were scraped.
func (o *observatory) readOwn(ctx context.Context, every time.Duration, own func(context.Context) ([]byte, error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	intake := o.metrics.Text(nil).FromZero(metricRequests)
	for {
		if text, err := own(ctx); err != nil {
			o.log.Warn("read Atoll's own metrics", "error", err)
		} else if _, err := intake.Append(ctx, text, "text/plain; version=0.0.4", time.Now()); err != nil && ctx.Err() == nil {
			o.log.Warn("keep Atoll's own metrics", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// apply puts what a manifest says into force, but for what the stores were opened with: age, size and number of metrics' series, and
// sampling, which hold from the next start.
func (o *observatory) apply(ctx context.Context, app *manifest.App, intake *opening) {
	intake.commit(ctx)
	o.sayWhatStays(&app.Telemetry)
	o.store.SetLimits(blockOptions(&app.Telemetry, o.log))
	if err := o.forwards.apply(ctx, app.Telemetry.Forward); err != nil {
		o.log.Error("forward telemetry", "error", err)
	}
}

// stopTaking ends what comes in from outside; what Atoll sees itself is still kept.
func (o *observatory) stopTaking() {
	o.intake.close()
	if o.end != nil {
		o.end()
	}
	o.background.Wait()
}

// close ends the observatory; what waits is kept first.
func (o *observatory) close() error {
	o.collector.close()
	return errors.Join(o.forwards.close(), o.store.Close(), o.metrics.Close())
}

// maxResources is how many resources of Atoll's own sightings are kept for reuse.
const maxResources = 10_000

// resources makes the resource of each replica once.
type resources struct {
	mu sync.RWMutex
	by map[[2]string]*telemetry.Resource // guarded by mu
}

// resource is the resource of a replica.
func (o *observatory) resource(service, replica string) *telemetry.Resource {
	key := [2]string{service, replica}
	o.resources.mu.RLock()
	r := o.resources.by[key]
	o.resources.mu.RUnlock()
	if r != nil {
		return r
	}
	r = &telemetry.Resource{Service: service, Replica: replica}
	o.resources.mu.Lock()
	defer o.resources.mu.Unlock()
	if len(o.resources.by) >= maxResources {
		clear(o.resources.by)
	}
	o.resources.by[key] = r
	return r
}

// intake is where OTLP comes in. A reload that changes an address opens the new one first.
type intake struct {
	receiver *otlp.Receiver
	log      *slog.Logger
	warn     func(*fault.Error)

	mu   sync.Mutex
	grpc door // guarded by mu
	http door // guarded by mu
}

// door is a listener and what serves it.
type door struct {
	wanted string // as the manifest has it
	ln     net.Listener
	end    context.CancelFunc
	done   chan struct{}
}

// url is where a door is, or "".
func (d *door) addr() string {
	if d.ln == nil {
		return ""
	}
	return d.ln.Addr().String()
}

func (d *door) close() {
	if d.ln == nil {
		return
	}
	if d.end != nil {
		d.end()
		<-d.done
	} else {
		d.ln.Close()
	}
	*d = door{}
}

// opening is what apply is about to do.
type opening struct {
	in         *intake
	grpc, http *door // nil where it stays
}

// prepare opens listeners where addresses have changed. A copy takes free ports. Where a standard port is taken, by another
// application perhaps, a free one is as good: services learn it by their variables.
func (in *intake) prepare(ctx context.Context, o *manifest.OTLP, isolated bool) (*opening, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	op := &opening{in: in}
	var taken, instead []string
	for _, d := range []struct {
		now    *door
		next   **door
		listen string
		name   string
	}{{&in.grpc, &op.grpc, o.GRPC, "grpc"}, {&in.http, &op.http, o.HTTP, "http"}} {
		if isolated && d.listen != manifest.ListenOff {
			d.listen = "127.0.0.1:0"
		}
		if d.now.wanted == d.listen {
			continue
		}
		next := &door{wanted: d.listen}
		if d.listen != manifest.ListenOff {
			ln, other, err := listenOTLP(ctx, d.listen, d.name)
			if err != nil {
				op.abandon()
				return nil, err
			}
			if other {
				taken, instead = append(taken, d.listen), append(instead, fmt.Sprintf("%s (%s)", ln.Addr(), d.name))
			}
			next.ln = ln
		}
		*d.next = next
	}
	if len(taken) > 0 {
		in.warn(fault.Warn(fault.CodePortInUse, "OTLP is taken in on %s, since another program listens on %s", strings.Join(instead, " and "), strings.Join(taken, " and ")).
			Fix("services know by their OTEL_* variables; for other programs choose addresses: telemetry: {otlp: {grpc: …, http: …}}"))
	}
	return op, nil
}

// listenOTLP listens on an address, or on another where it is the standard one and taken.
func listenOTLP(ctx context.Context, addr, name string) (ln net.Listener, other bool, err error) {
	var lc net.ListenConfig
	if ln, err = lc.Listen(ctx, "tcp", addr); err == nil {
		return ln, false, nil
	}
	standard := map[string]string{"grpc": "127.0.0.1:4317", "http": "127.0.0.1:4318"}[name]
	if addr == standard {
		if ln, err = lc.Listen(ctx, "tcp", "127.0.0.1:0"); err == nil {
			return ln, true, nil
		}
	}
	return nil, false, fault.New(fault.CodePortInUse, "OTLP over %s cannot be taken in on %s", name, addr).
		Fix("end the program that listens there, or choose another address: telemetry: {otlp: {%s: …}}", name).Because(err)
}

// abandon closes what was opened in vain.
func (op *opening) abandon() {
	for _, d := range []*door{op.grpc, op.http} {
		if d != nil && d.ln != nil && d.end == nil {
			d.ln.Close()
		}
	}
}

// addrs is where OTLP will come in.
func (op *opening) addrs() (grpc, http string) {
	op.in.mu.Lock()
	defer op.in.mu.Unlock()
	grpc, http = op.in.grpc.addr(), op.in.http.addr()
	if op.grpc != nil {
		grpc = op.grpc.addr()
	}
	if op.http != nil {
		http = op.http.addr()
	}
	return grpc, http
}

// commit serves what was opened, and closes what it replaces.
func (op *opening) commit(ctx context.Context) {
	in := op.in
	in.mu.Lock()
	defer in.mu.Unlock()
	change := func(now, next *door, serve func(context.Context, net.Listener) error) {
		if next == nil {
			return
		}
		now.close()
		*now = *next
		if now.ln == nil {
			return
		}
		serving, end := context.WithCancel(context.WithoutCancel(ctx))
		done, ln := make(chan struct{}), now.ln
		now.end, now.done, next.end = end, done, end
		go func() {
			defer close(done)
			if err := serve(serving, ln); err != nil {
				in.log.Error("OTLP ends", "address", ln.Addr().String(), "error", err)
			}
		}()
	}
	change(&in.grpc, op.grpc, in.receiver.RunGRPC)
	change(&in.http, op.http, in.receiver.RunHTTP)
}

// addrs is where OTLP comes in; "" where it does not.
func (in *intake) addrs() (grpc, http string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.grpc.addr(), in.http.addr()
}

func (in *intake) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.grpc.close()
	in.http.close()
}

// forwards are the backends that get a copy.
type forwards struct {
	dir string
	log *slog.Logger

	mu   sync.RWMutex
	list []*forward // guarded by mu
}

// forward is one backend.
type forward struct {
	spec manifest.Forward
	to   *otlp.Forwarder
	end  context.CancelFunc
	done chan struct{}
}

// endpointOf is the URL that the forwarder wants.
func endpointOf(f *manifest.Forward) string {
	if f.Protocol != manifest.ForwardGRPC {
		return f.Endpoint
	}
	for from, to := range map[string]string{"http://": "grpc://", "https://": "grpcs://"} {
		if len(f.Endpoint) > len(from) && f.Endpoint[:len(from)] == from {
			return to + f.Endpoint[len(from):]
		}
	}
	return f.Endpoint
}

// apply changes over to the backends of a manifest. Each has its queue in a folder named by its URL.
func (f *forwards) apply(ctx context.Context, specs []manifest.Forward) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var next []*forward
	var failed error
	for _, spec := range specs {
		if at := indexOf(f.list, &spec); at >= 0 {
			next = append(next, f.list[at])
			f.list = append(f.list[:at:at], f.list[at+1:]...)
			continue
		}
		for i, old := range f.list { // its queue has one owner at a time
			if old.spec.Endpoint == spec.Endpoint {
				failed = errors.Join(failed, old.close())
				f.list = append(f.list[:i:i], f.list[i+1:]...)
				break
			}
		}
		one, err := f.open(ctx, spec)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		next = append(next, one)
	}
	for _, old := range f.list {
		failed = errors.Join(failed, old.close())
	}
	f.list = next
	return failed
}

func (f *forwards) open(ctx context.Context, spec manifest.Forward) (*forward, error) {
	to, err := otlp.OpenForwarder(f.dir+"/"+folderOf(spec.Endpoint), endpointOf(&spec), &otlp.ForwarderOptions{
		Headers: spec.Headers, MaxBytes: int64(spec.Queue), Log: f.log,
	})
	if err != nil {
		return nil, fmt.Errorf("open queue of %s: %w", spec.Endpoint, err)
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	one := &forward{spec: spec, to: to, end: end, done: make(chan struct{})}
	go func() {
		defer close(one.done)
		if err := to.Run(running); err != nil {
			f.log.Error("forwarding ends", "endpoint", spec.Endpoint, "error", err)
		}
	}()
	return one, nil
}

func (f *forward) close() error {
	f.end()
	<-f.done
	return f.to.Close()
}

// enqueue gives a batch to those who want its signals. A full queue drops its oldest and counts.
func (f *forwards) enqueue(b *telemetry.Batch) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, one := range f.list {
		part := telemetry.Batch{}
		if one.spec.Wants(manifest.SignalTraces) {
			part.Spans = b.Spans
		}
		if one.spec.Wants(manifest.SignalLogs) {
			part.Records = b.Records
		}
		if one.spec.Wants(manifest.SignalMetrics) {
			part.Metrics = b.Metrics
		}
		if err := one.to.Enqueue(&part); err != nil {
			f.log.Warn("forward telemetry", "endpoint", shownEndpoint(one.spec.Endpoint), "error", err)
		}
	}
}

// shownEndpoint is an address without what may be secret of it.
func shownEndpoint(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil {
		u.User, u.RawQuery = nil, ""
		return u.String()
	}
	return endpoint
}

// usage tells how far the backends have come.
func (f *forwards) usage() []api.ForwardUsage {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var out []api.ForwardUsage
	for _, one := range f.list {
		s := one.to.Stats()
		out = append(out, api.ForwardUsage{
			Endpoint: shownEndpoint(one.spec.Endpoint), Waiting: s.QueuedItems, Bytes: s.QueuedBytes, Limit: int64(one.spec.Queue), Sent: s.SentItems,
			Dropped: s.Full, Refused: s.Refused + s.Rejected, Damaged: s.Damaged, Failing: s.LastError != "", LastSent: s.LastSent,
		})
	}
	return out
}

func (f *forwards) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var failed error
	for _, one := range f.list {
		failed = errors.Join(failed, one.close())
	}
	f.list = nil
	return failed
}

// targets are the ready replicas of services that name a path for their metrics.
func (p *Platform) targets() []metric.Target {
	app := p.current()
	if app == nil {
		return nil
	}
	paths := map[string]string{}
	for _, s := range app.Services {
		if s.Metrics != "" {
			paths[s.Name] = s.Metrics
		}
	}
	p.serving.Lock()
	defer p.serving.Unlock()
	var out []metric.Target
	for service, list := range p.endpointsOf {
		if paths[service] == "" {
			continue
		}
		for _, e := range list {
			out = append(out, metric.Target{Service: service, Replica: e.ID, Dial: e.Dial, Path: paths[service]})
		}
	}
	return out
}

func indexOf(list []*forward, spec *manifest.Forward) int {
	return slices.IndexFunc(list, func(f *forward) bool { return reflect.DeepEqual(f.spec, *spec) })
}

// folderOf is the name of a folder for the queue of an endpoint.
func folderOf(endpoint string) string {
	sum := sha256.Sum256([]byte(endpoint))
	return hex.EncodeToString(sum[:8])
}
