package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// StepArgs is the job that takes one step.
type StepArgs struct {
	Order
	Step int `json:"step"`
}

// Kind implements river.JobArgs.
func (StepArgs) Kind() string { return "step" }

// chain takes a step, and in one transaction ends the job and inserts the next.
type chain struct {
	river.WorkerDefaults[StepArgs]
	service *service
	pool    *pgxpool.Pool

	mu      sync.Mutex
	waiting map[string]chan struct{} // guarded by mu: by order
}

// How often jobs are fetched. By default they are looked for ten times a second, which is the limit of a chain.
const (
	cooldown = 5 * time.Millisecond
	poll     = 20 * time.Millisecond
)

// Work implements river.Worker.
func (c *chain) Work(ctx context.Context, job *river.Job[StepArgs]) error {
	args := job.Args
	if _, err := c.service.call(ctx, fmt.Sprintf("%s/s%d/do", args.Order.Order, args.Step), args.Order); err != nil {
		return err
	}
	tx, err := c.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if args.Step < steps {
		args.Step++
		if _, err := river.ClientFromContext[pgx.Tx](ctx).InsertTx(ctx, tx, args, nil); err != nil {
			return err
		}
	} else {
		args.Step++
	}
	if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	if args.Step > steps {
		c.ended(args.Order.Order)
	}
	return nil
}

func (c *chain) ended(order string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if done := c.waiting[order]; done != nil {
		close(done)
		delete(c.waiting, order)
	}
}

func openRiver(ctx context.Context, s *service) (*peer, error) {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, fmt.Errorf("open river: %w", err)
	}
	config.MaxConns = 64
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open river: %w", err)
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err == nil {
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("make tables of river: %w", err)
	}
	c := &chain{service: s, pool: pool, waiting: map[string]chan struct{}{}}
	workers := river.NewWorkers()
	river.AddWorker(workers, c)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 100}}, Workers: workers,
		FetchCooldown: cooldown, FetchPollInterval: poll,
	})
	if err == nil {
		err = client.Start(context.WithoutCancel(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("start river: %w", err)
	}
	return &peer{
		setup: "river " + version("github.com/riverqueue/river") + ": a chain of five jobs, each ended and the next inserted in one transaction, 100 workers, pool of 64, FetchCooldown " +
			cooldown.String() + " and FetchPollInterval " + poll.String() + " (by default 100ms and 1s)",
		run: func(ctx context.Context, order Order) error {
			done := make(chan struct{})
			c.mu.Lock()
			c.waiting[order.Order] = done
			c.mu.Unlock()
			if _, err := client.Insert(ctx, StepArgs{order, 1}, nil); err != nil {
				return err
			}
			select {
			case <-done:
				return nil
			case <-time.After(time.Minute):
				return errors.New("the chain of jobs does not end")
			}
		},
		stop: func() {
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_ = client.StopAndCancel(ending)
			pool.Close()
		},
	}, nil
}
