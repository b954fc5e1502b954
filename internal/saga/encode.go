package saga

import (
	"encoding/json"
	"strconv"
	"time"
)

// AppendJSON appends the state's JSON, as encoding/json writes it, but for the insides of values that are JSON already, which stay as
// they are. States are written with each change, so it is by hand, at a sixth of the cost.
func (s *State) AppendJSON(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.text("id", s.ID)
	o.text("saga", s.Saga)
	o.text("hash", s.Hash)
	o.textIf("key", s.Key)
	o.json("input", s.Input)
	o.text("phase", string(s.Phase))
	o.boolIf("back", s.Back)
	o.textIf("lock", s.Lock)
	o.boolIf("locked", s.Locked)
	o.textIf("parent", s.Parent)
	o.intIf("depth", s.Depth)
	o.textIf("trace", s.Trace)
	o.time("started", s.Started)
	o.timeIf("ended", s.Ended)
	o.timeIf("deadline", s.Deadline)
	if s.Cause != nil {
		o.key("cause")
		o.b = s.Cause.appendJSON(o.b)
	}
	o.jsonIf("output", s.Output)
	o.key("steps")
	if s.Steps == nil {
		return append(o.b, "null}"...)
	}
	o.b = append(o.b, '[')
	for i := range s.Steps {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = s.Steps[i].appendJSON(o.b)
	}
	return append(o.b, "]}"...)
}

func (c *Cause) appendJSON(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.textIf("step", c.Step)
	o.text("text", c.Text)
	return append(o.b, '}')
}

func (s *StepState) appendJSON(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.boolIf("b", s.Begun)
	o.boolIf("e", s.Ended)
	o.boolIf("sk", s.Skipped)
	o.jsonIf("o", s.Output)
	if len(s.Tasks) > 0 {
		o.key("t")
		o.b = append(o.b, '[')
		for i := range s.Tasks {
			if i > 0 {
				o.b = append(o.b, ',')
			}
			o.b = s.Tasks[i].appendJSON(o.b)
		}
		o.b = append(o.b, ']')
	}
	return append(o.b, '}')
}

func (t *Task) appendJSON(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.textIf("st", string(t.Status))
	o.jsonIf("it", t.Item)
	o.intIf("a", t.Attempt)
	o.intIf("tr", t.Tries)
	o.intIf("mi", t.Misses)
	o.boolIf("u", t.Unsure)
	o.boolIf("x", t.Took)
	o.timeIf("d", t.Due)
	if t.Request != nil {
		o.key("r")
		o.b = t.Request.appendJSON(o.b)
	}
	o.intIf("al", t.Alt)
	o.jsonIf("o", t.Output)
	o.textIf("tx", t.Text)
	o.boolIf("sk", t.Skipped)
	o.textIf("c", t.Child)
	o.textIf("w", t.Topic)
	o.textIf("k", t.WaitKey)
	return append(o.b, '}')
}

func (r *Request) appendJSON(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.text("s", r.Service)
	o.text("m", r.Method)
	o.text("p", r.Path)
	if len(r.Headers) > 0 {
		o.key("h")
		o.b = append(o.b, encode(r.Headers)...)
	}
	o.jsonIf("b", r.Body)
	return append(o.b, '}')
}

// object writes the fields of an object. Those that end with If leave an empty value out.
type object struct{ b []byte }

func (o *object) key(name string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(append(append(o.b, '"'), name...), `":`...)
}

func (o *object) text(name, value string) {
	o.key(name)
	o.b = appendText(o.b, value)
}

func (o *object) textIf(name, value string) {
	if value != "" {
		o.text(name, value)
	}
}

func (o *object) json(name string, value json.RawMessage) {
	o.key(name)
	if value == nil {
		value = json.RawMessage("null")
	}
	o.b = append(o.b, value...)
}

func (o *object) jsonIf(name string, value json.RawMessage) {
	if len(value) > 0 {
		o.json(name, value)
	}
}

func (o *object) boolIf(name string, value bool) {
	if value {
		o.key(name)
		o.b = append(o.b, "true"...)
	}
}

func (o *object) intIf(name string, value int) {
	if value != 0 {
		o.key(name)
		o.b = strconv.AppendInt(o.b, int64(value), 10)
	}
}

func (o *object) time(name string, value time.Time) {
	o.key(name)
	o.b = append(o.b, '"')
	text, err := value.AppendText(o.b)
	if err != nil {
		panic("saga: a time that is no JSON: " + err.Error())
	}
	o.b = append(text, '"')
}

func (o *object) timeIf(name string, value time.Time) {
	if !value.IsZero() {
		o.time(name, value)
	}
}

// appendText appends a text; one with something to escape is left to encoding/json.
func appendText(b []byte, value string) []byte {
	for i := range len(value) {
		switch c := value[i]; {
		case c < ' ', c >= 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return append(b, encode(value)...)
		}
	}
	return append(append(append(b, '"'), value...), '"')
}
