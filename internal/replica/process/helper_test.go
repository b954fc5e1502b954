//go:build linux

package process_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/replica/process"
	"github.com/atollhq/atoll/internal/replica/replicatest"
)

// The tests run this very binary as the programs that they supervise: with "helper" and a name as its first
// arguments it is that program.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "helper" {
		os.Exit(helper(os.Args[2], os.Args[3:]))
	}
	goleak.VerifyTestMain(m)
}

// self is the command line that runs a helper.
func self(name string, args ...string) string {
	return strings.Join(append([]string{"'" + os.Args[0] + "'", "helper", name}, args...), " ")
}

func helper(name string, args []string) int {
	switch name {
	case string(replicatest.Serve):
		return serve(true)
	case string(replicatest.Stubborn):
		return serve(false)
	case string(replicatest.Fail):
		fmt.Fprintln(os.Stderr, "going down")
		return 3
	case string(replicatest.Talk):
		for i := range 100 {
			fmt.Fprintln(os.Stdout, "line", i)
		}
		fmt.Fprintln(os.Stdout, strings.Repeat("é", 100_000))
		fmt.Fprint(os.Stdout, "\xff!") // without a line end
		return 0
	case string(replicatest.Idle):
		terminated := make(chan os.Signal, 1)
		signal.Notify(terminated, syscall.SIGTERM)
		<-terminated
		return 0
	case string(replicatest.Build):
		fmt.Fprintln(os.Stdout, "compiling")
		return 0
	case string(replicatest.BuildFails):
		fmt.Fprintln(os.Stderr, "main.go:1: broken")
		return 1
	case string(replicatest.BuildHangs), "hang":
		<-time.After(time.Hour)
		return 0
	case "deaf": // does not hear SIGTERM
		signal.Ignore(syscall.SIGTERM)
		<-time.After(time.Hour)
		return 0
	case "env":
		for _, kv := range os.Environ() {
			fmt.Fprintln(os.Stdout, kv)
		}
		return 0
	case "family": // a parent that starts a child in its group and prints the child's pid
		return family(args)
	case "hog": // touches memory until it is killed
		return hog()
	case "spin":
		for n := 0; ; n++ {
			runtime.KeepAlive(n)
		}
	case "http-health":
		return healthServer()
	case "grpc-health":
		return grpcHealth(args[0])
	case "six": // listens on IPv6 loopback alone
		l, err := net.Listen("tcp", "[::1]:"+os.Getenv("PORT"))
		if err != nil {
			return 1
		}
		for {
			if _, err := l.Accept(); err != nil {
				return 1
			}
		}
	case "guard":
		if err := process.GuardMain(context.Background(), os.Stdin); err != nil {
			return 1
		}
		return 0
	case "atoll":
		return atoll(args)
	}
	return 99
}

func serve(polite bool) int {
	if polite {
		terminated := make(chan os.Signal, 1)
		signal.Notify(terminated, syscall.SIGTERM)
		go func() {
			<-terminated
			os.Exit(0)
		}()
	} else {
		signal.Ignore(syscall.SIGTERM)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return 1
		}
		go func() {
			defer conn.Close()
			if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
				fmt.Fprint(conn, "hello\n")
			}
		}()
	}
}

func family(args []string) int {
	child := exec.Command(os.Args[0], "helper", "hang")
	child.Stdout = os.Stdout // holds the pipe
	if len(args) > 0 {       // "stray", or "bare", which has no environment either
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if args[0] == "bare" {
			child.Env = []string{}
		}
	}
	if err := child.Start(); err != nil {
		return 1
	}
	fmt.Fprintln(os.Stdout, "child", child.Process.Pid)
	if len(args) == 1 { // the second may be "stay"
		return 7
	}
	<-time.After(time.Hour)
	return 0
}

func hog() int {
	var all [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = byte(i)
		}
		all = append(all, b)
		if len(all) > 1<<10 {
			return 0
		}
	}
}

// healthServer answers 503 to the first two probes.
func healthServer() int {
	n := 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if n++; n <= 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/healthz", http.StatusFound) })
	return listenAndServe(&http.Server{Handler: mux})
}

// grpcHealth is a gRPC server as its protocol says, answering with the given health.
func grpcHealth(health string) int {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /grpc.health.v1.Health/Check", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Te") != "trailers" {
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		if health == "unimplemented" { // an answer of trailers only
			w.Header().Set("Grpc-Status", "12")
			return
		}
		w.Header().Set("Trailer", "Grpc-Status")
		status := map[string]byte{"serving": 1, "not-serving": 2}[health]
		_, _ = w.Write([]byte{0, 0, 0, 0, 2, 8, status})
		w.Header().Set("Grpc-Status", "0")
	})
	return listenAndServe(&http.Server{Handler: mux, Protocols: protocols})
}

func listenAndServe(s *http.Server) int {
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return 1
	}
	if s.Serve(l) != nil {
		return 1
	}
	return 0
}

// atoll is a program that supervises a family, prints the pids of both, and waits to be killed. Its
// arguments: the driver's folder, "guard" or "alone", and those of the family. The folder is an argument of the guard as well, to
// find it by.
func atoll(args []string) int {
	o := &process.Options{Dir: args[0]}
	if args[1] == "guard" {
		o.Guard = []string{os.Args[0], "helper", "guard", args[0]}
	}
	d, err := process.New(o)
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	p, err := d.Start(context.Background(), replica.Spec{
		Service: "orders", Replica: "orders-1", Dir: args[0], Run: self("family", args[2:]...), Env: []string{"ATOLL_REPLICA=orders-1"},
		Output: func(l replica.Line) { fmt.Fprintln(os.Stdout, l.Text) },
	})
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, "parent", p.PID())
	<-time.After(time.Hour)
	return 0
}

// runs tells whether a process is there and not a zombie.
func runs(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

// eventually polls a condition for as long as a busy machine may need.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not so in 20 s: %s", what)
		}
	}
}
