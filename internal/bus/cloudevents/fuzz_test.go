package cloudevents_test

import (
	"net/http"
	"reflect"
	"testing"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/cloudevents"
)

// FuzzWhatIsDecodedSurvivesTheWay sends what was taken from a publisher on to a subscriber, in both forms.
func FuzzWhatIsDecodedSurvivesTheWay(f *testing.F) {
	f.Add("", "1", "/s", "a%20b", "2026-11-22T10:00:00Z", "x", "text/plain", []byte("x"))
	f.Add("1.0", `"q\"q"`, "urn:x:%41", "€", "2026-11-22T10:00:00.5+01:00", "1", "application/json", []byte(`{"a":1}`))
	f.Add("1.0", "", "", "", "", "", "application/cloudevents+json", []byte(structured(`"data":"x","n":5`)))
	f.Add("1.0", "", "", "", "", "", "application/cloudevents+json", []byte(structured(`"data_base64":"AP8=","b":true,"time":"2026-11-22T10:00:00Z"`)))
	f.Add("", "", "", "", "", "", "application/cloudevents-batch+json", []byte("["+structured("")+","+structured(`"data":null`)+"]"))
	f.Fuzz(func(t *testing.T, version, id, source, subject, at, key, contentType string, body []byte) {
		h := http.Header{}
		for name, value := range map[string]string{
			"Ce-Specversion": version, "Ce-Id": id, "Ce-Source": source, "Ce-Subject": subject, "Ce-Time": at, "Ce-Partitionkey": key, "Content-Type": contentType,
		} {
			if value != "" {
				h[name] = []string{value}
			}
		}
		events, err := cloudevents.Decode("order.placed", "orders", h, body, now)
		if err != nil {
			return
		}
		for _, e := range events {
			text := cloudevents.Marshal(e)
			back, err := cloudevents.Unmarshal(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			back.Topic = e.Topic
			if !reflect.DeepEqual(back, e) {
				t.Fatalf("as JSON: got  %+v\nwant %+v\nby %s", back, e, text)
			}
			delivery := http.Header{}
			cloudevents.Encode(delivery, e)
			delivered, err := cloudevents.Decode("order.placed", "orders", delivery, e.Data, now)
			if err != nil {
				t.Fatalf("%v: %v", delivery, err)
			}
			if got := delivered[0]; !reflect.DeepEqual(got, e) {
				t.Fatalf("by headers: got  %+v\nwant %+v\nby %v", got, e, delivery)
			}
		}
	})
}

func BenchmarkDecodeBinary(b *testing.B) {
	h := binary("Content-Type: application/json", "ce-time: 2026-11-22T10:00:00Z", "ce-partitionkey: 42")
	body := []byte(`{"order":42,"total":"99.90"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cloudevents.Decode("order.placed", "orders", h, body, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeStructured(b *testing.B) {
	h := headers(isStructured)
	body := []byte(structured(`"time":"2026-11-22T10:00:00Z","partitionkey":"42","data":{"order":42,"total":"99.90"}`))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cloudevents.Decode("order.placed", "orders", h, body, now); err != nil {
			b.Fatal(err)
		}
	}
}

func benchEvent() *bus.Event {
	return &bus.Event{
		ID: "0af7651916cd43dd8448eb211c80319c", Source: "/services/orders", Type: "order.placed", Time: now, DataType: "application/json",
		Extensions: []bus.Attribute{{Name: "partitionkey", Value: "42"}}, Data: []byte(`{"order":42,"total":"99.90"}`),
	}
}

func BenchmarkEncode(b *testing.B) {
	e, h := benchEvent(), http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		clear(h)
		cloudevents.Encode(h, e)
	}
}

func BenchmarkMarshal(b *testing.B) {
	e := benchEvent()
	b.ReportAllocs()
	for b.Loop() {
		cloudevents.Marshal(e)
	}
}
