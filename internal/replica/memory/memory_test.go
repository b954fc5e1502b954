package memory_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/replica/memory"
	"github.com/atollhq/atoll/internal/replica/replicatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryKeepsWhatDriversPromise(t *testing.T) {
	t.Parallel()
	replicatest.Run(t, func(t *testing.T) replicatest.Harness {
		t.Helper()
		return replicatest.Harness{
			Driver: &memory.Driver{
				Programs: map[string]memory.Program{
					string(replicatest.Serve): func(ctx context.Context, c *memory.Copy) int {
						go greet(ctx, c)
						return memory.Serve(ctx, c)
					},
					string(replicatest.Stubborn): func(ctx context.Context, c *memory.Copy) int {
						c.Ready(nil)
						<-ctx.Done()
						return 0
					},
					string(replicatest.Fail): func(_ context.Context, c *memory.Copy) int {
						c.PrintErr("going down")
						return 3
					},
					string(replicatest.Talk): talk,
					string(replicatest.Idle): func(ctx context.Context, c *memory.Copy) int {
						select {
						case <-c.Terminated():
						case <-ctx.Done():
						}
						return 0
					},
				},
				Builds: map[string]memory.Build{
					string(replicatest.Build): func(_ context.Context, spec replica.BuildSpec) error {
						spec.Output(replica.Line{Stream: replica.StreamBuild, Text: "compiling"})
						return nil
					},
					string(replicatest.BuildFails): func(_ context.Context, spec replica.BuildSpec) error {
						spec.Output(replica.Line{Stream: replica.StreamBuild, Text: "main.go:1: broken"})
						return errors.New("exit code 1")
					},
					string(replicatest.BuildHangs): func(ctx context.Context, _ replica.BuildSpec) error {
						<-ctx.Done()
						return ctx.Err()
					},
				},
			},
			Command: func(b replicatest.Behaviour) string { return string(b) },
		}
	})
}

func greet(ctx context.Context, c *memory.Copy) {
	for {
		conn, err := c.Accept(ctx)
		if err != nil {
			return
		}
		if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
			fmt.Fprint(conn, "hello\n")
		}
		conn.Close()
	}
}

func talk(_ context.Context, c *memory.Copy) int {
	for i := range 100 {
		c.Print(fmt.Sprintf("line %d", i))
	}
	c.Print(strings.Repeat("é", 100_000))
	c.Print("\xff!")
	return 0
}
