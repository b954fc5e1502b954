// Command testsvc is the service that the tests run under Atoll: it does what its flags and the paths of requests
// tell it, good and bad. It knows nothing of Atoll but its environment variables.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// options are the flags.
type options struct {
	mode  string        // http, grpc, tcp, or none: never listen
	port  string        // instead of $PORT
	say   string        // answered to /say
	file  string        // whose contents, read at the start, are answered to /say
	print string        // written to standard output at the start
	after time.Duration // before it listens
	drain time.Duration // how long requests may take to finish after SIGTERM
	exit  int           // ends at once with this code, if that is not negative
	deaf  bool          // takes no notice of SIGTERM
}

func main() {
	var o options
	flag.StringVar(&o.mode, "mode", "http", "http, grpc, tcp or none")
	flag.StringVar(&o.port, "port", os.Getenv("PORT"), "port to listen on")
	flag.StringVar(&o.say, "say", "hello", "answer of /say")
	flag.StringVar(&o.file, "file", "", "file that holds the answer of /say")
	flag.StringVar(&o.print, "print", "", `lines to write at the start, separated by \n`)
	flag.DurationVar(&o.after, "after", 0, "how long to wait before listening")
	flag.DurationVar(&o.drain, "drain", 5*time.Second, "how long requests may take to finish at the end")
	flag.IntVar(&o.exit, "exit", -1, "code to end with at once")
	flag.BoolVar(&o.deaf, "deaf", false, "take no notice of SIGTERM")
	flag.Parse()
	if err := run(&o); err != nil {
		fmt.Fprintln(os.Stderr, "ERROR", err)
		os.Exit(1)
	}
}

func run(o *options) error {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if o.deaf {
		signal.Ignore(signals...)
		signals = []os.Signal{syscall.SIGUSR2}
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	if o.print != "" {
		fmt.Println(strings.ReplaceAll(o.print, `\n`, "\n")) //nolint:forbidigo // output is what is tested
	}
	if o.exit >= 0 {
		fmt.Fprintln(os.Stderr, "ERROR cannot go on: told to exit")
		os.Exit(o.exit)
	}
	if o.file != "" {
		text, err := os.ReadFile(o.file)
		if err != nil {
			return fmt.Errorf("read what to say: %w", err)
		}
		o.say = strings.TrimSpace(string(text))
	}
	select {
	case <-time.After(o.after):
	case <-ctx.Done():
		return nil
	}
	if o.mode == "none" {
		<-ctx.Done()
		return nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:"+o.port)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	switch o.mode {
	case "grpc":
		return serveGRPC(ctx, ln)
	case "tcp":
		return serveTCP(ctx, ln, o.say)
	default:
		return serveHTTP(ctx, ln, o)
	}
}

// serveHTTP serves until ctx ends, and then until requests in flight have finished.
func serveHTTP(ctx context.Context, ln net.Listener, o *options) error {
	server := &http.Server{Handler: handler(o), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }() // ends with Shutdown
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	left, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.drain)
	defer cancel()
	if err := server.Shutdown(left); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}

// serveGRPC serves the gRPC health service.
func serveGRPC(ctx context.Context, ln net.Listener) error {
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	stop := context.AfterFunc(ctx, server.GracefulStop)
	defer stop()
	return server.Serve(ln)
}

// serveTCP greets each connection with a line and sends back what comes.
func serveTCP(ctx context.Context, ln net.Listener, greeting string) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		open.Go(func() {
			defer conn.Close()
			fmt.Fprintln(conn, greeting)
			_, _ = io.Copy(conn, conn) // ends with the client
		})
	}
}
