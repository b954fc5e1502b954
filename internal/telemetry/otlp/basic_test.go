package otlp_test

import (
	"reflect"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

func TestBasic(t *testing.T) {
	in := someSpans(4)
	d := otlp.NewDecoder(otlp.Limits{}, nil)
	req := otlp.AppendTraces(nil, in)
	b, p, err := d.Decode(otlp.Traces, req)
	if err != nil || p.Rejected != 0 || !reflect.DeepEqual(b.Spans, in) {
		t.Fatalf("%v %v %+v\n%+v", err, p, b.Spans, in)
	}
	var e otlp.JSONEncoder
	js, err := e.Append(nil, otlp.Traces, req)
	if err != nil {
		t.Fatal(err)
	}
	b, p, err = d.DecodeJSON(otlp.Traces, js)
	if err != nil || p.Rejected != 0 || !reflect.DeepEqual(b.Spans, in) {
		t.Fatalf("%s\n%v %v %+v\n%+v", js, err, p, b.Spans, in)
	}
}
