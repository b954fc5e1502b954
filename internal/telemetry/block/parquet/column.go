package parquet

// Type is the type of a column.
type Type uint8

// The types of columns, with what Parquet calls them.
const (
	Int64     Type = iota + 1 // INT64
	Timestamp                 // INT64, logical type TIMESTAMP: nanoseconds, UTC
	Double                    // DOUBLE
	Bool                      // BOOLEAN
	Text                      // BYTE_ARRAY, logical type STRING
	JSON                      // BYTE_ARRAY, logical type JSON
	Fixed8                    // FIXED_LEN_BYTE_ARRAY(8)
	Fixed16                   // FIXED_LEN_BYTE_ARRAY(16)
)

func (t Type) String() string {
	names := [...]string{"", "int64", "timestamp", "double", "bool", "text", "json", "fixed8", "fixed16"}
	if int(t) < len(names) {
		return names[t]
	}
	return "unknown type"
}

// width is the length of a Fixed8's or Fixed16's value, zero for other types.
func (t Type) width() int {
	switch t {
	case Fixed8:
		return 8
	case Fixed16:
		return 16
	default:
		return 0
	}
}

func (t Type) text() bool   { return t == Text || t == JSON }
func (t Type) number() bool { return t == Int64 || t == Timestamp }

// None is the code of a row without value.
const None = ^uint32(0)

// Strings is a list of byte strings, one behind the other: the i-th is Bytes[Ends[i-1]:Ends[i]].
type Strings struct {
	Ends  []uint32
	Bytes []byte
}

// Len is how many strings there are.
func (s *Strings) Len() int { return len(s.Ends) }

// At is the i-th string: a part of Bytes, not a copy.
func (s *Strings) At(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = s.Ends[i-1]
	}
	return s.Bytes[start:s.Ends[i]:s.Ends[i]]
}

// Append adds a string. All strings together are below 4 GiB.
func (s *Strings) Append(b []byte) {
	s.Bytes = append(s.Bytes, b...)
	s.Ends = append(s.Ends, uint32(len(s.Bytes)))
}

// AppendString is Append.
func (s *Strings) AppendString(b string) {
	s.Bytes = append(s.Bytes, b...)
	s.Ends = append(s.Ends, uint32(len(s.Bytes)))
}

// Reset empties the list and keeps its memory.
func (s *Strings) Reset() { s.Ends, s.Bytes = s.Ends[:0], s.Bytes[:0] }

// Column is the column of a row group that is to be written. Exactly the fields for its type are set; each list has an entry for each row, of which
// those of rows without value are ignored.
type Column struct {
	Name string
	Type Type

	Codes []uint32 // Text, JSON: the index into Dict, or None
	Dict  *Strings // of Codes; may hold entries that no row uses, which are left out, in any order

	Ints   []int64   // Int64, Timestamp
	Floats []float64 // Double
	Bools  []bool    // Bool
	Fixed  []byte    // Fixed8, Fixed16: one value behind the other
	Valid  []bool    // of Ints, Floats, Bools and Fixed: whether the row has a value; nil if each has one

	Bloom bool // write a bloom filter over the distinct values; not for Double and Bool
}

// Page is a page's rows, decoded. Its slices live until the scratch is used for another page.
type Page struct {
	Rows int

	// Codes is set for Text, JSON and dictionary-coded Fixed8 and Fixed16: the index into the chunk's dictionary if the chunk has one, else into Values; None
	// for a row without value.
	Codes []uint32
	// Same says that all Codes are the first.
	Same bool
	// Values are the page's strings if the chunk has no dictionary.
	Values Strings

	Ints   []int64   // Int64, Timestamp
	Floats []float64 // Double
	Bools  []bool    // Bool
	Fixed  []byte    // Fixed8, Fixed16 without dictionary
	Valid  []bool    // of Ints, Floats, Bools and Fixed, whose entry is zero where Valid is false; nil if each row has a value
}

// ColumnInfo describes a column of a file.
type ColumnInfo struct {
	Name string
	Type Type
}
