package parquet

// The structures of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, as far as blocks need them.

// Physical types.
const (
	physicalBoolean = 0
	physicalInt64   = 2
	physicalDouble  = 5
	physicalBytes   = 6
	physicalFixed   = 7
)

// Encodings.
const (
	encodingPlain       = 0
	encodingRLE         = 3
	encodingDelta       = 5
	encodingDeltaLength = 6
	encodingDictionary  = 8
)

const codecZstd = 6

// Page types.
const (
	pageData       = 0
	pageDictionary = 2
)

// Members of the union LogicalType, and the older converted types that say the same.
const (
	logicalString    = 1
	logicalTimestamp = 8
	logicalJSON      = 12

	convertedUTF8 = 0
	convertedJSON = 19
)

const (
	repetitionOptional = 1
	createdBy          = "atoll (https://github.com/atollhq/atoll)"
	magic              = "PAR1"
)

// The keys of the key-value metadata that are ours.
const (
	keyIndex   = "atoll.index"
	keySection = "atoll.section." // and the name
)

func (t Type) physical() int32 {
	switch t {
	case Double:
		return physicalDouble
	case Bool:
		return physicalBoolean
	case Text, JSON:
		return physicalBytes
	case Fixed8, Fixed16:
		return physicalFixed
	default:
		return physicalInt64
	}
}

// chunkMeta is what the footer says of a chunk.
type chunkMeta struct {
	physical     int32
	encodings    [4]int32
	nEncodings   int
	codec        int32
	values       int64
	uncompressed int64
	compressed   int64
	data         int64 // offset of the first data page
	dictionary   int64 // offset of the dictionary page; zero: none
	nulls        int64
	min, max     int64
	hasRange     bool
	bloom        int64 // offset; zero: none
	bloomSize    int32
	index        int64 // offset of the offset index
	indexSize    int32
}

// encoding is that of the data pages: we write it last in the list.
func (m *chunkMeta) encoding() int32 { return m.encodings[m.nEncodings-1] }

func (m *chunkMeta) setEncodings(e ...int32) {
	m.nEncodings = copy(m.encodings[:], e)
}

// start is the offset of the chunk's first byte.
func (m *chunkMeta) start() int64 {
	if m.dictionary != 0 {
		return m.dictionary
	}
	return m.data
}

func (t *thriftWriter) schemaColumn(name string, typ Type) {
	t.open()
	t.i32(1, typ.physical())
	if w := typ.width(); w != 0 {
		t.i32(2, int32(w))
	}
	t.i32(3, repetitionOptional)
	t.text(4, name)
	switch typ {
	case Text:
		t.i32(6, convertedUTF8)
		t.begin(10)
		t.empty(logicalString)
		t.end()
	case JSON:
		t.i32(6, convertedJSON)
		t.begin(10)
		t.empty(logicalJSON)
		t.end()
	case Timestamp:
		t.begin(10)
		t.begin(logicalTimestamp)
		t.boolean(1, true)
		t.begin(2)
		t.empty(3) // nanoseconds
		t.end()
		t.end()
		t.end()
	default:
	}
	t.end()
}

func (t *thriftWriter) chunk(name string, m *chunkMeta) {
	t.open()
	t.i64(2, 0)
	t.begin(3)
	t.i32(1, m.physical)
	t.list(2, thriftI32, m.nEncodings)
	for _, e := range m.encodings[:m.nEncodings] {
		t.b = append(t.b, byte(e<<1))
	}
	t.list(3, thriftBinary, 1)
	t.item(name)
	t.i32(4, m.codec)
	t.i64(5, m.values)
	t.i64(6, m.uncompressed)
	t.i64(7, m.compressed)
	t.i64(9, m.data)
	if m.dictionary != 0 {
		t.i64(11, m.dictionary)
	}
	t.begin(12)
	t.i64(3, m.nulls)
	if m.hasRange {
		t.plain64(5, m.max)
		t.plain64(6, m.min)
	}
	t.end()
	if m.bloom != 0 {
		t.i64(14, m.bloom)
		t.i32(15, m.bloomSize)
	}
	t.end()
	t.i64(4, m.index)
	t.i32(5, m.indexSize)
	t.end()
}

func (t *thriftWriter) plain64(id int, v int64) {
	t.field(id, thriftBinary)
	t.b = append(t.b, 8)
	for range 8 {
		t.b = append(t.b, byte(v))
		v >>= 8
	}
}

func (t *thriftWriter) keyValue(key, value string) {
	t.open()
	t.text(1, key)
	t.text(2, value)
	t.end()
}

// schemaElement reads an element of the schema.
type schemaElement struct {
	name       string
	physical   int32
	width      int32
	repetition int32
	children   int32
	logical    int
}

func (t *thriftReader) schemaElement() (e schemaElement) {
	e.physical = -1
	t.structure(func(id, typ int) bool {
		switch id {
		case 1:
			e.physical = t.i32(typ)
		case 2:
			e.width = t.i32(typ)
		case 3:
			e.repetition = t.i32(typ)
		case 4:
			e.name = string(t.bytes(typ))
		case 5:
			e.children = t.i32(typ)
		case 10:
			t.nested(typ, func(id, _ int) bool { e.logical = id; return false })
		default:
			return false
		}
		return true
	})
	return e
}

// column gives the type of the element, zero if it is none of ours.
func (e *schemaElement) column() Type {
	if e.children != 0 || e.repetition != repetitionOptional {
		return 0
	}
	switch {
	case e.physical == physicalInt64 && e.logical == 0:
		return Int64
	case e.physical == physicalInt64 && e.logical == logicalTimestamp:
		return Timestamp
	case e.physical == physicalDouble && e.logical == 0:
		return Double
	case e.physical == physicalBoolean && e.logical == 0:
		return Bool
	case e.physical == physicalBytes && e.logical == logicalString:
		return Text
	case e.physical == physicalBytes && e.logical == logicalJSON:
		return JSON
	case e.physical == physicalFixed && e.width == 8 && e.logical == 0:
		return Fixed8
	case e.physical == physicalFixed && e.width == 16 && e.logical == 0:
		return Fixed16
	}
	return 0
}

func (t *thriftReader) chunk() (name string, m chunkMeta) {
	t.structure(func(id, typ int) bool {
		switch id {
		case 3:
			name = t.chunkMeta(typ, &m)
		case 4:
			m.index = t.i64(typ)
		case 5:
			m.indexSize = t.i32(typ)
		default:
			return false
		}
		return true
	})
	return name, m
}

func (t *thriftReader) chunkMeta(typ int, m *chunkMeta) (name string) {
	t.nested(typ, func(id, typ int) bool {
		switch id {
		case 1:
			m.physical = t.i32(typ)
		case 2:
			if m.nEncodings = t.list(typ, thriftI32); m.nEncodings > len(m.encodings) {
				t.fail("too many encodings")
				m.nEncodings = 0
			}
			for i := range m.nEncodings {
				m.encodings[i] = t.i32(thriftI32)
			}
		case 3:
			if t.list(typ, thriftBinary) != 1 {
				t.fail("nested column")
				break
			}
			name = string(t.bytes(thriftBinary))
		case 4:
			m.codec = t.i32(typ)
		case 5:
			m.values = t.i64(typ)
		case 6:
			m.uncompressed = t.i64(typ)
		case 7:
			m.compressed = t.i64(typ)
		case 9:
			m.data = t.i64(typ)
		case 11:
			m.dictionary = t.i64(typ)
		case 12:
			t.statistics(typ, m)
		case 14:
			m.bloom = t.i64(typ)
		case 15:
			m.bloomSize = t.i32(typ)
		default:
			return false
		}
		return true
	})
	return name
}

func (t *thriftReader) statistics(typ int, m *chunkMeta) {
	hasMin, hasMax := false, false
	t.nested(typ, func(id, typ int) bool {
		switch id {
		case 3:
			m.nulls = t.i64(typ)
		case 5:
			m.max, hasMax = t.plain64(typ)
		case 6:
			m.min, hasMin = t.plain64(typ)
		default:
			return false
		}
		return true
	})
	m.hasRange = hasMin && hasMax
}

func (t *thriftReader) plain64(typ int) (v int64, ok bool) {
	b := t.bytes(typ)
	if len(b) != 8 {
		t.fail("range of another length")
		return 0, false
	}
	for i, c := range b {
		v |= int64(c) << (8 * i)
	}
	return v, true
}

// pageHeader stands before each page.
type pageHeader struct {
	kind         int32
	uncompressed int32
	compressed   int32
	crc          int32
	values       int32
	encoding     int32
}

func (t *thriftWriter) pageHeader(h *pageHeader) {
	t.i32(1, h.kind)
	t.i32(2, h.uncompressed)
	t.i32(3, h.compressed)
	t.i32(4, h.crc)
	if h.kind == pageDictionary {
		t.begin(7)
		t.i32(1, h.values)
		t.i32(2, h.encoding)
		t.end()
	} else {
		t.begin(5)
		t.i32(1, h.values)
		t.i32(2, h.encoding)
		t.i32(3, encodingRLE)
		t.i32(4, encodingRLE)
		t.end()
	}
	t.stop()
}

// pageHeader reads a header, which has to be byte for byte what we write: it has no checksum, so that a flipped bit must not change its meaning.
// room is memory for the comparison.
func (t *thriftReader) pageHeader(room []byte) (h pageHeader) {
	start := t.at
	t.structure(func(id, typ int) bool {
		switch id {
		case 1:
			h.kind = t.i32(typ)
		case 2:
			h.uncompressed = t.i32(typ)
		case 3:
			h.compressed = t.i32(typ)
		case 4:
			h.crc = t.i32(typ)
		case 5, 7:
			t.nested(typ, func(id, typ int) bool {
				switch id {
				case 1:
					h.values = t.i32(typ)
				case 2:
					h.encoding = t.i32(typ)
				default:
					return false
				}
				return true
			})
		default:
			return false
		}
		return true
	})
	var again thriftWriter
	again.reset(room)
	again.pageHeader(&h)
	if t.bad == "" && string(again.b) != string(t.b[start:t.at]) {
		t.fail("other bytes than we write")
	}
	return h
}

// place is where a page lies.
type place struct {
	offset int64
	size   int32 // with its header
	first  int64 // row
}

func (t *thriftWriter) offsetIndex(places []place) {
	t.list(1, thriftStruct, len(places))
	for _, p := range places {
		t.open()
		t.i64(1, p.offset)
		t.i32(2, p.size)
		t.i64(3, p.first)
		t.end()
	}
	t.stop()
}

func (t *thriftReader) offsetIndex(places []place) []place {
	t.structure(func(id, typ int) bool {
		if id != 1 {
			return false
		}
		n := t.list(typ, thriftStruct)
		if n != cap(places) {
			t.fail("another number of pages")
			return true
		}
		for range n {
			var p place
			t.structure(func(id, typ int) bool {
				switch id {
				case 1:
					p.offset = t.i64(typ)
				case 2:
					p.size = t.i32(typ)
				case 3:
					p.first = t.i64(typ)
				default:
					return false
				}
				return true
			})
			places = append(places, p)
		}
		return true
	})
	return places
}

func (t *thriftWriter) bloomHeader(size int) {
	t.i32(1, int32(size))
	for id := 2; id <= 4; id++ { // block algorithm, XXH64, uncompressed: each the first of its union
		t.begin(id)
		t.empty(1)
		t.end()
	}
	t.stop()
}
