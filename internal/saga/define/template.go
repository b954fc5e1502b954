package define

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/saga"
)

// constant is a value without expressions.
type constant json.RawMessage

// Value implements saga.Template.
func (c constant) Value(*saga.Scope) (json.RawMessage, error) { return json.RawMessage(c), nil }

// segment is a piece of a value's JSON: text as it is, or an expression's value.
type segment struct {
	text   []byte
	expr   *expression
	inText bool // the expression is part of a text
}

// template is a value that holds expressions, as the segments of its JSON.
type template struct{ segments []segment }

// Value implements saga.Template.
func (t *template) Value(s *saga.Scope) (json.RawMessage, error) {
	b := make([]byte, 0, 256)
	for i := range t.segments {
		seg := &t.segments[i]
		if seg.expr == nil {
			b = append(b, seg.text...)
			continue
		}
		var err error
		if b, err = seg.append(b, s); err != nil {
			return nil, err
		}
		if len(b) > maxValue {
			return nil, seg.expr.failed(errLarge, errLarge.Error())
		}
	}
	return b, nil
}

func (seg *segment) append(b []byte, s *saga.Scope) ([]byte, error) {
	if seg.inText {
		text, err := seg.expr.asText(s)
		return appendEscaped(b, text), err
	}
	if raw := seg.expr.raw(s); raw != nil {
		return append(b, raw...), nil
	}
	v, err := seg.expr.value(s)
	if err != nil {
		return b, err
	}
	b, err = appendValue(b, v)
	if err != nil {
		return b, seg.expr.failed(err, err.Error())
	}
	return b, nil
}

// asText is the value of an expression as part of a text.
func (e *expression) asText(s *saga.Scope) (string, error) {
	raw := e.raw(s)
	switch {
	case len(raw) == 0:
	case raw[0] == '"':
		if text, err := unquote(raw); err == nil {
			return text, nil
		}
	case isWhole(raw):
		return string(raw), nil
	}
	v, err := e.value(s)
	if err != nil {
		return "", err
	}
	text, err := plainText(v)
	if err != nil {
		return "", e.failed(err, "it "+err.Error())
	}
	return text, nil
}

// isWhole tells whether a JSON text is a number that is its own text.
func isWhole(raw []byte) bool {
	digits := raw
	if digits[0] == '-' {
		digits = digits[1:]
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(digits) > 0 && len(digits) < 19 && (digits[0] != '0' || len(raw) == 1)
}

// textPart is a piece of a text: as it is, or an expression.
type textPart struct {
	text   string
	expr   *expression
	escape func(string) (string, error) // nil: as it is
}

// text is a text that may hold expressions.
type text struct {
	parts  []textPart
	verify func(string) error // nil: anything goes
}

// Text implements saga.Text.
func (t *text) Text(s *saga.Scope) (string, error) {
	var b strings.Builder
	for i := range t.parts {
		p := &t.parts[i]
		if p.expr == nil {
			b.WriteString(p.text)
			continue
		}
		piece, err := p.expr.asText(s)
		if err != nil {
			return "", err
		}
		if p.escape != nil {
			if piece, err = p.escape(piece); err != nil {
				return "", p.expr.failed(err, err.Error())
			}
		}
		if len(t.parts) == 1 && t.verify == nil {
			return piece, nil
		}
		b.WriteString(piece)
	}
	if t.verify != nil {
		if err := t.verify(b.String()); err != nil {
			return "", fault.New(fault.CodeSagaExpression, "%s", err).Fix("see what the values are")
		}
	}
	return b.String(), nil
}

// inPath escapes what is put into a path.
func inPath(piece string) (string, error) {
	if piece == "" {
		return "", errors.New("it is empty, and would make another path of this one")
	}
	return url.PathEscape(piece), nil
}

// inQuery escapes what is put into a query.
func inQuery(piece string) (string, error) { return url.QueryEscape(piece), nil }

// verifyPath refuses a path that values have turned into another one.
func verifyPath(path string) error {
	path, _, _ = strings.Cut(path, "?")
	for step := range strings.SplitSeq(path, "/") {
		if step == "." || step == ".." {
			return errors.New("the path " + path + " leads elsewhere")
		}
	}
	return nil
}

// verifyHeader refuses what cannot be the value of a header.
func verifyHeader(v string) error {
	for i := range len(v) {
		if v[i] < ' ' && v[i] != '\t' || v[i] == 0x7f {
			return errors.New("a header would hold a control character")
		}
	}
	return nil
}

// condition is an expression that is true or false.
type condition struct{ expr *expression }

// Holds implements saga.Condition.
func (c condition) Holds(s *saga.Scope) (bool, error) {
	v, err := c.expr.value(s)
	if err != nil {
		return false, err
	}
	holds, ok := truth(v)
	if !ok {
		return false, c.expr.failed(nil, "it is neither true nor false")
	}
	return holds, nil
}

// pause is a sleep of a length that is known.
type pause time.Duration

// End implements saga.Moment.
func (p pause) End(begin time.Time, _ *saga.Scope) (time.Time, error) {
	return begin.Add(time.Duration(p)), nil
}

// span is a sleep whose length is an expression.
type span struct{ expr *expression }

// End implements saga.Moment.
func (p span) End(begin time.Time, s *saga.Scope) (time.Time, error) {
	v, err := p.expr.value(s)
	if err != nil {
		return time.Time{}, err
	}
	d, ok := v.(types.Duration)
	if !ok {
		return time.Time{}, p.expr.failed(nil, "it is no duration")
	}
	return begin.Add(max(0, d.Duration)), nil
}

// until is a sleep whose end is an expression.
type until struct{ expr *expression }

// End implements saga.Moment.
func (u until) End(begin time.Time, s *saga.Scope) (time.Time, error) {
	v, err := u.expr.value(s)
	if err != nil {
		return time.Time{}, err
	}
	at, ok := v.(types.Timestamp)
	if !ok {
		return time.Time{}, u.expr.failed(nil, "it is no timestamp")
	}
	if at.Time.Before(begin) {
		return begin, nil
	}
	return at.Time, nil
}
