package block

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// A block is a file DAY/SEGMENT-PARTofPARTS-CRC.parquet, never changed once it has that name: the last segment of the log that its
// rows lay in, which of the files it is that were made of them, and the CRC-32C of the file's footer, which in turn has
// those of the rest. Files of one segment count only together, or when the segment is gone.

const (
	blockSuffix = ".parquet"
	tempSuffix  = ".tmp"
	tornFolder  = "torn"
	maxTorn     = 8 // blocks in it, for each signal
	metaKey     = "atoll.block"
)

// blockMeta is what a block says of itself, as JSON in its key-value metadata.
type blockMeta struct {
	Signal   telemetry.Signal `json:"signal"`
	Rows     int              `json:"rows"`
	First    int64            `json:"first"` // nanoseconds since 1970 UTC
	Last     int64            `json:"last"`
	Made     int64            `json:"made"`     // when it was written
	Services map[string]int64 `json:"services"` // rows of each
}

// block is an open block.
type block struct {
	path     string
	size     int64
	rows     int
	first    int64
	last     int64
	made     int64
	services map[string]int64

	file *os.File
	pq   *parquet.File
	refs atomic.Int64 // readers, and the catalogue
	gone atomic.Bool  // remove the file when nobody reads it
}

func (b *block) acquire() { b.refs.Add(1) }

// release gives the block back; who is last closes it.
func (b *block) release() error {
	if b.refs.Add(-1) > 0 {
		return nil
	}
	err := b.file.Close()
	if b.gone.Load() {
		err = errors.Join(err, os.Remove(b.path))
	}
	if err != nil {
		return fmt.Errorf("close block: %w", err)
	}
	return nil
}

// newest is how young the block is: by its rows, or by when it was made where clocks of senders are ahead.
func (b *block) newest() time.Time { return time.Unix(0, min(b.last, b.made)) }

// share is about how many of the block's bytes some of its rows take.
func (b *block) share(rows int64) int64 {
	if b.rows == 0 {
		return 0
	}
	return b.size * rows / int64(b.rows)
}

// blockName is what the name of a file says.
type blockName struct {
	segment     uint64
	part, parts int
	crc         uint32
}

func (n blockName) String() string {
	return fmt.Sprintf("%010d-%dof%d-%08x%s", n.segment, n.part, n.parts, n.crc, blockSuffix)
}

func parseBlockName(name string) (n blockName, ok bool) {
	text, ok := strings.CutSuffix(name, blockSuffix)
	fields := strings.Split(text, "-")
	if !ok || len(fields) != 3 {
		return n, false
	}
	part, parts, ok := strings.Cut(fields[1], "of")
	crc, err1 := strconv.ParseUint(fields[2], 16, 32)
	segment, err2 := strconv.ParseUint(fields[0], 10, 64)
	p, err3 := strconv.Atoi(part)
	of, err4 := strconv.Atoi(parts)
	if !ok || errors.Join(err1, err2, err3, err4) != nil {
		return n, false
	}
	return blockName{segment, p, of, uint32(crc)}, true
}

// openBlocks opens what there is, sets aside what is torn, and removes what was not finished. It answers the last segment
// whose rows lie in blocks.
func (t *table) openBlocks(segments []uint64) (last uint64, err error) {
	found := map[uint64]map[int]*block{} // by segment and part
	parts := map[uint64]int{}
	err = filepath.WalkDir(t.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == tornFolder || path == t.wal.dir):
			return fs.SkipDir
		case d.IsDir():
			return nil
		case strings.HasSuffix(path, tempSuffix):
			return t.unlessReadOnly(func() error { return os.Remove(path) })
		}
		name, ok := parseBlockName(d.Name())
		if !ok {
			return nil // not ours
		}
		b, err := openBlock(path, name.crc)
		if p, ok := errors.AsType[*fs.PathError](err); ok && p.Op == "open" {
			return err // too many files are open, perhaps: that says nothing of what is in this one
		}
		if err != nil {
			t.log.Error("a block is torn and was set aside", "block", path, "error", err)
			t.torn = append(t.torn, d.Name())
			return t.unlessReadOnly(func() error { return t.moveAside(path) })
		}
		if found[name.segment] == nil {
			found[name.segment] = map[int]*block{}
		}
		if twice := found[name.segment][name.part]; twice != nil { // the same rows, of an attempt that could not be undone
			return t.undo([]*block{b})
		}
		found[name.segment][name.part] = b
		parts[name.segment] = name.parts
		return nil
	})
	if err != nil {
		for _, list := range found {
			for _, one := range list {
				err = errors.Join(err, one.release())
			}
		}
		return 0, fmt.Errorf("open blocks: %w", err)
	}
	for segment, list := range found {
		if len(list) < parts[segment] && slices.Contains(segments, segment) {
			err = errors.Join(err, t.undo(slices.Collect(maps.Values(list))))
			continue
		}
		last = max(last, segment)
		t.blocks = slices.AppendSeq(t.blocks, maps.Values(list))
	}
	slices.SortFunc(t.blocks, func(a, b *block) int { return strings.Compare(a.path, b.path) })
	if err == nil && last > 0 {
		err = t.unlessReadOnly(func() error { return t.wal.remove(last) })
	}
	return last, err
}

func (t *table) unlessReadOnly(do func() error) error {
	if t.o.ReadOnly {
		return nil
	}
	return do()
}

// undo leaves blocks out whose rows are elsewhere, and removes them.
func (t *table) undo(list []*block) error {
	if !t.o.ReadOnly {
		return unwritten(list)
	}
	var err error
	for _, b := range list {
		err = errors.Join(err, b.release())
	}
	return err
}

// unwritten removes blocks whose rows lie in the log, for good: one that came back when the log is gone would have its rows twice.
func unwritten(list []*block) error {
	var err error
	for _, b := range list {
		b.gone.Store(true)
		err = errors.Join(err, b.release(), syncDir(filepath.Dir(b.path)))
	}
	return err
}

func (t *table) moveAside(path string) error {
	dir := filepath.Join(t.dir, tornFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("set block aside: %w", err)
	}
	aside := filepath.Join(dir, filepath.Base(path))
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("set block aside: %w", err)
	}
	now := time.Now()
	if err := errors.Join(os.Chtimes(aside, now, now), forgetTorn(dir)); err != nil {
		t.log.Warn("blocks that were set aside stay", "error", err)
	}
	return nil
}

// forgetTorn removes all but the maxTorn blocks that were set aside last. Parts of the log, which somebody may still read, stay.
func forgetTorn(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list blocks set aside: %w", err)
	}
	list = slices.DeleteFunc(list, func(d fs.DirEntry) bool { return d.IsDir() || filepath.Ext(d.Name()) != blockSuffix })
	when := func(d fs.DirEntry) time.Time {
		info, err := d.Info()
		if err != nil {
			return time.Time{}
		}
		return info.ModTime()
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int {
		return cmp.Or(when(a).Compare(when(b)), strings.Compare(a.Name(), b.Name()))
	})
	for _, d := range list[:max(len(list)-maxTorn, 0)] {
		if e := os.Remove(filepath.Join(dir, d.Name())); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// setAside takes a block out of use that turned out to be torn when it was read.
func (t *table) setAside(b *block, why error) {
	t.mu.Lock()
	at := slices.Index(t.blocks, b)
	if at >= 0 {
		t.blocks = slices.Delete(slices.Clone(t.blocks), at, at+1)
		t.torn = append(t.torn, filepath.Base(b.path))
	}
	t.mu.Unlock()
	if at < 0 {
		return
	}
	t.log.Error("a block is torn and was set aside", "block", b.path, "error", why)
	if err := t.unlessReadOnly(func() error { return t.moveAside(b.path) }); err != nil {
		t.log.Error("set aside", "block", b.path, "error", err)
	}
	_ = b.release() // it is torn anyway
}

// openBlock opens a file whose footer has the given checksum.
func openBlock(path string, crc uint32) (*block, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open block: %w", err)
	}
	b, err := readBlock(path, file, crc)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return b, nil
}

func readBlock(path string, file *os.File, crc uint32) (*block, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("open block: %w", err)
	}
	pq, err := parquet.Open(file, info.Size(), crc, nil)
	if err != nil {
		return nil, fmt.Errorf("open block: %w", err)
	}
	var meta blockMeta
	if err := json.Unmarshal([]byte(pq.Meta(metaKey)), &meta); err != nil {
		return nil, fmt.Errorf("open block: what it says of itself: %w", err)
	}
	for _, c := range pq.Columns() {
		if !shaped(meta.Signal, c) {
			return nil, fmt.Errorf("open block: %w: column %s is of type %d", errShape, c.Name, c.Type)
		}
	}
	if pq.PageRows() != pageRows {
		return nil, fmt.Errorf("open block: %w: pages of %d rows", errShape, pq.PageRows())
	}
	rows := 0
	for _, g := range pq.Groups() {
		rows += g.Rows
	}
	if rows != meta.Rows {
		return nil, fmt.Errorf("open block: it has %d rows and says %d", rows, meta.Rows)
	}
	b := &block{
		path: path, size: info.Size(), rows: rows, first: meta.First, last: meta.Last, made: meta.Made, services: meta.Services,
		file: file, pq: pq,
	}
	b.refs.Store(1)
	return b, nil
}

// shaped tells whether a column has the type that those who read it expect. A program that made the file may have had its own ideas.
func shaped(signal telemetry.Signal, c parquet.ColumnInfo) bool {
	switch c.Name {
	case colTime:
		return c.Type == parquet.Timestamp
	case colTrace:
		return c.Type == parquet.Fixed16
	case colSpan, colParent:
		return c.Type == parquet.Fixed8
	case colDuration, colSeverity:
		return c.Type == parquet.Int64
	case colEvents, colLinks, colRest, colText + suffixOf(telemetry.KindJSON):
		return c.Type == parquet.JSON
	case colName, colKind, colStatus, colMessage, colScope, colScopeVersion, colService, colReplica, colLevel, colText, colState:
		return c.Type == parquet.Text
	}
	if strings.HasPrefix(c.Name, prefixResource) {
		return c.Type == parquet.Text
	}
	return signal == telemetry.Spans || signal == telemetry.Logs
}
