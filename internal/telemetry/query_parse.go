package telemetry

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/atollhq/atoll/internal/fault"
)

// ParseQuery reads a query about a signal. Its errors are *fault.Error, whose position has the column in characters.
func ParseQuery(text string, s Signal) (*Query, error) {
	p := &parser{text: text, signal: s}
	return p.query()
}

func (p *parser) query() (*Query, error) {
	if len(p.text) > MaxQueryText {
		return nil, fault.New(fault.CodeQueryInvalid, "the query has %d bytes; %d are allowed", len(p.text), MaxQueryText).
			Fix("ask for less at once; several values of a field can be one regular expression: name ~ \"a|b|c\"")
	}
	if !utf8.ValidString(p.text) {
		return nil, fault.New(fault.CodeQueryInvalid, "the query is not UTF-8").Fix("write it in UTF-8")
	}
	q := &Query{Text: p.text}
	p.space()
	p.noteTerm()
	if !p.end() && !p.is("|") {
		var err error
		if q.Where, err = p.or(); err != nil {
			return nil, err
		}
	} else {
		p.note(want{kind: CompleteSign, from: p.pos, words: []string{"|"}}, p.pos)
	}
	for p.space(); !p.end(); p.space() {
		if p.is(")") {
			return nil, p.fail(p.pos, p.pos+1, "this parenthesis was never opened").Fix("leave it out, or write ( where its contents begin")
		}
		if !p.take("|") {
			return nil, p.fail(p.pos, p.tokenEnd(), "here is %s where the query should end or a bar should be", p.token()).
				Fix("write | before count(), sort and limit")
		}
		if err := p.stage(q); err != nil {
			return nil, err
		}
	}
	return q, p.checkSort(q)
}

func funcNames() []string {
	return []string{"count", "rate", "sum", "avg", "min", "max", "quantile", "distinct", "p50", "p90", "p95", "p99"}
}

func (p *parser) stage(q *Query) error {
	p.space()
	from, word := p.pos, p.peekWord()
	to := from + len(word)
	p.noteStages(q, to)
	switch strings.ToLower(word) {
	case "sort":
		if q.Sort != nil || q.Limit > 0 {
			return p.fail(from, to, "sort stands once, before limit").Fix("write count() …, then | sort …, then | limit …")
		}
		p.pos = to
		return p.sort(q)
	case "limit":
		if q.Limit > 0 {
			return p.fail(from, to, "limit stands once").Fix("leave one of them out")
		}
		p.pos = to
		return p.limit(q)
	case "where", "filter", "and", "or":
		return p.fail(from, to, "rows are chosen before the first bar").Fix("write what %s says there, with and before it", word)
	}
	if q.Tell != nil || q.Sort != nil || q.Limit > 0 {
		if _, _, ok := funcOf(word); ok {
			return p.fail(from, to, "functions stand once, before sort and limit").Fix("write them with commas between them: count(), max(duration)")
		}
		return p.fail(from, p.tokenEnd(), "here is %s where a stage should be", p.token()).Fix("%s", near(word, []string{"sort", "limit"}))
	}
	var err error
	q.Tell, err = p.aggregation()
	return err
}

func (p *parser) noteStages(q *Query, to int) {
	if q.Tell == nil && q.Sort == nil && q.Limit == 0 {
		p.note(want{kind: CompleteFunction, from: p.pos, words: funcNames()}, to)
	}
	if q.Sort == nil && q.Limit == 0 {
		p.note(want{kind: CompleteKeyword, from: p.pos, words: []string{"sort"}}, to)
	}
	if q.Limit == 0 {
		p.note(want{kind: CompleteKeyword, from: p.pos, words: []string{"limit"}}, to)
	}
}

func (p *parser) limit(q *Query) error {
	p.space()
	from, word := p.pos, p.peekWord()
	n, err := strconv.Atoi(word)
	if err != nil || n < 1 || n > MaxSorted {
		return p.fail(from, p.tokenEnd(), "limit is followed by %s", p.token()).Fix("write a number from 1 to %d", MaxSorted)
	}
	p.pos += len(word)
	q.Limit = n
	return nil
}

// list calls item for each item between commas.
func (p *parser) list(what string, item func() error) error {
	for n := 1; ; n++ {
		p.space()
		if n > maxQueryList {
			return p.fail(p.pos, p.tokenEnd(), "more than %d %s", maxQueryList, what).Fix("ask for fewer at once")
		}
		if err := item(); err != nil {
			return err
		}
		p.space()
		if !p.take(",") {
			p.note(want{kind: CompleteSign, from: p.pos, words: []string{","}}, p.pos)
			p.note(want{kind: CompleteSign, from: p.pos, words: []string{"|"}}, p.pos)
			return nil
		}
	}
}

func (p *parser) sort(q *Query) error {
	if p.space(); strings.EqualFold(p.peekWord(), "by") {
		p.pos += len("by")
	}
	if q.Tell != nil {
		p.columns = q.Tell.writtenColumns()
		defer func() { p.columns = nil }()
	}
	return p.list("sort keys", func() error {
		o := Order{}
		var err error
		if o.Field, err = p.sortKey(); err != nil {
			return err
		}
		if !p.keyword("asc") {
			o.Descending = p.keyword("desc")
		}
		q.Sort = append(q.Sort, o)
		return nil
	})
}

// sortKey is a field, or a column written as the function that made it.
func (p *parser) sortKey() (Field, error) {
	from, word := p.pos, p.peekWord()
	if _, _, ok := funcOf(word); ok && strings.HasPrefix(p.text[from+len(word):], "(") {
		f, err := p.function()
		return Field{Name: f.As, Column: p.column(from)}, err
	}
	return p.fieldName("what to sort by")
}

// checkSort holds the sort keys of a table against its columns.
func (p *parser) checkSort(q *Query) error {
	if q.Tell == nil {
		return nil
	}
	columns := q.Tell.Columns()
	for i := range columns {
		if at := slices.Index(columns[:i], columns[i]); at >= 0 {
			return p.fail(0, 0, "two columns are called %s", columns[i]).Fix("name one of them: %s as other", columns[i])
		}
	}
	for _, o := range q.Sort {
		if !slices.Contains(columns, o.Field.Name) {
			from := len(string([]rune(p.text)[:o.Field.Column-1]))
			return p.fail(from, from+len(o.Field.Name), "%s is not a column of the table", o.Field.Name).Fix("%s", near(o.Field.Name, columns))
		}
	}
	return nil
}

func (p *parser) aggregation() (*Aggregation, error) {
	a := &Aggregation{}
	err := p.list("functions", func() error {
		f, err := p.function()
		if err == nil {
			err = p.as(&f)
		}
		a.Funcs = append(a.Funcs, f)
		return err
	})
	if err == nil && p.keyword("by") {
		err = p.list("fields to group by", func() error {
			f, err := p.fieldName("a field to group by")
			a.By = append(a.By, f)
			return err
		})
	}
	if err == nil && p.keyword("every") {
		a.Every, err = p.every()
	}
	return a, err
}

func (p *parser) as(f *Func) error {
	if !p.keyword("as") {
		return nil
	}
	name, err := p.fieldName("the name of the column")
	f.As = name.Name
	return err
}

func (p *parser) every() (time.Duration, error) {
	p.space()
	from, word := p.pos, p.peekWord()
	d, err := time.ParseDuration(word)
	if err != nil || d < time.Millisecond || d > 366*24*time.Hour {
		return 0, p.fail(from, p.tokenEnd(), "every is followed by %s", p.token()).
			Fix("write a duration from 1ms to 8784h, such as 10s, 1m or 24h")
	}
	p.pos += len(word)
	return d, nil
}

// funcOf knows the functions; pNN is a quantile.
func funcOf(word string) (kind FuncKind, q float64, ok bool) {
	word = strings.ToLower(word)
	switch k := FuncKind(word); k {
	case FuncCount, FuncRate, FuncSum, FuncAvg, FuncMin, FuncMax, FuncQuantile, FuncDistinct:
		return k, -1, true
	}
	digits, ok := strings.CutPrefix(word, "p")
	if !ok || len(digits) < 2 || len(digits) > 6 || len(digits) > 2 && strings.Trim(digits, "9") != "" {
		return "", 0, false
	}
	q, err := strconv.ParseFloat("0."+digits, 64)
	return FuncQuantile, q, err == nil && strings.Trim(digits, "0123456789") == ""
}

func (p *parser) function() (Func, error) {
	from, word := p.pos, p.peekWord()
	to := from + len(word)
	p.note(want{kind: CompleteFunction, from: from, words: funcNames()}, to)
	f := Func{}
	var ok bool
	f.Kind, f.Q, ok = funcOf(word)
	if !ok {
		stages := append(funcNames(), "sort", "limit")
		return f, p.fail(from, p.tokenEnd(), "here is %s where a function should be", p.token()).Fix("%s", near(word, stages))
	}
	p.pos = to
	p.space()
	p.note(want{kind: CompleteSign, from: p.pos, words: []string{"("}}, p.pos)
	if !p.take("(") {
		return f, p.fail(from, to, "%s has no parentheses", word).Fix("write %s", usage(f, word))
	}
	if err := p.arguments(&f, word); err != nil {
		return f, err
	}
	p.space()
	p.note(want{kind: CompleteSign, from: p.pos, words: []string{")"}}, p.pos)
	if !p.take(")") {
		return f, p.fail(p.pos, p.tokenEnd(), "here is %s where ) should be", p.token()).Fix("write %s", usage(f, word))
	}
	f.As = f.name()
	return f, nil
}

// usage is how a function is written.
func usage(f Func, word string) string {
	switch {
	case f.Kind == FuncCount || f.Kind == FuncRate:
		return word + "(), or " + word + "(field) for rows that have it"
	case f.Kind == FuncQuantile && f.Q < 0:
		return "quantile(0.99, duration)"
	}
	return word + "(duration), or with another field"
}

func (p *parser) arguments(f *Func, word string) error {
	p.space()
	if f.Kind == FuncQuantile && f.Q < 0 {
		from, text := p.pos, p.peekWord()
		q, err := strconv.ParseFloat(text, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return p.fail(from, p.tokenEnd(), "quantile begins with %s", p.token()).Fix("write a number from 0 to 1, then the field: quantile(0.99, duration)")
		}
		p.pos += len(text)
		f.Q = q
		if p.space(); !p.take(",") {
			return p.fail(p.pos, p.tokenEnd(), "quantile lacks its field").Fix("write quantile(%s, duration)", text)
		}
		p.space()
	} else if f.Q < 0 {
		f.Q = 0
	}
	if p.is(")") {
		if f.Kind == FuncCount || f.Kind == FuncRate {
			return nil
		}
		return p.fail(p.pos, p.pos+1, "%s lacks its field", word).Fix("write %s", usage(*f, word))
	}
	var err error
	f.Field, err = p.fieldName("the field of " + word)
	return err
}

// name is the column of a function that was given none: count, sum(duration), p99(duration), quantile(0.123,duration).
func (f Func) name() string {
	switch {
	case f.Field.Name == "":
		return string(f.Kind)
	case f.Kind != FuncQuantile:
		return string(f.Kind) + "(" + f.Field.Name + ")"
	}
	text := strconv.FormatFloat(f.Q, 'f', -1, 64)
	digits := strings.TrimPrefix(text, "0.")
	if len(digits) == 1 && digits != text {
		digits += "0"
	}
	if _, q, ok := funcOf("p" + digits); ok && q == f.Q {
		return "p" + digits + "(" + f.Field.Name + ")"
	}
	return "quantile(" + text + "," + f.Field.Name + ")"
}

// Columns are the names of the table's columns: time if there are buckets, the fields to group by, the functions.
func (a *Aggregation) Columns() []string {
	var columns []string
	if a.Every > 0 {
		columns = append(columns, FieldTime)
	}
	for _, f := range a.By {
		columns = append(columns, f.Name)
	}
	for _, f := range a.Funcs {
		columns = append(columns, f.As)
	}
	return columns
}

// writtenColumns are the columns as they are written after sort.
func (a *Aggregation) writtenColumns() []string {
	columns := a.Columns()
	for i, c := range columns {
		head, inner, call := strings.Cut(strings.TrimSuffix(c, ")"), "(")
		_, _, known := funcOf(head)
		if written := plainField(c) || call && known && plainField(inner); !written {
			columns[i] = "`" + c + "`"
		}
	}
	return columns
}
