package logfile

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

// placed is a record and its place among those of other services: its time, or that of a record before it in its own
// service that is later.
type placed struct {
	record *telemetry.Line
	time   time.Time
}

// then places the record that comes next in the same service.
func (p placed) then(next *telemetry.Line) placed {
	if next.Time.Before(p.time) {
		return placed{record: next, time: p.time}
	}
	return placed{record: next, time: next.Time}
}

func (p placed) compare(other placed) int { return p.time.Compare(other.time) }

// source gives the records of one service that a query chooses, in order, and moves the cursor of its extent.
type source struct {
	store *Store
	query *telemetry.LineQuery
	extent

	lines *lines // of the segment that is being read; nil between two
	head  placed // without a record at the end
}

// next reads on to the next head.
func (s *source) next(ctx context.Context) error {
	for {
		if err := s.open(); err != nil || s.lines == nil {
			s.head.record = nil
			return err
		}
		record, err := s.lines.next(ctx)
		switch {
		case err != nil:
			return err
		case record == nil:
			s.close()
		case s.query.Matches(record):
			s.head = s.head.then(record)
			return nil
		}
	}
}

// open opens the next segment that has not been pruned, if none is open.
func (s *source) open() (err error) {
	for s.lines == nil && len(s.segments) > 0 && err == nil {
		if number := s.segments[0]; number > s.at.segment {
			*s.at = cursor{segment: number}
		}
		if s.lines, err = s.store.lines(&s.extent, s.at); s.lines == nil {
			s.segments = s.segments[1:]
		}
	}
	return err
}

// close closes the segment that is being read.
func (s *source) close() {
	if s.lines != nil {
		s.lines.close()
		s.lines, s.segments = nil, s.segments[1:]
	}
}

// lines is a segment that is being read.
type lines struct {
	file *os.File
	text *bufio.Reader
	at   *cursor
}

// lines opens the segment that the cursor is in. It is nil where that was pruned.
func (s *Store) lines(e *extent, at *cursor) (*lines, error) {
	const buffer = 64 << 10
	file, err := os.Open(s.path(e.service, at.segment))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open log segment: %w", err)
	}
	if _, err := file.Seek(at.offset, io.SeekStart); err != nil {
		file.Close()
		return nil, fmt.Errorf("seek in log segment: %w", err)
	}
	text := bufio.NewReaderSize(io.LimitReader(file, e.limit(at.segment)-at.offset), buffer)
	return &lines{file: file, text: text, at: at}, nil
}

// next reads a record and moves the cursor behind it; nil is the end. A line that is no record is passed over, and one
// without its end, which is still being written, is left for the next time.
func (l *lines) next(ctx context.Context) (*telemetry.Line, error) {
	for ctx.Err() == nil {
		line, err := l.text.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read log segment: %w", err)
		}
		l.at.offset += int64(len(line))
		record := &telemetry.Line{}
		if json.Unmarshal(line, record) == nil {
			return record, nil
		}
	}
	return nil, ctx.Err()
}

func (l *lines) close() { l.file.Close() }

// size is how long a segment is; 0 where it was pruned.
func (s *Store) size(service string, number int) int64 {
	info, err := os.Stat(s.path(service, number))
	if err != nil {
		return 0
	}
	return info.Size()
}
