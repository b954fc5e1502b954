package block

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// What tests look at that others do not.

const (
	WalMagic    = walMagic
	MaxServices = maxServices
	PageRows    = pageRows
	GroupRows   = groupRows
)

var (
	DecodeSpans   = decodeSpans
	DecodeRecords = decodeRecords
	Castagnoli    = castagnoli
	FairLevel     = fairLevel
)

func EncodeSpans(spans []telemetry.Span) []byte { return new(encoder).encodeSpans(spans) }

func EncodeRecords(records []telemetry.Record) []byte { return new(encoder).encodeRecords(records) }

// Limiter shares a rate.
type Limiter struct{ l *limiter }

func NewLimiter(perSecond int64) *Limiter { return &Limiter{newLimiter(perSecond)} }

func (l *Limiter) Take(service string, n int64, grave bool, now time.Time) int64 {
	return l.l.take(service, n, grave, now)
}

// Retain is what the janitor does.
func (s *Store) Retain(now time.Time) { s.retain(now) }

// Behind is how many tables of a signal wait to become blocks.
func (s *Store) Behind(signal telemetry.Signal) int64 { return s.table(signal).behind.Load() }

// Replay reads a segment and counts its payloads.
func Replay(dir string, seq uint64) (payloads int, whole bool, err error) {
	w := wal{dir: dir}
	whole, err = w.replay(seq, func([]byte) error {
		payloads++
		return nil
	})
	return payloads, whole, err
}

// WriteSpans writes a block of spans to a file, and tells whether it is the spans' fault that it cannot.
func WriteSpans(file *os.File, spans []telemetry.Span) (crc uint32, unwritable bool, err error) {
	m := newMem(telemetry.Spans, nil)
	var rows []uint32
	for i := range spans {
		rows = append(rows, uint32(m.n))
		m.addSpan(&spans[i])
	}
	crc, err = writeBlock(file, m, rows, &blockMeta{Signal: telemetry.Spans, Rows: len(rows)})
	return crc, errors.Is(err, errUnwritable), err
}

// WriteBlock gives a file the name of a block of a segment, as one who makes it by hand would: with the checksum of its footer.
func WriteBlock(dir string, signal telemetry.Signal, segment uint64, part, parts int, file []byte, crc uint32) error {
	day := filepath.Join(dir, string(signal), "2026-11-28")
	if err := os.MkdirAll(day, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(day, blockName{segment, part, parts, crc}.String()), file, 0o600)
}

// SegmentPath is the file of a segment.
func SegmentPath(dir string, signal telemetry.Signal, seq uint64) string {
	w := wal{dir: filepath.Join(dir, string(signal), "wal")}
	return w.path(seq)
}

// MetaOf is what a block of rows would say of itself.
func MetaOf(signal telemetry.Signal, rows int) (key, value string) {
	if signal == telemetry.Logs {
		return metaKey, `{"signal":"logs","rows":` + itoa(rows) + `}`
	}
	return metaKey, `{"signal":"spans","rows":` + itoa(rows) + `}`
}

func itoa(n int) string { return telemetry.Int(int64(n)).Text() }

// NewWriter begins a file with the pages of a block.
func NewWriter(to interface{ Write([]byte) (int, error) }) *parquet.Writer {
	return parquet.NewWriter(to, &parquet.Options{PageRows: pageRows})
}

// Followed is how many follow a signal.
func (s *Store) Followed(signal telemetry.Signal) int {
	f := &s.table(signal).followers
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.list)
}
