package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const taskQueue = "bench"

// openTemporal runs a workflow of five activities; the worker lies in this process.
func openTemporal(ctx context.Context, s *service) (*peer, error) {
	c, err := client.DialContext(ctx, client.Options{
		HostPort: os.Getenv("TARGET"), Logger: log.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
	})
	if err != nil {
		return nil, fmt.Errorf("connect to temporal: %w", err)
	}
	activity := func(ctx context.Context, key string, order Order) (string, error) { return s.call(ctx, key, order) }
	flow := func(ctx workflow.Context, order Order) (string, error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 30 * time.Second})
		last := ""
		for i := range steps {
			if err := workflow.ExecuteActivity(ctx, activity, fmt.Sprintf("%s/s%d/do", order.Order, i+1), order).Get(ctx, &last); err != nil {
				return "", err
			}
		}
		return last, nil
	}
	w := worker.New(c, taskQueue, worker.Options{})
	w.RegisterWorkflow(flow)
	w.RegisterActivity(activity)
	if err := w.Start(); err != nil {
		return nil, fmt.Errorf("start worker of temporal: %w", err)
	}
	return &peer{
		setup: os.Getenv("SERVER") + ", SDK " + version("go.temporal.io/sdk") + ": a workflow of five activities, one worker with the default settings",
		run: func(ctx context.Context, order Order) error {
			run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: taskQueue}, flow, order)
			if err != nil {
				return err
			}
			return run.Get(ctx, nil)
		},
		stop: func() {
			w.Stop()
			c.Close()
		},
	}, nil
}
