package telemetry

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// Bounds of a query's text.
const (
	MaxQueryText  = 8 << 10 // bytes
	maxQueryDepth = 100     // of parentheses and nots within each other
	maxQueryNodes = 1000    // of its expressions
	maxQueryList  = 32      // functions, fields to group by, sort keys
)

// parser reads a query by recursive descent, straight from its text. Where it wants something at the end of the text
// it notes that in wants, which is what completion is made of.
type parser struct {
	text   string
	pos    int // in bytes
	signal Signal
	depth  int
	nodes  int

	wants   []want
	columns []string // that may be sorted by, within sort
}

// want is what may stand from a place on that reaches to the end of the text.
type want struct {
	kind  CompletionKind
	from  int    // in bytes
	field string // whose value or operator it is
	words []string
}

// fail is a fault at the bytes from to to of the text.
func (p *parser) fail(from, to int, format string, args ...any) *fault.Error {
	to = min(max(from, to), len(p.text))
	column, width := p.column(from), utf8.RuneCountInString(p.text[from:to])
	source := strings.NewReplacer("\n", " ", "\r", " ").Replace(p.text)
	return fault.New(fault.CodeQueryInvalid, format, args...).
		At(fault.Position{File: fault.QueryFile, Line: 1, Column: column, Width: max(width, 1)}, source)
}

// column is where a byte of the text stands, in characters from 1.
func (p *parser) column(at int) int { return utf8.RuneCountInString(p.text[:at]) + 1 }

func (p *parser) end() bool { return p.pos >= len(p.text) }

func (p *parser) rest() string { return p.text[p.pos:] }

func (p *parser) space() {
	p.pos = len(p.text) - len(strings.TrimLeftFunc(p.rest(), unicode.IsSpace))
}

// is tells whether the text goes on with a sign.
func (p *parser) is(sign string) bool { return strings.HasPrefix(p.rest(), sign) }

// take goes past a sign if the text goes on with it.
func (p *parser) take(sign string) bool {
	if !p.is(sign) {
		return false
	}
	p.pos += len(sign)
	return true
}

// wordEnds tells whether a bare word outside of values ends before rest.
func wordEnds(rest string) bool {
	r, _ := utf8.DecodeRuneInString(rest)
	switch r {
	case '(', ')', '|', ',', '"', '`', '=', '<', '>', '~', ':':
		return true
	case '!':
		return len(rest) > 1 && (rest[1] == '=' || rest[1] == '~')
	}
	return unicode.IsSpace(r)
}

// peekWord is the bare word that comes next, or "".
func (p *parser) peekWord() string {
	rest := p.rest()
	for i := range rest {
		if wordEnds(rest[i:]) {
			return rest[:i]
		}
	}
	return rest
}

// keyword goes past a keyword, in whatever case, if it comes next.
func (p *parser) keyword(word string) bool {
	p.space()
	got := p.peekWord()
	p.note(want{kind: CompleteKeyword, from: p.pos, words: []string{word}}, p.pos+len(got))
	if !strings.EqualFold(got, word) {
		return false
	}
	p.pos += len(got)
	return true
}

// note keeps what is wanted if it reaches to the end of the text.
func (p *parser) note(w want, to int) {
	if to == len(p.text) {
		p.wants = append(p.wants, w)
	}
}

func fieldRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-/@$", r)
}

// plainField tells whether a name needs no backquotes.
func plainField(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !fieldRune(r) }) && !isReserved(name)
}

func isReserved(word string) bool {
	switch strings.ToLower(word) {
	case "and", "or", "not", "has", "by", "every", "as", "asc", "desc":
		return true
	}
	return false
}

// fieldName reads the name of a field, bare or in backquotes.
func (p *parser) fieldName(what string) (Field, error) {
	p.space()
	from := p.pos
	if p.is("`") {
		return p.quotedField()
	}
	word := p.peekWord()
	p.note(want{kind: CompleteField, from: from, words: p.columns}, from+len(word))
	switch {
	case word == "":
		return Field{}, p.fail(from, p.tokenEnd(), "%s is missing here", what).
			Fix("write the name of a field, such as service, or one in backquotes: `my field`")
	case isReserved(word):
		return Field{}, p.fail(from, from+len(word), "%s is a word of the language", word).
			Fix("write the name of a field; if one is called so, write it in backquotes: `%s`", word)
	case !plainField(word):
		return Field{}, p.fail(from, from+len(word), "%s is not the name of a field", word).
			Fix("write a name of other characters than letters, digits and . _ - / @ $ in backquotes: `%s`", word)
	}
	p.pos += len(word)
	return Field{Name: p.canonical(word), Column: p.column(from)}, nil
}

// canonical knows the conventional names of the two fields that are not kept as attributes.
func (p *parser) canonical(name string) string {
	switch name {
	case "service.name":
		return FieldService
	case "service.instance.id":
		return FieldReplica
	}
	return name
}

func (p *parser) quotedField() (Field, error) {
	from := p.pos
	name, _, closed := strings.Cut(p.rest()[1:], "`")
	if !closed {
		p.note(want{kind: CompleteField, from: from}, len(p.text))
		return Field{}, p.fail(from, len(p.text), "a backquote that is never closed").Fix("end the name of the field with `")
	}
	if name == "" {
		return Field{}, p.fail(from, from+2, "a field without a name").Fix("write its name between the backquotes")
	}
	p.pos += len(name) + 2
	return Field{Name: p.canonical(name), Column: p.column(from)}, nil
}

// tokenEnd is the end of what comes next, for marking it.
func (p *parser) tokenEnd() int {
	if p.end() {
		return p.pos
	}
	if word := p.peekWord(); word != "" {
		return p.pos + len(word)
	}
	_, size := utf8.DecodeRuneInString(p.rest())
	return p.pos + size
}

// token is what comes next, for telling it.
func (p *parser) token() string {
	if p.end() {
		return "the end"
	}
	return p.text[p.pos:p.tokenEnd()]
}

// quoted reads a text in double quotes. Of a regular expression the backslashes are kept, but for those before quotes.
func (p *parser) quoted(regex bool) (string, error) {
	from := p.pos
	var b strings.Builder
	rest := p.rest()
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			p.pos += i + 1
			return b.String(), nil
		case c != '\\':
			b.WriteByte(c)
		case i+1 == len(rest):
		default:
			i++
			text, ok := unescape(rest[i], regex)
			if !ok {
				_, size := utf8.DecodeRuneInString(rest[i:])
				return "", p.fail(from+i-1, from+i+size, `\%s is not known in a text`, rest[i:i+size]).
					Fix(`there are \" \\ \n \r \t; write \\ for a backslash`)
			}
			b.WriteString(text)
		}
	}
	return "", p.fail(from, len(p.text), "a quote that is never closed").Fix(`end the text with "; within it a quote is \"`)
}

func unescape(c byte, regex bool) (string, bool) {
	switch {
	case c == '"':
		return `"`, true
	case regex:
		return `\` + string(rune(c)), c < utf8.RuneSelf
	case c == '\\':
		return `\`, true
	case c == 'n':
		return "\n", true
	case c == 'r':
		return "\r", true
	case c == 't':
		return "\t", true
	}
	return "", false
}

// near ends a remedy with what was probably meant.
func near(word string, candidates []string) string {
	if n := manifest.Nearest(strings.ToLower(word), candidates); n != "" {
		return "did you mean " + n + "?"
	}
	return "it is one of " + strings.Join(candidates, ", ")
}
