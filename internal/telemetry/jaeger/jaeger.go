package jaeger

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

// Store is what is asked; telemetry.Store is one.
type Store interface {
	Find(ctx context.Context, s telemetry.Signal, r telemetry.Range, q *telemetry.Query, yield func(telemetry.Row) error) (telemetry.Reach, error)
	Tell(ctx context.Context, s telemetry.Signal, r telemetry.Range, q *telemetry.Query) (*telemetry.Table, telemetry.Reach, error)
	Trace(ctx context.Context, ids ...telemetry.TraceID) ([]telemetry.Span, error)
	Values(ctx context.Context, s telemetry.Signal, r telemetry.Range, field, prefix string, limit int) ([]telemetry.ValueInfo, error)
}

var _ Store = telemetry.Store(nil)

// Options of a Handler. The zero value, and nil, are usable.
type Options struct {
	Prefix string           // of the path before /api, such as /jaeger
	Now    func() time.Time // nil is time.Now
}

// Bounds of answers.
const (
	defaultTraces = 20
	maxTraces     = 1500
	maxSpans      = 200_000 // after which a search adds no trace
	maxNames      = 10_000  // of services, of operations
	listed        = 48 * time.Hour
)

type handler struct {
	store Store
	now   func() time.Time
}

// NewHandler serves Jaeger's API below the prefix.
func NewHandler(store Store, o *Options) http.Handler {
	var opts Options
	if o != nil {
		opts = *o
	}
	h := &handler{store: store, now: opts.Now}
	if h.now == nil {
		h.now = time.Now
	}
	mux := http.NewServeMux()
	for path, answer := range map[string]func(*http.Request) (any, int, error){
		"services": h.services, "services/{service}/operations": h.operationNames, "operations": h.operations,
		"traces": h.search, "traces/{id}": h.trace, "dependencies": h.dependencies,
	} {
		mux.Handle("GET "+strings.TrimSuffix(opts.Prefix, "/")+"/api/"+path, serve(answer))
	}
	return mux
}

// envelope is what every answer is in.
type envelope struct {
	Data   any       `json:"data"`
	Total  int       `json:"total"`
	Limit  int       `json:"limit"`
	Offset int       `json:"offset"`
	Errors []problem `json:"errors"`
}

type problem struct {
	Code int    `json:"code"`
	Msg  string `json:"msg"`
}

// badRequest is an error of who asks.
type badRequest struct{ msg string }

func (e *badRequest) Error() string { return e.msg }

var errNotFound = errors.New("trace not found")

// serve writes what answer gives: data and how many there are.
func serve(answer func(*http.Request) (any, int, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, total, err := answer(r)
		status, e := http.StatusOK, envelope{Data: data, Total: total}
		if err != nil {
			status, e = statusOf(err)
		}
		body, err := json.Marshal(e)
		if err != nil {
			status, body = http.StatusInternalServerError, []byte(`{"data":null,"errors":[{"code":500,"msg":"the answer cannot be written"}]}`)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		w.Write(body) //nolint:errcheck // who asked is gone
	})
}

func statusOf(err error) (int, envelope) {
	status, msg := http.StatusInternalServerError, "the traces cannot be read" // what lies behind is not for whoever asks
	bad, isBad := errors.AsType[*badRequest](err)
	f, isFault := errors.AsType[*fault.Error](err)
	switch {
	case isBad:
		status, msg = http.StatusBadRequest, bad.msg
	case isFault:
		status, msg = http.StatusBadRequest, f.Text
	case errors.Is(err, errNotFound):
		status, msg = http.StatusNotFound, err.Error()
	case errors.Is(err, context.Canceled):
		status, msg = 499, "the request was given up"
	}
	return status, envelope{Errors: []problem{{Code: status, Msg: msg}}}
}

// lately is the time that services and operations are listed from.
func (h *handler) lately() telemetry.Range { return telemetry.Range{From: h.now().Add(-listed)} }

func (h *handler) services(r *http.Request) (any, int, error) {
	found, err := h.store.Values(r.Context(), telemetry.Spans, h.lately(), telemetry.FieldService, "", maxNames)
	if err != nil {
		return nil, 0, err
	}
	names := []string{}
	for _, v := range found {
		if name := v.Value.Text(); name != "" {
			names = append(names, name)
		}
	}
	return names, len(names), nil
}

type operation struct {
	Name     string `json:"name"`
	SpanKind string `json:"spanKind"`
}

func (h *handler) operations(r *http.Request) (any, int, error) {
	q := r.URL.Query()
	service := q.Get("service")
	if service == "" {
		return nil, 0, &badRequest{"parameter 'service' is required"}
	}
	ops, err := h.operationsOf(r.Context(), service, q.Get("spanKind"))
	return ops, len(ops), err
}

func (h *handler) operationNames(r *http.Request) (any, int, error) {
	ops, err := h.operationsOf(r.Context(), r.PathValue("service"), "")
	if err != nil {
		return nil, 0, err
	}
	names, seen := []string{}, map[string]bool{}
	for _, op := range ops {
		if !seen[op.Name] {
			seen[op.Name] = true
			names = append(names, op.Name)
		}
	}
	return names, len(names), nil
}

// operationsOf lists names and kinds of a service's spans, the most common first.
func (h *handler) operationsOf(ctx context.Context, service, kind string) ([]operation, error) {
	where := equal(telemetry.FieldService, telemetry.String(service))
	if kind != "" {
		where = &telemetry.And{X: where, Y: equal(telemetry.FieldKind, telemetry.String(kind))}
	}
	table, _, err := h.store.Tell(ctx, telemetry.Spans, h.lately(), &telemetry.Query{
		Where: where, Limit: maxNames,
		Tell: &telemetry.Aggregation{
			Funcs: []telemetry.Func{{Kind: telemetry.FuncCount, As: "spans"}},
			By:    []telemetry.Field{{Name: telemetry.FieldName}, {Name: telemetry.FieldKind}},
		},
	})
	if err != nil {
		return nil, err
	}
	ops := []operation{}
	for _, row := range table.Rows {
		op := operation{Name: cell(table, row, telemetry.FieldName), SpanKind: cell(table, row, telemetry.FieldKind)}
		if op.SpanKind == telemetry.KindUnspecified.String() {
			op.SpanKind = ""
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// cell is the text in a column of a row.
func cell(t *telemetry.Table, row []telemetry.Value, column string) string {
	for i, c := range t.Columns {
		if c == column && i < len(row) {
			return row[i].Text()
		}
	}
	return ""
}

type link struct {
	Parent    string `json:"parent"`
	Child     string `json:"child"`
	CallCount int64  `json:"callCount"`
}

func (h *handler) dependencies(r *http.Request) (any, int, error) {
	q := r.URL.Query()
	end := h.now()
	if text := q.Get("endTs"); text != "" {
		ms, err := number(text, time.Millisecond)
		if err != nil {
			return nil, 0, &badRequest{"unable to parse param 'endTs': it is no number of milliseconds"}
		}
		end = time.UnixMilli(ms)
	}
	lookback := listed
	if text := q.Get("lookback"); text != "" {
		ms, err := number(text, time.Millisecond)
		if err != nil {
			return nil, 0, &badRequest{"unable to parse param 'lookback': it is no number of milliseconds"}
		}
		lookback = time.Duration(ms) * time.Millisecond
	}
	table, _, err := h.store.Tell(r.Context(), telemetry.Spans, telemetry.Range{From: end.Add(-lookback), To: end}, telemetry.MapQuery())
	if err != nil {
		return nil, 0, err
	}
	links, at := []link{}, map[[2]string]int{}
	for _, e := range telemetry.MapFromTable(table).Edges {
		key := [2]string{e.From, e.To}
		if i, ok := at[key]; ok { // of another kind
			links[i].CallCount += e.Calls
			continue
		}
		at[key] = len(links)
		links = append(links, link{Parent: e.From, Child: e.To, CallCount: e.Calls})
	}
	return links, len(links), nil
}
