package parquet

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Limits bound what a file may make the reader allocate. A zero field is its default.
type Limits struct {
	Footer    int // bytes; 16 MiB
	Columns   int // 4096
	Groups    int // 4096
	GroupRows int // 4 Mi
	PageRows  int // 64 Ki
	PageBytes int // of a page or dictionary, compressed and not; 256 MiB
	Section   int // bytes; 1 GiB
}

func (l *Limits) withDefaults() Limits {
	if l == nil {
		l = &Limits{}
	}
	or := func(v, d int) int {
		if v <= 0 {
			return d
		}
		return v
	}
	return Limits{
		Footer: or(l.Footer, 16<<20), Columns: or(l.Columns, 4096), Groups: or(l.Groups, 4096), GroupRows: or(l.GroupRows, 4<<20),
		PageRows: or(l.PageRows, 64<<10), PageBytes: min(or(l.PageBytes, maxPage), maxPage), Section: or(l.Section, 1<<30),
	}
}

// File is an open file. It is safe for concurrent use if its io.ReaderAt is.
type File struct {
	r        io.ReaderAt
	size     int64 // of the part before the footer
	limits   Limits
	pageRows int
	columns  []ColumnInfo
	byName   map[string]int
	groups   []*Group
	meta     map[string]string
	pieces   sync.Pool // *[bloomPiece]byte
}

// Group is a row group.
type Group struct {
	Rows   int
	chunks []Chunk
	file   *File
}

// Columns lists the file's columns.
func (f *File) Columns() []ColumnInfo { return f.columns }

// Groups lists the file's row groups.
func (f *File) Groups() []*Group { return f.groups }

// Meta gives an entry of the key-value metadata, empty if there is none.
func (f *File) Meta(key string) string { return f.meta[key] }

// PageRows is how many rows each page but a group's last has.
func (f *File) PageRows() int { return f.pageRows }

// Chunk gives the column's chunk of this group: nil if the file does not have the column or the group has no value in it.
func (g *Group) Chunk(name string) *Chunk {
	i, known := g.file.byName[name]
	if !known {
		return nil
	}
	if c := &g.chunks[i]; int(c.Nulls) < g.Rows {
		return c
	}
	return nil
}

// Pages is how many pages each chunk of the group has.
func (g *Group) Pages() int { return (g.Rows + g.file.pageRows - 1) / g.file.pageRows }

const tail = 8 // the footer's length and the magic

// Open reads the footer. It believes nothing that it has not checked: each length, count and offset is compared with the size of the file and with
// the limits before anything is allocated for it. want is the footer's CRC-32C, as Writer.Close gave it. Errors are *Corrupt or those of r.
func Open(r io.ReaderAt, size int64, want uint32, l *Limits) (*File, error) {
	limits := l.withDefaults()
	footer, err := readFooter(r, size, &limits)
	if err != nil {
		return nil, err
	}
	if got := checksum(footer); got != want {
		return nil, corrupt("footer", "its checksum is %08x, not %08x", got, want)
	}
	f := &File{r: r, size: size - int64(len(footer)), limits: limits, byName: map[string]int{}, meta: map[string]string{}}
	f.pieces.New = func() any { return new([bloomPiece]byte) }
	t := thriftReader{b: footer[:len(footer)-tail]}
	f.parse(&t)
	if f.columns == nil || t.at != len(t.b) {
		t.fail("parts are missing")
	}
	if t.bad != "" {
		return nil, corrupt("footer", "%s", t.bad)
	}
	if err := f.trust(); err != nil {
		return nil, err
	}
	for _, g := range f.groups {
		for i := range g.chunks {
			if err := g.chunks[i].check(); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

func readFooter(r io.ReaderAt, size int64, l *Limits) ([]byte, error) {
	var end [tail]byte
	if size < int64(len(magic)+tail) {
		return nil, corrupt("footer", "the file has %d bytes", size)
	}
	if err := readAt(r, end[:], size-tail); err != nil {
		return nil, fmt.Errorf("read parquet footer: %w", err)
	}
	n := int64(binary.LittleEndian.Uint32(end[:]))
	if string(end[4:]) != magic {
		return nil, corrupt("footer", "the file does not end as Parquet files do")
	}
	if n > size-int64(len(magic)+tail) || n > int64(l.Footer) {
		return nil, corrupt("footer", "it claims %d bytes", n)
	}
	footer := make([]byte, n+tail)
	if err := readAt(r, footer, size-int64(len(footer))); err != nil {
		return nil, fmt.Errorf("read parquet footer: %w", err)
	}
	return footer, nil
}

// readAt is ReadAt, where an end of the file before the end of b is unexpected.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (f *File) parse(t *thriftReader) {
	t.structure(func(id, typ int) bool {
		switch id {
		case 2:
			f.schema(t, typ)
		case 4:
			n := t.list(typ, thriftStruct)
			if n > f.limits.Groups || f.columns == nil {
				t.fail("too many groups, or groups before the schema")
			}
			for i := 0; i < n && t.bad == ""; i++ {
				f.group(t)
			}
		case 5:
			n := t.list(typ, thriftStruct)
			for i := 0; i < n && t.bad == ""; i++ {
				f.keyValue(t)
			}
		default:
			return false
		}
		return true
	})
}

func (f *File) schema(t *thriftReader, typ int) {
	n := t.list(typ, thriftStruct)
	if n < 1 || n > f.limits.Columns+1 || f.columns != nil {
		t.fail("too many columns")
		return
	}
	if root := t.schemaElement(); int(root.children) != n-1 {
		t.fail("nested schema")
		return
	}
	f.columns = make([]ColumnInfo, 0, n-1)
	for i := 1; i < n && t.bad == ""; i++ {
		e := t.schemaElement()
		typ := e.column()
		if _, twice := f.byName[e.name]; typ == 0 || twice || e.name == "" {
			t.fail("a column that is none of ours")
			return
		}
		f.byName[e.name] = len(f.columns)
		f.columns = append(f.columns, ColumnInfo{Name: e.name, Type: typ})
	}
}

func (f *File) group(t *thriftReader) {
	g := &Group{file: f}
	rows := int64(0)
	t.structure(func(id, typ int) bool {
		switch id {
		case 1:
			n := t.list(typ, thriftStruct)
			if n != len(f.columns) || g.chunks != nil {
				t.fail("a group with other columns than the schema")
				return true
			}
			g.chunks = make([]Chunk, 0, n)
			for i := 0; i < n && t.bad == ""; i++ {
				f.chunk(t, g, i)
			}
		case 3:
			rows = t.i64(typ)
		default:
			return false
		}
		return true
	})
	if rows <= 0 || rows > int64(f.limits.GroupRows) || len(g.chunks) != len(f.columns) {
		t.fail("a group of too many rows, or without columns")
		return
	}
	g.Rows = int(rows)
	f.groups = append(f.groups, g)
}

func (f *File) chunk(t *thriftReader, g *Group, i int) {
	name, m := t.chunk()
	column := f.columns[i]
	if name != column.Name || m.physical != column.Type.physical() || m.nEncodings == 0 {
		t.fail("a chunk of another column")
		return
	}
	if n := len(g.chunks); n == cap(g.chunks) {
		return
	}
	g.chunks = append(g.chunks, Chunk{
		Type: column.Type, Min: m.min, Max: m.max, HasRange: m.hasRange && column.Type.number(), Nulls: m.nulls,
		group: g, number: len(f.groups), name: column.Name, m: m,
	})
}

func (f *File) keyValue(t *thriftReader) {
	var key, value string
	t.structure(func(id, typ int) bool {
		switch id {
		case 1:
			key = string(t.bytes(typ))
		case 2:
			value = string(t.bytes(typ))
		default:
			return false
		}
		return true
	})
	f.meta[key] = value
}

// trust reads keyIndex.
func (f *File) trust() error {
	b, err := base64.StdEncoding.DecodeString(f.meta[keyIndex])
	if err != nil || len(b)%4 != 0 || len(b) == 0 {
		return corrupt("footer", "no index of ours")
	}
	next := func() (v uint32, ok bool) {
		if len(b) == 0 {
			return 0, false
		}
		v = binary.LittleEndian.Uint32(b)
		b = b[4:]
		return v, true
	}
	n, _ := next()
	if n == 0 || n%8 != 0 || uint64(n) > uint64(f.limits.PageRows) {
		return corrupt("footer", "pages of %d rows", n)
	}
	f.pageRows = int(n)
	for _, g := range f.groups {
		for i := range g.chunks {
			c := &g.chunks[i]
			var ok bool
			c.indexCRC, _ = next()
			if c.entries, ok = next(); !ok {
				return corrupt("footer", "the index ends early")
			}
			if c.m.bloom == 0 {
				continue
			}
			n := (int64(c.bloomLen()) + bloomPiece - 1) / bloomPiece
			if c.m.bloomSize < bloomBlock || n > int64(len(b)/4) {
				return corrupt("footer", "the index ends early")
			}
			c.HasBloom = true
			c.pieces, b = b[:n*4:n*4], b[n*4:]
		}
	}
	if len(b) != 0 {
		return corrupt("footer", "the index is longer than the groups")
	}
	return nil
}

// Section reads a section and checks it.
func (f *File) Section(name string) ([]byte, error) {
	where := "section " + name
	parts := strings.Split(f.meta[keySection+name], " ")
	if len(parts) != 3 {
		return nil, corrupt(where, "it is not there")
	}
	offset, err1 := strconv.ParseInt(parts[0], 10, 64)
	size, err2 := strconv.ParseInt(parts[1], 10, 64)
	want, err3 := strconv.ParseUint(parts[2], 16, 32)
	if err1 != nil || err2 != nil || err3 != nil || !f.inside(offset, size) || size > int64(f.limits.Section) {
		return nil, corrupt(where, "its place is %q", f.meta[keySection+name])
	}
	data := make([]byte, size)
	if err := readAt(f.r, data, offset); err != nil {
		return nil, fmt.Errorf("read parquet section %s: %w", name, err)
	}
	if got := checksum(data); got != uint32(want) {
		return nil, corrupt(where, "its checksum is %08x, not %08x", got, want)
	}
	return data, nil
}

// Sections lists the names of the sections, sorted.
func (f *File) Sections() []string {
	var names []string
	for key := range f.meta {
		if name, ok := strings.CutPrefix(key, keySection); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// inside says whether a part of the file lies between the magic and the footer.
func (f *File) inside(offset, size int64) bool {
	return offset >= int64(len(magic)) && size >= 0 && offset <= f.size && size <= f.size-offset
}
