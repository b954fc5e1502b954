// Command profiled is Atoll, whose processor time and allocations can be looked at. It is the same program with a handler of signals: the
// first SIGUSR1 begins a profile, the second ends it, in files below the folder that ATOLL_BENCH_PROFILES names.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"

	"github.com/atollhq/atoll/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	if dir := os.Getenv("ATOLL_BENCH_PROFILES"); dir != "" {
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGUSR1)
		go func() {
			if err := profile(dir, asked); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}()
	}
	code := cli.Run(ctx, cli.OS("bench"), os.Args[1:])
	stop()
	os.Exit(code)
}

// profile writes a profile between each two signals. The file whose name ends with .done says that it is whole.
func profile(dir string, asked <-chan os.Signal) error {
	for n := 0; ; n++ {
		<-asked
		name := func(kind string) string { return filepath.Join(dir, fmt.Sprintf("%d.%s", n, kind)) }
		if err := allocations(name("before")); err != nil {
			return err
		}
		file, err := os.Create(name("cpu"))
		if err == nil {
			err = pprof.StartCPUProfile(file)
		}
		if err != nil {
			return fmt.Errorf("begin profile: %w", err)
		}
		<-asked
		pprof.StopCPUProfile()
		if err := errors.Join(file.Close(), allocations(name("after")), os.WriteFile(name("done"), nil, 0o600)); err != nil {
			return fmt.Errorf("end profile: %w", err)
		}
	}
}

// allocations writes what was allocated since the beginning.
func allocations(path string) error {
	runtime.GC() // else the last of it is not told
	runtime.GC()
	file, err := os.Create(path)
	if err == nil {
		err = errors.Join(pprof.Lookup("allocs").WriteTo(file, 0), file.Close())
	}
	if err != nil {
		return fmt.Errorf("write profile of allocations: %w", err)
	}
	return nil
}
