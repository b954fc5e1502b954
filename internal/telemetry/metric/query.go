package metric

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

// MaxPoints is how many points a series of an answer has at most.
const MaxPoints = 11_000

// maxQuery is how long the text of a query may be, in bytes.
const maxQuery = 64 << 10

// maxWaiting is how many queries wait for their turn at most.
const maxWaiting = 64

// Instant answers a query of PromQL for one moment. Each series has one point; a number alone is a series without
// labels. Errors of the query are *fault.Error, with the place in the query where it is known.
func (s *Store) Instant(ctx context.Context, query string, at time.Time) (*telemetry.SeriesTable, error) {
	var out *telemetry.SeriesTable
	err := s.instant(ctx, query, at, func(r *promql.Result) error {
		var err error
		out, err = tableOf(query, r)
		return err
	})
	return out, err
}

// Range answers a query of PromQL for moments from one to another, step apart. Errors are those of Instant.
func (s *Store) Range(ctx context.Context, query string, from, to time.Time, step time.Duration) (*telemetry.SeriesTable, error) {
	var out *telemetry.SeriesTable
	err := s.ranged(ctx, query, from, to, step, func(r *promql.Result) error {
		var err error
		out, err = tableOf(query, r)
		return err
	})
	return out, err
}

// instant runs a query for one moment and gives its result to use, which may hold it only until it returns.
func (s *Store) instant(ctx context.Context, query string, at time.Time, use func(*promql.Result) error) error {
	return s.run(ctx, query, use, func(ctx context.Context) (promql.Query, error) {
		return s.engine.NewInstantQuery(ctx, s.db, nil, query, at)
	})
}

// ranged runs a query for a range as instant does.
func (s *Store) ranged(
	ctx context.Context, query string, from, to time.Time, step time.Duration, use func(*promql.Result) error,
) error {
	switch {
	case step <= 0:
		return fault.New(fault.CodeMetricAsk, "the step is not more than zero").Fix("Give a step such as 15s.")
	case to.Before(from):
		return fault.New(fault.CodeMetricAsk, "the end of the range lies before its start")
	case to.Sub(from)/step >= MaxPoints:
		return fault.New(fault.CodeMetricLimit, "the range has more than %d steps", MaxPoints).
			Fix("Ask for a shorter range or a longer step.")
	}
	return s.run(ctx, query, use, func(ctx context.Context) (promql.Query, error) {
		return s.engine.NewRangeQuery(ctx, s.db, nil, query, from, to, step)
	})
}

func (s *Store) run(
	ctx context.Context, query string, use func(*promql.Result) error, begin func(context.Context) (promql.Query, error),
) error {
	if len(query) > maxQuery {
		return fault.New(fault.CodeMetricLimit, "the query is longer than %d bytes", maxQuery)
	}
	done, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	q, err := begin(ctx)
	if err != nil {
		return queryFault(query, err)
	}
	defer q.Close()
	r := q.Exec(ctx)
	if r.Err != nil {
		return queryFault(query, r.Err)
	}
	return use(r)
}

// turn waits until a query may run. Its result ends the turn.
func (s *Store) turn(ctx context.Context) (done func(), err error) {
	if s.waiting.Add(1) > int64(maxWaiting+cap(s.slots)) {
		s.waiting.Add(-1)
		return nil, errBusy()
	}
	wait, cancel := context.WithTimeout(ctx, s.opts.QueryTimeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots; s.waiting.Add(-1) }, nil
	case <-wait.Done():
		s.waiting.Add(-1)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wait for other queries: %w", context.Cause(ctx))
		}
		return nil, errBusy()
	}
}

func errBusy() error {
	return fault.New(fault.CodeMetricBusy, "too many queries of metrics at once").Fix("Ask again in a moment.")
}

// Parse checks a query of PromQL and returns it well laid out.
func (s *Store) Parse(query string) (string, error) { return parse(s.parser, query) }

// Parse is Store.Parse without a store.
func Parse(query string) (string, error) { return parse(parser.NewParser(parser.Options{}), query) }

func parse(p parser.Parser, query string) (string, error) {
	if len(query) > maxQuery {
		return "", fault.New(fault.CodeMetricLimit, "the query is longer than %d bytes", maxQuery)
	}
	e, err := p.ParseExpr(query)
	if err != nil {
		return "", queryFault(query, err)
	}
	return e.Pretty(0), nil
}

// queryFault is what a user is told of an error of the engine. Errors of ctx and of the disk stay as they are.
func queryFault(query string, err error) error {
	if list, ok := errors.AsType[parser.ParseErrors](err); ok && len(list) > 0 {
		return parseFault(query, &list[0])
	}
	if one, ok := errors.AsType[*parser.ParseErr](err); ok {
		return parseFault(query, one)
	}
	if _, ok := errors.AsType[promql.ErrTooManySamples](err); ok {
		return fault.New(fault.CodeMetricLimit, "the query would hold more samples in memory than it may").
			Fix("Ask for a shorter range, or for fewer series: name more labels.").Because(err)
	}
	if _, ok := errors.AsType[promql.ErrQueryTimeout](err); ok {
		return fault.New(fault.CodeMetricLimit, "the query took longer than it may").
			Fix("Ask for a shorter range, or for fewer series: name more labels.").Because(err)
	}
	if _, ok := errors.AsType[promql.ErrQueryCanceled](err); ok {
		return fmt.Errorf("query metrics: %w", errors.Join(context.Canceled, err))
	}
	if _, ok := errors.AsType[promql.ErrStorage](err); ok || errors.Is(err, context.Canceled) {
		return fmt.Errorf("query metrics: %w", err)
	}
	return fault.New(fault.CodeMetricAsk, "%s", err).Because(err)
}

// parseFault points at the place of a syntax error.
func parseFault(query string, e *parser.ParseErr) error {
	start := min(max(int(e.PositionRange.Start), 0), len(query))
	end := min(max(int(e.PositionRange.End), start), len(query))
	lineStart := strings.LastIndexByte(query[:start], '\n') + 1
	line, _, _ := strings.Cut(query[lineStart:], "\n")
	end = min(end, lineStart+len(line))
	return fault.New(fault.CodeMetricQuery, "%s", e.Err).At(fault.Position{
		File: "query", Line: strings.Count(query[:start], "\n") + 1,
		Column: utf8.RuneCountInString(query[lineStart:start]) + 1,
		Width:  max(utf8.RuneCountInString(query[start:max(end, start)]), 1),
	}, line).Fix("Mend the expression at the marked place; `atoll explain %s` has an example.", fault.CodeMetricQuery).Because(e)
}

// tableOf makes plain series of a result.
func tableOf(query string, r *promql.Result) (*telemetry.SeriesTable, error) {
	t := &telemetry.SeriesTable{Series: []telemetry.Series{}}
	natives := 0
	switch v := r.Value.(type) {
	case promql.Scalar:
		t.Series = append(t.Series, telemetry.Series{Labels: map[string]string{}, Points: []telemetry.Sample{{T: v.T, V: v.V}}})
	case promql.Vector:
		for _, x := range v {
			if x.H != nil {
				natives++
				continue
			}
			t.Series = append(t.Series, telemetry.Series{Labels: x.Metric.Map(), Points: []telemetry.Sample{{T: x.T, V: x.F}}})
		}
	case promql.Matrix:
		for _, x := range v {
			natives += len(x.Histograms)
			if len(x.Floats) == 0 {
				continue
			}
			points := make([]telemetry.Sample, len(x.Floats))
			for i, f := range x.Floats {
				points[i] = telemetry.Sample{T: f.T, V: f.F}
			}
			t.Series = append(t.Series, telemetry.Series{Labels: x.Metric.Map(), Points: points})
		}
	default:
		return nil, fault.New(fault.CodeMetricAsk, "the query is a text, which has no points")
	}
	warnings, infos := r.Warnings.AsStrings(query, 10, 10)
	t.Notes = append(warnings, infos...)
	if natives > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%d values are native histograms: ask for histogram_quantile(), histogram_count() or histogram_sum() of them", natives))
	}
	return t, nil
}
