package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/atollhq/atoll/internal/control/api"
	control "github.com/atollhq/atoll/internal/control/client"
)

// service is the program of both services: one is there for its addresses, the other takes events and notes how old they are.
const service = `package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

func main() {
	var mu sync.Mutex
	var ages []float64
	http.HandleFunc("GET /env", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode([]string{os.Getenv("EVENTS_URL"), os.Getenv("NATS_URL")})
	})
	http.HandleFunc("POST /take", func(_ http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		sent, err := strconv.ParseInt(string(data), 10, 64)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		ages = append(ages, float64(time.Now().UnixNano()-sent)/1e6)
	})
	http.HandleFunc("GET /ages", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		json.NewEncoder(w).Encode(ages)
		ages = nil
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
`

const application = `app: bench
services:
  - {service: source, dir: ., run: %[1]q, publishes: [load, timed], ready: /env}
  - {service: sink, dir: ., run: %[1]q, subscribes: {timed: /take}, ready: /env}
gateway:
  listen: 127.0.0.1:0
  routes: [{path: /source/**, to: source, strip: /source}, {path: /sink/**, to: sink, strip: /sink}]
`

// atollApp is a running application.
type atollApp struct {
	program, dir string
	gateway      string
	events       *url.URL
	nats         string
	pid          int
	client       http.Client
}

// startAtoll builds Atoll as it is released and starts an application.
func startAtoll(ctx context.Context, dir string) (*atollApp, error) {
	a := &atollApp{program: filepath.Join(dir, "atoll"), dir: filepath.Join(dir, "app")}
	source, program := filepath.Join(dir, "service.go"), filepath.Join(dir, "service")
	if err := errors.Join(os.MkdirAll(a.dir, 0o750), os.WriteFile(source, []byte(service), 0o600),
		os.WriteFile(filepath.Join(a.dir, "atoll.yaml"), fmt.Appendf(nil, application, program), 0o600)); err != nil {
		return nil, fmt.Errorf("write application: %w", err)
	}
	if err := errors.Join(build(ctx, a.program, "./cmd/atoll"), build(ctx, program, source)); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, a.program, "-C", a.dir, "up", "-d").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("atoll up: %w\n%s", err, out)
	}
	return a, a.look(ctx)
}

func build(ctx context.Context, program, source string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s (in the folder of Atoll's source?): %w\n%s", source, err, out)
	}
	return nil
}

// look finds the addresses of the running application.
func (a *atollApp) look(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(a.dir, ".atoll", api.RunFile))
	if err != nil {
		return fmt.Errorf("read run file: %w", err)
	}
	var run api.Run
	if err := json.Unmarshal(text, &run); err != nil {
		return fmt.Errorf("read run file: %w", err)
	}
	a.pid = run.PID
	client, err := control.Dial(ctx, filepath.Join(a.dir, ".atoll"))
	if err != nil {
		return fmt.Errorf("ask Atoll: %w", err)
	}
	defer client.Close()
	info, err := client.App(ctx)
	if err != nil {
		return fmt.Errorf("ask Atoll: %w", err)
	}
	a.gateway = info.Gateway
	var env [2]string
	if err := a.get(ctx, "/source/env", &env); err != nil {
		return fmt.Errorf("ask service: %w", err)
	}
	a.nats = env[1]
	a.events, err = url.Parse(env[0])
	return err
}

func (a *atollApp) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.gateway+path, nil)
	if err != nil {
		return err
	}
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}

func (a *atollApp) stop() error {
	if out, err := exec.CommandContext(context.Background(), a.program, "-C", a.dir, "down").CombinedOutput(); err != nil {
		return fmt.Errorf("atoll down: %w\n%s", err, out)
	}
	return nil
}

func (a *atollApp) overHTTP() *subject {
	return &subject{name: atollHTTP, open: a.openHTTP, pid: func() int { return a.pid }, stop: a.stop}
}

// openHTTP makes publishers with a connection each. They speak HTTP/1.1 in few lines, so that what is measured is not the client.
func (a *atollApp) openHTTP(ctx context.Context, n int) ([]func() error, func(), error) {
	body := strings.Repeat("x", payload)
	request := fmt.Appendf(nil, "POST /load HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", a.events.Host, payload, body)
	var conns []net.Conn
	end := func() {
		for _, c := range conns {
			_ = c.Close() // nothing is in flight
		}
	}
	publishers := make([]func() error, n)
	var d net.Dialer
	for i := range publishers {
		c, err := d.DialContext(ctx, "tcp", a.events.Host)
		if err != nil {
			end()
			return nil, nil, err
		}
		conns = append(conns, c)
		in := bufio.NewReaderSize(c, 1024)
		publishers[i] = func() error {
			if _, err := c.Write(request); err != nil {
				return err
			}
			return readResponse(in)
		}
	}
	return publishers, end, nil
}

// readResponse reads a response with Content-Length, and wants it to be 200.
func readResponse(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		rest := make([]byte, in.Buffered())
		_, _ = io.ReadFull(in, rest)
		return fmt.Errorf("answered %s%s", line, rest)
	}
	length := 0
	for {
		line, err = in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	_, err = in.Discard(length)
	return err
}

func (a *atollApp) overNATS() *subject {
	return &subject{name: atollNATS, pid: func() int { return a.pid }, open: func(_ context.Context, n int) ([]func() error, func(), error) {
		return openNATS(a.nats, "events.load", n)
	}}
}

// openNATS makes publishers that share connections, and ask for JetStream's acknowledgement.
func openNATS(url, subject string, n int) ([]func() error, func(), error) {
	var conns []*nats.Conn
	end := func() {
		for _, c := range conns {
			c.Close()
		}
	}
	for range min(n, connections) {
		c, err := nats.Connect(url)
		if err != nil {
			end()
			return nil, nil, err
		}
		conns = append(conns, c)
	}
	data := bytes.Repeat([]byte("x"), payload)
	publishers := make([]func() error, n)
	for i := range publishers {
		c := conns[i%len(conns)]
		publishers[i] = func() error {
			m, err := c.Request(subject, data, 10*time.Second)
			if err != nil {
				return err
			}
			if bytes.Contains(m.Data, []byte(`"error"`)) {
				return fmt.Errorf("refused: %s", m.Data)
			}
			return nil
		}
	}
	return publishers, end, nil
}

// endToEnd publishes events in a steady stream, and returns how long half of them, and all but one in a hundred, took to arrive, in ms.
func (a *atollApp) endToEnd(ctx context.Context) (p50, p99 float64, err error) {
	const events, rate = 600, 200
	ticker := time.NewTicker(time.Second / rate)
	defer ticker.Stop()
	var wait sync.WaitGroup
	var mu sync.Mutex
	for range events {
		<-ticker.C
		wait.Go(func() {
			if failed := a.publishTimed(ctx); failed != nil {
				mu.Lock()
				defer mu.Unlock()
				err = errors.Join(err, failed)
			}
		})
	}
	wait.Wait()
	var ages []float64
	for limit := 50; len(ages) < events && err == nil; limit-- {
		var more []float64
		err = errors.Join(pause(ctx, 100*time.Millisecond), a.get(ctx, "/sink/ages", &more))
		if ages = append(ages, more...); limit == 0 {
			err = fmt.Errorf("of %d events, %d have arrived", events, len(ages))
		}
	}
	if err != nil {
		return 0, 0, err
	}
	slices.Sort(ages)
	return ages[len(ages)/2], ages[len(ages)*99/100], nil
}

func (a *atollApp) publishTimed(ctx context.Context) error {
	text := strconv.FormatInt(time.Now().UnixNano(), 10)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.events.String()+"/timed", strings.NewReader(text))
	if err != nil {
		return err
	}
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("publishing was answered %s", res.Status)
	}
	return nil
}
