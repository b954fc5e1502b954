package block

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

const (
	maxRequests  = 256     // that wait for the log; beyond, senders wait
	maxGroup     = 8 << 20 // bytes that are synced at once
	maxFlushing  = 2       // tables in memory that wait to become blocks; beyond, the log waits, and then refuses
	patience     = 2 * time.Second
	insertAtOnce = 256 // rows, between which readers may look
)

// table keeps the rows of one signal. Rows go from their sender through the writer, who makes them durable, to the keeper, who puts
// them into memory; what is in memory long enough goes to the flusher, who makes blocks of it.
type table struct {
	signal telemetry.Signal
	dir    string
	store  *Store
	o      *Options
	log    *slog.Logger
	wal    wal
	late   time.Time // of the writer: since when there has been no room

	followers followers

	taking   sync.RWMutex // held for reading while a request is handed over
	stopped  bool         // guarded by taking
	requests chan *request
	kept     chan keep
	frozen   chan *frozen
	flushed  chan struct{} // a block was written; holds one
	behind   atomic.Int64  // tables in memory that get no more rows and are no blocks yet
	backlog  []*frozen     // those of them that were brought back from the log, for the flusher

	mu       sync.RWMutex
	active   *mem      // guarded by mu
	flushing []*frozen // guarded by mu: oldest first
	blocks   []*block  // guarded by mu
	torn     []string  // guarded by mu: files that were set aside
}

// request is what one Append brings.
type request struct {
	spans   []telemetry.Span
	records []telemetry.Record
	enc     *encoder
	payload []byte
	size    int        // about what it takes in memory
	done    chan error // holds one
}

func (r *request) rows() int { return len(r.spans) + len(r.records) }

// keep is what the writer tells the keeper: rows that are durable, or that the table ends here and its log with segment upTo.
type keep struct {
	requests []*request
	upTo     uint64
}

// frozen is a table in memory that gets no more rows.
type frozen struct {
	mem   *mem
	upTo  uint64     // its last segment
	parts [][]uint32 // the rows of each file, once they are chosen
}

func openTable(dir string, signal telemetry.Signal, s *Store) (*table, error) {
	t := &table{
		signal: signal, dir: dir, store: s, o: &s.o, log: s.log, wal: wal{dir: filepath.Join(dir, "wal")}, active: newMem(signal, nil),
		requests: make(chan *request, maxRequests), kept: make(chan keep, 4), frozen: make(chan *frozen, maxFlushing),
		flushed: make(chan struct{}, 1),
	}
	if !s.o.ReadOnly {
		if err := makeDirs(t.wal.dir); err != nil {
			return nil, fmt.Errorf("make folder of %s: %w", signal, err)
		}
		if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil { // one who made them may have been killed
			return nil, fmt.Errorf("make folder of %s: %w", signal, err)
		}
	} else if _, err := os.Stat(t.wal.dir); errors.Is(err, os.ErrNotExist) {
		return t, nil
	}
	segments, err := t.wal.segments()
	if err != nil {
		return nil, err
	}
	last, err := t.openBlocks(segments)
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	t.wal.seq = last
	for _, seq := range segments {
		t.wal.seq = max(t.wal.seq, seq)
		if seq <= last {
			continue
		}
		if err := t.replay(seq); err != nil {
			return nil, errors.Join(err, t.close())
		}
		// What were several tables does not become one: it would be larger than a block may be.
		if t.full(t.active.n, t.active.size()) && !s.o.ReadOnly {
			t.behind.Add(1)
			t.backlog = append(t.backlog, t.frost(seq))
		}
	}
	return t, nil
}

// makeDirs makes a folder and those above it that are missing, durably.
func makeDirs(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	above := filepath.Dir(dir)
	if above != dir {
		if err := makeDirs(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(above)
}

// replay brings back the rows of a segment.
func (t *table) replay(seq uint64) error {
	whole, err := t.wal.replay(seq, func(payload []byte) error {
		r, err := t.decode(payload)
		if err != nil {
			t.log.Error("a record of the log has a good checksum and cannot be read", "segment", t.wal.path(seq), "error", err)
			return nil
		}
		t.insert(r)
		return nil
	})
	if err != nil {
		return fmt.Errorf("bring back %s: %w", t.wal.path(seq), err)
	}
	if !whole {
		t.log.Info("the end of a segment was torn by a crash; what was acknowledged lies before it", "segment", t.wal.path(seq))
	}
	return nil
}

func (t *table) decode(payload []byte) (r *request, err error) {
	r = &request{}
	if t.signal == telemetry.Spans {
		r.spans, err = decodeSpans(payload)
	} else {
		r.records, err = decodeRecords(payload)
	}
	return r, err
}

func (t *table) start(running *sync.WaitGroup) {
	running.Go(t.write)
	running.Go(t.keep)
	running.Go(t.flushAll)
}

// submit hands a request to the writer. Its done is told when the rows are durable and in memory.
func (t *table) submit(ctx context.Context, r *request) (*request, error) {
	r.enc = encoders.Get().(*encoder) //nolint:forcetypeassert // the pool has no other
	if r.spans != nil {
		r.payload = r.enc.encodeSpans(r.spans)
	} else {
		r.payload = r.enc.encodeRecords(r.records)
	}
	r.size, r.done = r.enc.size(), make(chan error, 1)
	if len(r.payload) > maxPayload {
		return nil, fmt.Errorf("a batch of %d bytes is too large for the log", len(r.payload))
	}
	t.taking.RLock()
	defer t.taking.RUnlock()
	if t.stopped {
		return nil, os.ErrClosed
	}
	select {
	case t.requests <- r:
		return r, nil
	default:
	}
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case t.requests <- r:
		return r, nil
	case <-wait.C:
		return nil, &telemetry.Busy{After: patience}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// encoders lend their memory to one request after the other.
var encoders = sync.Pool{New: func() any { return &encoder{} }} //nolint:gochecknoglobals // a pool of memory has no state that anybody sees

func (r *request) end(err error) {
	r.spans, r.records, r.payload = nil, nil, nil
	if cap(r.enc.b) <= maxGroup {
		encoders.Put(r.enc)
	}
	r.enc = nil
	r.done <- err
}

// write is the writer: it gathers the requests that wait, writes and syncs them at once, and decides when a table in memory has
// enough.
func (t *table) write() {
	defer close(t.kept)
	tick := time.NewTicker(min(t.o.MemAge, time.Minute))
	defer tick.Stop()
	rows, size, began := t.recovered()
	cut := func() {
		if err := t.wal.close(); err != nil {
			t.log.Error("close the log", "error", err)
		}
		t.kept <- keep{upTo: t.wal.seq}
		rows, size = 0, 0
	}
	if t.full(rows, size) {
		t.behind.Add(1)
		cut()
	}
	for {
		select {
		case r, ok := <-t.requests:
			if !ok {
				return
			}
			group, n, bytes := t.gather(r)
			if !t.hasRoom() {
				refuse(group)
				continue
			}
			if !t.persist(group) {
				continue
			}
			if rows == 0 {
				began = time.Now()
			}
			rows, size = rows+n, size+bytes
			// A table that is full is behind before anybody hears of it, so that the keeper never has more than the flusher takes.
			full := t.full(rows, size)
			if full {
				t.behind.Add(1)
			}
			t.kept <- keep{requests: group}
			if full {
				cut()
			}
		case <-tick.C:
			if rows > 0 && time.Since(began) >= t.o.MemAge {
				t.behind.Add(1)
				cut()
			}
		}
	}
}

func (t *table) full(rows, size int) bool { return rows >= t.o.MemRows || size >= t.o.MemBytes }

// recovered is what is in memory before the first request.
func (t *table) recovered() (rows, size int, began time.Time) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.active.n, t.active.size(), time.Now()
}

// gather takes what waits beside the first request.
func (t *table) gather(first *request) (group []*request, rows, bytes int) {
	group, rows, bytes = []*request{first}, first.rows(), first.size
	for bytes < maxGroup && rows < t.o.MemRows/2 {
		select {
		case r, ok := <-t.requests:
			if !ok {
				return group, rows, bytes // the channel is closed; write sees it next
			}
			group, rows, bytes = append(group, r), rows+r.rows(), bytes+r.size
		default:
			return group, rows, bytes
		}
	}
	return group, rows, bytes
}

// persist makes a group durable, or tells all of it why not.
func (t *table) persist(group []*request) bool {
	payloads := make([][]byte, len(group))
	for i, r := range group {
		payloads[i] = r.payload
	}
	err := t.wal.append(payloads)
	if err == nil {
		return true
	}
	t.log.Error("telemetry is refused", "signal", string(t.signal), "error", err)
	t.store.askTidy() // the disk may be full
	refuse(group)
	return false
}

func refuse(group []*request) {
	for _, r := range group {
		r.end(&telemetry.Busy{After: patience})
	}
}

// hasRoom waits a little for the flusher where it is behind, and tells whether it has caught up. Those who come when the patience is
// at its end do not wait again, each for those before him.
func (t *table) hasRoom() bool {
	if t.late.IsZero() {
		t.late = time.Now()
	}
	wait := time.NewTimer(patience - time.Since(t.late))
	defer wait.Stop()
	for {
		if t.behind.Load() < maxFlushing {
			t.late = time.Time{}
			return true
		}
		select {
		case <-t.flushed:
		case <-wait.C:
			return false
		case <-t.store.stop:
			return false
		}
	}
}

// keep is the keeper: it puts durable rows into memory.
func (t *table) keep() {
	defer close(t.frozen)
	for k := range t.kept {
		for _, r := range k.requests {
			t.insert(r)
			r.end(nil)
		}
		if k.requests == nil {
			t.freeze(k.upTo)
		}
	}
}

func (t *table) insert(r *request) {
	t.mu.Lock()
	t.active.newBatch()
	t.mu.Unlock()
	for chunk := range slices.Chunk(r.spans, insertAtOnce) {
		t.mu.Lock()
		for i := range chunk {
			t.active.addSpan(&chunk[i])
		}
		t.followers.tell(chunk, nil)
		t.mu.Unlock()
	}
	for chunk := range slices.Chunk(r.records, insertAtOnce) {
		t.mu.Lock()
		for i := range chunk {
			t.active.addRecord(&chunk[i])
		}
		t.followers.tell(nil, chunk)
		t.mu.Unlock()
	}
}

func (t *table) freeze(upTo uint64) { t.frozen <- t.frost(upTo) }

// frost begins another table in memory.
func (t *table) frost(upTo uint64) *frozen {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &frozen{mem: t.active, upTo: upTo}
	if n := t.active.left; n > 0 {
		t.log.Warn("resources have more attributes than there are columns; those that are large were left out", "signal", string(t.signal), "attributes", n)
	}
	t.active = newMem(t.signal, t.active)
	t.flushing = append(t.flushing, f)
	return f
}

// flushAll is the flusher. What it has not done when the store ends lies in the log.
func (t *table) flushAll() {
	for _, f := range t.backlog {
		t.flushInTime(f)
	}
	t.backlog = nil
	for f := range t.frozen {
		t.flushInTime(f)
	}
}

// flushInTime tries to flush until it succeeds or the store ends.
func (t *table) flushInTime(f *frozen) {
	for {
		select {
		case <-t.store.stop: // the rest comes back from the log
			return
		default:
		}
		err := t.flush(f)
		if err == nil {
			break
		}
		t.log.Error("write a block", "signal", string(t.signal), "error", err)
		if isTorn(err) || errors.Is(err, errUnwritable) {
			if err = t.giveUp(f); err == nil {
				break
			}
			t.log.Error("set aside", "signal", string(t.signal), "error", err)
		}
		t.store.askTidy()
		select {
		case <-t.store.stop:
		case <-time.After(patience):
		}
	}
	t.behind.Add(-1)
	select {
	case t.flushed <- struct{}{}:
	default:
	}
}

// giveUp sets a table's part of the log aside, whose rows no block can hold however often it is tried: all that comes after it would
// wait for it forever.
func (t *table) giveUp(f *frozen) error {
	segments, err := t.wal.segments()
	if err != nil {
		return err
	}
	var names []string
	for _, seq := range segments {
		if seq > f.upTo {
			break
		}
		if err := t.moveAside(t.wal.path(seq)); err != nil {
			return err
		}
		names = append(names, filepath.Base(t.wal.path(seq)))
	}
	if err := syncDir(t.wal.dir); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.torn = append(t.torn, names...)
	t.flushing = slices.DeleteFunc(slices.Clone(t.flushing), func(other *frozen) bool { return other == f })
	return nil
}

// stopTaking ends the requests.
func (t *table) stopTaking() {
	t.taking.Lock()
	defer t.taking.Unlock()
	if !t.stopped {
		t.stopped = true
		close(t.requests)
	}
}

func (t *table) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.wal.close()
	for _, b := range t.blocks {
		err = errors.Join(err, b.release())
	}
	t.blocks = nil
	return err
}

// snapshot is all that there is at one moment.
type snapshot struct {
	mems   []*memView
	blocks []*block
	torn   []string
}

func (t *table) snapshot() *snapshot {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.snapshotLocked()
}

// snapshotLocked is snapshot for one who holds mu.
func (t *table) snapshotLocked() *snapshot {
	s := &snapshot{blocks: slices.Clone(t.blocks), torn: slices.Clone(t.torn)}
	for _, b := range s.blocks {
		b.acquire()
	}
	for _, f := range t.flushing {
		s.mems = append(s.mems, f.mem.view())
	}
	if t.active.n > 0 {
		s.mems = append(s.mems, t.active.view())
	}
	return s
}

func (s *snapshot) release() {
	for _, b := range s.blocks {
		_ = b.release() // it was only read
	}
}

// catalogue lists the blocks, without holding them.
func (t *table) catalogue() []*block {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(t.blocks)
}

// drop removes a block; where d is not nil it is counted as evicted.
func (t *table) drop(b *block, d *drops) {
	t.mu.Lock()
	at := slices.Index(t.blocks, b)
	if at >= 0 {
		t.blocks = slices.Delete(slices.Clone(t.blocks), at, at+1)
	}
	t.mu.Unlock()
	if at < 0 {
		return
	}
	if d != nil {
		for service, rows := range b.services {
			d.add(service, func(x *telemetry.Drops) { x.Evicted += rows })
		}
	}
	b.gone.Store(true)
	if err := b.release(); err != nil {
		t.log.Warn("remove a block", "block", b.path, "error", err)
	}
}
