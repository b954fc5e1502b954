package parquet

import (
	"encoding/binary"
	"math"
)

// Page reads the i-th page. Its slices live until the scratch is used for another page.
func (c *Chunk) Page(i int, s *Scratch) (Page, error) {
	if i < 0 || i >= c.Pages() {
		return Page{}, corrupt(c.pageWhere(i), "it has %d pages", c.Pages())
	}
	places, err := c.offsets()
	if err != nil {
		return Page{}, err
	}
	if c.m.encoding() == encodingDictionary && !c.Dictionary {
		if err := c.dictionary(s); err != nil {
			return Page{}, err
		}
	}
	p := places[i]
	h, b, err := c.load(s, i, p.offset, int64(p.size))
	if err != nil {
		return Page{}, err
	}
	rows := min(c.group.file.pageRows, c.group.Rows-i*c.group.file.pageRows)
	if h.kind != pageData || h.encoding != c.m.encoding() || int(h.values) != rows {
		return Page{}, corrupt(c.pageWhere(i), "another kind of page")
	}
	s.bitmap = resize(s.bitmap, (rows+7)/8)
	n, b, bad := readLevels(s.bitmap, b, rows)
	if bad == "" {
		s.page.Rows, s.page.Same = rows, false
		bad = c.decode(s, b, n)
	}
	if bad != "" {
		return Page{}, corrupt(c.pageWhere(i), "%s", bad)
	}
	return c.only(&s.page, n), nil
}

// only gives the fields of the page that belong to the chunk's type: the others hold memory for other chunks.
func (c *Chunk) only(p *Page, values int) Page {
	out := Page{Rows: p.Rows}
	if values < p.Rows {
		out.Valid = p.Valid
	}
	switch {
	case c.Dictionary:
		out.Codes, out.Same, out.Valid = p.Codes, p.Same, nil
	case c.Type.text():
		out.Codes, out.Same, out.Values, out.Valid = p.Codes, p.Same, p.Values, nil
	case c.Type.number():
		out.Ints = p.Ints
	case c.Type == Double:
		out.Floats = p.Floats
	case c.Type == Bool:
		out.Bools = p.Bools
	default:
		out.Fixed = p.Fixed
	}
	return out
}

// decode reads the n values of a page. What is wrong comes back as text.
func (c *Chunk) decode(s *Scratch, b []byte, n int) string {
	rows := s.page.Rows
	if !c.Type.text() && !c.Dictionary && n < rows {
		s.page.Valid = resize(s.page.Valid, (rows+7)&^7)
		unpackBools(s.page.Valid, s.bitmap)
		s.page.Valid = s.page.Valid[:rows]
	}
	switch {
	case c.Dictionary:
		return c.codes(s, b, n)
	case c.Type.text():
		return s.strings(b, n)
	case c.Type == Bool:
		return s.bools(b, n)
	case c.Type.width() != 0:
		return s.fixed(b, n, c.Type.width())
	}
	s.ints = resize(s.ints, n+slack)[:n]
	if bad := c.numbers(s, b, n); bad != "" {
		return bad
	}
	ints := s.ints
	if n < rows {
		s.wide = resize(s.wide, (rows+7)&^7)
		spread(s.wide, s.ints[:n+slack], s.bitmap)
		ints = s.wide[:rows]
	}
	if c.Type != Double {
		s.page.Ints = ints
		return ""
	}
	s.page.Floats = resize(s.page.Floats, rows)
	for i, v := range ints {
		s.page.Floats[i] = math.Float64frombits(uint64(v))
	}
	return ""
}

// unpackBools gives each bit its bool; out has whole groups of eight.
func unpackBools(out []bool, bitmap []byte) {
	for i, b := range bitmap {
		o := (*[8]bool)(out[i*8:])
		o[0], o[1], o[2], o[3] = b&1 != 0, b&2 != 0, b&4 != 0, b&8 != 0
		o[4], o[5], o[6], o[7] = b&16 != 0, b&32 != 0, b&64 != 0, b&128 != 0
	}
}

// spread gives each row its number, and those without value zero. dense has slack behind the numbers, out has whole groups of eight rows.
func spread(out, dense []int64, bitmap []byte) {
	for i, present := range bitmap {
		o, d := (*[8]int64)(out[i*8:]), (*[8]int64)(dense)
		switch present {
		case 0:
			*o = [8]int64{}
		case 0xff:
			*o = *d
			dense = dense[8:]
		default:
			next := uint(0)
			for j := range o { // no branch for each row
				bit := uint(present>>j) & 1
				o[j] = d[next&7] & -int64(bit)
				next += bit
			}
			dense = dense[next:]
		}
	}
}

// readCodes decodes n codes of a page into s.dense.
func (c *Chunk) readCodes(s *Scratch, b []byte, n int) (same bool, bad string) {
	if len(b) == 0 || b[0] > 31 {
		return false, "no width of codes"
	}
	s.dense = resize(s.dense, n+slack)
	return readHybrid(s.dense[:n], b[1:], uint(b[0]), c.entries)
}

func (c *Chunk) codes(s *Scratch, b []byte, n int) string {
	rows := s.page.Rows
	same, bad := c.readCodes(s, b, n)
	if bad != "" {
		return bad
	}
	if n == rows {
		s.page.Codes, s.dense = s.dense[:n], s.page.Codes // the other's memory is for the next page
		s.page.Same = same
		return ""
	}
	s.page.Codes = resize(s.page.Codes, (rows+7)&^7)
	spreadCodes(s.page.Codes, s.dense[:n+slack], s.bitmap)
	s.page.Codes = s.page.Codes[:rows]
	s.page.Same = n == 0
	return ""
}

// spreadCodes is spread for codes; rows without value get None.
func spreadCodes(out, dense []uint32, bitmap []byte) {
	for i, present := range bitmap {
		o, d := (*[8]uint32)(out[i*8:]), (*[8]uint32)(dense)
		switch present {
		case 0:
			*o = [8]uint32{None, None, None, None, None, None, None, None}
		case 0xff:
			*o = *d
			dense = dense[8:]
		default:
			// No branch for each row: one without value gets all ones. Written out, since the compiler does not unroll.
			b := uint32(present)
			next := b & 1
			o[0] = d[0] | (next - 1)
			o[1] = d[next&7] | (b>>1&1 - 1)
			next += b >> 1 & 1
			o[2] = d[next&7] | (b>>2&1 - 1)
			next += b >> 2 & 1
			o[3] = d[next&7] | (b>>3&1 - 1)
			next += b >> 3 & 1
			o[4] = d[next&7] | (b>>4&1 - 1)
			next += b >> 4 & 1
			o[5] = d[next&7] | (b>>5&1 - 1)
			next += b >> 5 & 1
			o[6] = d[next&7] | (b>>6&1 - 1)
			next += b >> 6 & 1
			o[7] = d[next&7] | (b>>7&1 - 1)
			next += b >> 7 & 1
			dense = dense[next:]
		}
	}
}

// numbers decodes into s.ints.
func (c *Chunk) numbers(s *Scratch, b []byte, n int) string {
	switch c.m.encoding() {
	case encodingDelta:
		rest, bad := readDelta(s.ints, b)
		if bad == "" && len(rest) != 0 {
			return "bytes behind the values"
		}
		return bad
	case encodingPlain:
		if len(b) != n*8 {
			return "another count of values"
		}
		for i := range s.ints {
			s.ints[i] = int64(binary.LittleEndian.Uint64(b[i*8:]))
		}
		return ""
	}
	if _, bad := c.readCodes(s, b, n); bad != "" {
		return bad
	}
	for i, code := range s.dense[:n] {
		s.ints[i] = s.dictInts[code]
	}
	return ""
}

// strings decodes DELTA_LENGTH_BYTE_ARRAY; codes number the page's values.
func (s *Scratch) strings(b []byte, n int) string {
	s.ints = resize(s.ints, n)
	b, bad := readDelta(s.ints, b)
	if bad != "" {
		return bad
	}
	p := &s.page
	p.Values.Ends, p.Values.Bytes = resize(p.Values.Ends, n), b
	end := int64(0)
	for i, size := range s.ints {
		if size < 0 || size > int64(len(b))-end {
			return "string beyond the page"
		}
		end += size
		p.Values.Ends[i] = uint32(end)
	}
	if end != int64(len(b)) {
		return "bytes behind the values"
	}
	p.Codes = resize(p.Codes, p.Rows)
	next := uint32(0)
	for i := range p.Codes {
		bit := uint32(s.bitmap[i>>3]>>(i&7)) & 1
		p.Codes[i] = next | (bit - 1)
		next += bit
	}
	p.Same = n == 0
	return ""
}

func (s *Scratch) bools(b []byte, n int) string {
	if len(b) != (n+7)/8 {
		return "another count of values"
	}
	rows := s.page.Rows
	s.page.Bools = resize(s.page.Bools, (rows+7)&^7)
	if n == rows {
		unpackBools(s.page.Bools, b)
	} else {
		from := 0
		for i := range rows {
			bit := int(s.bitmap[i>>3]>>(i&7)) & 1
			s.page.Bools[i] = bit != 0 && b[from>>3]>>(from&7)&1 != 0
			from += bit
		}
	}
	s.page.Bools = s.page.Bools[:rows]
	return ""
}

func (s *Scratch) fixed(b []byte, n, w int) string {
	if len(b) != n*w {
		return "another count of values"
	}
	if n == s.page.Rows {
		s.page.Fixed = append(s.page.Fixed[:0], b...)
		return ""
	}
	s.page.Fixed = resize(s.page.Fixed, s.page.Rows*w)
	out := s.page.Fixed
	for i := 0; len(out) > 0; i++ {
		bit := int(s.bitmap[i>>3]>>(i&7)) & 1
		for k := 0; k < w; k += 8 { // b has slack, so that a row without value may load what is not its own
			v := binary.LittleEndian.Uint64(b[k : k+8 : cap(b)])
			binary.LittleEndian.PutUint64(out[k:], v&-uint64(bit))
		}
		out, b = out[w:], b[bit*w:]
	}
	return ""
}
