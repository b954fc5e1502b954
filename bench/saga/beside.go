package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/bench/internal/report"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/sqlitesaga"
)

// beside starts a steady stream of sagas by turns without others, and while so many others wait for a service that does not answer.
// Each has an application of its own, so that those that wait are there all the time.
func (b *bench) beside(ctx context.Context, waiting, rate int) (err error) {
	apps := map[bool]*app{}
	defer func() {
		for _, a := range apps {
			err = errors.Join(err, a.down(ctx))
		}
	}()
	for _, hung := range []bool{false, true} {
		if apps[hung], err = startApp(ctx, b.programs, filepath.Join(b.dir, map[bool]string{false: "free", true: "hung"}[hung]), ""); err != nil {
			delete(apps, hung)
			return err
		}
	}
	if err := hang(ctx, apps[true].sagas, waiting); err != nil {
		return fmt.Errorf("start instances that wait: %w", err)
	}
	sh := b.shape
	sh.clients = 2048
	var numbers atomic.Int64
	p50, p99 := map[bool][]float64{}, map[bool][]float64{}
	for range b.rounds {
		for hung, a := range apps {
			w, err := steady(ctx, a.sagas, saga5, rate, sh, &numbers)
			if err != nil {
				return fmt.Errorf("%d sagas a second, with others that wait: %t: %w", rate, hung, err)
			}
			p50[hung], p99[hung] = append(p50[hung], w.P50), append(p99[hung], w.P99)
		}
	}
	for metric, of := range map[string]map[bool][]float64{"end after start, p50": p50, "end after start, p99": p99} {
		line := func(hung bool) report.Result {
			subject := nameSQLite
			if hung {
				subject = fmt.Sprintf("%s, %d others wait", nameSQLite, waiting)
			}
			return report.Result{Case: fmt.Sprintf("five steps, %d/s", rate), Subject: subject, Metric: metric, Value: report.Median(of[hung]), Unit: "ms"}
		}
		b.extra = append(b.extra, line(false), line(true).Against(line(false)))
	}
	return nil
}

// hang starts so many instances whose call is never answered.
func hang(ctx context.Context, addr string, n int) error {
	const clients = 64
	var numbers atomic.Int64
	failed := make(chan error, clients)
	var wait sync.WaitGroup
	for range clients {
		st, err := dial(ctx, addr, "hangs", false)
		if err != nil {
			failed <- err
			break
		}
		wait.Go(func() {
			defer st.close()
			for {
				i := numbers.Add(1)
				if i > int64(n) {
					return
				}
				if err := st.start(i, "running"); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wait.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// after measures before and after so many finished instances were put into the store, by turns: two applications of which one has
// them. They are put there by the store itself, as copies of one that has ended, while the application does not run.
func (b *bench) after(ctx context.Context, finished int) (err error) {
	apps := map[bool]*app{}
	defer func() {
		for _, a := range apps {
			err = errors.Join(err, a.down(ctx))
		}
	}()
	for _, full := range []bool{false, true} {
		if apps[full], err = startApp(ctx, b.programs, filepath.Join(b.dir, map[bool]string{false: "empty", true: "full"}[full]), ""); err != nil {
			delete(apps, full)
			return err
		}
	}
	took, err := b.fill(ctx, apps[true], finished)
	if err != nil {
		return fmt.Errorf("put finished instances into the store: %w", err)
	}
	var numbers atomic.Int64
	found := map[string]map[bool][]float64{}
	for range b.rounds {
		for full, a := range apps {
			w, err := closed(ctx, a.sagas, b.shape, &numbers, func() error { return nil })
			if err != nil {
				return err
			}
			for metric, value := range map[string]float64{"sagas": float64(w.Count) / w.Took, "end after start, p50": w.P50, "end after start, p99": w.P99} {
				if found[metric] == nil {
					found[metric] = map[bool][]float64{}
				}
				found[metric][full] = append(found[metric][full], value)
			}
		}
	}
	name := fmt.Sprintf("%s, %d finished", nameSQLite, finished)
	for _, metric := range []string{"sagas", "end after start, p50", "end after start, p99"} {
		line := func(full bool) report.Result {
			return report.Result{
				Case: b.name(), Subject: map[bool]string{false: nameSQLite + ", empty", true: name}[full], Metric: metric, Value: report.Median(found[metric][full]),
				Unit: map[bool]string{false: "ms", true: "sagas/s"}[metric == "sagas"],
			}
		}
		with := line(true).Against(line(false))
		if metric == "sagas" {
			with = with.Times(goalFull)
		}
		b.extra = append(b.extra, line(false), with)
	}
	size, err := fileSize(apps[true].file())(ctx)
	b.extra = append(b.extra, report.Result{Case: "store", Subject: name, Metric: "size", Value: float64(size) / 1e6, Unit: "MB"},
		report.Result{Case: "store", Subject: name, Metric: "time to put them there", Value: took.Seconds(), Unit: "s"})
	return err
}

// goalFull is how much of the rate must be left beside finished instances.
const goalFull = 0.9

// fill ends an application, puts copies of one of its instances into its store, and starts it again.
func (b *bench) fill(ctx context.Context, a *app, n int) (time.Duration, error) {
	st, err := dial(ctx, a.sagas, saga5, true)
	if err != nil {
		return 0, err
	}
	err = st.start(1, "completed")
	st.close()
	if err := errors.Join(err, a.down(ctx)); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := copies(ctx, a.file(), n); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, a.up(ctx)
}

// copies puts n copies of the only instance into a store. They were started and have ended one after the other.
func copies(ctx context.Context, path string, n int) (err error) {
	store, err := sqlitesaga.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if _, err := store.Claim(ctx); err != nil {
		return err
	}
	rows, err := store.Find(ctx, &saga.Query{Saga: saga5, Limit: 1})
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return errors.New("there is no instance to copy")
	}
	model, err := store.Row(ctx, rows[0].ID)
	if err != nil {
		return err
	}
	lines, err := store.History(ctx, model.ID)
	if err != nil {
		return err
	}
	records := []byte("[")
	for i, line := range lines {
		if i > 0 {
			records = append(records, ',')
		}
		records = append(records, line...)
	}
	records = append(records, ']')
	const batch = 500
	for from := 0; from < n; from += batch {
		changes := make([]*saga.Change, 0, batch)
		for i := from; i < min(from+batch, n); i++ {
			row := *model
			row.ID, row.Key, row.Rev = fmt.Sprintf("%.10s%016d", model.ID, i), fmt.Sprint("o-", i), 1
			changes = append(changes, &saga.Change{Row: &row, Create: &saga.Origin{}, Records: records})
		}
		if _, err := store.Commit(ctx, changes); err != nil {
			return err
		}
	}
	return nil
}
