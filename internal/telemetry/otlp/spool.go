package otlp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// spool is a queue of requests in a folder: segments, which are files that are only appended to, and the position of
// the first request that was not yet sent. It is guarded by its owner.
//
// A segment is named after its number, 16 hexadecimal digits, and holds entries: the length of the request (4 bytes,
// little endian), how many items are in it (4), its signal (1), the CRC-32C of these and the request (4), the request.
type spool struct {
	dir      string
	max      int64 // bytes of all segments
	segment  int64 // bytes of a segment, after which the next begins
	segments []*segment
	tail     *os.File // the last of them, to append to
	head     *os.File // the first of them, to read from; nil for not yet open
	at       int64    // in the head
	dirty    bool     // the tail was written and not yet synced
	moved    bool     // the position was moved and not yet saved
	table    *crc32.Table
	lost     struct{ full, damaged amount } // since the start
}

type segment struct {
	number uint64
	size   int64
	amount amount // in it, from the position on
}

// amount is so many requests with so many items.
type amount struct{ requests, items int64 }

func (a *amount) add(b amount) {
	a.requests += b.requests
	a.items += b.items
}

// entry is a request in the queue.
type entry struct {
	signal  Signal
	items   int64
	request []byte
	number  uint64 // of its segment
	at, end int64  // in it
}

const (
	entryHeader  = 13
	maxEntry     = 64 << 20
	positionFile = "position"
)

var errTorn = errors.New("torn entry")

// openSpool opens a queue, or makes it. What a crash left of an entry at the end is cut off.
func openSpool(dir string, maxBytes, segmentBytes int64) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the queue: %w", err)
	}
	s := &spool{dir: dir, max: maxBytes, segment: segmentBytes, table: crc32.MakeTable(crc32.Castagnoli)}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *spool) load() error {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("list the queue: %w", err)
	}
	for _, name := range names {
		hex, ok := strings.CutSuffix(name.Name(), ".seg")
		number, err := strconv.ParseUint(hex, 16, 64)
		if ok && err == nil && len(hex) == 16 {
			s.segments = append(s.segments, &segment{number: number})
		}
	}
	slices.SortFunc(s.segments, func(a, b *segment) int { return int(int64(a.number - b.number)) })
	number, at := s.position()
	for len(s.segments) > 0 && s.segments[0].number < number {
		if err := s.remove(); err != nil {
			return err
		}
	}
	if len(s.segments) > 0 && s.segments[0].number == number {
		s.at = at
	}
	for i, seg := range s.segments {
		if err := s.scan(seg, i == 0, i == len(s.segments)-1); err != nil {
			return err
		}
	}
	if len(s.segments) == 0 {
		return s.begin(number + 1)
	}
	last := s.segments[len(s.segments)-1]
	if s.tail, err = os.OpenFile(s.path(last.number), os.O_WRONLY|os.O_APPEND, 0); err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	return nil
}

func (s *spool) path(number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016x.seg", number))
}

// position reads the saved position; zeros for none.
func (s *spool) position() (number uint64, at int64) {
	b, err := os.ReadFile(filepath.Join(s.dir, positionFile))
	if err != nil {
		return 0, 0
	}
	if n, err := fmt.Sscanf(string(b), "%x %d\n", &number, &at); n != 2 || err != nil || at < 0 {
		return 0, 0
	}
	return number, at
}

// scan counts what is in a segment. The last one is cut after its last whole entry.
func (s *spool) scan(seg *segment, first, last bool) error {
	f, err := os.OpenFile(s.path(seg.number), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	seg.size = info.Size()
	if first && s.at > seg.size {
		s.at = 0
	}
	for at := int64(0); at < seg.size; {
		e, err := s.read(f, at, seg.size, last)
		if err != nil && !errors.Is(err, errTorn) {
			return err
		}
		if err != nil && last {
			s.lost.damaged.requests++
			seg.size = at
			if first {
				s.at = min(s.at, at)
			}
			if err := f.Truncate(at); err != nil {
				return fmt.Errorf("cut a torn segment: %w", err)
			}
			return f.Sync()
		}
		if err != nil {
			return nil // It is told when it is come to.
		}
		if !first || at >= s.at {
			seg.amount.add(amount{1, e.items})
		}
		at = e.end
	}
	return nil
}

// read reads an entry. Without whole it reads only what goes before its request.
func (s *spool) read(f io.ReaderAt, at, size int64, whole bool) (entry, error) {
	var h [entryHeader]byte
	if size-at < entryHeader {
		return entry{}, errTorn
	}
	if _, err := f.ReadAt(h[:], at); err != nil {
		return entry{}, fmt.Errorf("read the queue: %w", err)
	}
	n := int64(binary.LittleEndian.Uint32(h[:]))
	e := entry{
		items: int64(binary.LittleEndian.Uint32(h[4:])), signal: Signal(h[8]), at: at, end: at + entryHeader + n,
	}
	if n > maxEntry || e.end > size || e.signal < Traces || e.signal > Metrics {
		return entry{}, errTorn
	}
	if !whole {
		return e, nil
	}
	e.request = make([]byte, n)
	if _, err := f.ReadAt(e.request, at+entryHeader); err != nil {
		return entry{}, fmt.Errorf("read the queue: %w", err)
	}
	if s.sum(h[:9], e.request) != binary.LittleEndian.Uint32(h[9:]) {
		return entry{}, errTorn
	}
	return e, nil
}

func (s *spool) sum(header, request []byte) uint32 {
	return crc32.Update(crc32.Checksum(header, s.table), s.table, request)
}

// begin begins a segment to append to.
func (s *spool) begin(number uint64) error {
	f, err := os.OpenFile(s.path(number), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("begin a segment: %w", err)
	}
	if s.tail != nil {
		err = errors.Join(s.sync(), s.tail.Close())
	}
	s.tail = f
	s.segments = append(s.segments, &segment{number: number})
	if err := errors.Join(err, syncDir(s.dir)); err != nil {
		return fmt.Errorf("begin a segment: %w", err)
	}
	return nil
}

// append puts a request at the end. If the queue is full, the oldest segments are dropped.
func (s *spool) append(signal Signal, items int64, request []byte) error {
	n := int64(entryHeader + len(request))
	if len(request) > maxEntry || n > s.max {
		return &TooLarge{"a request is larger than the queue takes"}
	}
	last := s.segments[len(s.segments)-1]
	if last.size > 0 && last.size+n > s.segment {
		if err := s.begin(last.number + 1); err != nil {
			return err
		}
		last = s.segments[len(s.segments)-1]
	}
	for s.bytes()+n > s.max && len(s.segments) > 1 {
		s.lost.full.add(s.segments[0].amount)
		if err := s.remove(); err != nil {
			return err
		}
	}
	b := make([]byte, entryHeader, n)
	binary.LittleEndian.PutUint32(b, uint32(len(request)))
	binary.LittleEndian.PutUint32(b[4:], uint32(items))
	b[8] = byte(signal)
	binary.LittleEndian.PutUint32(b[9:], s.sum(b[:9], request))
	if _, err := s.tail.Write(append(b, request...)); err != nil {
		// Half an entry would hide those after it.
		return fmt.Errorf("append to the queue: %w", errors.Join(err, s.tail.Truncate(last.size)))
	}
	s.dirty = true
	last.size += n
	last.amount.add(amount{1, items})
	return nil
}

// next reads the first request, if there is one. What is damaged is passed over.
func (s *spool) next() (entry, bool, error) {
	for {
		seg := s.segments[0]
		if s.at >= seg.size {
			if len(s.segments) == 1 {
				return entry{}, false, nil
			}
			if err := s.remove(); err != nil {
				return entry{}, false, err
			}
			continue
		}
		if s.head == nil {
			var err error
			if s.head, err = os.Open(s.path(seg.number)); err != nil {
				return entry{}, false, fmt.Errorf("open the queue: %w", err)
			}
		}
		e, err := s.read(s.head, s.at, seg.size, true)
		if err == nil {
			e.number = seg.number
			return e, true, nil
		}
		if !errors.Is(err, errTorn) {
			return entry{}, false, err
		}
		// Where the next entry begins cannot be told, so the rest of the segment is lost.
		s.lost.damaged.add(amount{max(seg.amount.requests, 1), seg.amount.items})
		seg.amount, s.at, s.moved = amount{}, seg.size, true
	}
}

// done moves on past a request that next gave, unless it was dropped meanwhile.
func (s *spool) done(e entry) {
	seg := s.segments[0]
	if seg.number != e.number || s.at != e.at {
		return
	}
	s.at, s.moved = e.end, true
	seg.amount.add(amount{-1, -e.items})
}

// remove removes the first segment.
func (s *spool) remove() error {
	seg := s.segments[0]
	if s.head != nil {
		s.head.Close()
		s.head = nil
	}
	s.segments, s.at, s.moved = s.segments[1:], 0, true
	if err := os.Remove(s.path(seg.number)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove a segment: %w", err)
	}
	return nil
}

func (s *spool) bytes() (n int64) {
	for _, seg := range s.segments {
		n += seg.size
	}
	return n
}

func (s *spool) queued() (a amount) {
	for _, seg := range s.segments {
		a.add(seg.amount)
	}
	return a
}

// sync makes what was appended durable.
func (s *spool) sync() error {
	if !s.dirty {
		return nil
	}
	if err := s.tail.Sync(); err != nil {
		return fmt.Errorf("sync the queue: %w", err)
	}
	s.dirty = false
	return nil
}

// save makes the position durable.
func (s *spool) save() error {
	if !s.moved {
		return nil
	}
	text := fmt.Sprintf("%x %d\n", s.segments[0].number, s.at)
	if err := writeFile(s.dir, positionFile, []byte(text)); err != nil {
		return fmt.Errorf("save the position of the queue: %w", err)
	}
	s.moved = false
	return nil
}

func (s *spool) close() error {
	var err error
	if s.tail != nil {
		err = errors.Join(s.sync(), s.save(), s.tail.Close())
	}
	if s.head != nil {
		s.head.Close()
	}
	return err
}

// writeFile writes a file as a whole or not at all.
func writeFile(dir, name string, b []byte) error {
	temp := filepath.Join(dir, name+".tmp")
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes names in a folder durable. Windows cannot sync a folder.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
