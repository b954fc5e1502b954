package jaeger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

// errEnough ends a search that has found what it was to find.
var errEnough = errors.New("enough traces")

func (h *handler) search(r *http.Request) (any, int, error) {
	params := r.URL.Query()
	if ids := params["traceID"]; len(ids) > 0 {
		return h.byID(r.Context(), ids)
	}
	limit, err := limitOf(params)
	if err != nil {
		return nil, 0, err
	}
	span, err := h.rangeOf(params)
	if err != nil {
		return nil, 0, err
	}
	where, err := whereOf(params)
	if err != nil {
		return nil, 0, err
	}
	q := &telemetry.Query{Where: where, Limit: telemetry.MaxSorted}
	var ids []telemetry.TraceID
	seen := map[telemetry.TraceID]bool{}
	_, err = h.store.Find(r.Context(), telemetry.Spans, span, q, func(row telemetry.Row) error {
		if row.Span == nil || seen[row.Span.TraceID] {
			return nil
		}
		seen[row.Span.TraceID] = true
		if ids = append(ids, row.Span.TraceID); len(ids) >= limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, 0, err
	}
	traces, err := h.whole(r.Context(), ids)
	return traces, len(traces), err
}

// atOnce is how many traces are asked for at once: a question for several looks into each block once, and what it answers is held in memory.
const atOnce = 50

// whole gathers the spans of traces, until there are too many.
func (h *handler) whole(ctx context.Context, ids []telemetry.TraceID) ([]trace, error) {
	traces, spans := []trace{}, 0
	for some := range slices.Chunk(ids, atOnce) {
		found, err := h.spansOf(ctx, some)
		if err != nil {
			return nil, err
		}
		of := make(map[telemetry.TraceID][]telemetry.Span, len(some))
		for _, s := range found { // they come by their start, those of all traces together
			of[s.TraceID] = append(of[s.TraceID], s)
		}
		for _, id := range some {
			if len(of[id]) == 0 {
				continue
			}
			traces = append(traces, traceOf(id, of[id]))
			delete(of, id) // one that is asked for twice is answered once
		}
		if spans += len(found); spans > maxSpans {
			break
		}
	}
	return traces, nil
}

// spansOf are the spans of traces. Where they are more than one question answers, each trace is asked for by itself.
func (h *handler) spansOf(ctx context.Context, ids []telemetry.TraceID) ([]telemetry.Span, error) {
	found, err := h.store.Trace(ctx, ids...)
	if err != nil || len(found) < telemetry.MaxSorted || len(ids) == 1 {
		return found, err
	}
	found = nil
	for _, id := range ids {
		one, err := h.store.Trace(ctx, id)
		if err != nil {
			return nil, err
		}
		if found = append(found, one...); len(found) > maxSpans {
			break
		}
	}
	return found, nil
}

func (h *handler) trace(r *http.Request) (any, int, error) {
	traces, total, err := h.byID(r.Context(), []string{r.PathValue("id")})
	if err == nil && total == 0 {
		return nil, 0, errNotFound
	}
	return traces, 0, err // Jaeger counts one trace by its id as none
}

func (h *handler) byID(ctx context.Context, texts []string) (any, int, error) {
	if len(texts) > maxTraces {
		return nil, 0, &badRequest{"too many traces are asked for"}
	}
	ids := make([]telemetry.TraceID, len(texts))
	for i, text := range texts {
		id, ok := telemetry.ParseTraceID(strings.Repeat("0", max(0, 32-len(text))) + text)
		if !ok {
			return nil, 0, &badRequest{fmt.Sprintf("malformed parameter 'traceID': %q", text)}
		}
		ids[i] = id
	}
	traces, err := h.whole(ctx, ids)
	return traces, len(traces), err
}

func limitOf(params url.Values) (int, error) {
	text := params.Get("limit")
	if text == "" {
		return defaultTraces, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, &badRequest{"unable to parse param 'limit': it is no number of traces"}
	}
	return min(n, maxTraces), nil
}

// rangeOf reads start and end, in microseconds since 1970. Without a start it is the last hour.
func (h *handler) rangeOf(params url.Values) (telemetry.Range, error) {
	r := telemetry.Range{To: h.now()}
	for name, to := range map[string]*time.Time{"start": &r.From, "end": &r.To} {
		text := params.Get(name)
		if text == "" {
			continue
		}
		us, err := number(text, time.Microsecond)
		if err != nil {
			return r, &badRequest{fmt.Sprintf("unable to parse param '%s': it is no number of microseconds", name)}
		}
		*to = time.UnixMicro(us)
	}
	if r.From.IsZero() {
		r.From = r.To.Add(-time.Hour)
	}
	r.To = r.To.Add(time.Microsecond) // what began within the last one is meant too
	return r, nil
}

// number reads how many of a unit: not less than none, and not more than fit into nanoseconds.
func number(text string, unit time.Duration) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, err
	}
	if n < 0 || n > math.MaxInt64/int64(unit) {
		return 0, strconv.ErrRange
	}
	return n, nil
}

// whereOf makes an expression of a search.
func whereOf(params url.Values) (telemetry.Expr, error) {
	service := params.Get("service")
	if service == "" {
		return nil, &badRequest{"parameter 'service' is required"}
	}
	where := equal(telemetry.FieldService, telemetry.String(service))
	and := func(e telemetry.Expr) { where = &telemetry.And{X: where, Y: e} }
	if op := params.Get("operation"); op != "" {
		and(equal(telemetry.FieldName, telemetry.String(op)))
	}
	tags, err := tagsOf(params)
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		and(tagExpr(key, tags[key]))
	}
	for _, bound := range []struct {
		name string
		op   telemetry.Op
	}{{"minDuration", telemetry.OpAtLeast}, {"maxDuration", telemetry.OpAtMost}} {
		text := params.Get(bound.name)
		if text == "" {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return nil, &badRequest{fmt.Sprintf("unable to parse param '%s': it is no duration such as 1.2s or 100ms", bound.name)}
		}
		and(&telemetry.Compare{Field: telemetry.Field{Name: telemetry.FieldDuration}, Op: bound.op, Value: telemetry.Int(int64(d))})
	}
	return where, nil
}

// maxTags is how many tags a search has at most.
const maxTags = 50

// tagsOf reads tags: tag=key:value as often as wanted, and tags as an object of JSON.
func tagsOf(params url.Values) (map[string]string, error) {
	tags := map[string]string{}
	for _, text := range params["tag"] {
		key, value, ok := strings.Cut(text, ":")
		if !ok {
			return nil, &badRequest{fmt.Sprintf("malformed 'tag' parameter, expecting key:value, received: %s", text)}
		}
		tags[key] = value
	}
	for _, text := range params["tags"] {
		var object map[string]any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&object); err != nil {
			return nil, &badRequest{"malformed 'tags' parameter, expecting an object of JSON with texts"}
		}
		for key, v := range object {
			switch v := v.(type) {
			case string:
				tags[key] = v
			case json.Number:
				tags[key] = v.String()
			case bool:
				tags[key] = strconv.FormatBool(v)
			default:
				return nil, &badRequest{"malformed 'tags' parameter, expecting an object of JSON with texts"}
			}
		}
	}
	if len(tags) > maxTags {
		return nil, &badRequest{"too many tags are asked for"}
	}
	return tags, nil
}

// tagExpr chooses spans that have a tag as Jaeger shows it.
func tagExpr(key, value string) telemetry.Expr {
	switch {
	case key == "error" && value == "true":
		return &telemetry.Or{X: equal(telemetry.FieldStatus, telemetry.String("error")), Y: attrExpr(key, value)}
	case key == "otel.status_code":
		return equal(telemetry.FieldStatus, telemetry.String(strings.ToLower(value)))
	case key == "span.kind":
		return equal(telemetry.FieldKind, telemetry.String(value))
	case key == "otel.scope.name" || key == "otel.library.name":
		return equal(telemetry.FieldScope, telemetry.String(value))
	case key == "service.instance.id":
		return equal(telemetry.FieldReplica, telemetry.String(value))
	}
	return attrExpr(key, value)
}

// attrExpr chooses spans that have an attribute of this text.
func attrExpr(key, value string) telemetry.Expr {
	text := equal(key, telemetry.String(value))
	if value != "true" && value != "false" {
		return text // a number is equal to a text that is the same
	}
	return &telemetry.Or{X: text, Y: equal(key, telemetry.Bool(value == "true"))}
}

func equal(field string, v telemetry.Value) telemetry.Expr {
	return &telemetry.Compare{Field: telemetry.Field{Name: field}, Op: telemetry.OpEqual, Value: v}
}
