// Package logfile keeps log records on disk as JSON lines, a folder for each service and a few segments in it.
//
// Each service has its own limit of size, so that a noisy one drives out its own old records and nobody
// else's. Append returns when the record is handed to the operating system; records are not synced, so a
// power failure can lose the last ones, a crash of Atoll cannot. There is no queue: a slow disk slows Append,
// and with it the output of the replica. Records of one replica keep their order; those of several are merged
// by time.
package logfile

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/atollhq/atoll/internal/telemetry"
)

const (
	defaultSegmentBytes = 4 << 20
	defaultServiceBytes = 32 << 20
	suffix              = ".jsonl"
)

// Options of Open; zero values have defaults.
type Options struct {
	SegmentBytes int64        // a segment is closed when it reaches this; default 4 MiB
	ServiceBytes int64        // what the segments of one service may take together; default 32 MiB
	Logger       *slog.Logger // told of segments that cannot be removed
}

// Store keeps records. It is safe for concurrent use.
type Store struct {
	dir string
	o   Options

	mu      sync.Mutex
	open    map[string]*segment // guarded by mu: the segment that each service writes
	changed chan struct{}       // guarded by mu: closed at the next Append
	closed  bool                // guarded by mu
}

// segment is the file at the end of a service's records.
type segment struct {
	file   *os.File
	number int
	size   int64
}

// Open opens the store in dir, which is made if need be.
func Open(dir string, o *Options) (*Store, error) {
	s := &Store{dir: dir, open: map[string]*segment{}, changed: make(chan struct{})}
	if o != nil {
		s.o = *o
	}
	if s.o.SegmentBytes == 0 {
		s.o.SegmentBytes = defaultSegmentBytes
	}
	if s.o.ServiceBytes == 0 {
		s.o.ServiceBytes = defaultServiceBytes
	}
	if s.o.Logger == nil {
		s.o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make log folder: %w", err)
	}
	return s, nil
}

// Append keeps a record.
func (s *Store) Append(r *telemetry.Line) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode log record: %w", err)
	}
	line = append(line, '\n')
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	seg, err := s.segment(r.Service, int64(len(line)))
	if err != nil {
		return err
	}
	n, err := seg.file.Write(line)
	seg.size += int64(n)
	if err != nil {
		return fmt.Errorf("write log record: %w", err)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// segment returns the open segment of a service with room for n bytes. The caller holds mu.
func (s *Store) segment(service string, n int64) (*segment, error) {
	seg := s.open[service]
	if seg != nil && seg.size+n <= s.o.SegmentBytes {
		return seg, nil
	}
	if seg == nil {
		numbers := s.segments(service)
		if len(numbers) > 0 {
			opened, err := s.reopen(service, numbers[len(numbers)-1])
			if err != nil {
				return nil, err
			}
			s.open[service] = opened
			return s.segment(service, n)
		}
		seg = &segment{}
	} else if err := seg.file.Close(); err != nil {
		return nil, fmt.Errorf("close log segment: %w", err)
	}
	next := &segment{number: seg.number + 1}
	if err := os.MkdirAll(filepath.Join(s.dir, service), 0o700); err != nil {
		return nil, fmt.Errorf("make log folder: %w", err)
	}
	file, err := os.OpenFile(s.path(service, next.number), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log segment: %w", err)
	}
	next.file = file
	s.open[service] = next
	s.prune(service)
	return next, nil
}

// reopen goes on with the last segment of an earlier run, without a line that was torn at its end.
func (s *Store) reopen(service string, number int) (*segment, error) {
	file, err := os.OpenFile(s.path(service, number), os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log segment: %w", err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("read log segment: %w", err)
	}
	size := int64(strings.LastIndexByte(string(text), '\n') + 1)
	if err := file.Truncate(size); err != nil {
		return nil, fmt.Errorf("cut torn log line: %w", err)
	}
	if _, err := file.Seek(size, io.SeekStart); err != nil {
		return nil, fmt.Errorf("seek in log segment: %w", err)
	}
	return &segment{file: file, number: number, size: size}, nil
}

// prune removes the oldest segments of a service beyond its limit. One that cannot be removed is left for
// the next time.
func (s *Store) prune(service string) {
	numbers := s.segments(service)
	total := int64(0)
	for i, number := range slices.Backward(numbers) {
		if info, err := os.Stat(s.path(service, number)); err == nil {
			total += info.Size()
		}
		if total > s.o.ServiceBytes-s.o.SegmentBytes && i < len(numbers)-1 {
			if err := os.Remove(s.path(service, number)); err != nil {
				s.o.Logger.Warn("remove log segment", "service", service, "error", err)
			}
		}
	}
}

// segments lists the numbers of a service's segments, oldest first.
func (s *Store) segments(service string) []int {
	entries, err := os.ReadDir(filepath.Join(s.dir, service))
	if err != nil {
		return nil
	}
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimSuffix(e.Name(), suffix)); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// services lists the services that have records.
func (s *Store) services() []string {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func (s *Store) path(service string, number int) string {
	return filepath.Join(s.dir, service, fmt.Sprintf("%08d%s", number, suffix))
}

// Close ends the store; those who follow it end too.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.changed)
	var first error
	for _, seg := range s.open {
		if err := seg.file.Close(); err != nil && first == nil {
			first = fmt.Errorf("close log segment: %w", err)
		}
	}
	return first
}
