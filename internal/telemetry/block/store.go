package block

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

// Options of Open; zero values have defaults.
type Options struct {
	MaxBytes         int64         // of blocks on disk together; default 2 GB
	MaxAge           time.Duration // of blocks; default 7 days
	SpansPerSecond   int64         // taken in from all services together; 0 is no limit
	RecordsPerSecond int64         // likewise
	Sample           float64       // part of the traces that is kept of those that neither failed nor were slow; 0 and 1 are all
	MemRows          int           // of a table in memory before it becomes a block; default 65,536
	MemBytes         int           // likewise; default 48 MB
	MemAge           time.Duration // likewise; default 1 h
	ReadOnly         bool          // look at what is there, of an application that does not run
	Logger           *slog.Logger
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.MaxBytes = cmp.Or(out.MaxBytes, 2_000_000_000)
	out.MaxAge = cmp.Or(out.MaxAge, 7*24*time.Hour)
	out.MemRows = cmp.Or(out.MemRows, 65_536)
	out.MemBytes = cmp.Or(out.MemBytes, 48_000_000)
	out.MemAge = cmp.Or(out.MemAge, time.Hour)
	if out.Sample <= 0 || out.Sample > 1 {
		out.Sample = 1
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	return out
}

// Store keeps spans and records. It is safe for concurrent use.
type Store struct {
	dir string
	o   Options
	log *slog.Logger

	spans, logs *table
	drops       *drops
	limits      atomic.Pointer[limits]

	stop    chan struct{}
	tidy    chan struct{} // asks for a look at age and size
	running sync.WaitGroup
	once    sync.Once
}

var _ telemetry.Store = (*Store)(nil)

// limits are what a change of the manifest may change.
type limits struct {
	spans, records *limiter
	maxBytes       int64
	maxAge         time.Duration
}

// Open opens the store in dir, which is made if need be, and brings back what was durable and not yet in blocks.
func Open(dir string, o *Options) (*Store, error) {
	s := &Store{dir: dir, o: o.withDefaults(), drops: newDrops(), stop: make(chan struct{}), tidy: make(chan struct{}, 1)}
	s.log = s.o.Logger
	s.limits.Store(&limits{newLimiter(s.o.SpansPerSecond), newLimiter(s.o.RecordsPerSecond), s.o.MaxBytes, s.o.MaxAge})
	var err error
	if s.spans, err = openTable(filepath.Join(dir, string(telemetry.Spans)), telemetry.Spans, s); err != nil {
		return nil, err
	}
	if s.logs, err = openTable(filepath.Join(dir, string(telemetry.Logs)), telemetry.Logs, s); err != nil {
		return nil, errors.Join(err, s.spans.close())
	}
	if s.o.ReadOnly {
		return s, nil
	}
	for _, t := range []*table{s.spans, s.logs} {
		t.start(&s.running)
	}
	s.running.Go(s.janitor)
	return s, nil
}

// SetLimits changes what Options said of rates, size and age.
func (s *Store) SetLimits(o *Options) {
	with := o.withDefaults()
	s.limits.Store(&limits{newLimiter(with.SpansPerSecond), newLimiter(with.RecordsPerSecond), with.MaxBytes, with.MaxAge})
	s.askTidy()
}

func (s *Store) table(signal telemetry.Signal) *table {
	if signal == telemetry.Logs {
		return s.logs
	}
	return s.spans
}

// Append keeps the spans and the records of a batch; metrics are not its business.
func (s *Store) Append(ctx context.Context, b *telemetry.Batch) error {
	if s.o.ReadOnly {
		return os.ErrPermission
	}
	limits, now := s.limits.Load(), time.Now()
	spans := admit(b.Spans, limits.spans, s.drops, now, spanTraits)
	records := admit(b.Records, limits.records, s.drops, now, recordTraits)
	var waits [2]*request
	var err error
	if len(spans) > 0 {
		waits[0], err = s.spans.submit(ctx, &request{spans: spans})
	}
	if len(records) > 0 && err == nil {
		waits[1], err = s.logs.submit(ctx, &request{records: records})
	}
	// The batch's strings are looked at until the rows are in memory, so nobody leaves before.
	for _, r := range waits {
		if r != nil {
			err = errors.Join(err, <-r.done)
		}
	}
	return err
}

// Close ends the store. What was appended is durable; it comes back from the log at the next Open.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.stop)
		s.spans.followers.close()
		s.logs.followers.close()
		s.spans.stopTaking()
		s.logs.stopTaking()
		s.running.Wait()
		err = errors.Join(s.spans.close(), s.logs.close())
	})
	return err
}

// janitor removes what is too old or too much.
func (s *Store) janitor() {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		s.retain(time.Now())
		select {
		case <-s.stop:
			return
		case <-tick.C:
		case <-s.tidy:
		}
	}
}

func (s *Store) askTidy() {
	select {
	case s.tidy <- struct{}{}:
	default:
	}
}

// retain removes blocks that are too old, then those of the loudest service until the rest fits.
func (s *Store) retain(now time.Time) {
	limits := s.limits.Load()
	for _, t := range []*table{s.spans, s.logs} {
		for _, b := range t.catalogue() {
			if now.Sub(b.newest()) > limits.maxAge {
				t.drop(b, nil)
			}
		}
	}
	for s.diskBytes() > limits.maxBytes {
		t, b := s.victim()
		if b == nil {
			return
		}
		t.drop(b, s.drops)
	}
}

func (s *Store) diskBytes() int64 {
	var n int64
	for _, t := range []*table{s.spans, s.logs} {
		for _, b := range t.catalogue() {
			n += b.size
		}
	}
	return n
}

// victim is the block that goes first: the oldest of those in which the loudest service has most of the rows, or the oldest
// of all.
func (s *Store) victim() (*table, *block) {
	type place struct {
		t *table
		b *block
	}
	var all []place
	bytes := map[string]int64{}
	for _, t := range []*table{s.spans, s.logs} {
		for _, b := range t.catalogue() {
			all = append(all, place{t, b})
			for service, rows := range b.services {
				bytes[service] += b.share(rows)
			}
		}
	}
	loudest, most := "", int64(0)
	for service, n := range bytes {
		if n > most || n == most && service < loudest {
			loudest, most = service, n
		}
	}
	var oldest, oldestLoud place
	for _, p := range all {
		if oldest.b == nil || p.b.last < oldest.b.last {
			oldest = p
		}
		if 2*p.b.services[loudest] > int64(p.b.rows) && (oldestLoud.b == nil || p.b.last < oldestLoud.b.last) {
			oldestLoud = p
		}
	}
	if oldestLoud.b != nil {
		return oldestLoud.t, oldestLoud.b
	}
	return oldest.t, oldest.b
}

// Usage tells what is kept and what was dropped.
func (s *Store) Usage(context.Context) (telemetry.Usage, error) {
	u := telemetry.Usage{Limit: s.limits.Load().maxBytes, Services: map[string]telemetry.ServiceUsage{}}
	oldest := int64(0)
	for _, t := range []*table{s.spans, s.logs} {
		u.Bytes += t.wal.bytes()
		snap := t.snapshot()
		for _, b := range snap.blocks {
			u.Bytes += b.size
			for service, rows := range b.services {
				u.Services[service] = usageWith(u.Services[service], t.signal, rows, b.share(rows))
			}
			if oldest == 0 || b.first < oldest {
				oldest = b.first
			}
		}
		for _, v := range snap.mems {
			for service, rows := range v.services() {
				u.Services[service] = usageWith(u.Services[service], t.signal, rows, 0)
			}
			if v.n > 0 && (oldest == 0 || v.first < oldest) {
				oldest = v.first
			}
		}
		u.Torn = append(u.Torn, snap.torn...)
		snap.release()
	}
	if oldest != 0 {
		u.Oldest = time.Unix(0, oldest)
	}
	for service, d := range s.drops.all() {
		with := u.Services[service]
		with.Dropped = d
		u.Services[service] = with
	}
	return u, nil
}

func usageWith(u telemetry.ServiceUsage, signal telemetry.Signal, rows, bytes int64) telemetry.ServiceUsage {
	if signal == telemetry.Spans {
		u.Spans += rows
	} else {
		u.Records += rows
	}
	u.Bytes += bytes
	return u
}

// traits is what decides whether a row is admitted.
type traits struct {
	service string
	keep    bool // whatever the rate
}

func spanTraits(s *telemetry.Span) traits {
	return traits{s.Resource.Service, s.Status == telemetry.StatusError}
}

func recordTraits(r *telemetry.Record) traits {
	return traits{r.Resource.Service, r.Severity >= telemetry.SeverityError}
}

// admit leaves out what goes beyond the rate. Errors are left out only when they are most of what comes.
func admit[T any](rows []T, l *limiter, d *drops, now time.Time, of func(*T) traits) []T {
	if l.perSecond <= 0 || len(rows) == 0 {
		return rows
	}
	plain, grave := map[string]int64{}, map[string]int64{}
	for i := range rows {
		t := of(&rows[i])
		if t.keep {
			grave[t.service]++
		} else {
			plain[t.service]++
		}
	}
	dropped := false
	for i, counts := range []map[string]int64{grave, plain} { // errors first
		for service, n := range counts {
			got := l.take(service, n, i == 0, now)
			if got < n {
				dropped = true
				d.add(service, func(x *telemetry.Drops) { x.Rate += n - got })
			}
			counts[service] = got
		}
	}
	if !dropped {
		return rows
	}
	out := make([]T, 0, len(rows))
	for i := range rows {
		t := of(&rows[i])
		counts := plain
		if t.keep {
			counts = grave
		}
		if counts[t.service] > 0 {
			counts[t.service]--
			out = append(out, rows[i])
		}
	}
	return out
}

// maxDropServices is for how many services drops are counted apart; the others are one.
const maxDropServices = 1000

// drops counts what was not kept. It is safe for concurrent use.
type drops struct {
	mu sync.Mutex
	by map[string]telemetry.Drops // guarded by mu
}

func newDrops() *drops { return &drops{by: map[string]telemetry.Drops{}} }

func (d *drops) add(service string, change func(*telemetry.Drops)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.by[service]; !ok && len(d.by) >= maxDropServices {
		service = others
	}
	x := d.by[service]
	change(&x)
	d.by[strings.Clone(service)] = x
}

func (d *drops) all() map[string]telemetry.Drops {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.by)
}
