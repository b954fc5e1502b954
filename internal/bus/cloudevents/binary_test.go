package cloudevents_test

import (
	"maps"
	"net/http"
	"net/textproto"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/cloudevents"
	"github.com/atollhq/atoll/internal/fault"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// headers makes a header of "Name: value" lines, as a server would hold it.
func headers(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	return h
}

// binary is a header with the attributes that an event must have, and some more.
func binary(lines ...string) http.Header {
	return headers(append([]string{"ce-specversion: 1.0", "ce-id: 1", "ce-source: /s", "ce-type: t"}, lines...)...)
}

// one decodes a request that holds one event, and takes its topic away.
func one(t *testing.T, h http.Header, body string) *bus.Event {
	t.Helper()
	events, err := cloudevents.Decode("order.placed", "orders", h, []byte(body), now)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 1 || events[0].Topic != "order.placed" {
		t.Fatalf("got %+v", events)
	}
	e := events[0].Clone()
	e.Topic = ""
	return e
}

func refused(t *testing.T, h http.Header, body string, code fault.Code) {
	t.Helper()
	events, err := cloudevents.Decode("order.placed", "orders", h, []byte(body), now)
	if fault.CodeOf(err) != code {
		t.Errorf("%v %.80s: got %v and %v, want %s", h, body, events, err, code)
	}
}

func equal(t *testing.T, got, want *bus.Event) {
	t.Helper()
	if len(got.Extensions) == 0 {
		got.Extensions = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The names of these tests begin with the section of the HTTP protocol binding 1.0.2 that they hold.

func TestHTTP311ContentTypeIsTheDatacontenttype(t *testing.T) {
	e := one(t, binary("Content-Type: application/json; charset=utf-8"), `{}`)
	equal(t, e, &bus.Event{ID: "1", Source: "/s", Type: "t", DataType: "application/json; charset=utf-8", Data: []byte(`{}`)})
	refused(t, binary("Content-Type: text/plain", "ce-datacontenttype: text/plain"), "x", fault.CodeEventInvalid)
	refused(t, binary("Content-Type: text"), "x", fault.CodeEventInvalid)

	h := http.Header{"Content-Type": {"left/over"}}
	cloudevents.Encode(h, &bus.Event{ID: "1", Source: "/s", Type: "t"})
	if _, ok := h["Content-Type"]; ok {
		t.Error("an event without a datacontenttype was given one")
	}
}

func TestHTTP312TheBodyIsTheDataAsItIs(t *testing.T) {
	body := "\x00\xff not JSON"
	if e := one(t, binary("Content-Type: application/json"), body); string(e.Data) != body {
		t.Errorf("got %q", e.Data)
	}
	if e := one(t, binary(), ""); e.Data != nil {
		t.Errorf("got %q of no body", e.Data)
	}
}

func TestHTTP313EveryAttributeHasAHeaderOfItsOwn(t *testing.T) {
	h := headers("CE-SpecVersion: 1.0", "ce-ID: A234", "Ce-Source: https://example.com/ctx?x=1#y", "ce-type: com.example.some", "ce-subject: sub",
		"ce-time: 2018-04-05T17:31:00.5+02:00", "ce-dataschema: https://example.com/schema", "ce-comexampleextension1: value", "ce-9lives: 9",
		"Content-Type: text/plain", "X-Other: no attribute")
	want := &bus.Event{
		ID: "A234", Source: "https://example.com/ctx?x=1#y", Type: "com.example.some", Subject: "sub", DataType: "text/plain",
		DataSchema: "https://example.com/schema", Time: time.Date(2018, 4, 5, 15, 31, 0, 5e8, time.UTC), Data: []byte("x"),
		Extensions: []bus.Attribute{{Name: "9lives", Value: "9"}, {Name: "comexampleextension1", Value: "value"}},
	}
	e := one(t, h, "x")
	equal(t, e, want)

	out := http.Header{}
	cloudevents.Encode(out, e)
	names := slices.Sorted(maps.Keys(out))
	if want := []string{"Ce-9lives", "Ce-Comexampleextension1", "Ce-Dataschema", "Ce-Id", "Ce-Source", "Ce-Specversion", "Ce-Subject", "Ce-Time", "Ce-Type", "Content-Type"}; !slices.Equal(names, want) {
		t.Errorf("got %q", names)
	}
	for _, name := range names {
		if textproto.CanonicalMIMEHeaderKey(name) != name {
			t.Errorf("net/http would not find %s", name)
		}
	}
	if got := out.Get("ce-time"); got != "2018-04-05T15:31:00.5Z" {
		t.Errorf("got %s", got)
	}
}

func TestHTTP3131NamesThatAreNoneAreRefused(t *testing.T) {
	for _, line := range []string{
		"ce-under_score: x", "ce-with-dash: x", "ce-" + strings.Repeat("a", 41) + ": x", "ce-data: x", "ce-data_base64: x",
	} {
		refused(t, binary(line), "", fault.CodeEventInvalid)
	}
	refused(t, binary("ce-one: 1", "ce-one: 2"), "", fault.CodeEventInvalid)
}

func TestHTTP3132ValuesArePercentEncoded(t *testing.T) {
	for wire, want := range map[string]string{
		"Euro%20%E2%82%AC%20%F0%9F%98%80":  "Euro € 😀",
		"Euro%20%e2%82%ac%20%f0%9f%98%80":  "Euro € 😀",
		`"Euro %E2%82%AC %F0%9F%98%80"`:    "Euro € 😀",
		`"quoted \"text\" with \\ in it"`:  `quoted "text" with \ in it`,
		`plain "then quoted" \then`:        `plain then quoted \then`,
		"%41%20unnecessarily%20%65ncoded!": "A unnecessarily encoded!",
		"%2541":                            "%41", // one round only
		"Euro €":                           "Euro €",
		"a(b)":                             "a(b)", // no comments here
	} {
		if e := one(t, binary("ce-subject: "+wire), ""); e.Subject != want {
			t.Errorf("%s: got %q, want %q", wire, e.Subject, want)
		}
	}
	for _, wire := range []string{"%C0%A0", "%ED%A0%80", "%E2%82", "%zz", "100%", "%4", `"open`, `"open\"`, "%00", "%0A", "%7F", "%C2%80", "%EF%BF%BE", ""} {
		refused(t, binary("ce-subject: "+wire), "", fault.CodeEventInvalid)
	}
	for value, want := range map[string]string{
		"Euro € 😀":     "Euro%20%E2%82%AC%20%F0%9F%98%80",
		`a "b" 100%`:   "a%20%22b%22%20100%25",
		"!#$&'()*+~\\": "!#$&'()*+~\\",
		"\u00a0":       "%C2%A0",
	} {
		h := http.Header{}
		cloudevents.Encode(h, &bus.Event{ID: "1", Source: "/s", Type: "t", Subject: value})
		if got := h.Get("ce-subject"); got != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
}

func TestHTTP3WhatIsNoCloudEventByTheSpecificationIsRefused(t *testing.T) {
	without := func(name string) http.Header {
		h := binary()
		h.Del(name)
		return h
	}
	for _, name := range []string{"ce-id", "ce-source", "ce-type"} {
		refused(t, without(name), "", fault.CodeEventInvalid)
	}
	for _, version := range []string{"0.3", "1.1", "2.0", "1.0.2", "one"} {
		h := binary()
		h.Set("ce-specversion", version)
		refused(t, h, "", fault.CodeEventInvalid)
	}
	for name, values := range map[string][]string{
		"ce-source":     {"a b", "/a%20b", "/%zz", "/ä", "<x>"},
		"ce-dataschema": {"schema.json", "//host/x", "1a:b", "http://a b"},
		"ce-time":       {"yesterday", "2018-04-05", "2018-04-05T17:31:00", "2018-04-05 17:31:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00"},
	} {
		for _, value := range values {
			h := binary()
			h.Set(name, strings.ReplaceAll(value, "%", "%25"))
			if value == "/a%20b" {
				if e := one(t, h, ""); e.Source != value {
					t.Errorf("got the source %q", e.Source)
				}
				continue
			}
			refused(t, h, "", fault.CodeEventInvalid)
		}
	}
	refused(t, binary("Content-Type: application/cloudevents+avro"), "x", fault.CodeEventInvalid)
	refused(t, binary("Content-Type: application/cloudevents"), "{}", fault.CodeEventInvalid)
}

// What follows is Atoll's own.

func TestABodyThatIsNoCloudEventBecomesOne(t *testing.T) {
	e := one(t, headers("Content-Type: application/json", "Idempotency-Key: k-1"), `{"n":1}`)
	equal(t, e, &bus.Event{
		ID: "k-1", Source: "/services/orders", Type: "order.placed", Time: now, DataType: "application/json", Data: []byte(`{"n":1}`),
	})
	if e := one(t, headers(`Idempotency-Key: "8e03-78"`), ""); e.ID != "8e03-78" {
		t.Errorf("a quoted key became %q", e.ID)
	}
	a, b := one(t, headers(), ""), one(t, headers(), "")
	if a.ID == b.ID || len(a.ID) < 20 {
		t.Errorf("the ids are %q and %q", a.ID, b.ID)
	}
	e = one(t, headers("ce-partitionkey: 42", "ce-type: special"), "x")
	if e.Key() != "42" || e.Type != "special" || e.ID == "" {
		t.Errorf("attributes without ce-specversion were not kept: %+v", e)
	}
	refused(t, headers(`Idempotency-Key: "open`), "", fault.CodeEventInvalid)
}

func TestNobodyForgesAtollsOwnAttributes(t *testing.T) {
	refused(t, binary("ce-atollpublisher: payments"), "", fault.CodeEventReserved)
	refused(t, headers("ce-atollonly: x"), "", fault.CodeEventReserved)
	refused(t, headers("Content-Type: application/cloudevents+json"),
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","atolldeliverat":"2026-11-22T10:00:00Z"}`, fault.CodeEventReserved)

	e := one(t, binary("ce-key: x"), "")
	e.SetExtension(bus.AttributeOnly, "x")
	h := http.Header{}
	cloudevents.Encode(h, e)
	for name := range h {
		if strings.Contains(strings.ToLower(name), "atoll") {
			t.Errorf("a delivery has the header %s, and who publishes it on would be refused", name)
		}
	}
}

func TestNobodyForgesTheNameOfAnEventByTheTypeOfItsData(t *testing.T) {
	for _, inner := range []string{"application/cloudevents+json", "application/cloudevents-batch+json", "Application/CloudEvents; x=y", " application/cloudevents"} {
		refused(t, headers("Content-Type: application/cloudevents+json"),
			`{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"`+inner+`","data":{}}`, fault.CodeEventInvalid)
		e := &bus.Event{ID: "1", Source: "/s", Type: "t", DataType: inner}
		if err := e.Validate(); fault.CodeOf(err) != fault.CodeEventInvalid || strings.Contains(err.Error(), "see https") {
			t.Errorf("%s: the event is valid, or nobody says what to do: %v", inner, err)
		}
	}
	refused(t, binary("Content-Type: application/cloudevents-avro"), "x", fault.CodeEventInvalid)
}

func TestADelayedEventSaysWhenItIsDue(t *testing.T) {
	for value, want := range map[string]string{
		"2026-11-22T12:00:00+01:00":      "2026-11-22T11:00:00Z",
		"2026-11-22T10:00:00.000000001Z": "2026-11-22T10:00:00.000000001Z",
		"2026-11-22T10:00:00Z":           "", // now
		"2020-01-01T00:00:00Z":           "", // past
		"2027-11-22T10:00:00Z":           "2027-11-22T10:00:00Z",
	} {
		if got := one(t, binary("Atoll-Deliver-At: "+value), "").Extension(bus.AttributeDeliverAt); got != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
	for _, value := range []string{"", "+10m", "tomorrow", "1763805600", "2027-11-24T10:00:00Z", "2026-11-23T10:00:00"} {
		refused(t, binary("Atoll-Deliver-At: "+value), "", fault.CodeEventDeliverAt)
	}
	refused(t, binary("Atoll-Deliver-At: 2026-11-23T10:00:00Z", "Atoll-Deliver-At: 2026-11-23T10:00:00Z"), "", fault.CodeEventDeliverAt)
}

func TestTheTraceOfTheRequestGoesAlong(t *testing.T) {
	const mine, other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-00"
	e := one(t, binary("traceparent: "+mine, "tracestate: a=1", "tracestate: b=2, c=3"), "")
	if e.Extension(bus.AttributeTrace) != mine || e.Extension(bus.AttributeTraceState) != "a=1,b=2, c=3" {
		t.Errorf("got %+v", e.Extensions)
	}
	h := http.Header{}
	cloudevents.Encode(h, e)
	if h.Get("traceparent") != mine || h.Get("ce-traceparent") != mine || h.Get("tracestate") != "a=1,b=2, c=3" {
		t.Errorf("the delivery has %v", h)
	}
	h = http.Header{"Traceparent": {other}}
	cloudevents.Encode(h, e)
	if h.Get("traceparent") != other || h.Get("ce-traceparent") != mine {
		t.Errorf("the trace of the delivery was overwritten: %v", h)
	}
	e = one(t, binary("ce-traceparent: "+other, "traceparent: "+mine, "tracestate: a=1"), "")
	if e.Extension(bus.AttributeTrace) != other || e.Extension(bus.AttributeTraceState) != "" {
		t.Errorf("the trace of the event was overwritten: %+v", e.Extensions)
	}
	for _, bad := range []string{"x", mine[:54], mine + "-x", "ff" + mine[2:], strings.ToUpper(mine), "00-" + strings.Repeat("0", 32) + mine[35:]} {
		if e := one(t, binary("traceparent: "+bad), ""); e.Extension(bus.AttributeTrace) != "" {
			t.Errorf("%s was taken for a trace", bad)
		}
	}
}

func TestWhatIsTooLargeIsRefused(t *testing.T) {
	refused(t, binary(), strings.Repeat("x", bus.MaxData+1), fault.CodeEventTooLarge)
	refused(t, binary(), strings.Repeat("x", cloudevents.MaxBody+1), fault.CodeEventTooLarge)
	if e := one(t, binary(), strings.Repeat("x", bus.MaxData)); len(e.Data) != bus.MaxData {
		t.Error("data of the largest size was cut")
	}
	refused(t, binary("ce-subject: "+strings.Repeat("x", bus.MaxAttribute+1)), "", fault.CodeEventInvalid)
	h := binary()
	for i := range 2 * bus.MaxAttributes {
		h.Set("ce-a"+strings.Repeat("b", i%30)+string(rune('a'+i/30)), "x")
	}
	refused(t, h, "", fault.CodeEventInvalid)
}
