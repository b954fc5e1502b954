package telemetry

import (
	"errors"
	"math"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"
	"unicode"
)

func (p *parser) node(from int) error {
	if p.nodes++; p.nodes > maxQueryNodes {
		return p.fail(from, from, "the query has more than %d parts", maxQueryNodes).
			Fix("ask for less at once; several values of a field can be one regular expression: name ~ \"a|b|c\"")
	}
	return nil
}

func (p *parser) or() (Expr, error) {
	x, err := p.and()
	for err == nil && p.keyword("or") {
		var y Expr
		if err = p.node(p.pos); err == nil {
			y, err = p.and()
		}
		x = &Or{X: x, Y: y}
	}
	return x, err
}

func (p *parser) and() (Expr, error) {
	x, err := p.not()
	for err == nil {
		if p.keyword("and") {
			p.space()
		} else if p.end() || p.is(")") || p.is("|") || strings.EqualFold(p.peekWord(), "or") {
			p.note(want{kind: CompleteSign, from: p.pos, words: []string{"|"}}, p.pos)
			p.noteTerm()
			break
		}
		var y Expr
		if err = p.node(p.pos); err == nil {
			y, err = p.not()
		}
		x = &And{X: x, Y: y}
	}
	return x, err
}

// noteTerm tells completion that a term may begin here.
func (p *parser) noteTerm() {
	to := p.pos + len(p.peekWord())
	p.note(want{kind: CompleteField, from: p.pos}, to)
	p.note(want{kind: CompleteKeyword, from: p.pos, words: []string{"not", "has"}}, to)
}

func (p *parser) not() (Expr, error) {
	p.space()
	p.noteTerm()
	from := p.pos
	if !strings.EqualFold(p.peekWord(), "not") {
		return p.term()
	}
	p.pos += len("not")
	if err := p.deeper(from); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if err := p.node(from); err != nil {
		return nil, err
	}
	x, err := p.not()
	return &Not{X: x}, err
}

func (p *parser) deeper(from int) error {
	if p.depth++; p.depth > maxQueryDepth {
		return p.fail(from, from, "more than %d parentheses or nots within each other", maxQueryDepth).
			Fix("leave out those that change nothing")
	}
	return nil
}

// term reads what stands between ands and ors.
func (p *parser) term() (Expr, error) {
	from := p.pos
	if err := p.node(from); err != nil {
		return nil, err
	}
	switch {
	case p.is("("):
		return p.group()
	case p.is(`"`):
		return p.phrase()
	case p.is("`"):
		return p.comparison()
	case p.is("~"), p.is("!~"):
		return p.matches(Field{})
	}
	word := p.peekWord()
	switch {
	case word == "":
		return nil, p.noTerm()
	case strings.EqualFold(word, "has"):
		p.pos += len(word)
		f, err := p.fieldName("the field that rows shall have")
		return &Has{Field: f}, err
	case strings.EqualFold(word, "and"), strings.EqualFold(word, "or"):
		return nil, p.fail(from, from+len(word), "nothing to choose stands before %s", word).
			Fix(`write a comparison, a word or a "phrase" before it; the word itself is searched for in quotes: "%s"`, word)
	case word[0] == '\'':
		return nil, p.fail(from, from+len(word), "texts do not stand in single quotes").Fix(`write double quotes: "connection refused"`)
	}
	return p.wordOrComparison(word)
}

func (p *parser) noTerm() error {
	err := p.fail(p.pos, p.tokenEnd(), "here is %s where a comparison, a word or a phrase should be", p.token())
	switch {
	case p.is(","):
		return err.Fix(`a comma stands between functions and between fields; in a text to search for write quotes: "a, b"`)
	case p.end(), p.is(")"), p.is("|"):
		return err.Fix(`write a comparison such as service = orders, or a "phrase"`)
	}
	return err.Fix("write the name of a field before it, such as duration > 250ms")
}

func (p *parser) group() (Expr, error) {
	from := p.pos
	p.pos++
	if err := p.deeper(from); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	x, err := p.or()
	if err != nil {
		return nil, err
	}
	p.space()
	p.note(want{kind: CompleteSign, from: p.pos, words: []string{")"}}, p.pos)
	if !p.take(")") {
		return nil, p.fail(from, from+1, "this parenthesis is never closed").Fix("write ) where its contents end")
	}
	return x, nil
}

func (p *parser) phrase() (Expr, error) {
	from := p.pos
	text, err := p.quoted(false)
	if err != nil {
		return nil, err
	}
	if text == "" {
		return nil, p.fail(from, p.pos, "an empty phrase chooses nothing").Fix("write the words to search for between the quotes")
	}
	to := p.pos
	if p.space(); p.operator() != "" {
		return nil, p.fail(from, to, "a text in quotes is searched for, and is not the name of a field").
			Fix("write the name of a field bare, or in backquotes: `%s`", text)
	}
	p.pos = to
	return &Phrase{Text: text}, nil
}

func (p *parser) wordOrComparison(word string) (Expr, error) {
	from, to := p.pos, p.pos+len(word)
	p.pos = to
	colon := p.is(":")
	p.space()
	if op := p.operator(); op == "" || op == ":" && !colon {
		p.pos = to
		p.noteOperators(word)
		return &Phrase{Text: word}, nil
	}
	if colon && (strings.HasPrefix(p.text[to:], "://") || strings.Trim(word, "0123456789") == "") {
		return nil, p.fail(from, to+1, "%s is not a field that could have a value after the colon", word).
			Fix(`put what contains a colon into quotes to search for it: "%s:…"`, word)
	}
	p.pos = from
	return p.comparison()
}

// noteOperators tells completion that a word may be a field.
func (p *parser) noteOperators(word string) {
	at := p.pos
	p.space()
	if plainField(word) && p.pos > at {
		p.note(want{kind: CompleteOperator, from: p.pos, field: word}, p.pos)
	}
	p.pos = at
}

// operator is the operator that comes next, or "".
func (p *parser) operator() string {
	for _, op := range []string{"!=", "!~", "<=", ">=", "==", "=~", "=", "<", ">", "~", ":"} {
		if p.is(op) {
			return op
		}
	}
	return ""
}

func (p *parser) comparison() (Expr, error) {
	field, err := p.fieldName("a field")
	if err != nil {
		return nil, err
	}
	p.space()
	from, op := p.pos, p.operator()
	switch op {
	case "":
		p.note(want{kind: CompleteOperator, from: p.pos, field: field.Name}, p.pos)
		return nil, p.fail(from, p.tokenEnd(), "here is %s where a comparison of the field should be", p.token()).
			Fix("write = != < <= > >= ~ or !~ and a value, or has before the field")
	case "==":
		return nil, p.fail(from, from+2, "there is no ==").Fix("write = for equal")
	case "=~":
		return nil, p.fail(from, from+2, "there is no =~").Fix("write ~ for a regular expression")
	case "~", "!~":
		return p.matches(field)
	case ":":
		op = "="
	}
	p.pos += len(p.operator())
	v, err := p.value(field.Name, Op(op))
	return &Compare{Field: field, Op: Op(op), Value: v}, err
}

// matches reads ~ or !~ and a regular expression.
func (p *parser) matches(field Field) (Expr, error) {
	not := p.take("!")
	p.pos++
	p.space()
	from := p.pos
	if isNumeric(p.signal, field.Name) {
		return nil, p.fail(from, from, "%s is compared, and has no regular expression", field.Name).
			Fix("write = != < <= > or >=")
	}
	text, _, err := p.plainValue(field.Name, true)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(text)
	if err != nil {
		what := "it does not compile"
		if e, ok := errors.AsType[*syntax.Error](err); ok {
			what = e.Code.String() + ": " + e.Expr
		}
		return nil, p.fail(from, p.pos, "this is not a regular expression (RE2): %s", what).
			Fix(`write a backslash before characters that mean themselves: \[ \( \. \*`)
	}
	var x Expr = &Matches{Field: field, Regex: re}
	if !not {
		return x, nil
	}
	return &Not{X: x}, p.node(from)
}

// plainValue reads a value as its text, in quotes or up to a space, parenthesis, bar or comma.
func (p *parser) plainValue(field string, regex bool) (text string, quoted bool, err error) {
	p.space()
	from := p.pos
	if p.is(`"`) {
		text, err = p.quoted(regex)
		if err != nil || p.end() {
			p.note(want{kind: CompleteValue, from: from, field: field}, len(p.text))
		}
		return text, true, err
	}
	rest := p.rest()
	to := strings.IndexFunc(rest, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("()|,", r) })
	if to < 0 {
		to = len(rest)
	}
	if !regex {
		p.note(want{kind: CompleteValue, from: from, field: field}, from+to)
	}
	switch {
	case to == 0:
		return "", false, p.fail(from, p.tokenEnd(), "here is %s where a value should be", p.token()).
			Fix(`write a value; one with spaces, parentheses, bars or commas stands in double quotes: "a, b"`)
	case rest[0] == '\'':
		return "", false, p.fail(from, from+to, "texts do not stand in single quotes").Fix(`write double quotes: "connection refused"`)
	}
	p.pos += to
	return rest[:to], false, nil
}

// value reads what a field is compared with.
func (p *parser) value(field string, op Op) (Value, error) {
	p.space()
	from := p.pos
	text, quoted, err := p.plainValue(field, false)
	if err != nil {
		return Value{}, err
	}
	v, fail := fixedValue(p.signal, field, op, text)
	switch {
	case fail != nil:
		return Value{}, p.fail(from, p.pos, "%s", fail.text).Fix("%s", fail.remedy)
	case v != Value{}:
		return v, nil
	case quoted || isFixed(p.signal, field):
		return String(text), nil
	}
	return bareValue(text), nil
}

// bareValue is a value without quotes: a number, true, false, or a text.
func bareValue(text string) Value {
	switch text {
	case "true":
		return Bool(true)
	case "false":
		return Bool(false)
	}
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || digits[0] < '0' || digits[0] > '9' || strings.ContainsAny(digits, "xXpP_oObB") {
		return String(text)
	}
	if len(digits) > 1 && digits[0] == '0' && digits[1] != '.' { // 007 names somebody
		return String(text)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return Int(n)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !strings.ContainsAny(text, ".eE") {
		return String(text)
	}
	return number(f)
}

// number is a whole number where it is one.
func number(f float64) Value {
	const exact = 1 << 53
	if f == math.Trunc(f) && math.Abs(f) < exact {
		return Int(int64(f))
	}
	return Float(f)
}

type valueFault struct{ text, remedy string }

// fixedValue is the value that one of the fixed fields is compared with; the zero Value if its text will do.
func fixedValue(s Signal, field string, op Op, text string) (Value, *valueFault) {
	if !isFixed(s, field) {
		return Value{}, nil
	}
	switch field {
	case FieldDuration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return Value{}, &valueFault{quote(text) + " is not a duration", "write a number with its unit, such as 250ms, 1.5s or 2m"}
		}
		return Int(int64(d)), nil
	case FieldTime:
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil || t.Year() < 1700 || t.Year() > 2200 {
			return Value{}, &valueFault{quote(text) + " is not a time", "write it as in RFC 3339, such as 2026-11-28T09:30:00Z"}
		}
		return Int(t.UnixNano()), nil
	case FieldLevel:
		l, ok := levelOfWord(text)
		if !ok {
			return Value{}, &valueFault{quote(text) + " is not a level", near(text, levelNames())}
		}
		return Int(int64(l.Severity())), nil
	case FieldKind:
		return listed(text, "kind of a span", kindNames())
	case FieldStatus:
		return listed(text, "status of a span", statusNames())
	case FieldTrace:
		return hexID(text, "trace", 2*len(TraceID{}), op)
	case FieldSpan, FieldParent:
		return hexID(text, field, 2*len(SpanID{}), op)
	}
	return Value{}, nil
}

func quote(text string) string {
	if len(text) > 40 {
		text = strings.ToValidUTF8(text[:40], "") + "…"
	}
	return strconv.Quote(text)
}

func listed(text, what string, names []string) (Value, *valueFault) {
	for _, n := range names {
		if strings.EqualFold(n, text) {
			return String(n), nil
		}
	}
	return Value{}, &valueFault{quote(text) + " is not a " + what, near(text, names)}
}

func hexID(text, field string, size int, op Op) (Value, *valueFault) {
	text = strings.ToLower(text)
	if op != OpEqual && op != OpNotEqual {
		return Value{}, &valueFault{"ids have no order", "write = or !="}
	}
	if len(text) != size || strings.Trim(text, "0123456789abcdef") != "" {
		return Value{}, &valueFault{
			quote(text) + " is not an id of " + strconv.Itoa(size) + " hexadecimal digits",
			"write all its digits; a beginning of an id is found by " + field + ` ~ "^4bf92f"`,
		}
	}
	return String(text), nil
}

func levelNames() []string {
	names := make([]string, 0, 4)
	for _, l := range levels() {
		names = append(names, string(l))
	}
	return names
}

func kindNames() []string {
	names := make([]string, 0, 6)
	for k := KindUnspecified; k <= KindConsumer; k++ {
		names = append(names, k.String())
	}
	return names
}

func statusNames() []string {
	return []string{StatusUnset.String(), StatusOK.String(), StatusError.String()}
}

// FixedFields are the names of the fields that all rows of a signal may have, beside their attributes.
func FixedFields(s Signal) []string {
	both := []string{FieldService, FieldReplica, FieldTime, FieldTrace, FieldSpan, FieldScope, FieldName}
	if s == Spans {
		return append(both, FieldParent, FieldKind, FieldDuration, FieldStatus, FieldMessage)
	}
	return append(both, FieldLevel, FieldText)
}

func isFixed(s Signal, field string) bool {
	switch field {
	case FieldService, FieldReplica, FieldTime, FieldTrace, FieldSpan, FieldScope, FieldName:
		return true
	case FieldParent, FieldKind, FieldDuration, FieldStatus, FieldMessage:
		return s == Spans
	case FieldLevel, FieldText:
		return s == Logs
	}
	return false
}

// isNumeric tells whether a fixed field is KindInt.
func isNumeric(s Signal, field string) bool {
	switch field {
	case FieldTime:
		return true
	case FieldDuration:
		return s == Spans
	case FieldLevel:
		return s == Logs
	}
	return false
}
