package metric

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/atollhq/atoll/internal/fault"
)

// maxListed is how many series, names or values one answer lists at most; an answer that was cut has a warning.
const maxListed = 100_000

// APIOptions of a Handler. The zero value, and nil, are usable.
type APIOptions struct {
	Prefix  string            // of the path before /api/v1, such as /prometheus
	Version string            // told as the version of the build
	Rules   func() []RuleInfo // alert rules and what they are in; nil for none
}

// RuleInfo is an alert rule as Prometheus' API shows it.
type RuleInfo struct {
	Group, Name, Query string
	For                time.Duration
	Labels             map[string]string
	Annotations        map[string]string
	Active             []AlertInfo
	Health             string // ok, err, unknown; "" is unknown
	LastError          string
	LastEvaluation     time.Time
	Took               time.Duration // of the last evaluation
}

// AlertInfo is an alert that is pending or firing.
type AlertInfo struct {
	State       string // pending or firing
	Labels      map[string]string
	Annotations map[string]string
	Since       time.Time
	Value       float64
}

type api struct {
	s    *Store
	opts APIOptions
}

// Handler serves the HTTP API of Prometheus that dashboards read with, below the prefix. It only reads. Who may ask is the
// caller's to decide.
func (s *Store) Handler(o *APIOptions) http.Handler {
	a := &api{s: s}
	if o != nil {
		a.opts = *o
	}
	a.opts.Prefix = strings.TrimSuffix(a.opts.Prefix, "/")
	mux := http.NewServeMux()
	for path, answer := range map[string]func(*http.Request) (any, annotations.Annotations, error){
		"query": a.query, "query_range": a.queryRange, "series": a.series, "labels": a.labels,
		"label/{name}/values": a.values, "metadata": a.metadata, "status/buildinfo": a.buildInfo,
		"format_query": a.format, "rules": a.rules, "alerts": a.alerts, "query_exemplars": a.exemplars,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			mux.Handle(method+" "+a.opts.Prefix+"/api/v1/"+path, a.serve(answer))
		}
	}
	return mux
}

// maxForm is the size of a request's body at most.
const maxForm = 1 << 20

func (a *api) serve(answer func(*http.Request) (any, annotations.Annotations, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			writeError(w, badData("the form of the request cannot be read").Because(err))
			return
		}
		data, notes, err := answer(r)
		if err != nil {
			writeError(w, err)
			return
		}
		writeData(w, r.Form.Get("query"), data, notes)
	})
}

func badData(format string, args ...any) *fault.Error {
	return fault.New(fault.CodeMetricAsk, format, args...)
}

// badParameter is an error that Prometheus calls bad_data, as it does whatever is wrong before a query runs.
type badParameter struct {
	name string
	err  error
}

func (e *badParameter) Error() string {
	return fmt.Sprintf("invalid parameter %q: %s", e.name, textOf(e.err))
}
func (e *badParameter) Unwrap() error { return e.err }

func (a *api) query(r *http.Request) (any, annotations.Annotations, error) {
	at, err := a.timeOf(r, "time", a.s.opts.Now())
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel, err := a.timeout(r)
	if err != nil {
		return nil, nil, err
	}
	defer cancel()
	var out any
	var notes annotations.Annotations
	err = a.s.instant(ctx, r.Form.Get("query"), at, func(res *promql.Result) error {
		out, notes = encodeResult(res.Value), res.Warnings
		return nil
	})
	return out, notes, ofQuery(err)
}

func (a *api) queryRange(r *http.Request) (any, annotations.Annotations, error) {
	from, err := a.timeOf(r, "start", time.Time{})
	if err != nil {
		return nil, nil, err
	}
	to, err := a.timeOf(r, "end", time.Time{})
	if err != nil {
		return nil, nil, err
	}
	step, err := parseDuration(r.Form.Get("step"))
	if err != nil {
		return nil, nil, &badParameter{"step", err}
	}
	ctx, cancel, err := a.timeout(r)
	if err != nil {
		return nil, nil, err
	}
	defer cancel()
	var out any
	var notes annotations.Annotations
	err = a.s.ranged(ctx, r.Form.Get("query"), from, to, step, func(res *promql.Result) error {
		out, notes = encodeResult(res.Value), res.Warnings
		return nil
	})
	return out, notes, ofQuery(err)
}

// ofQuery says of a syntax error which parameter has it.
func ofQuery(err error) error {
	if fault.CodeOf(err) == fault.CodeMetricQuery {
		return &badParameter{"query", err}
	}
	return err
}

// timeout is the request's context, with its parameter timeout if it has one.
func (a *api) timeout(r *http.Request) (context.Context, context.CancelFunc, error) {
	text := r.Form.Get("timeout")
	if text == "" {
		return r.Context(), func() {}, nil
	}
	d, err := parseDuration(text)
	if err != nil {
		return nil, nil, &badParameter{"timeout", err}
	}
	ctx, cancel := context.WithTimeout(r.Context(), d)
	return ctx, cancel, nil
}

// selection is what series, labels and values choose by.
type selection struct {
	from, to time.Time
	sets     [][]*labels.Matcher // series that match one of them
	limit    int
}

func (a *api) selection(r *http.Request) (selection, error) {
	now := a.s.opts.Now()
	sel := selection{limit: maxListed}
	var err error
	if sel.from, err = a.timeOf(r, "start", now.Add(-a.s.opts.Age)); err != nil {
		return sel, err
	}
	if sel.to, err = a.timeOf(r, "end", now.Add(maxAhead)); err != nil {
		return sel, err
	}
	for _, text := range r.Form["match[]"] {
		set, err := a.s.parser.ParseMetricSelector(text)
		if err != nil {
			return sel, &badParameter{"match[]", queryFault(text, err)}
		}
		if !slices.ContainsFunc(set, func(m *labels.Matcher) bool { return !m.Matches("") }) {
			return sel, badData("match[] must contain at least one non-empty matcher")
		}
		sel.sets = append(sel.sets, set)
	}
	if text := r.Form.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return sel, &badParameter{"limit", badData("limit is no number of rows")}
		}
		if n > 0 {
			sel.limit = min(n, maxListed)
		}
	}
	return sel, nil
}

// ask opens a querier for a selection and gives it to use, as a query of its own.
func (a *api) ask(ctx context.Context, sel selection, use func(context.Context, storage.Querier) error) error {
	done, err := a.s.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, a.s.opts.QueryTimeout)
	defer cancel()
	q, err := a.s.db.Querier(sel.from.UnixMilli(), sel.to.UnixMilli())
	if err != nil {
		return fmt.Errorf("open metrics: %w", err)
	}
	defer q.Close() //nolint:errcheck // it only reads
	return use(ctx, q)
}

func (a *api) series(r *http.Request) (any, annotations.Annotations, error) {
	sel, err := a.selection(r)
	if err != nil {
		return nil, nil, err
	}
	if len(sel.sets) == 0 {
		return nil, nil, badData("no match[] parameter provided")
	}
	out := []map[string]string{}
	var notes annotations.Annotations
	err = a.ask(r.Context(), sel, func(ctx context.Context, q storage.Querier) error {
		hints := &storage.SelectHints{Start: sel.from.UnixMilli(), End: sel.to.UnixMilli(), Func: "series", Limit: sel.limit + 1}
		sets := make([]storage.SeriesSet, len(sel.sets))
		for i, set := range sel.sets {
			sets[i] = q.Select(ctx, true, hints, set...)
		}
		all := storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
		for all.Next() {
			if len(out) == sel.limit {
				notes.Add(errCut)
				break
			}
			out = append(out, all.At().Labels().Map())
		}
		notes.Merge(all.Warnings())
		return all.Err()
	})
	return out, notes, err
}

var errCut = errors.New("results truncated due to limit")

func (a *api) labels(r *http.Request) (any, annotations.Annotations, error) {
	return a.list(r, func(ctx context.Context, q storage.Querier, h *storage.LabelHints, set []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelNames(ctx, h, set...)
	})
}

func (a *api) values(r *http.Request) (any, annotations.Annotations, error) {
	name := r.PathValue("name")
	if rest, ok := strings.CutPrefix(name, "U__"); ok {
		name = model.UnescapeName("U__"+rest, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return nil, nil, badData("invalid label name: %q", name)
	}
	return a.list(r, func(ctx context.Context, q storage.Querier, h *storage.LabelHints, set []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(ctx, name, h, set...)
	})
}

type lister func(context.Context, storage.Querier, *storage.LabelHints, []*labels.Matcher) ([]string, annotations.Annotations, error)

// list gathers names or values of all sets of matchers, sorted.
func (a *api) list(r *http.Request, each lister) (any, annotations.Annotations, error) {
	sel, err := a.selection(r)
	if err != nil {
		return nil, nil, err
	}
	if len(sel.sets) == 0 {
		sel.sets = [][]*labels.Matcher{nil}
	}
	found := map[string]bool{}
	var notes annotations.Annotations
	err = a.ask(r.Context(), sel, func(ctx context.Context, q storage.Querier) error {
		for _, set := range sel.sets {
			names, warnings, err := each(ctx, q, &storage.LabelHints{Limit: sel.limit + 1}, set)
			if err != nil {
				return err
			}
			notes.Merge(warnings)
			for _, n := range names {
				found[strings.Clone(n)] = true // they live only as long as the querier
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	out := slices.AppendSeq(make([]string, 0, len(found)), maps.Keys(found))
	slices.Sort(out)
	if len(out) > sel.limit {
		out = out[:sel.limit]
		notes.Add(errCut)
	}
	return out, notes, nil
}

func (a *api) metadata(r *http.Request) (any, annotations.Annotations, error) {
	limit := -1
	if text := r.Form.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, nil, badData("limit must be a number")
		}
		limit = n
	}
	out := map[string][]Meta{}
	for name, m := range a.s.meta.all(r.Form.Get("metric")) {
		if limit >= 0 && len(out) >= limit {
			break
		}
		if m.Type == "" {
			m.Type = "unknown"
		}
		out[name] = []Meta{m}
	}
	return out, nil, nil
}

func (a *api) format(r *http.Request) (any, annotations.Annotations, error) {
	text, err := a.s.Parse(r.Form.Get("query"))
	return text, nil, ofQuery(err)
}

func (a *api) exemplars(r *http.Request) (any, annotations.Annotations, error) {
	if _, err := a.s.Parse(r.Form.Get("query")); err != nil {
		return nil, nil, ofQuery(err)
	}
	return []any{}, nil, nil // none are kept
}

func (a *api) buildInfo(*http.Request) (any, annotations.Annotations, error) {
	return map[string]string{
		"version": a.opts.Version, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
	}, nil, nil
}

// timeOf reads a time: seconds since 1970, or RFC 3339. Without the parameter it is other, which if zero is an error.
func (a *api) timeOf(r *http.Request, name string, other time.Time) (time.Time, error) {
	text := r.Form.Get(name)
	if text == "" && !other.IsZero() {
		return other, nil
	}
	t, err := parseTime(text)
	if err != nil {
		return t, &badParameter{name, err}
	}
	return t, nil
}

func parseTime(text string) (time.Time, error) {
	if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(f) && math.Abs(f) < math.MaxInt64/1e6 {
		s, frac := math.Modf(f)
		return time.Unix(int64(s), int64(math.Round(frac*1000))*int64(time.Millisecond)).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	return time.Time{}, badData("cannot parse %q to a valid timestamp", text)
}

func parseDuration(text string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		ns := f * float64(time.Second)
		if math.IsNaN(ns) || math.Abs(ns) > math.MaxInt64/2 {
			return 0, badData("cannot parse %q to a valid duration. It overflows int64", text)
		}
		return time.Duration(ns), nil
	}
	if d, err := model.ParseDuration(text); err == nil {
		return time.Duration(d), nil
	}
	return 0, badData("cannot parse %q to a valid duration", text)
}
