package saga_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/saga"
)

// fill makes up a value of any of the types of states and records.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Interface().(type) {
	case json.RawMessage:
		v.SetBytes(json.RawMessage(rapid.SampledFrom([]string{`null`, `{"a":[1,2.5,"x\n"]}`, `"ü"`, ` [ ] `, `17`}).Draw(t, "json")))
		if rapid.Bool().Draw(t, "nil") {
			v.SetZero()
		}
		return
	case time.Time:
		if rapid.Bool().Draw(t, "time") {
			v.Set(reflect.ValueOf(time.Unix(0, rapid.Int64Range(1, 4e18).Draw(t, "ns")).UTC()))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(t, field)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "items")
		if n == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i))
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"x-header": rapid.String().Draw(t, "value")}))
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "plain", "q\"uote", "new\nline", "ümlaut", "\x7f"})).Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "flag"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64Range(0, 1<<40).Draw(t, "number"))
	default:
		t.Fatalf("a field of type %s, which the writer does not know: add it to encode.go, and here", v.Type())
	}
}

// TestWhatIsWrittenByHandIsWhatEncodingJSONWrites fails for a field that the writer forgets.
func TestWhatIsWrittenByHandIsWhatEncodingJSONWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s saga.State
		fill(t, reflect.ValueOf(&s).Elem())
		s.Started = epoch // which each has, as it has steps
		if s.Steps == nil {
			s.Steps = []saga.StepState{}
		}
		same(t, saga.EncodeState(&s), s)
		var list []saga.Record
		fill(t, reflect.ValueOf(&list).Elem())
		if list == nil {
			list = []saga.Record{}
		}
		for i := range list {
			list[i].At = epoch
		}
		same(t, saga.EncodeRecords(list), list)
	})
}

// same compares JSON written by hand with what encoding/json makes of the value, both read again.
func same[T any](t *rapid.T, by []byte, value T) {
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(by, &got); err != nil {
		t.Fatalf("%v: %s", err, by)
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(trim(got), trim(want)) {
		t.Fatalf("by hand %s\n, by encoding/json %s", by, text)
	}
}

// trim leaves out members that are null, which some omit and some do not.
func trim(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x == nil {
				delete(v, k)
			} else {
				v[k] = trim(x)
			}
		}
	case []any:
		for i := range v {
			v[i] = trim(v[i])
		}
	}
	return v
}
