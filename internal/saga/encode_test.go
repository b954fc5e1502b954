package saga_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// fill sets every field to something, the n-th one in sequence to something that needs escaping.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(int64(1_800_000_000+*n), 123_000_000).UTC()))
		return
	case json.RawMessage:
		v.SetBytes([]byte(`{"n":1}`))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"plain", `"<&>\` + "\n\u2028é", "\xff\x01"}[*n%3])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(-*n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n) // and one that is empty
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"b": "<", "a": "x"}))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("a state has a field of kind " + v.Kind().String())
	}
}

func TestAStateIsWrittenWithAllThatItHolds(t *testing.T) {
	check := func(s *saga.State) {
		t.Helper()
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(s.AppendJSON(nil)); got != string(want) {
			t.Errorf("written:\n%s\nencoding/json:\n%s", got, want)
		}
	}
	check(&saga.State{})
	for n := range 3 {
		s := &saga.State{}
		fill(reflect.ValueOf(s).Elem(), &n)
		check(s)
	}
	// Each field alone: none hides behind another.
	for i := range reflect.TypeFor[saga.State]().NumField() {
		s, n := &saga.State{Steps: []saga.StepState{}}, 0
		fill(reflect.ValueOf(s).Elem().Field(i), &n)
		check(s)
	}
	for i := range reflect.TypeFor[saga.Task]().NumField() {
		task, n := saga.Task{}, 0
		fill(reflect.ValueOf(&task).Elem().Field(i), &n)
		check(&saga.State{Steps: []saga.StepState{{Tasks: []saga.Task{task}}}})
	}
}

func BenchmarkWriteState(b *testing.B) {
	request := &saga.Request{Service: "work", Method: "POST", Path: "/step", Body: json.RawMessage(`{"order":"o-1","amount":1}`)}
	s := &saga.State{ID: "01k5", Saga: "five", Hash: "0123456789abcdef", Input: json.RawMessage(`{"order":"o-1","amount":1}`), Phase: saga.Running, Started: time.Now()}
	for range 5 {
		s.Steps = append(s.Steps, saga.StepState{Begun: true, Ended: true, Output: json.RawMessage(`{"id":"s-17","done":true}`), Tasks: []saga.Task{{Status: saga.Done, Attempt: 1, Request: request}}})
	}
	b.Run("by hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.AppendJSON(make([]byte, 0, 1024))
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(s); err != nil {
				b.Fatal(err)
			}
		}
	})
}
