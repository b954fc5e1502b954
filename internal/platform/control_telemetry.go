package platform

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
	"github.com/atollhq/atoll/internal/telemetry/jaeger"
	"github.com/atollhq/atoll/internal/telemetry/metric"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// Logs reads log records.
func (p *Platform) Logs(ctx context.Context, q *telemetry.LineQuery, yield func(*telemetry.Line) error) error {
	p.telemetry.collector.settle(ctx)
	return telemetry.ReadLines(ctx, p.telemetry.store, q, yield)
}

// ReadLogs reads the log records in a state folder of an application that does not run.
func ReadLogs(ctx context.Context, dir string, q *telemetry.LineQuery, yield func(*telemetry.Line) error) error {
	return readOffline(dir, func(store *block.Store) error { return telemetry.ReadLines(ctx, store, q, yield) })
}

// ReadRecords asks a query about the log records in a state folder of an application that does not run.
func ReadRecords(ctx context.Context, dir string, ask *api.RecordsQuery) (*api.Found, error) {
	found := &api.Found{}
	err := readOffline(dir, func(store *block.Store) (err error) {
		found, err = findRecords(ctx, store, ask)
		return err
	})
	return found, err
}

// ReadExport yields spans or log records in a state folder of an application that does not run as requests of OTLP/JSON.
func ReadExport(ctx context.Context, dir string, q *api.ExportQuery, yield func([]byte) error) error {
	return readOffline(dir, func(store *block.Store) error { return exportStore(ctx, store, q, yield) })
}

// readOffline opens what is kept to read it.
func readOffline(dir string, read func(*block.Store) error) error {
	path := filepath.Join(dir, "telemetry")
	if _, err := os.Stat(path); err != nil {
		return nil // nothing was kept
	}
	store, err := block.Open(path, &block.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // it was only read
	return read(store)
}

// Traces asks a query about spans.
func (p *Platform) Traces(ctx context.Context, ask *api.TracesQuery) (*api.Found, error) {
	p.telemetry.collector.settle(ctx)
	q, err := telemetry.ParseQuery(ask.Query, telemetry.Spans)
	if err != nil {
		return nil, err
	}
	q.Limit = cmp.Or(ask.Limit, q.Limit)
	r := telemetry.Range{From: ask.From, To: ask.To}
	if q.Tell != nil {
		return tell(ctx, p.telemetry.store, telemetry.Spans, r, q)
	}
	if ask.Spans {
		found := &api.Found{Spans: []api.Span{}}
		reach, err := p.telemetry.store.Find(ctx, telemetry.Spans, r, q, func(row telemetry.Row) error {
			found.Spans = append(found.Spans, spanOf(row.Span))
			return nil
		})
		found.Reach = api.Reach(reach)
		return found, err
	}
	return p.tracesWith(ctx, r, q)
}

const (
	defaultTraces = 20
	maxTraces     = 1000
	perTrace      = 20 // spans looked at for each trace that is wanted, when many of one are chosen
)

// errEnough ends a search that has found what it wanted.
var errEnough = errors.New("enough")

// tracesWith finds the newest traces that have a span that q chooses.
func (p *Platform) tracesWith(ctx context.Context, r telemetry.Range, q *telemetry.Query) (*api.Found, error) {
	limit := min(cmp.Or(q.Limit, defaultTraces), maxTraces)
	wide := *q
	wide.Limit = min(limit*perTrace, telemetry.MaxSorted)
	var ids []telemetry.TraceID
	seen := map[telemetry.TraceID]bool{}
	reach, err := p.telemetry.store.Find(ctx, telemetry.Spans, r, &wide, func(row telemetry.Row) error {
		if id := row.Span.TraceID; !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
		if len(ids) == limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	found := &api.Found{Traces: make([]api.TraceSummary, 0, len(ids)), Reach: api.Reach(reach)}
	spans, err := p.telemetry.store.Trace(ctx, ids...)
	byTrace := make(map[telemetry.TraceID][]telemetry.Span, len(ids))
	for _, s := range spans {
		byTrace[s.TraceID] = append(byTrace[s.TraceID], s)
	}
	for _, id := range ids {
		if len(byTrace[id]) > 0 {
			found.Traces = append(found.Traces, summaryOf(byTrace[id]))
		}
	}
	return found, err
}

// summaryOf stands a trace for its root, or its first span where there is none.
func summaryOf(spans []telemetry.Span) api.TraceSummary {
	own := map[telemetry.SpanID]bool{}
	for i := range spans {
		own[spans[i].SpanID] = true
	}
	root, end := &spans[0], spans[0].Start+spans[0].Duration
	found := false
	services := map[string]bool{}
	t := api.TraceSummary{TraceID: spans[0].TraceID.String(), Spans: len(spans), Time: spans[0].StartTime()}
	for i := range spans {
		s := &spans[i]
		if !found && (s.Parent.IsZero() || !own[s.Parent]) {
			root, found = s, true
		}
		end = max(end, s.Start+s.Duration)
		services[s.Resource.Service] = true
		if s.Status == telemetry.StatusError {
			t.Errors++
		}
	}
	t.DurationNS, t.Service, t.Name, t.Status, t.StatusText = end-spans[0].Start, root.Resource.Service, root.Name, root.Status.String(), root.StatusText
	t.Services = sortedKeys(services)
	return t
}

// Trace is all of a trace, by its id or the beginning of it.
func (p *Platform) Trace(ctx context.Context, id string, records bool) (*api.Trace, error) {
	p.telemetry.collector.settle(ctx)
	spans, err := p.spansOf(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(spans) == 0 {
		return nil, fault.New(fault.CodeTraceUnknown, "there is no trace %s", id).
			Fix("list those there are with atoll traces; of an id its first 4 digits are needed at least, and old traces are not kept")
	}
	out := &api.Trace{TraceID: spans[0].TraceID.String(), Spans: make([]api.Span, len(spans))}
	for i := range spans {
		out.Spans[i] = spanOf(&spans[i])
	}
	if !records {
		return out, nil
	}
	where := &telemetry.Compare{Field: telemetry.Field{Name: telemetry.FieldTrace}, Op: telemetry.OpEqual, Value: telemetry.String(out.TraceID)}
	// Records of a trace lie about its spans in time.
	const around = time.Minute
	r := telemetry.Range{From: spans[0].StartTime().Add(-around)}
	for i := range spans {
		if end := spans[i].StartTime().Add(spans[i].Took() + around); end.After(r.To) {
			r.To = end
		}
	}
	_, err = p.telemetry.store.Find(ctx, telemetry.Logs, r, &telemetry.Query{Where: where, Limit: maxTraces}, func(row telemetry.Row) error {
		out.Records = append(out.Records, recordOf(row.Record))
		return nil
	})
	slices.Reverse(out.Records)
	return out, err
}

// spansOf are the spans of a trace by its id or the beginning of it; of several that begin so, the newest.
func (p *Platform) spansOf(ctx context.Context, id string) ([]telemetry.Span, error) {
	if whole, ok := telemetry.ParseTraceID(id); ok {
		return p.telemetry.store.Trace(ctx, whole)
	}
	ids, err := p.telemetry.store.Traces(ctx, id)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	return p.telemetry.store.Trace(ctx, ids[0])
}

// Records asks a query about log records.
func (p *Platform) Records(ctx context.Context, ask *api.RecordsQuery) (*api.Found, error) {
	p.telemetry.collector.settle(ctx)
	return findRecords(ctx, p.telemetry.store, ask)
}

func findRecords(ctx context.Context, store telemetry.Store, ask *api.RecordsQuery) (*api.Found, error) {
	q, err := telemetry.ParseQuery(ask.Query, telemetry.Logs)
	if err != nil {
		return nil, err
	}
	q.Limit = cmp.Or(ask.Limit, q.Limit)
	r := telemetry.Range{From: ask.From, To: ask.To}
	if q.Tell != nil {
		return tell(ctx, store, telemetry.Logs, r, q)
	}
	found := &api.Found{Records: []api.Record{}}
	reach, err := store.Find(ctx, telemetry.Logs, r, q, func(row telemetry.Row) error {
		found.Records = append(found.Records, recordOf(row.Record))
		return nil
	})
	found.Reach = api.Reach(reach)
	return found, err
}

func tell(ctx context.Context, store telemetry.Store, signal telemetry.Signal, r telemetry.Range, q *telemetry.Query) (*api.Found, error) {
	table, reach, err := store.Tell(ctx, signal, r, q)
	if err != nil {
		return nil, err
	}
	return &api.Found{Table: tableOf(table, q.Tell, r), Reach: api.Reach(reach)}, nil
}

// tableOf is a table as the API has it.
func tableOf(t *telemetry.Table, a *telemetry.Aggregation, r telemetry.Range) *api.Table {
	out := &api.Table{EveryNS: int64(a.Every), From: r.From, To: r.To, Rows: make([][]any, len(t.Rows))}
	if a.Every > 0 {
		out.Columns = append(out.Columns, api.Column{Name: telemetry.FieldTime, Role: api.ColumnTime})
	}
	for _, f := range a.By {
		out.Columns = append(out.Columns, api.Column{Name: f.Name, Role: api.ColumnGroup, Unit: unitOf(f.Name)})
	}
	for _, f := range a.Funcs {
		c := api.Column{Name: f.As, Role: api.ColumnValue}
		switch f.Kind {
		case telemetry.FuncCount, telemetry.FuncDistinct:
			c.Zero = true
		case telemetry.FuncRate:
			c.Zero, c.Unit = true, api.UnitPerSecond
		case telemetry.FuncSum, telemetry.FuncAvg, telemetry.FuncMin, telemetry.FuncMax, telemetry.FuncQuantile:
			c.Unit = unitOf(f.Field.Name)
		}
		out.Columns = append(out.Columns, c)
	}
	for i, row := range t.Rows {
		out.Rows[i] = make([]any, len(row))
		for j, v := range row {
			out.Rows[i][j] = v.Any()
			if c := &out.Columns[j]; c.Role == api.ColumnTime || c.Role == api.ColumnGroup && c.Name == telemetry.FieldTime {
				out.Rows[i][j] = time.Unix(0, v.Int()).UTC()
			}
		}
	}
	return out
}

func unitOf(field string) string {
	if field == telemetry.FieldDuration {
		return api.UnitNanoseconds
	}
	return ""
}

func attributesOf(attrs []telemetry.Attr) map[string]any {
	if len(attrs) == 0 {
		return nil
	}
	out := make(map[string]any, len(attrs))
	for _, a := range attrs {
		out[a.Key] = a.Value.Any()
	}
	return out
}

func spanOf(s *telemetry.Span) api.Span {
	out := api.Span{
		TraceID: s.TraceID.String(), SpanID: s.SpanID.String(), Service: s.Resource.Service, Replica: s.Resource.Replica, Name: s.Name,
		Kind: s.Kind.String(), Time: s.StartTime(), DurationNS: s.Duration, Status: s.Status.String(), StatusText: s.StatusText,
		Attributes: attributesOf(s.Attrs), Resource: attributesOf(s.Resource.Attrs),
	}
	if !s.Parent.IsZero() {
		out.ParentID = s.Parent.String()
	}
	if s.Scope != nil {
		out.Scope = s.Scope.Name
	}
	for i := range s.Events {
		e := &s.Events[i]
		out.Events = append(out.Events, api.SpanEvent{Time: time.Unix(0, e.Time), Name: e.Name, Attributes: attributesOf(e.Attrs)})
	}
	for i := range s.Links {
		l := &s.Links[i]
		out.Links = append(out.Links, api.SpanLink{TraceID: l.TraceID.String(), SpanID: l.SpanID.String(), Attributes: attributesOf(l.Attrs)})
	}
	return out
}

func recordOf(r *telemetry.Record) api.Record {
	out := api.Record{
		Time: r.At(), Service: r.Resource.Service, Replica: r.Resource.Replica, Level: string(r.Level()), Name: r.Name, Text: r.Body.Text(),
		Attributes: attributesOf(r.Attrs), Resource: attributesOf(r.Resource.Attrs),
	}
	if r.Scope != nil {
		out.Scope = r.Scope.Name
	}
	if !r.TraceID.IsZero() {
		out.TraceID = r.TraceID.String()
	}
	if !r.SpanID.IsZero() {
		out.SpanID = r.SpanID.String()
	}
	return out
}

// Complete tells what may stand at the cursor of a query.
func (p *Platform) Complete(ctx context.Context, q *api.CompleteQuery) ([]telemetry.Completion, error) {
	signal, err := signalOf(q.Signal)
	if err != nil {
		return nil, err
	}
	const recent = 24 * time.Hour
	source := telemetry.SourceOf(p.telemetry.store, signal, telemetry.Range{From: time.Now().Add(-recent)})
	return telemetry.Complete(ctx, q.Text, q.Cursor, signal, source)
}

func signalOf(name string) (telemetry.Signal, error) {
	switch name {
	case "", "traces", string(telemetry.Spans):
		return telemetry.Spans, nil
	case string(telemetry.Logs):
		return telemetry.Logs, nil
	}
	return "", fault.New(fault.CodeBadRequest, "%.40q is no signal", name).Fix("write traces or logs")
}

// ServiceMap is who called whom; without a range the last hour.
func (p *Platform) ServiceMap(ctx context.Context, from, to time.Time) (*telemetry.ServiceMap, error) {
	p.telemetry.collector.settle(ctx)
	if from.IsZero() {
		from = time.Now().Add(-time.Hour)
	}
	r := telemetry.Range{From: from, To: to}
	var tables []*telemetry.Table
	for _, q := range []*telemetry.Query{telemetry.MapQuery(), telemetry.MapPeerQuery()} {
		table, _, err := p.telemetry.store.Tell(ctx, telemetry.Spans, r, q)
		if err != nil {
			return nil, err
		}
		tables = append(tables, table)
	}
	m := telemetry.MapFromTable(tables...)
	return &m, nil
}

// TelemetryUsage tells what is kept, and what was not.
func (p *Platform) TelemetryUsage(ctx context.Context) (*api.TelemetryUsage, error) {
	rows, err := p.telemetry.store.Usage(ctx)
	if err != nil {
		return nil, err
	}
	metrics := p.telemetry.metrics.Stats()
	out := &api.TelemetryUsage{
		Rows:    api.Kept{Bytes: rows.Bytes, Limit: rows.Limit, Oldest: rows.Oldest, Torn: rows.Torn},
		Metrics: api.Kept{Bytes: metrics.Bytes, Limit: metrics.Limit, Oldest: metrics.Oldest, Torn: metrics.Torn},
		Series:  metrics.Series, Services: []api.ServiceUsage{},
	}
	out.GRPC, out.HTTP = p.telemetry.intake.addrs()
	names := map[string]bool{}
	for name := range rows.Services {
		names[name] = true
	}
	for name := range metrics.Services {
		names[name] = true
	}
	for _, name := range sortedKeys(names) {
		u, m := rows.Services[name], metrics.Services[name]
		s := api.ServiceUsage{Service: name, Spans: u.Spans, Records: u.Records, Bytes: u.Bytes, Series: m.Series, Dropped: map[string]int64{}}
		for cause, n := range map[string]int64{"rate": u.Dropped.Rate, "sampled": u.Dropped.Sampled, "evicted": u.Dropped.Evicted} {
			if n > 0 {
				s.Dropped[cause] = n
			}
		}
		for cause, n := range m.Dropped {
			s.Dropped["metrics-"+string(cause)] += n
		}
		out.Services = append(out.Services, s)
	}
	if n := p.telemetry.collector.left(); n > 0 {
		at := slices.IndexFunc(out.Services, func(s api.ServiceUsage) bool { return s.Service == scopeName })
		if at < 0 {
			at = len(out.Services)
			out.Services = append(out.Services, api.ServiceUsage{Service: scopeName, Dropped: map[string]int64{}})
		}
		out.Services[at].Dropped["busy"] = n
	}
	out.Forwards = p.telemetry.forwards.usage()
	return out, nil
}

// topWindow is the time that atoll top looks back.
const topWindow = 10 * time.Second

// severity orders the states of replicas, the worst last.
func severity(state string) int {
	return slices.IndexFunc([]replica.State{
		replica.Ready, replica.Stopped, replica.Draining, replica.Pending, replica.Building, replica.Starting, replica.Unready, replica.BackingOff, replica.Crashed,
	}, func(s replica.State) bool { return s.String() == state })
}

// Top is the services with their load over the last moments.
func (p *Platform) Top(ctx context.Context) (*api.Top, error) {
	p.telemetry.collector.settle(ctx)
	now := time.Now()
	out := &api.Top{Time: now, WindowNS: int64(topWindow), Services: []api.TopRow{}}
	rows := map[string]*api.TopRow{}
	for _, s := range p.current().Services { // those without a replica too
		rows[s.Name] = &api.TopRow{Service: s.Name, State: replica.Stopped.String()}
	}
	for _, r := range p.Replicas() {
		row := rows[r.Service]
		if row == nil { // of a service that is going
			row = &api.TopRow{Service: r.Service}
			rows[r.Service] = row
		}
		if row.Replicas == 0 || severity(r.State) > severity(row.State) {
			row.State = r.State
		}
		row.Replicas++
		row.Memory += r.MemoryBytes
		row.Restarts += r.Restarts
		if r.State == replica.Ready.String() {
			row.Ready++
		}
	}
	if err := p.topRequests(ctx, telemetry.Range{From: now.Add(-topWindow)}, rows); err != nil {
		return nil, err
	}
	p.telemetry.usage.rates(now, p.Replicas(), rows)
	for _, row := range rows {
		out.Services = append(out.Services, *row)
	}
	slices.SortFunc(out.Services, func(a, b api.TopRow) int { return strings.Compare(a.Service, b.Service) })
	return out, nil
}

// topRequests counts the requests that Atoll saw.
func (p *Platform) topRequests(ctx context.Context, r telemetry.Range, rows map[string]*api.TopRow) error {
	const text = "scope = atoll | count(), p50(duration), p99(duration) by service, status | limit 10000"
	q, err := telemetry.ParseQuery(text, telemetry.Spans)
	if err != nil {
		return err
	}
	table, _, err := p.telemetry.store.Tell(ctx, telemetry.Spans, r, q)
	if err != nil {
		return err
	}
	type load struct{ all, failed int64 }
	loads := map[string]*load{}
	for _, row := range table.Rows {
		service := row[0].Str()
		if loads[service] == nil {
			loads[service] = &load{}
		}
		loads[service].all += row[2].Int()
		if row[1].Str() == telemetry.StatusError.String() {
			loads[service].failed += row[2].Int()
		}
		if t := rows[service]; t != nil {
			p50, _ := row[3].Number()
			p99, _ := row[4].Number()
			t.P50NS, t.P99NS = max(t.P50NS, int64(p50)), max(t.P99NS, int64(p99))
		}
	}
	for service, l := range loads {
		if t := rows[service]; t != nil {
			t.PerSecond, t.ErrorRatio = float64(l.all)/topWindow.Seconds(), float64(l.failed)/float64(l.all)
		}
	}
	return nil
}

// Prometheus serves Prometheus' HTTP API.
func (p *Platform) Prometheus(prefix string) http.Handler {
	return p.telemetry.metrics.Handler(&metric.APIOptions{Prefix: prefix})
}

// Jaeger serves Jaeger's query API.
func (p *Platform) Jaeger(prefix string) http.Handler {
	h := jaeger.NewHandler(p.telemetry.store, &jaeger.Options{Prefix: prefix})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.telemetry.collector.settle(r.Context())
		h.ServeHTTP(w, r)
	})
}

// exportRows is how many rows a request of an export has at most.
const exportRows = 500

// Export yields all that a query chooses as requests of OTLP/JSON.
func (p *Platform) Export(ctx context.Context, q *api.ExportQuery, yield func([]byte) error) error {
	p.telemetry.collector.settle(ctx)
	if q.Signal == "metrics" {
		return p.exportMetrics(ctx, q, yield)
	}
	return exportStore(ctx, p.telemetry.store, q, yield)
}

// exportStore exports spans or records of a store.
func exportStore(ctx context.Context, store telemetry.Store, q *api.ExportQuery, yield func([]byte) error) error {
	signal, err := signalOf(q.Signal)
	if err != nil {
		return err
	}
	query, err := telemetry.ParseQuery(q.Query, signal)
	if err != nil {
		return err
	}
	if query.Tell != nil || len(query.Sort) > 0 {
		return fault.New(fault.CodeBadRequest, "an export cannot count or sort").Fix("leave out what stands behind the bar")
	}
	var encoder otlp.JSONEncoder
	var spans []telemetry.Span
	var records []telemetry.Record
	flush := func() error {
		kind, request := otlp.Traces, []byte(nil)
		switch {
		case len(spans) > 0:
			request = otlp.AppendTraces(nil, spans)
		case len(records) > 0:
			kind, request = otlp.Logs, otlp.AppendLogs(nil, records)
		default:
			return nil
		}
		spans, records = spans[:0], records[:0]
		text, err := encoder.Append(nil, kind, request)
		if err != nil {
			return err
		}
		return yield(text)
	}
	n := 0
	err = store.Scan(ctx, signal, telemetry.Range{From: q.From, To: q.To}, query.Where, func(row telemetry.Row) error {
		if row.Span != nil {
			spans = append(spans, *row.Span)
		} else {
			records = append(records, *row.Record)
		}
		if n++; n == q.Limit {
			return errEnough
		}
		if len(spans)+len(records) == exportRows {
			return flush()
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return flush()
}
