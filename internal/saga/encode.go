package saga

import (
	"encoding/json"
	"strconv"
	"time"
)

// writer writes JSON. A state is written with every change, and encoding/json is half of what that would cost. What it writes
// encoding/json reads; a test holds the two together.
type writer struct{ b []byte }

// encodeState is a state as JSON.
func encodeState(s *State) []byte {
	w := writer{make([]byte, 0, 512+len(s.Input))}
	w.open('{')
	w.text("id", s.ID)
	w.text("saga", s.Saga)
	w.text("hash", s.Hash)
	w.optional("key", s.Key)
	w.raw("input", s.Input)
	w.text("phase", string(s.Phase))
	w.flag("back", s.Back)
	w.optional("lock", s.Lock)
	w.flag("locked", s.Locked)
	if len(s.Held) > 0 {
		w.raw("held", encode(s.Held))
	}
	w.optional("parent", s.Parent)
	w.number("depth", s.Depth)
	w.optional("trace", s.Trace)
	w.time("started", s.Started)
	w.time("ended", s.Ended)
	w.time("deadline", s.Deadline)
	if s.Cause != nil {
		w.raw("cause", encode(s.Cause))
	}
	w.raw("output", s.Output)
	w.name("steps")
	w.open('[')
	for i := range s.Steps {
		w.step(&s.Steps[i])
	}
	w.close(']')
	w.close('}')
	return w.b
}

func (w *writer) step(s *StepState) {
	w.open('{')
	w.optional("n", s.Name)
	w.flag("b", s.Begun)
	w.flag("e", s.Ended)
	w.flag("sk", s.Skipped)
	w.raw("o", s.Output)
	if len(s.Tasks) > 0 {
		w.name("t")
		w.open('[')
		for i := range s.Tasks {
			w.task(&s.Tasks[i])
		}
		w.close(']')
	}
	w.close('}')
}

func (w *writer) task(t *Task) {
	w.open('{')
	w.optional("st", string(t.Status))
	w.raw("it", t.Item)
	w.number("a", t.Attempt)
	w.number("tr", t.Tries)
	w.number("mi", t.Misses)
	w.flag("u", t.Unsure)
	w.flag("x", t.Took)
	w.time("d", t.Due)
	if t.Request != nil {
		w.raw("r", encodeRequest(t.Request))
	}
	w.number("al", t.Alt)
	w.raw("o", t.Output)
	w.optional("tx", t.Text)
	w.flag("sk", t.Skipped)
	w.optional("c", t.Child)
	w.optional("w", t.Topic)
	w.optional("k", t.WaitKey)
	w.close('}')
}

func encodeRequest(r *Request) []byte {
	w := writer{make([]byte, 0, 64+len(r.Path)+len(r.Body))}
	w.open('{')
	w.text("s", r.Service)
	w.text("m", r.Method)
	w.text("p", r.Path)
	if len(r.Headers) > 0 {
		w.raw("h", encode(r.Headers))
	}
	w.raw("b", r.Body)
	w.close('}')
	return w.b
}

// encodeRecords is lines of history as JSON.
func encodeRecords(records []Record) []byte {
	w := writer{make([]byte, 0, 160*len(records))}
	w.open('[')
	for i := range records {
		r := &records[i]
		w.open('{')
		w.time("at", r.At)
		w.text("kind", string(r.Kind))
		w.optional("step", r.Step)
		w.number("item", r.Item)
		w.flag("undo", r.Undo)
		w.number("attempt", r.Attempt)
		w.number("status", r.Status)
		w.number("took_ns", int(r.Took))
		w.optional("text", r.Text)
		w.optional("replica", r.Replica)
		w.optional("by", r.By)
		w.raw("data", r.Data)
		w.close('}')
	}
	w.close(']')
	return w.b
}

// open begins an object or list, as a member or item of what it stands in.
func (w *writer) open(c byte) {
	w.comma()
	w.b = append(w.b, c)
}

func (w *writer) close(c byte) { w.b = append(w.b, c) }

// comma separates from what stands before.
func (w *writer) comma() {
	if n := len(w.b); n > 0 && w.b[n-1] != '{' && w.b[n-1] != '[' && w.b[n-1] != ':' {
		w.b = append(w.b, ',')
	}
}

func (w *writer) name(name string) {
	w.comma()
	w.b = append(append(append(w.b, '"'), name...), '"', ':')
}

func (w *writer) text(name, value string) {
	w.name(name)
	for i := range len(value) {
		if c := value[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			w.b = append(w.b, encode(value)...)
			return
		}
	}
	w.b = append(append(append(w.b, '"'), value...), '"')
}

func (w *writer) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *writer) raw(name string, value json.RawMessage) {
	if value != nil {
		w.name(name)
		w.b = append(w.b, value...)
	}
}

func (w *writer) flag(name string, value bool) {
	if value {
		w.name(name)
		w.b = append(w.b, "true"...)
	}
}

func (w *writer) number(name string, value int) {
	if value != 0 {
		w.name(name)
		w.b = strconv.AppendInt(w.b, int64(value), 10)
	}
}

func (w *writer) time(name string, value time.Time) {
	if !value.IsZero() {
		w.name(name)
		w.b = append(w.b, '"')
		w.b = append(value.AppendFormat(w.b, time.RFC3339Nano), '"')
	}
}
