package metric

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
)

// Options of a Store. The zero value, and nil, are usable.
type Options struct {
	Age        time.Duration // how long samples are kept; 0 is 15 days
	Bytes      int64         // on disk at most, about; 0 is 512 MiB
	OutOfOrder time.Duration // how far a sample may lie behind the newest of its series; 0 is 10 minutes

	MaxSeries        int     // held in memory in all; 0 is 100,000
	MaxServiceSeries int     // of one service; 0 is 20,000
	Rate             float64 // samples a second of one service; 0 is 20,000
	MaxLabels        int     // of a series; 0 is 40
	MaxLabelValue    int     // bytes; 0 is 1,024
	MaxDeltas        int     // series of delta temporality whose sums are held; 0 is 20,000

	QuerySamples int           // held in memory by one query; 0 is 5,000,000, which are 80 MB
	QueryTimeout time.Duration // of one query; 0 is 30 s
	Queries      int           // at once; 0 is 4

	Log *slog.Logger     // of what the database warns of; nil for none
	Now func() time.Time // nil is time.Now
}

func (o *Options) orDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	either(&c.Age, 15*24*time.Hour)
	either(&c.Bytes, 512<<20)
	either(&c.OutOfOrder, 10*time.Minute)
	either(&c.MaxSeries, 100_000)
	either(&c.MaxServiceSeries, 20_000)
	either(&c.Rate, 20_000)
	either(&c.MaxLabels, 40)
	either(&c.MaxLabelValue, 1024)
	either(&c.MaxDeltas, 20_000)
	either(&c.QuerySamples, 5_000_000)
	either(&c.QueryTimeout, 30*time.Second)
	either(&c.Queries, 4)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// either sets *v to other if it is not positive.
func either[T int | int64 | float64 | time.Duration](v *T, other T) {
	if *v <= 0 {
		*v = other
	}
}

// Store keeps the samples of metrics on disk and answers PromQL. Its methods may be called side by side.
type Store struct {
	opts    Options
	db      *tsdb.DB
	engine  *promql.Engine
	parser  parser.Parser
	slots   chan struct{} // one for each query that runs
	waiting atomic.Int64  // queries that run or wait
	limits  *limits
	deltas  *deltas
	meta    *metadata
	sync    *syncer
	torn    []string

	mu     sync.Mutex
	closed bool // guarded by mu
}

// Open opens the store in a folder, which is made if it is not there. What a crash left damaged is set aside in the
// folder torn, named by Stats, and does not keep the store from opening.
func Open(dir string, o *Options) (*Store, error) {
	opts := o.orDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of metrics: %w", err)
	}
	torn, err := setAsideBlocks(dir, opts.Now())
	if err != nil {
		return nil, err
	}
	for _, log := range []string{"wal", "wbl"} {
		if err := finishTruncation(filepath.Join(dir, log)); err != nil {
			return nil, fmt.Errorf("look through log of metrics: %w", err)
		}
	}
	s := &Store{
		opts: opts, torn: torn, slots: make(chan struct{}, opts.Queries),
		deltas: newDeltas(opts.MaxDeltas), meta: newMetadata(),
	}
	if err := s.openDB(dir); err != nil {
		// What cannot be repaired in the log of the newest hours is not worth more than the store itself.
		names, moveErr := setAsideHead(dir, opts.Now())
		if moveErr != nil || len(names) == 0 {
			return nil, errors.Join(fmt.Errorf("open database of metrics: %w", err), moveErr)
		}
		opts.Log.Warn("log of metrics set aside", "cause", err, "names", names)
		s.torn = append(s.torn, names...)
		if err := s.openDB(dir); err != nil {
			return nil, fmt.Errorf("open database of metrics: %w", err)
		}
	}
	s.limits.opened()
	s.parser = parser.NewParser(parser.Options{})
	s.engine = promql.NewEngine(promql.EngineOpts{
		Logger: opts.Log, MaxSamples: opts.QuerySamples, Timeout: opts.QueryTimeout,
		LookbackDelta: 5 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		Parser:                   s.parser,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
	s.sync = newSyncer(filepath.Join(dir, "wal"), filepath.Join(dir, "wbl"))
	for _, d := range []string{dir, filepath.Dir(dir)} { // the names of what was made
		if err := syncDir(d); err != nil {
			return nil, errors.Join(fmt.Errorf("sync folder of metrics: %w", err), s.db.Close())
		}
	}
	return s, nil
}

// openDB opens the database with a fresh count of its series.
func (s *Store) openDB(dir string) error {
	s.limits = newLimits(s.opts)
	t := tsdb.DefaultOptions()
	t.RetentionDuration = s.opts.Age.Milliseconds()
	t.MaxBytes = s.opts.Bytes
	t.MinBlockDuration = time.Hour.Milliseconds()
	t.MaxBlockDuration = min(max(s.opts.Age/10, time.Hour), 24*time.Hour).Milliseconds()
	t.OutOfOrderTimeWindow = s.opts.OutOfOrder.Milliseconds()
	t.StripeSize = 1 << 10
	t.WALSegmentSize = 16 << 20
	// A file of chunks is made as large as it may become and cut when it is complete. The cut is not synced, and after a power cut the
	// whole size counts for the limit of the disk, which would take blocks for it.
	t.MaxBlockChunkSegmentSize = 4 << 20
	t.WALCompression = "snappy"
	t.HeadChunksWriteBufferSize = 256 << 10
	t.SeriesLifecycleCallback = s.limits
	registry := prometheus.NewRegistry()
	db, err := tsdb.Open(dir, slog.New(atLeastWarn{s.opts.Log.Handler()}), registry, t, nil)
	if err != nil {
		return err
	}
	s.db = db
	if repaired(registry) {
		s.torn = append(s.torn, "wal")
	}
	return nil
}

// Close writes what is left and gives up the folder. Calls that go on must have ended.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.sync.wait(context.Background())
	if closeErr := s.db.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("close database of metrics: %w", closeErr))
	}
	return err
}

// Stats is what a store keeps and what it dropped since it was opened.
type Stats struct {
	Series   int                     // in memory
	Bytes    int64                   // on disk
	Limit    int64                   // bytes on disk at most
	Oldest   time.Time               // the oldest sample; zero for none
	Torn     []string                // what was found damaged when the store was opened
	Services map[string]ServiceStats // by name; beyond 1,000 services the rest is counted as ""
}

// ServiceStats is what is kept and was dropped of one service.
type ServiceStats struct {
	Series  int   // in memory
	Samples int64 // taken since the store was opened
	Dropped map[Cause]int64
}

// Stats tells what is kept and what was dropped.
func (s *Store) Stats() Stats {
	st := Stats{Limit: s.opts.Bytes, Torn: s.torn, Bytes: s.db.Head().Size()}
	st.Series, st.Services = s.limits.stats()
	oldest := int64(math.MaxInt64)
	if s.db.Head().NumSeries() > 0 {
		oldest = s.db.Head().MinTime()
	}
	for _, b := range s.db.Blocks() {
		st.Bytes += b.Size()
		oldest = min(oldest, b.MinTime())
	}
	if oldest != math.MaxInt64 {
		st.Oldest = time.UnixMilli(oldest)
	}
	return st
}

// repaired tells whether the database found its log damaged when it was opened.
func repaired(registry *prometheus.Registry) bool {
	families, err := registry.Gather()
	if err != nil {
		return false
	}
	for _, f := range families {
		if f.GetName() != "prometheus_tsdb_wal_corruptions_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetCounter().GetValue() > 0 {
				return true
			}
		}
	}
	return false
}

// setAsideBlocks moves blocks that cannot be opened out of the database's way.
func setAsideBlocks(dir string, now time.Time) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list blocks of metrics: %w", err)
	}
	var torn []string
	for _, e := range entries {
		if !e.IsDir() || !isBlockName(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		b, err := tsdb.OpenBlock(nil, path, nil, nil)
		if err == nil {
			if err := b.Close(); err != nil {
				return nil, fmt.Errorf("close block of metrics: %w", err)
			}
			continue
		}
		if err := setAside(dir, e.Name(), now); err != nil {
			return nil, err
		}
		torn = append(torn, e.Name())
	}
	return torn, nil
}

// setAsideHead moves the logs of the newest samples, which are in no block yet.
func setAsideHead(dir string, now time.Time) ([]string, error) {
	var names []string
	for _, name := range []string{"wal", "wbl", "chunks_head"} {
		err := setAside(dir, name, now)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func setAside(dir, name string, now time.Time) error {
	torn := filepath.Join(dir, "torn")
	if err := os.MkdirAll(torn, 0o700); err != nil {
		return fmt.Errorf("make folder of torn blocks: %w", err)
	}
	to := filepath.Join(torn, name+"."+now.UTC().Format("20060102T150405.000000000"))
	if err := os.Rename(filepath.Join(dir, name), to); err != nil {
		return fmt.Errorf("set aside %s: %w", name, err)
	}
	return nil
}

// isBlockName tells whether a folder's name is a ULID, as those of blocks are.
func isBlockName(name string) bool {
	if len(name) != 26 {
		return false
	}
	for _, c := range []byte(name) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// atLeastWarn leaves out what the database says of its daily work.
type atLeastWarn struct{ slog.Handler }

func (h atLeastWarn) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h atLeastWarn) WithAttrs(a []slog.Attr) slog.Handler {
	return atLeastWarn{h.Handler.WithAttrs(a)}
}

func (h atLeastWarn) WithGroup(name string) slog.Handler {
	return atLeastWarn{h.Handler.WithGroup(name)}
}
