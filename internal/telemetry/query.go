package telemetry

import (
	"regexp"
	"time"
)

// Query is a question about spans or records, parsed by ParseQuery:
//
//	service = orders and http.response.status_code >= 500 and duration > 250ms
//	"connection refused" and level >= warn and not service = mail
//	name ~ "GET /api/.*" | count(), quantile(0.99, duration) by service | sort count desc | limit 10
//	status = error | rate() by service every 1m
//
// Where nothing stands before the first bar all rows are meant.
type Query struct {
	Text  string
	Where Expr         // nil for all
	Tell  *Aggregation // nil for the rows themselves
	Sort  []Order      // empty: rows by time, newest first; of an aggregation by its first function, largest first, or by time
	Limit int          // 0 is DefaultLimit
}

// DefaultLimit is the number of rows, or of groups, without a limit.
const DefaultLimit = 100

// Expr chooses rows: *And, *Or, *Not, *Compare, *Matches, *Has, *Phrase or OfTraces.
type Expr interface{ expr() }

// And chooses what both choose.
type And struct{ X, Y Expr }

// Or chooses what one of both chooses.
type Or struct{ X, Y Expr }

// Not chooses what X does not.
type Not struct{ X Expr }

// Op is a comparison.
type Op string

// The comparisons. A row that does not have the field is chosen by none of them but !=, which is the same as not =.
const (
	OpEqual    Op = "="
	OpNotEqual Op = "!="
	OpLess     Op = "<"
	OpAtMost   Op = "<="
	OpMore     Op = ">"
	OpAtLeast  Op = ">="
)

// Field is the name of a field, one of the fixed ones or the key of an attribute: of the span or record itself, else of its
// resource.
type Field struct {
	Name   string
	Column int // of the query's text, from 1
}

// The fixed fields. Time and duration are KindInt in nanoseconds, level compares by its gravity, ids are lower-case
// hexadecimal.
const (
	FieldService  = "service"
	FieldReplica  = "replica"
	FieldTime     = "time"
	FieldTrace    = "trace"
	FieldSpan     = "span"
	FieldScope    = "scope"       // name of the library
	FieldName     = "name"        // of spans, and of records that are events
	FieldParent   = "parent"      // of spans
	FieldKind     = "kind"        // of spans: internal, server, client, producer, consumer, unspecified
	FieldDuration = "duration"    // of spans
	FieldStatus   = "status"      // of spans: ok, error, unset
	FieldMessage  = "status_text" // of spans
	FieldLevel    = "level"       // of records: debug, info, warn, error
	FieldText     = "text"        // of records: the body
)

// Compare compares a field with a value. Numbers compare as numbers, whether whole or not, and text as bytes; a text and
// a number are equal where the number's text is the same, and are otherwise not comparable. For the fields time, duration and
// level the value is KindInt: nanoseconds, or the severity that a level begins at.
type Compare struct {
	Field Field
	Op    Op
	Value Value
}

// Matches chooses where a regular expression (RE2) is found in a field's text; an empty field name is the text of the
// row (see Phrase).
type Matches struct {
	Field Field
	Regex *regexp.Regexp
}

// Has chooses rows that have a field.
type Has struct{ Field Field }

// Phrase chooses rows whose text has these words one after the other, with what stands between them as written. Case does
// not matter in ASCII. Words are whole: a phrase that begins or ends with a letter, digit or underscore is not found
// within a longer word. The text of a record is its body; that of a span its name, its status text, and names and attributes of its
// events.
type Phrase struct{ Text string }

// OfTraces chooses the rows of some traces. The language has no word for it: programs ask so.
type OfTraces []TraceID

func (*And) expr()     {}
func (*Or) expr()      {}
func (*Not) expr()     {}
func (*Compare) expr() {}
func (*Matches) expr() {}
func (*Has) expr()     {}
func (*Phrase) expr()  {}
func (OfTraces) expr() {}

// Aggregation makes a table of rows.
type Aggregation struct {
	Funcs []Func
	By    []Field       // a row of the table for each combination; a missing field is an empty value
	Every time.Duration // 0, or a row of the table for each bucket of time too, aligned to 1970 UTC
}

// FuncKind is a function of an aggregation.
type FuncKind string

// The functions.
const (
	FuncCount    FuncKind = "count"    // of rows, or of rows that have the field
	FuncRate     FuncKind = "rate"     // rows a second, over the bucket or the range asked for
	FuncSum      FuncKind = "sum"      // of a field that is a number
	FuncAvg      FuncKind = "avg"      // likewise
	FuncMin      FuncKind = "min"      // likewise
	FuncMax      FuncKind = "max"      // likewise
	FuncQuantile FuncKind = "quantile" // likewise; within 1 % of a true value (log-linear buckets)
	FuncDistinct FuncKind = "distinct" // number of different values of a field; about, beyond 10,000
)

// Func is a column of an aggregation.
type Func struct {
	Kind  FuncKind
	Field Field   // empty name for count and rate of rows
	Q     float64 // of quantile, 0 to 1
	As    string  // name of the column: as written, or given by as
}

// Order is a sort key.
type Order struct {
	Field      Field // of the rows, or a column of the table
	Descending bool
}
