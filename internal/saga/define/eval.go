package define

import (
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/saga"
)

// expression is one compiled expression.
type expression struct {
	text    string // as it is written
	program cel.Program
	typ     *cel.Type
	direct  *selection // the same, where it does no more than select
	whole   bool       // written without ${}: a condition
}

// selection is a variable and what is selected of it, such as steps.invoice.total or input.lines[0].
type selection struct {
	root string
	path []hop
}

// hop is one step of a selection: a key, or a place in a list.
type hop struct {
	key   string
	index int // -1: the key counts
}

// value evaluates an expression: a ref.Val, or what decode answers.
func (e *expression) value(s *saga.Scope) (any, error) {
	if e.direct != nil && len(e.direct.path) == 0 && !isDocument(e.direct.root) {
		v, _ := (&activation{s}).ResolveName(e.direct.root)
		return v, nil
	}
	v, _, err := e.program.Eval(&activation{s})
	if err != nil {
		return nil, e.explain(err)
	}
	return v, nil
}

// raw is the JSON text that a selection leads to, found without decoding what stands around it. It answers nil where evaluation must
// tell what there is instead.
func (e *expression) raw(s *saga.Scope) []byte {
	if e.direct == nil || !isDocument(e.direct.root) {
		return nil
	}
	text, path := document(s, e.direct.root), e.direct.path
	if e.direct.root == "answer" {
		if len(path) == 0 || path[0].key != "body" || s.Answer == nil {
			return nil
		}
		text, path = s.Answer.Body, path[1:]
	}
	return follow(text, path)
}

// isDocument tells whether a variable is JSON.
func isDocument(root string) bool {
	switch root {
	case "input", "item", "event", "answer":
		return true
	}
	return strings.HasPrefix(root, "steps.")
}

// document is the JSON of a variable.
func document(s *saga.Scope, root string) []byte {
	switch root {
	case "input":
		return s.Input
	case "item":
		return s.Item
	case "event":
		return s.Event
	}
	if step, ok := strings.CutPrefix(root, "steps."); ok {
		return s.Steps[step]
	}
	return nil
}

// explain turns an error of evaluation into one for users.
func (e *expression) explain(err error) error {
	why := err.Error()
	if key, ok := strings.CutPrefix(why, "no such key: "); ok {
		why = "there is no " + key
	}
	if strings.HasPrefix(why, "no such overload") {
		why = "a value is not of the type that it wants"
	}
	if strings.Contains(why, "cost limit") {
		why = "it takes too long"
	}
	return e.failed(err, why)
}

func (e *expression) failed(err error, why string) error {
	return fault.New(fault.CodeSagaExpression, "%s cannot be evaluated: %s", e.written(), why).
		Fix("see what the values are, and say with has(…), ?: or when what is to happen without them").Because(err)
}

// written is the expression as the definition has it, shortened.
func (e *expression) written() string {
	text := e.text
	if runes := []rune(text); len(runes) > 80 {
		text = string(runes[:80]) + "…"
	}
	if e.whole {
		return text
	}
	return "${" + text + "}"
}

// activation gives an expression the values of a scope.
type activation struct{ s *saga.Scope }

var _ interpreter.Activation = (*activation)(nil)

// Parent implements interpreter.Activation.
func (a *activation) Parent() interpreter.Activation { return nil }

// ResolveName implements interpreter.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "input", "item", "event":
		return decoded(a.s, name, document(a.s, name)), true
	case "answer":
		return answer(a.s), true
	case "index":
		return int64(a.s.Index), true
	case "saga.id":
		return a.s.Saga.ID, true
	case "saga.name":
		return a.s.Saga.Name, true
	case "saga.key":
		return a.s.Saga.Key, true
	case "saga.started":
		return types.Timestamp{Time: a.s.Saga.Started.UTC()}, true
	case "step.key":
		return a.s.Key, true
	}
	if strings.HasPrefix(name, "steps.") {
		return decoded(a.s, name, document(a.s, name)), true
	}
	return nil, false
}

// memo keeps what has been decoded of a scope. Copies of a scope share it, so that it is told by the text itself whether what is
// kept is still what is asked for.
type memo struct {
	mu     sync.Mutex
	values []remembered // guarded by mu
	answer *saga.Answer // guarded by mu: of which body is the decoded one
	asked  map[string]any
}

type remembered struct {
	name  string
	text  []byte
	value any
}

func memoOf(s *saga.Scope) *memo {
	if m, ok := s.Memo().(*memo); ok {
		return m
	}
	m := &memo{}
	s.Remember(m)
	return m
}

// decoded is a JSON text as a value, decoded once for each scope.
func decoded(s *saga.Scope, name string, text []byte) any {
	if len(text) == 0 {
		return types.NullValue
	}
	m := memoOf(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	at := -1
	for i := range m.values {
		if r := &m.values[i]; r.name == name {
			if len(r.text) == len(text) && &r.text[0] == &text[0] {
				return r.value
			}
			at = i
		}
	}
	v, err := decode(text)
	if err != nil {
		v = types.NewErr("%s cannot be read: %s", name, err)
	}
	if v == nil {
		v = types.NullValue
	}
	if at >= 0 {
		m.values[at] = remembered{name, text, v}
	} else {
		m.values = append(m.values, remembered{name, text, v})
	}
	return v
}

// answer is what came back, as expressions read it.
func answer(s *saga.Scope) any {
	if s.Answer == nil {
		return types.NullValue
	}
	body := decoded(s, "answer.body", s.Answer.Body)
	m := memoOf(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answer != s.Answer {
		headers := make(map[string]any, len(s.Answer.Headers))
		for name, v := range s.Answer.Headers {
			headers[name] = v
		}
		m.answer, m.asked = s.Answer, map[string]any{"status": int64(s.Answer.Status), "headers": headers, "body": body}
	}
	return m.asked
}

// truth is a value as a condition.
func truth(v any) (holds, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case types.Bool:
		return bool(v), true
	}
	return false, false
}
