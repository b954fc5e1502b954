// Command peers runs five-step sagas on what others have made, for bench/saga. It is a module of its own, so that Atoll does not
// depend on them.
//
//	peers dbos|river|temporal|dtm
//
// The environment says where things are: SERVICE (host and port of the service that takes the steps), DATABASE_URL (dbos, river),
// TARGET (host and port of temporal or dtm). The first line that it prints says what is measured and how it is set up. For each line
// "CLIENTS WARM EACH" (milliseconds) on its standard input it prints "begin" and "end" when what counts begins and ends, and then what
// was seen as JSON. It ends with its standard input.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// peer runs sagas.
type peer struct {
	setup string                                       // for people
	run   func(ctx context.Context, order Order) error // one saga, to its end
	stop  func()
}

// Order is what a saga is started with.
type Order struct {
	Order  string `json:"order"`
	Amount int64  `json:"amount"`
}

const steps = 5

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	open := map[string]func(context.Context, *service) (*peer, error){"dbos": openDBOS, "river": openRiver, "temporal": openTemporal, "dtm": openDTM}
	if len(args) != 1 || open[args[0]] == nil {
		return errors.New("name one of dbos, river, temporal and dtm")
	}
	p, err := open[args[0]](ctx, newService(os.Getenv("SERVICE")))
	if err != nil {
		return err
	}
	defer p.stop()
	if _, err := fmt.Fprintln(out, p.setup); err != nil {
		return err
	}
	var numbers atomic.Int64
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var clients int
		var warm, each int64
		if _, err := fmt.Sscan(lines.Text(), &clients, &warm, &each); err != nil {
			return fmt.Errorf("read %q: %w", lines.Text(), err)
		}
		if err := p.measure(ctx, clients, time.Duration(warm)*time.Millisecond, time.Duration(each)*time.Millisecond, &numbers, out); err != nil {
			return err
		}
	}
	return nil
}

// window is what was seen.
type window struct {
	Count int64   `json:"count"`
	All   int64   `json:"all"`
	Took  float64 `json:"took"` // s
	P50   float64 `json:"p50"`  // ms
	P99   float64 `json:"p99"`
}

// measure runs sagas, so many at once, each client one after the other.
func (p *peer) measure(ctx context.Context, clients int, warm, each time.Duration, numbers *atomic.Int64, out io.Writer) error {
	var counting, stopped atomic.Bool
	failed := make(chan error, clients)
	took := make([][]float64, clients)
	first := numbers.Load()
	var wait sync.WaitGroup
	for i := range clients {
		wait.Go(func() {
			for !stopped.Load() {
				n, began := numbers.Add(1), time.Now()
				if err := p.run(ctx, Order{fmt.Sprint("o-", n), n}); err != nil {
					failed <- err
					return
				}
				if counting.Load() {
					took[i] = append(took[i], float64(time.Since(began).Microseconds())/1000)
				}
			}
		})
	}
	<-time.After(warm)
	fmt.Fprintln(out, "begin")
	began := time.Now()
	counting.Store(true)
	<-time.After(each)
	counting.Store(false)
	w := window{Took: time.Since(began).Seconds()}
	fmt.Fprintln(out, "end")
	stopped.Store(true)
	wait.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	all := slices.Concat(took...)
	if len(all) == 0 {
		return errors.New("nothing has ended")
	}
	slices.Sort(all)
	w.Count, w.All, w.P50, w.P99 = int64(len(all)), numbers.Load()-first, all[len(all)/2], all[len(all)*99/100]
	return json.NewEncoder(out).Encode(w)
}

// service is what takes the steps.
type service struct {
	addr   string
	client http.Client
}

func newService(addr string) *service {
	return &service{addr: addr, client: http.Client{
		Transport: &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024}, Timeout: 30 * time.Second,
	}}
}

// call takes a step, and returns its output.
func (s *service) call(ctx context.Context, key string, order Order) (string, error) {
	body, err := json.Marshal(order)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+"/step", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	res, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the service answered %s: %s", res.Status, answer)
	}
	return string(answer), nil
}

// version is that of a module in this program.
func version(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "?"
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return "?"
}
