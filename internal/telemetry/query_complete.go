package telemetry

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"
)

// CompletionKind is what a Completion puts in.
type CompletionKind string

// The kinds of completions.
const (
	CompleteField    CompletionKind = "field"
	CompleteOperator CompletionKind = "operator"
	CompleteValue    CompletionKind = "value"
	CompleteFunction CompletionKind = "function"
	CompleteKeyword  CompletionKind = "keyword"
	CompleteSign     CompletionKind = "sign" // a bar, a comma, a parenthesis
)

// Completion is what may stand at the cursor: Text for the characters from From to before To of the query.
type Completion struct {
	Text   string         `json:"text"`
	Kind   CompletionKind `json:"kind"`
	From   int            `json:"from"` // in characters, from 0
	To     int            `json:"to"`
	Cursor int            `json:"cursor"`         // where the cursor stands then, in characters from the beginning of Text
	Note   string         `json:"note,omitempty"` // what it is
	Rows   int64          `json:"rows,omitempty"` // that have the field or the value, where it was counted
}

// Source knows the fields of rows and their values; a Store does for a signal and a range.
type Source interface {
	Fields(ctx context.Context, prefix string, limit int) ([]FieldInfo, error)
	Values(ctx context.Context, field, prefix string, limit int) ([]ValueInfo, error)
}

// SourceOf is a store as it is asked about a signal over a range of time.
func SourceOf(st Store, s Signal, r Range) Source { return storeSource{st, s, r} }

type storeSource struct {
	store  Store
	signal Signal
	r      Range
}

func (s storeSource) Fields(ctx context.Context, prefix string, limit int) ([]FieldInfo, error) {
	return s.store.Fields(ctx, s.signal, s.r, prefix, limit)
}

func (s storeSource) Values(ctx context.Context, field, prefix string, limit int) ([]ValueInfo, error) {
	return s.store.Values(ctx, s.signal, s.r, field, prefix, limit)
}

// MaxCompletions is how many completions there are at most.
const MaxCompletions = 50

// Complete tells what may stand at a cursor, given in characters from 0, the most likely first. What stands before the cursor
// need not be a whole query; where it is wrong already there is nothing to complete. A nil source knows nothing. The
// errors are the source's.
func Complete(ctx context.Context, text string, cursor int, s Signal, src Source) ([]Completion, error) {
	at := byteOf(text, cursor)
	p := &parser{text: text[:at], signal: s}
	_, _ = p.query() // what it wanted is of use whether or not it is a whole query
	c := completer{text: text, at: at, signal: s, src: src}
	begun := slices.ContainsFunc(p.wants, func(w want) bool { return w.from < at })
	for _, w := range p.wants {
		if begun && w.from == at { // first the word that the cursor is at
			continue
		}
		if err := c.add(ctx, w); err != nil {
			return nil, err
		}
	}
	return c.list(), nil
}

// byteOf is where a character begins.
func byteOf(text string, char int) int {
	for i := range text {
		if char <= 0 {
			return i
		}
		char--
	}
	return len(text)
}

type completer struct {
	text   string
	at     int // the cursor, in bytes
	signal Signal
	src    Source
	found  []Completion
}

func (c *completer) add(ctx context.Context, w want) error {
	switch w.kind {
	case CompleteField:
		return c.fields(ctx, w)
	case CompleteValue:
		return c.values(ctx, w)
	case CompleteOperator:
		w.words = operatorsOf(c.signal, w.field)
	case CompleteFunction, CompleteKeyword, CompleteSign:
	}
	for _, word := range w.words {
		text, back := word, 0
		if w.kind == CompleteFunction {
			text, back = callOf(word)
		}
		c.put(w, Completion{Text: text, Cursor: utf8.RuneCountInString(text) - back, Note: noteOf(w.kind, word)})
	}
	return nil
}

// callOf is a function as it is put in, and how many characters before its end the cursor stands then.
func callOf(word string) (text string, back int) {
	switch FuncKind(word) {
	case FuncCount, FuncRate:
		return word + "()", 0
	case FuncQuantile:
		return "quantile(0.99, )", 1
	default:
	}
	return word + "()", 1
}

// put keeps a completion that begins with what stands there.
func (c *completer) put(w want, f Completion) {
	bare := func(text string) string { return strings.ToLower(strings.TrimLeft(text, "\"`")) }
	if !strings.HasPrefix(bare(f.Text), bare(c.text[w.from:c.at])) {
		return
	}
	f.Kind = w.kind
	f.From = utf8.RuneCountInString(c.text[:w.from])
	f.To = utf8.RuneCountInString(c.text[:c.end(w)])
	if !slices.ContainsFunc(c.found, func(o Completion) bool { return o.Text == f.Text && o.From == f.From }) {
		c.found = append(c.found, f)
	}
}

// end is where the word at the cursor ends.
func (c *completer) end(w want) int {
	if w.from == c.at { // nothing stands there yet
		return c.at
	}
	rest := c.text[c.at:]
	if open := c.text[w.from]; open == '"' || open == '`' {
		if i := strings.IndexByte(rest, open); i >= 0 {
			return c.at + i + 1
		}
		return c.at
	}
	for i := range rest {
		if wordEnds(rest[i:]) {
			return c.at + i
		}
	}
	return len(c.text)
}

func (c *completer) fields(ctx context.Context, w want) error {
	if w.words != nil {
		for _, name := range w.words {
			c.put(w, Completion{Text: name, Cursor: utf8.RuneCountInString(name), Note: "column"})
		}
		return nil
	}
	typed := strings.TrimLeft(c.text[w.from:c.at], "`")
	for _, name := range FixedFields(c.signal) {
		c.put(w, Completion{Text: name, Cursor: len(name), Note: fixedNote(name)})
	}
	if c.src == nil {
		return nil
	}
	infos, err := c.src.Fields(ctx, typed, MaxCompletions)
	for _, f := range infos {
		text := f.Name
		if !plainField(text) {
			text = "`" + text + "`"
		}
		c.put(w, Completion{Text: text, Cursor: utf8.RuneCountInString(text), Rows: f.Rows})
	}
	return err
}

func (c *completer) values(ctx context.Context, w want) error {
	typed := c.text[w.from:c.at]
	var fixed []string
	switch {
	case w.field == FieldKind && c.signal == Spans:
		fixed = kindNames()
	case w.field == FieldStatus && c.signal == Spans:
		fixed = statusNames()
	case w.field == FieldLevel && c.signal == Logs:
		fixed = levelNames()
	}
	for _, v := range fixed {
		c.put(w, Completion{Text: v, Cursor: len(v)})
	}
	if c.src == nil || fixed != nil || isNumeric(c.signal, w.field) {
		return nil
	}
	infos, err := c.src.Values(ctx, w.field, strings.TrimPrefix(typed, `"`), MaxCompletions)
	for _, v := range infos {
		text := valueText(v.Value, strings.HasPrefix(typed, `"`))
		c.put(w, Completion{Text: text, Cursor: utf8.RuneCountInString(text), Rows: v.Rows})
	}
	return err
}

// valueText is how a value is written, bare where it may be.
func valueText(v Value, quoted bool) string {
	text := v.Text()
	if v.kind != KindString && v.kind != KindJSON {
		return text
	}
	if quoted || text == "" || strings.ContainsAny(text, " \t\r\n()|,\"'`\\") || bareValue(text) != String(text) {
		return quoteText(text)
	}
	return text
}

// list is what was found, by its kind.
func (c *completer) list() []Completion {
	rank := func(f Completion) int {
		switch {
		case f.Kind == CompleteValue:
			return 0
		case f.Kind == CompleteOperator:
			return 1
		case f.Kind == CompleteFunction:
			return 2
		case f.Kind == CompleteField:
			return 3
		case f.Text == "and":
			return 4
		case f.Text == "or":
			return 5
		case f.Kind == CompleteKeyword:
			return 6
		}
		return 7
	}
	slices.SortStableFunc(c.found, func(a, b Completion) int { return rank(a) - rank(b) })
	return c.found[:min(len(c.found), MaxCompletions)]
}

func operatorsOf(s Signal, field string) []string {
	switch {
	case isNumeric(s, field):
		return []string{">", "<", ">=", "<=", "=", "!="}
	case !isFixed(s, field):
		return []string{"=", "!=", "~", "!~", ">", "<", ">=", "<="}
	}
	return []string{"=", "!=", "~", "!~"}
}

func noteOf(kind CompletionKind, word string) string {
	notes := map[string]string{
		"count": "rows, or rows that have a field", "rate": "rows a second", "sum": "of a field", "avg": "mean of a field",
		"min": "least of a field", "max": "largest of a field", "quantile": "of a field", "distinct": "number of different values",
		"p50": "median", "p90": "quantile 0.9", "p95": "quantile 0.95", "p99": "quantile 0.99", "sort": "by fields or columns",
		"limit": "number of rows", "by": "fields to group by", "every": "buckets of time", "as": "name of the column",
		"has": "rows that have a field", "~": "regular expression is found", "!~": "regular expression is not found",
	}
	if kind == CompleteSign {
		return ""
	}
	return notes[word]
}

func fixedNote(name string) string {
	return map[string]string{
		FieldService: "who sent it", FieldReplica: "which copy of it", FieldTime: "when", FieldTrace: "id, 32 hexadecimal digits",
		FieldSpan: "id, 16 hexadecimal digits", FieldScope: "library", FieldName: "of the span or the event", FieldParent: "id of the span around it",
		FieldKind: "internal, server, client, producer, consumer", FieldDuration: "such as 250ms", FieldStatus: "ok, error, unset",
		FieldMessage: "text of the status", FieldLevel: "debug, info, warn, error", FieldText: "body",
	}[name]
}
