package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"

	"github.com/atollhq/atoll/bench/internal/report"
)

const (
	goalSpans     = 150_000 // spans/s a core
	goalSpanBytes = 60
	goalLineBytes = 30
	goalMemory    = 400 // MB
)

// number is a count as people read it.
func number(n int) string {
	switch {
	case n >= 1_000_000:
		return fmt.Sprintf("%.3g million", float64(n)/1e6)
	case n >= 1000:
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	}
	return fmt.Sprint(n)
}

// taken are the results of the bursts and of the load.
func (b *bench) taken(l *long) {
	for _, name := range b.order {
		f := b.bursts[name]
		what, goal := "spans", 0.0
		switch name {
		case burstLines:
			what = "lines"
		case burstSamples:
			what = "samples"
		case burstOf(overGRPC), burstOf(overHTTP):
			goal = goalSpans
		}
		b.add(f.results("bursts, "+name, nameAtoll, what, goal)...)
	}
	for _, what := range []string{whatSpans, whatLines} {
		name := fmt.Sprintf("load, %s %s", number(l.sent[what]), what)
		goal := 0.0
		if what == whatSpans {
			goal = goalSpans
		}
		b.add(l.loaded[what].results(name, nameAtoll, what, goal)...)
	}
}

// onDisk are the results of what lies on disk.
func (b *bench) onDisk(a *app, l *long) error {
	for _, s := range []struct {
		what, signal, one string
		most              float64
	}{{whatSpans, "spans", "span", goalSpanBytes}, {whatLines, "logs", "line", goalLineBytes}} {
		k, err := a.kept(s.signal)
		if err != nil {
			return err
		}
		name := "on disk, " + s.what
		if k.rows > 0 {
			b.add(report.Result{Case: name, Subject: nameAtoll, Metric: "in blocks", Value: float64(k.bytes) / float64(k.rows), Unit: "B/" + s.one}.AtMost(s.most))
		}
		b.add(report.Result{Case: name, Subject: nameAtoll, Metric: "as sent, not compressed", Value: l.loaded[s.what].bytes, Unit: "B/" + s.one},
			report.Result{Case: name, Subject: nameAtoll, Metric: "in blocks", Value: float64(k.rows), Unit: s.what},
			report.Result{Case: name, Subject: nameAtoll, Metric: "write-ahead log, of what is in no block yet", Value: float64(k.log) / mega, Unit: "MB"})
	}
	return nil
}

// found asks for what was loaded, while more comes.
func (b *bench) found(ctx context.Context, a *app, l *long) (err error) {
	if err := settle(ctx, a.pid, settleLimit); err != nil {
		return err
	}
	b.taken(l)
	if err := b.onDisk(a, l); err != nil {
		return err
	}
	within := url.Values{"from": {l.from.Add(-time.Hour).UTC().Format(time.RFC3339)}}
	q := overSocket(a.socket)
	defer q.close()
	if err := b.complete(ctx, q, l, within); err != nil {
		return err
	}
	steady, stop := b.steady(ctx, &a.server)
	memory := watch(ctx, a.pid)
	all := questions(l.picks[0], within, b.rounds)
	for i := range b.rounds {
		b.tell("questions, round %d of %d", i+1, b.rounds)
		if err = ask(ctx, q, all); err != nil {
			break
		}
	}
	stop()
	took, rate := <-steady.failed, steady.rate()
	if err := errors.Join(err, took); err != nil {
		return err
	}
	most := memory()
	name := fmt.Sprintf("among %s spans and %s lines", number(l.sent[whatSpans]), number(l.sent[whatLines]))
	for _, x := range all {
		b.add(x.results(name, nameAtoll)...)
	}
	b.add(report.Result{Case: name, Subject: nameAtoll, Metric: "written meanwhile", Value: rate, Unit: "spans/s"},
		report.Result{Case: name, Subject: nameAtoll, Metric: "resident memory meanwhile, peak", Value: most.resident, Unit: "MB"}.AtMost(goalMemory))
	return nil
}

// results are those of one question.
func (q *question) results(kase, subject string) []report.Result {
	var medians []float64
	for _, took := range q.took {
		medians = append(medians, report.Median(took))
	}
	r := report.Result{Case: kase, Subject: subject, Metric: q.name + ", p50", Value: report.Median(medians), Unit: "ms"}
	if q.atMost > 0 {
		r = r.AtMost(q.atMost)
	}
	out := []report.Result{r}
	if q.p99 {
		out = append(out, report.Result{Case: kase, Subject: subject, Metric: q.name + ", p99", Value: q.quantile(0.99), Unit: "ms"})
	}
	return out
}

// complete counts what is kept: nothing that was acknowledged may be missing.
func (b *bench) complete(ctx context.Context, q *asker, l *long, within url.Values) error {
	for what, path := range map[string]string{whatSpans: pathSpans, whatLines: pathLines} {
		body, _, err := q.ask(ctx, asked(path, "| count()", within))
		if err != nil {
			return err
		}
		n, err := counted(body)
		if err != nil {
			return err
		}
		if want := int64(l.sent[what] + b.sent[what]); n < want {
			return fmt.Errorf("%d %s were acknowledged, and %d are kept", want, what, n)
		}
	}
	return nil
}

// answer is what answers have of what they found, those of Jaeger too.
type answer struct {
	Spans, Records, Traces, Data []json.RawMessage
	Table                        struct{ Rows [][]json.RawMessage }
}

// counted reads the answer to a query that counts.
func counted(body []byte) (int64, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return 0, fmt.Errorf("read %.300s: %w", body, err)
	}
	if len(a.Table.Rows) != 1 || len(a.Table.Rows[0]) != 1 {
		return 0, fmt.Errorf("%.300s is no count", body)
	}
	n, err := strconv.ParseFloat(string(a.Table.Rows[0][0]), 64)
	if err != nil {
		return 0, fmt.Errorf("%.300s is no count: %w", body, err)
	}
	return int64(n), nil
}

// found tells whether an answer has anything.
func found(body []byte) bool {
	var a answer
	return json.Unmarshal(body, &a) == nil && len(a.Spans)+len(a.Records)+len(a.Traces)+len(a.Data)+len(a.Table.Rows) > 0
}

// steady is a load at a rate.
type steady struct {
	failed chan error // has one value when it ended
	items  int
	took   time.Duration
}

func (s *steady) rate() float64 { return float64(s.items) / s.took.Seconds() }

// steady sends so many spans a second as b.rate says until stop.
func (b *bench) steady(ctx context.Context, s *server) (out *steady, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	out = &steady{failed: make(chan error, 1)}
	sh := b.shape(math.MaxInt32)
	sh.from = time.Now()
	go func() { out.failed <- out.send(ctx, s, spans(sh), b.rate) }()
	return out, cancel
}

func (s *steady) send(ctx context.Context, to *server, from *stream, rate int) error {
	c, err := dial(overGRPC, to.grpc, to.http)
	if err != nil {
		return err
	}
	defer c.close()
	began := time.Now()
	for {
		e, _ := from.next()
		s.took = time.Since(began)
		due := began.Add(time.Duration(float64(s.items) / float64(rate) * float64(time.Second)))
		if pause(ctx, time.Until(due)) != nil {
			return nil // it is enough
		}
		if _, err := deliver(ctx, c, &e); err != nil {
			if ctx.Err() != nil {
				return nil // it is enough
			}
			return err
		}
		s.items += e.items
	}
}
