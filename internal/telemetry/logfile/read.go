package logfile

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/atollhq/atoll/internal/telemetry"
)

// cursor is how far a reader has come in the records of one service.
type cursor struct {
	service string
	segment int
	offset  int64
}

// Read calls yield with the records that q chooses, by time. It returns when there are no more, or, when q follows,
// when ctx ends or the store is closed; an error of yield ends it and is returned.
//
// Every service's records are read at once up to the last, so Read holds in memory what q chooses, or q.Last
// records where that is set.
func (s *Store) Read(ctx context.Context, q *telemetry.Query, yield func(*telemetry.Record) error) error {
	cursors := map[string]*cursor{}
	last := q.Last
	for {
		s.mu.Lock()
		changed, closed := s.changed, s.closed
		s.mu.Unlock()
		batch, err := s.advance(ctx, q, cursors, last)
		if err != nil {
			return err
		}
		for i := range batch {
			if err := yield(&batch[i]); err != nil {
				return err
			}
		}
		last = 0
		if !q.Follow || closed {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// advance reads on in each service and returns what q chooses, by time.
func (s *Store) advance(ctx context.Context, q *telemetry.Query, cursors map[string]*cursor, last int) ([]telemetry.Record, error) {
	services := q.Services
	if len(services) == 0 {
		services = s.services()
	}
	var batch []telemetry.Record
	for _, name := range services {
		c := cursors[name]
		if c == nil {
			c = &cursor{service: name}
			cursors[name] = c
		}
		for _, number := range s.segments(name) {
			if number < c.segment {
				continue
			}
			if number > c.segment {
				c.segment, c.offset = number, 0
			}
			err := s.readSegment(ctx, c, func(r *telemetry.Record) {
				if q.Matches(r) {
					batch = append(batch, *r)
				}
			})
			if err != nil {
				return nil, err
			}
		}
		if over := len(batch) - 2*last; last > 0 && over > 0 {
			slices.SortStableFunc(batch, byTime)
			batch = slices.Delete(batch, 0, len(batch)-last)
		}
	}
	slices.SortStableFunc(batch, byTime)
	if last > 0 && len(batch) > last {
		batch = batch[len(batch)-last:]
	}
	return batch, nil
}

func byTime(a, b telemetry.Record) int { return a.Time.Compare(b.Time) }

// readSegment reads the whole lines from the cursor to the end of its segment. One that was pruned meanwhile is
// passed over; a line that is no record is too.
func (s *Store) readSegment(ctx context.Context, c *cursor, take func(*telemetry.Record)) error {
	file, err := os.Open(s.path(c.service, c.segment))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open log segment: %w", err)
	}
	defer file.Close()
	if _, err := file.Seek(c.offset, io.SeekStart); err != nil {
		return fmt.Errorf("seek in log segment: %w", err)
	}
	lines := bufio.NewReaderSize(file, 64<<10)
	for ctx.Err() == nil {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // a line without its end is still being written
		}
		if err != nil {
			return fmt.Errorf("read log segment: %w", err)
		}
		c.offset += int64(len(line))
		var r telemetry.Record
		if json.Unmarshal(line, &r) == nil {
			take(&r)
		}
	}
	return ctx.Err()
}
