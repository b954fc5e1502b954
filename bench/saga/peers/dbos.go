package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
)

// openDBOS runs a workflow of five steps in the process itself, as DBOS is meant to be used.
func openDBOS(ctx context.Context, s *service) (*peer, error) {
	d, err := dbos.NewContext(ctx, dbos.Config{
		DatabaseURL: os.Getenv("DATABASE_URL"), AppName: "bench", Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return nil, fmt.Errorf("open dbos: %w", err)
	}
	workflow := func(ctx dbos.Context, order Order) (string, error) {
		last := ""
		for i := range steps {
			key := fmt.Sprintf("%s/s%d/do", order.Order, i+1)
			var err error
			if last, err = dbos.RunAsStep(ctx, func(ctx context.Context) (string, error) { return s.call(ctx, key, order) }); err != nil {
				return "", err
			}
		}
		return last, nil
	}
	dbos.RegisterWorkflow(d, workflow)
	if err := dbos.Launch(d); err != nil {
		return nil, fmt.Errorf("launch dbos: %w", err)
	}
	return &peer{
		setup: "dbos-transact-golang " + version("github.com/dbos-inc/dbos-transact-golang") + ": a workflow of five RunAsStep, pool of 20 connections (its default)",
		run: func(_ context.Context, order Order) error {
			handle, err := dbos.RunWorkflow(d, workflow, order)
			if err != nil {
				return err
			}
			_, err = handle.GetResult()
			return err
		},
		stop: func() { dbos.Shutdown(d, 2*time.Second) },
	}, nil
}
