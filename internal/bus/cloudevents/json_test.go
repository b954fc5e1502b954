package cloudevents_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/cloudevents"
	"github.com/atollhq/atoll/internal/fault"
)

// structured is the JSON of an event with the given members behind those that it must have.
func structured(members string) string {
	if members != "" {
		members = "," + members
	}
	return `{"specversion":"1.0","id":"1","source":"/s","type":"t"` + members + `}`
}

const isStructured, isBatch = "Content-Type: application/cloudevents+json; charset=UTF-8", "Content-Type: application/cloudevents-batch+json"

// The names of these tests begin with the section of the HTTP protocol binding or the JSON event format 1.0.2 that they hold.

func TestHTTP32StructuredModeIsToldByTheContentType(t *testing.T) {
	h := headers("Content-Type: Application/CloudEvents+JSON", "ce-id: ignored", "ce-specversion: 9", "ce-datacontenttype: x")
	e := one(t, h, structured(`"data":{"a":1}`))
	equal(t, e, &bus.Event{ID: "1", Source: "/s", Type: "t", DataType: "application/json", Data: []byte(`{"a":1}`)})
	refused(t, headers("Content-Type: application/cloudevents+json; charset=latin1"), structured(""), fault.CodeEventInvalid)
}

func TestJSON22TypesBecomeTheirCanonicalText(t *testing.T) {
	e := one(t, headers(isStructured), structured(
		`"subject":null,"time":"2018-04-05T17:31:00Z","yes":true,"no":false,"n":-7,"max":2147483647,"min":-2147483648,"s":"5","unset":null,"bin":"AAE="`))
	want := map[string]string{"yes": "true", "no": "false", "n": "-7", "max": "2147483647", "min": "-2147483648", "s": "5", "bin": "AAE="}
	for name, value := range want {
		if got := e.Extension(name); got != value {
			t.Errorf("%s: got %q, want %q", name, got, value)
		}
	}
	if len(e.Extensions) != len(want) || e.Subject != "" || !e.Time.Equal(time.Date(2018, 4, 5, 17, 31, 0, 0, time.UTC)) {
		t.Errorf("got %+v", e)
	}
	for _, member := range []string{
		`"x":1.5`, `"x":1e3`, `"x":2147483648`, `"x":-2147483649`, `"x":{}`, `"x":[1]`, `"subject":5`, `"subject":true`, `"subject":""`, `"time":5`,
		`"time":"soon"`, `"dataschema":"relative"`, `"Upper":"x"`, `"with_underscore":"x"`, `"a-b":"x"`, `"":"x"`, `"x":"a\u0000b"`, `"id":"2"`,
	} {
		refused(t, headers(isStructured), structured(member), fault.CodeEventInvalid)
	}
}

func TestJSON3TheEnvelopeIsOneObjectOfVersion1(t *testing.T) {
	for _, body := range []string{
		"", "null", "[]", `"x"`, "{", `{"specversion":"1.0"`, structured("") + "x", structured("") + structured(""), "\xff" + structured(""),
		`{"id":"1","source":"/s","type":"t"}`, `{"specversion":null,"id":"1","source":"/s","type":"t"}`, `{"specversion":1.0,"id":"1","source":"/s","type":"t"}`,
		`{"specversion":"0.3","id":"1","source":"/s","type":"t"}`, `{"specversion":"1.0","id":"","source":"/s","type":"t"}`,
		`{"specversion":"1.0","id":1,"source":"/s","type":"t"}`, `{"specversion":"1.0","source":"/s","type":"t"}`, `{"specversion":"1.0","id":null,"source":"/s","type":"t"}`,
	} {
		refused(t, headers(isStructured), body, fault.CodeEventInvalid)
		if _, err := cloudevents.Unmarshal([]byte(body)); fault.CodeOf(err) != fault.CodeEventInvalid {
			t.Errorf("Unmarshal took %s: %v", body, err)
		}
	}
}

func TestJSON312DataIsReadByItsContentType(t *testing.T) {
	for _, c := range []struct{ members, dataType, data string }{
		{`"data":{"a": [1, null]}`, "application/json", `{"a": [1, null]}`},
		{`"data":"just a string"`, "application/json", `"just a string"`},
		{`"data":"{\"not\": \"parsed\"}"`, "application/json", `"{\"not\": \"parsed\"}"`},
		{`"data":null`, "application/json", "null"},
		{`"data":5,"datacontenttype":"application/vnd.x+json; v=1"`, "application/vnd.x+json; v=1", "5"},
		{`"datacontenttype":"application/xml","data":"<much wow=\"xml\"/>"`, "application/xml", `<much wow="xml"/>`},
		{`"data":"\u20ac","datacontenttype":"text/plain; charset=\"UTF-8\""`, `text/plain; charset="UTF-8"`, "€"},
		{`"data_base64":"AP8=","datacontenttype":"application/octet-stream"`, "application/octet-stream", "\x00\xff"},
		{`"data_base64":"eyJhIjoxfQ==","datacontenttype":"application/json"`, "application/json", `{"a":1}`},
		{`"data_base64":"AP8="`, "", "\x00\xff"},
		{`"data_base64":null`, "", ""},
		{`"datacontenttype":"text/plain","data":""`, "text/plain", ""},
		{``, "", ""},
	} {
		e := one(t, headers(isStructured), structured(c.members))
		if e.DataType != c.dataType || string(e.Data) != c.data {
			t.Errorf("%s: got %q of type %q", c.members, e.Data, e.DataType)
		}
	}
	for _, members := range []string{
		`"data":1,"data_base64":"AA=="`, `"data_base64":"A"`, `"data_base64":5`, `"datacontenttype":"text/plain","data":5`,
		`"datacontenttype":"text/plain; charset=latin1","data":"x"`, `"datacontenttype":"text/plain","data":null`, `"datacontenttype":"x","data_base64":"AA=="`,
	} {
		refused(t, headers(isStructured), structured(members), fault.CodeEventInvalid)
	}
}

func TestJSON311DataIsWrittenByItsContentType(t *testing.T) {
	for _, c := range []struct{ dataType, data, want string }{
		{"application/json", `{"a":1}`, `"data":{"a":1}`},
		{"application/problem+json; charset=utf-8", `"x"`, `"data":"x"`},
		{"application/json", "broken", `"data_base64":"YnJva2Vu"`},
		{"application/json", "\"\xff\"", `"data_base64":"Iv8i"`},
		{"application/xml", "<a/>\n", `"data":"<a/>\u000A"`},
		{"text/plain", "€", `"data":"€"`},
		{"text/plain; charset=latin1", "x", `"data_base64":"eA=="`},
		{"application/octet-stream", "x", `"data_base64":"eA=="`},
		{"", `{}`, `"data_base64":"e30="`},
		{"application/json", "", ""},
	} {
		text := string(cloudevents.Marshal(&bus.Event{ID: "1", Source: "/s", Type: "t", DataType: c.dataType, Data: []byte(c.data)}))
		if !strings.HasSuffix(strings.TrimSuffix(text, "}"), c.want) || c.want == "" && strings.Contains(text, `"data`+`"`) || !json.Valid([]byte(text)) {
			t.Errorf("%s of type %q: got %s", c.data, c.dataType, text)
		}
	}
}

func TestJSON2EveryAttributeIsAMember(t *testing.T) {
	e := &bus.Event{
		Topic: "none of it", ID: "1", Source: "/s", Type: "t", Subject: "a \"b\" \\ <c> €", Time: now.Add(time.Nanosecond), DataType: "text/plain",
		DataSchema: "urn:x", Extensions: []bus.Attribute{{Name: bus.AttributeOnly, Value: "orders"}, {Name: "key", Value: "7"}}, Data: []byte("x"),
	}
	text := cloudevents.Marshal(e)
	want := `{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"a \"b\" \\ <c> €","time":"2026-11-22T10:00:00.000000001Z",` +
		`"datacontenttype":"text/plain","dataschema":"urn:x","atollonly":"orders","key":"7","data":"x"}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	got, err := cloudevents.Unmarshal(text)
	if err != nil {
		t.Fatal(err)
	}
	e.Topic = ""
	equal(t, got, e)
}

func TestHTTP33ABatchIsTakenAsAWhole(t *testing.T) {
	decode := func(body string) ([]*bus.Event, error) {
		return cloudevents.Decode("order.placed", "orders", headers(isBatch, "Atoll-Deliver-At: 2026-11-22T11:00:00Z"), []byte(body), now)
	}
	events, err := decode("[" + structured(`"data":1`) + ",\n" + strings.Replace(structured(""), `"id":"1"`, `"id":"2"`, 1) + "]")
	if err != nil || len(events) != 2 || events[0].ID != "1" || events[1].ID != "2" {
		t.Fatalf("got %+v, %v", events, err)
	}
	for _, e := range events {
		if e.Topic != "order.placed" || e.Extension(bus.AttributeDeliverAt) == "" {
			t.Errorf("got %+v", e)
		}
	}
	if events, err := decode(" [ ] "); err != nil || len(events) != 0 {
		t.Errorf("an empty batch: %v, %v", events, err)
	}
	for _, body := range []string{
		"", "{}", structured(""), "[", "[" + structured(""), "[" + structured("") + ",]", "[" + structured("") + "]]", "[null]", "[1]",
		"[" + structured("") + `,{"specversion":"0.3","id":"2","source":"/s","type":"t"}]`, "\xff[]",
	} {
		if _, err := decode(body); fault.CodeOf(err) != fault.CodeEventInvalid {
			t.Errorf("%s: got %v", body, err)
		}
	}
	for body, want := range map[string]string{
		structured(`"source":"a b"`):                               "event 1 (id 1): ", // what is wrong before it is an event
		`{"specversion":"1.0","id":"2","source":"a b","type":"t"}`: "event 1 (id 2): ",
		`{"source":7}`: "event 1: ",
	} {
		_, err := decode("[" + structured("") + "," + body + "]")
		if f, ok := errors.AsType[*fault.Error](err); !ok || !strings.HasPrefix(f.Text, want) {
			t.Errorf("the fault of %s does not begin with %q: %v", body, want, err)
		}
	}
	many := strings.Repeat(structured("")+",", cloudevents.MaxBatch)
	if events, err := decode("[" + strings.TrimSuffix(many, ",") + "]"); err != nil || len(events) != cloudevents.MaxBatch {
		t.Errorf("the largest batch: %d events, %v", len(events), err)
	}
	if _, err := decode("[" + many + structured("") + "]"); fault.CodeOf(err) != fault.CodeEventTooLarge {
		t.Errorf("a batch of one too many: %v", err)
	}
}

func ExampleMarshal() {
	fmt.Println(string(cloudevents.Marshal(&bus.Event{
		ID: "1", Source: "/services/orders", Type: "order.placed", DataType: "application/json", Data: []byte(`{"order":7}`),
	})))
	// Output: {"specversion":"1.0","id":"1","source":"/services/orders","type":"order.placed","datacontenttype":"application/json","data":{"order":7}}
}
