package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// order is what a saga is started with; the number makes each one's own.
const order = `{"order":"o-%d","amount":%[1]d}`

// starter starts sagas on a connection of its own, in few lines of HTTP/1.1, so that what is measured is not the client.
type starter struct {
	conn    net.Conn
	in      *bufio.Reader
	head    string
	body    []byte
	request []byte
	answer  []byte
}

// dial makes a starter of a saga. With wait it waits for the end of each.
func dial(ctx context.Context, addr, saga string, wait bool) (*starter, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	head := "POST /" + saga + " HTTP/1.1\r\nHost: " + addr + "\r\nContent-Type: application/json\r\n"
	if wait {
		head += "Prefer: wait=120\r\n"
	}
	return &starter{conn: c, in: bufio.NewReaderSize(c, 4096), head: head}, nil
}

func (s *starter) close() { _ = s.conn.Close() } // nothing is in flight

// start starts the saga with a number, and wants it to be in the state, such as completed.
func (s *starter) start(number int64, state string) error {
	s.body = fmt.Appendf(s.body[:0], order, number)
	s.request = fmt.Appendf(s.request[:0], "%sContent-Length: %d\r\n\r\n%s", s.head, len(s.body), s.body)
	if _, err := s.conn.Write(s.request); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	status, err := s.read()
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if status != "200" && status != "202" || !bytes.Contains(s.answer, []byte(`"state":"`+state+`"`)) {
		return fmt.Errorf("answered %s: %s", status, s.answer)
	}
	return nil
}

// read reads an answer with Content-Length.
func (s *starter) read() (status string, err error) {
	line, err := s.in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	fields := bytes.Fields(line)
	if len(fields) < 2 {
		return "", fmt.Errorf("%q is no answer", line)
	}
	status = string(fields[1])
	length := -1
	for {
		if line, err = s.in.ReadSlice('\n'); err != nil {
			return status, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return status, err
			}
		}
	}
	if length < 0 {
		return status, errors.New("the answer does not say how long it is")
	}
	s.answer = slices.Grow(s.answer[:0], length)[:length]
	_, err = io.ReadFull(s.in, s.answer)
	return status, err
}

// window is what was seen in a stretch of time.
type window struct {
	Count int64   `json:"count"`
	All   int64   `json:"all"`  // with those that ended before and after
	Took  float64 `json:"took"` // s
	P50   float64 `json:"p50"`  // ms
	P99   float64 `json:"p99"`
}

// closed starts sagas from so many connections, each of which waits for the end of one before it starts the next. At begin and end of
// what counts it calls mark.
func closed(ctx context.Context, addr string, s shape, numbers *atomic.Int64, mark func() error) (window, error) {
	var all []*starter
	defer func() {
		for _, st := range all {
			st.close()
		}
	}()
	for range s.clients {
		st, err := dial(ctx, addr, saga5, true)
		if err != nil {
			return window{}, err
		}
		all = append(all, st)
	}
	var counting, stopped atomic.Bool
	failed := make(chan error, s.clients)
	took := make([][]float64, s.clients)
	first := numbers.Load()
	start, turn := time.Now(), atomic.Int64{}
	var wait sync.WaitGroup
	for i, st := range all {
		wait.Go(func() {
			for !stopped.Load() {
				if s.pace > 0 {
					if err := pause(ctx, time.Until(start.Add(time.Duration(float64(turn.Add(1))/s.pace*float64(time.Second))))); err != nil {
						return
					}
				}
				began := time.Now()
				if err := st.start(numbers.Add(1), "completed"); err != nil {
					failed <- err
					return
				}
				if counting.Load() {
					took[i] = append(took[i], float64(time.Since(began).Microseconds())/microPerMS)
				}
			}
		})
	}
	err := pause(ctx, s.warm)
	err = errors.Join(err, mark())
	began := time.Now()
	counting.Store(true)
	err = errors.Join(err, pause(ctx, s.each))
	counting.Store(false)
	length := time.Since(began)
	err = errors.Join(err, mark())
	stopped.Store(true)
	wait.Wait()
	select {
	case failure := <-failed:
		err = errors.Join(err, failure)
	default:
	}
	if err != nil {
		return window{}, err
	}
	w, err := summary(slices.Concat(took...), length)
	w.All = numbers.Load() - first
	return w, err
}

func summary(ms []float64, length time.Duration) (window, error) {
	if len(ms) == 0 {
		return window{}, errors.New("nothing has ended")
	}
	slices.Sort(ms)
	return window{Count: int64(len(ms)), Took: length.Seconds(), P50: ms[len(ms)/2], P99: ms[len(ms)*99/100]}, nil
}

// steady starts so many sagas a second, whether others have ended or not; the time of each counts from when it was due. No more than
// the connections are under way at once: beyond that it says that the rate cannot be had.
func steady(ctx context.Context, addr, saga string, rate int, s shape, numbers *atomic.Int64) (window, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	due := make(chan time.Time, s.clients)
	took := make([][]float64, s.clients)
	from := time.Now().Add(s.warm)
	var wait sync.WaitGroup
	for i := range s.clients {
		st, err := dial(ctx, addr, saga, true)
		if err != nil {
			close(due)
			wait.Wait()
			return window{}, err
		}
		wait.Go(func() {
			defer st.close()
			for at := range due {
				if err := st.start(numbers.Add(1), "completed"); err != nil {
					cancel(err)
					return
				}
				if at.After(from) {
					took[i] = append(took[i], float64(time.Since(at).Microseconds())/microPerMS)
				}
			}
		})
	}
	err := emit(ctx, due, rate, s)
	close(due)
	wait.Wait()
	if failure := context.Cause(ctx); failure != nil {
		err = failure
	}
	if err != nil {
		return window{}, err
	}
	return summary(slices.Concat(took...), s.each)
}

// emit says when each saga is due.
func emit(ctx context.Context, due chan<- time.Time, rate int, s shape) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	began := time.Now()
	for sent := 0; ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		since := time.Since(began)
		if since > s.warm+s.each {
			return nil
		}
		for ; sent < int(since.Seconds()*float64(rate)); sent++ {
			select {
			case due <- began.Add(time.Duration(float64(sent) / float64(rate) * float64(time.Second))):
			default:
				return fmt.Errorf("%d sagas a second are more than this machine takes: %d are under way and as many wait", rate, s.clients)
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
