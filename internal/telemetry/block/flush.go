package block

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

const (
	groupRows  = 8 * pageRows // of a row group
	bloomFrom  = 256          // distinct values from which a column of text gets a bloom filter
	loudShare  = 4            // a service with more than a quarter of the rows has files of its own, which can go alone
	dayFormat  = "2006-01-02"
	metaFormat = "atoll.telemetry.1"
)

// flush makes blocks of a table in memory and, when all of them are durable, removes its log.
func (t *table) flush(f *frozen) error {
	if f.parts == nil { // an attempt that fails does not choose, and count, again
		f.parts = f.mem.split(t.keepRows(f.mem))
	}
	parts, made := f.parts, time.Now()
	written := make([]*unfinished, 0, len(parts))
	var err error
	for i, rows := range parts {
		var u *unfinished
		if u, err = t.writePart(f.mem, rows, made); err != nil {
			break
		}
		u.name.segment, u.name.part, u.name.parts = f.upTo, i+1, len(parts)
		written = append(written, u)
	}
	var blocks []*block
	for _, u := range written {
		if err != nil {
			err = errors.Join(err, os.Remove(u.temp))
			continue
		}
		var b *block
		if b, err = u.finish(); err == nil {
			blocks = append(blocks, b)
		}
	}
	if err != nil {
		return errors.Join(err, unwritten(blocks))
	}
	t.mu.Lock()
	t.flushing = slices.DeleteFunc(slices.Clone(t.flushing), func(other *frozen) bool { return other == f })
	t.blocks = append(slices.Clip(t.blocks), blocks...)
	t.mu.Unlock()
	if err := t.wal.remove(f.upTo); err != nil {
		t.log.Warn("remove the log of a block", "error", err)
	}
	t.store.askTidy()
	return nil
}

// errUnwritable is the error of rows that do not fit into a block: trying again does not help.
var errUnwritable = errors.New("the rows fit into no block")

// unfinished is a block that has not its name yet.
type unfinished struct {
	temp, dir string
	name      blockName
}

// finish gives the block its name, and opens it. After an error nothing is left of it.
func (u *unfinished) finish() (*block, error) {
	path := filepath.Join(u.dir, u.name.String())
	if err := os.Rename(u.temp, path); err != nil {
		return nil, fmt.Errorf("name block: %w", errors.Join(err, os.Remove(u.temp)))
	}
	b, err := openBlock(path, u.name.crc)
	if err == nil {
		if err = syncDir(u.dir); err != nil {
			err = errors.Join(err, b.release())
		}
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(path), syncDir(u.dir))
	}
	return b, nil
}

// writePart writes a file of some rows, which lie in the order in which they are given.
func (t *table) writePart(m *mem, rows []uint32, made time.Time) (*unfinished, error) {
	first, last := m.times(rows)
	dir := filepath.Join(t.dir, time.Unix(0, last).UTC().Format(dayFormat))
	if last > made.Add(24*time.Hour).UnixNano() || last < 0 { // a sender's clock makes no folders
		dir = filepath.Join(t.dir, made.UTC().Format(dayFormat))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of a day: %w", err)
	}
	if err := syncDir(t.dir); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(dir, "block-*"+tempSuffix)
	if err != nil {
		return nil, fmt.Errorf("make block: %w", err)
	}
	meta := blockMeta{Signal: t.signal, Rows: len(rows), First: first, Last: last, Made: made.UnixNano(), Services: m.servicesOf(rows)}
	crc, err := writeBlock(file, m, rows, &meta)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, fmt.Errorf("write block: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return &unfinished{temp: file.Name(), dir: dir, name: blockName{crc: crc}}, nil
}

// blockWriters lend their memory, some megabytes each, to one block after the other; by how well they compress.
type blockWriters struct{ spans, logs sync.Pool }

//nolint:gochecknoglobals // a pool of memory has no state that anybody sees
var writers = blockWriters{
	spans: sync.Pool{New: func() any { return newBlockWriter(zstd.SpeedFastest) }},
	logs:  sync.Pool{New: func() any { return newBlockWriter(zstd.SpeedBetterCompression) }}, // a tenth less of text for a microsecond a line
}

func (w *blockWriters) of(signal telemetry.Signal) *sync.Pool {
	if signal == telemetry.Logs {
		return &w.logs
	}
	return &w.spans
}

// blockWriter is what writing a block needs.
type blockWriter struct {
	to      disk
	out     *bufio.Writer // to it
	parquet *parquet.Writer
	words   wordFilters
	shapes  shapes
}

// disk is a file that remembers that it could not be written.
type disk struct {
	file *os.File
	err  error
}

func (d *disk) Write(b []byte) (int, error) {
	n, err := d.file.Write(b)
	d.err = errors.Join(d.err, err)
	return n, err
}

func newBlockWriter(level zstd.EncoderLevel) *blockWriter {
	const atOnce = 1 << 20 // large writes are kinder to the disk
	w := &blockWriter{}
	w.out = bufio.NewWriterSize(&w.to, atOnce)
	w.parquet = parquet.NewWriter(io.Discard, &parquet.Options{PageRows: pageRows, Level: level})
	return w
}

func writeBlock(file *os.File, m *mem, rows []uint32, meta *blockMeta) (uint32, error) {
	pool := writers.of(m.signal)
	w := pool.Get().(*blockWriter) //nolint:forcetypeassert // the pool has no other
	defer pool.Put(w)
	w.to = disk{file: file}
	defer func() { w.to = disk{} }()
	w.out.Reset(&w.to)
	w.parquet.Reset(w.out)
	w.words.reset()
	shaper := newShaper(m, &w.shapes)
	for chunk := range slices.Chunk(rows, groupRows) {
		w.words.begin(len(chunk))
		err := w.parquet.WriteGroup(len(chunk), func(yield func(parquet.Column) bool) {
			for c := range shaper.columns(chunk) {
				if c.Name == colText && m.signal == telemetry.Logs {
					w.words.add(&c)
				}
				if !yield(c) {
					return
				}
			}
		})
		if err != nil {
			return 0, w.failed("row group", err)
		}
	}
	if m.signal == telemetry.Logs {
		if err := w.parquet.Section(wordsSection, w.words.bytes()); err != nil {
			return 0, w.failed("filters of words", err)
		}
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return 0, fmt.Errorf("describe block: %w", err)
	}
	w.parquet.Meta(metaKey, string(text))
	crc, err := w.parquet.Close()
	if err != nil {
		return 0, w.failed("footer", err)
	}
	return crc, w.out.Flush()
}

// failed is the error of one part of a block. Trying again helps where it was the disk's.
func (w *blockWriter) failed(part string, err error) error {
	if w.to.err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	return fmt.Errorf("%w: %s: %w", errUnwritable, part, err)
}

// shaper makes columns of row groups out of a table in memory.
type shaper struct {
	*shapes

	m       *mem
	view    *memView
	derived []derived
}

// shapes is the memory of a column.
type shapes struct {
	at     []int32 // of each row of the table: the place of its value while it is looked for; -1 otherwise
	places []int32 // the same of the rows of the group
	codes  []uint32
	ints   []int64
	floats []float64
	bools  []bool
	valid  []bool
	fixed  []byte
}

// derived is a column that follows from the resource.
type derived struct {
	name   string
	column *ofResource
}

func newShaper(m *mem, memory *shapes) *shaper {
	s := &shaper{m: m, view: m.view(), shapes: memory}
	for _, name := range s.view.names() {
		if _, ok := s.view.columns[name]; ok {
			continue
		}
		if c, ok := s.view.get(name).(*ofResource); ok {
			s.derived = append(s.derived, derived{name, c})
		}
	}
	return s
}

// columns makes the columns of some rows, each in the memory of the one before.
func (s *shaper) columns(rows []uint32) iter.Seq[parquet.Column] {
	return func(yield func(parquet.Column) bool) {
		for _, c := range s.m.columns {
			if len(c.rows) == 0 {
				continue
			}
			if column, ok := s.shape(c, rows); ok && !yield(column) {
				return
			}
		}
		for _, d := range s.derived {
			s.codes = sized(s.codes, len(rows))
			valued := false
			for i, row := range rows {
				s.codes[i] = d.column.codeOf[d.column.resource[row]]
				valued = valued || s.codes[i] != parquet.None
			}
			if valued && !yield(parquet.Column{Name: d.name, Type: parquet.Text, Codes: s.codes, Dict: &d.column.values.strings}) {
				return
			}
		}
	}
}

// find gives the place of each row's value in a column, or -1, and how many have none.
func (s *shaper) find(c *column, rows []uint32) (places []int32, missing int) {
	s.places = sized(s.places, len(rows))
	if len(c.rows) == s.m.n {
		for i, row := range rows {
			s.places[i] = int32(row)
		}
		return s.places, 0
	}
	for len(s.at) < s.m.n {
		s.at = append(s.at, -1)
	}
	for place, row := range c.rows {
		s.at[row] = int32(place)
	}
	for i, row := range rows {
		if s.places[i] = s.at[row]; s.places[i] < 0 {
			missing++
		}
	}
	for _, row := range c.rows {
		s.at[row] = -1
	}
	return s.places, missing
}

// shape makes a column of some rows; ok tells whether one of them has a value.
func (s *shaper) shape(c *column, rows []uint32) (out parquet.Column, ok bool) {
	out = parquet.Column{Name: c.name, Type: c.kind}
	places, missing := s.find(c, rows)
	if missing == len(rows) {
		return out, false
	}
	if missing > 0 && c.dict == nil {
		s.valid = sized(s.valid, len(rows))
		for i, p := range places {
			s.valid[i] = p >= 0
		}
		out.Valid = s.valid
	}
	switch c.kind {
	case parquet.Text, parquet.JSON:
		s.codes = gather(s.codes, c.codes, places, parquet.None)
		out.Codes, out.Dict = s.codes, &c.dict.strings
		out.Bloom = c.dict.strings.Len() >= bloomFrom && c.name != colText && c.kind == parquet.Text
	case parquet.Int64, parquet.Timestamp:
		s.ints = gather(s.ints, c.ints, places, 0)
		out.Ints = s.ints
	case parquet.Double:
		s.floats = gather(s.floats, c.floats, places, 0)
		out.Floats = s.floats
	case parquet.Bool:
		s.bools = gather(s.bools, c.bools, places, false)
		out.Bools = s.bools
	case parquet.Fixed8, parquet.Fixed16:
		w := width(c.kind)
		s.fixed = sized(s.fixed, len(rows)*w)
		for i, p := range places {
			if p >= 0 {
				copy(s.fixed[i*w:], c.fixed[int(p)*w:int(p+1)*w])
			} else {
				clear(s.fixed[i*w : (i+1)*w])
			}
		}
		out.Fixed = s.fixed
		out.Bloom = c.name == colTrace
	}
	return out, true
}

// gather puts the values of places into the memory of out.
func gather[T any](out, values []T, places []int32, none T) []T {
	out = sized(out, len(places))
	for i, p := range places {
		if p < 0 {
			out[i] = none
		} else {
			out[i] = values[p]
		}
	}
	return out
}

// wordFilters gathers a filter for each page of text.
type wordFilters struct {
	set     wordSet
	ends    []uint32
	filters []byte
	seen    []bool // codes of the dictionary whose words are in the page's set
	group   int    // page with which the row group begins
}

func (f *wordFilters) reset() { f.ends, f.filters = f.ends[:0], f.filters[:0] }

// begin begins a row group, of whose pages none has a word until add.
func (f *wordFilters) begin(rows int) {
	f.group = len(f.ends)
	for lo := 0; lo < rows; lo += pageRows {
		f.ends = append(f.ends, uint32(len(f.filters)))
	}
}

// add adds the text of the row group.
func (f *wordFilters) add(c *parquet.Column) {
	for i := range f.ends[f.group:] {
		f.set.reset()
		f.page(c, i*pageRows, min((i+1)*pageRows, len(c.Codes)))
		if len(f.set.list) > 0 {
			f.filters = appendFilter(f.filters, f.set.list)
		}
		f.ends[f.group+i] = uint32(len(f.filters))
	}
}

func (f *wordFilters) page(c *parquet.Column, lo, hi int) {
	f.seen = slices.Grow(f.seen[:0], c.Dict.Len())[:c.Dict.Len()]
	clear(f.seen)
	for _, code := range c.Codes[lo:hi] {
		if code != parquet.None && !f.seen[code] {
			f.seen[code] = true
			f.set.addWords(c.Dict.At(int(code)))
		}
	}
}

// bytes is the section: the number of pages, where the filter of each ends, the filters. An empty filter is that of a page
// without a word.
func (f *wordFilters) bytes() []byte {
	b := make([]byte, 0, 4+4*len(f.ends)+len(f.filters))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.ends)))
	for _, end := range f.ends {
		b = binary.LittleEndian.AppendUint32(b, end)
	}
	return append(b, f.filters...)
}

// times is the time of the first and of the last of some rows.
func (m *mem) times(rows []uint32) (first, last int64) {
	times := m.fixed.time.ints
	first, last = times[rows[0]], times[rows[0]]
	for _, row := range rows {
		first, last = min(first, times[row]), max(last, times[row])
	}
	return first, last
}

func (m *mem) servicesOf(rows []uint32) map[string]int64 {
	counts := make([]int64, len(m.resources))
	for _, row := range rows {
		counts[m.resource[row]]++
	}
	return few(byService(m.resources, counts))
}

// few keeps the services with most rows, and makes one of the others.
func few(counts map[string]int64) map[string]int64 {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		if i >= maxServices || len(name) > maxKey {
			counts[others] += counts[name]
			delete(counts, name)
		}
	}
	return counts
}

func (v *memView) services() map[string]int64 {
	counts := make([]int64, len(v.resources))
	for _, r := range v.resource {
		counts[r]++
	}
	return byService(v.resources, counts)
}

func byService(resources []telemetry.Resource, counts []int64) map[string]int64 {
	out := map[string]int64{}
	for i, n := range counts {
		if n > 0 {
			out[resources[i].Service] += n
		}
	}
	return out
}

// split puts rows into the order of files, and parts them: each of the loudest services has files of its own.
func (m *mem) split(rows []uint32) [][]uint32 {
	if len(rows) == 0 {
		return nil
	}
	m.order(rows)
	services := m.servicesOf(rows)
	partOf := make([]int, len(m.resources))
	numbers := map[string]int{}
	parts := make([][]uint32, 1, 1+loudShare)
	for i := range m.resources {
		name := m.resources[i].Service
		if len(services) == 1 || services[name]*loudShare <= int64(len(rows)) {
			continue
		}
		if _, ok := numbers[name]; !ok {
			numbers[name] = len(parts)
			parts = append(parts, nil)
		}
		partOf[i] = numbers[name]
	}
	for _, row := range rows {
		p := partOf[m.resource[row]]
		parts[p] = append(parts[p], row)
	}
	return slices.DeleteFunc(parts, func(rows []uint32) bool { return len(rows) == 0 })
}

// sortKey is by what a row is sorted.
type sortKey struct {
	first int64  // when its trace began, or who wrote the record
	group uint64 // its trace
	time  int64
	row   uint32
}

// order puts the rows of a trace together, traces by their first span; records by who wrote them, then by time.
func (m *mem) order(rows []uint32) {
	times := m.fixed.time.ints
	keys := make([]sortKey, len(rows))
	for i, row := range rows {
		keys[i] = sortKey{time: times[row], row: row}
	}
	if m.signal == telemetry.Logs {
		for i, row := range rows {
			keys[i].first = int64(m.resource[row])
		}
	} else {
		m.byTrace(keys)
	}
	slices.SortFunc(keys, func(a, b sortKey) int { // not cmp.Or, which would compare all of it each time
		switch {
		case a.first != b.first:
			return cmp.Compare(a.first, b.first)
		case a.group != b.group:
			return cmp.Compare(a.group, b.group)
		case a.time != b.time:
			return cmp.Compare(a.time, b.time)
		}
		return cmp.Compare(a.row, b.row)
	})
	for i := range keys {
		rows[i] = keys[i].row
	}
}

// byTrace gives the keys of spans their traces.
func (m *mem) byTrace(keys []sortKey) {
	traces := m.fixed.trace.fixed
	seed := maphash.MakeSeed()
	begins := make(map[uint64]int64, len(keys)/4)
	for i := range keys {
		k := &keys[i]
		k.group = maphash.Bytes(seed, traces[16*k.row:16*k.row+16])
		if begin, ok := begins[k.group]; !ok || k.time < begin {
			begins[k.group] = k.time
		}
	}
	for i := range keys {
		keys[i].first = begins[keys[i].group]
	}
}
