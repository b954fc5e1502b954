package block

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

func writeBlock(file *os.File, m *mem, rows []uint32, meta *blockMeta) (uint32, error) {
	var out bytes.Buffer // a block is some megabytes; one write of it is kinder to the disk
	o := &parquet.Options{PageRows: pageRows}
	if m.signal == telemetry.Logs {
		o.Level = zstd.SpeedBetterCompression // a tenth less of text for a microsecond a line
	}
	w := parquet.NewWriter(&out, o)
	shaper := newShaper(m)
	words := &wordFilters{}
	for chunk := range slices.Chunk(rows, groupRows) {
		columns := shaper.columns(chunk)
		if err := w.WriteGroup(len(chunk), columns); err != nil {
			return 0, fmt.Errorf("%w: row group: %w", errUnwritable, err)
		}
		if m.signal == telemetry.Logs {
			words.add(columns, len(chunk))
		}
	}
	if m.signal == telemetry.Logs {
		if err := w.Section(wordsSection, words.bytes()); err != nil {
			return 0, fmt.Errorf("%w: filters of words: %w", errUnwritable, err)
		}
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return 0, fmt.Errorf("describe block: %w", err)
	}
	w.Meta(metaKey, string(text))
	crc, err := w.Close()
	if err != nil {
		return 0, fmt.Errorf("%w: footer: %w", errUnwritable, err)
	}
	if _, err := file.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return crc, nil
}

// shaper makes columns of row groups out of a table in memory.
type shaper struct {
	m       *mem
	view    *memView
	at      [][]int32 // of each column: the place of each row's value, or -1; nil where each row has one
	derived []derived
}

// derived is a column that follows from the resource.
type derived struct {
	name   string
	column *ofResource
}

func newShaper(m *mem) *shaper {
	s := &shaper{m: m, view: m.view(), at: make([][]int32, len(m.columns))}
	for i, c := range m.columns {
		if len(c.rows) == m.n {
			continue
		}
		s.at[i] = make([]int32, m.n)
		for row := range s.at[i] {
			s.at[i][row] = -1
		}
		for place, row := range c.rows {
			s.at[i][row] = int32(place)
		}
	}
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

func (s *shaper) columns(rows []uint32) []parquet.Column {
	var out []parquet.Column
	for i, c := range s.m.columns {
		if len(c.rows) == 0 {
			continue
		}
		if column, ok := s.shape(c, s.at[i], rows); ok {
			out = append(out, column)
		}
	}
	for _, d := range s.derived {
		codes := make([]uint32, len(rows))
		valued := false
		for i, row := range rows {
			codes[i] = d.column.codeOf[d.column.resource[row]]
			valued = valued || codes[i] != parquet.None
		}
		if valued {
			out = append(out, parquet.Column{Name: d.name, Type: parquet.Text, Codes: codes, Dict: &d.column.values.strings})
		}
	}
	return out
}

// shape makes a column of some rows; ok tells whether one of them has a value.
func (s *shaper) shape(c *column, at []int32, rows []uint32) (out parquet.Column, ok bool) {
	out = parquet.Column{Name: c.name, Type: c.kind}
	places := make([]int32, len(rows))
	missing := 0
	for i, row := range rows {
		places[i] = int32(row)
		if at != nil {
			if places[i] = at[row]; places[i] < 0 {
				missing++
			}
		}
	}
	if missing == len(rows) {
		return out, false
	}
	if missing > 0 && c.dict == nil {
		out.Valid = make([]bool, len(rows))
		for i, p := range places {
			out.Valid[i] = p >= 0
		}
	}
	switch c.kind {
	case parquet.Text, parquet.JSON:
		out.Codes, out.Dict = gather(c.codes, places, parquet.None), &c.dict.strings
		out.Bloom = c.dict.strings.Len() >= bloomFrom && c.name != colText && c.kind == parquet.Text
	case parquet.Int64, parquet.Timestamp:
		out.Ints = gather(c.ints, places, 0)
	case parquet.Double:
		out.Floats = gather(c.floats, places, 0)
	case parquet.Bool:
		out.Bools = gather(c.bools, places, false)
	case parquet.Fixed8, parquet.Fixed16:
		w := width(c.kind)
		out.Fixed = make([]byte, len(rows)*w)
		for i, p := range places {
			if p >= 0 {
				copy(out.Fixed[i*w:], c.fixed[int(p)*w:int(p+1)*w])
			}
		}
		out.Bloom = c.name == colTrace
	}
	return out, true
}

func gather[T any](values []T, places []int32, none T) []T {
	out := make([]T, len(places))
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
}

func (f *wordFilters) add(columns []parquet.Column, rows int) {
	at := slices.IndexFunc(columns, func(c parquet.Column) bool { return c.Name == colText })
	for lo := 0; lo < rows; lo += pageRows {
		f.set.reset()
		if at >= 0 {
			f.page(&columns[at], lo, min(lo+pageRows, rows))
		}
		if len(f.set.list) > 0 {
			f.filters = appendFilter(f.filters, f.set.list)
		}
		f.ends = append(f.ends, uint32(len(f.filters)))
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

// order puts the rows of a trace together, traces by their first span; records by who wrote them, then by time.
func (m *mem) order(rows []uint32) {
	times := m.fixed.time.ints
	if m.signal == telemetry.Logs {
		slices.SortStableFunc(rows, func(a, b uint32) int {
			return cmp.Or(cmp.Compare(m.resource[a], m.resource[b]), cmp.Compare(times[a], times[b]))
		})
		return
	}
	traces := m.fixed.trace.fixed
	begins := make([]int64, m.n) // of each row's trace
	seed := maphash.MakeSeed()
	first := make(map[uint64]int64, len(rows)/4)
	ids := make([]uint64, m.n)
	for _, row := range rows {
		id := maphash.Bytes(seed, traces[16*row:16*row+16])
		ids[row] = id
		if begin, ok := first[id]; !ok || times[row] < begin {
			first[id] = times[row]
		}
	}
	for _, row := range rows {
		begins[row] = first[ids[row]]
	}
	slices.SortFunc(rows, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(begins[a], begins[b]), cmp.Compare(ids[a], ids[b]), cmp.Compare(times[a], times[b]), cmp.Compare(a, b))
	})
}
