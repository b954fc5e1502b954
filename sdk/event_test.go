package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/sdk"
)

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func publisher(t *testing.T, h http.Handler) *sdk.Publisher {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	p, err := sdk.NewPublisher(&sdk.PublisherOptions{Getenv: func(name string) string {
		return map[string]string{"EVENTS_URL": srv.URL + "/", "ATOLL_SERVICE": "orders"}[name]
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestAServiceThatMayNotPublishIsToldTheLineToAdd(t *testing.T) {
	_, err := sdk.NewPublisher(&sdk.PublisherOptions{Getenv: func(string) string { return "" }})
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != sdk.CodeNoEvents || !strings.Contains(f.Remedy, "publishes") {
		t.Errorf("got %v", err)
	}
}

func TestAnEventArrivesAsItWasPublished(t *testing.T) {
	var got sdk.Event
	var path, delay string
	deliver := sdk.OnEvent(func(_ context.Context, e sdk.Event) error {
		got = e
		return nil
	})
	p := publisher(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, delay = r.URL.Path, r.Header.Get(sdk.HeaderDeliverAt)
		deliver.ServeHTTP(w, r)
	}))
	at := time.Date(2026, 11, 23, 1, 2, 3, 456789000, time.UTC)
	want := sdk.Event{
		ID: `7 "seven" 100% ü €`, Source: "/shop", Type: "com.example.placed", Subject: "o-7", Time: at, DataType: "image/png",
		DataSchema: "https://example.com/s", Data: []byte{0, 255, 10}, Key: "k", Extensions: map[string]string{"traceparent": trace, "n": "1"},
	}
	sent := want
	sent.DeliverAt = at
	if err := p.Publish(t.Context(), "order.placed", sent); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if path != "/order.placed" || delay != "2026-11-23T01:02:03.456789Z" {
		t.Errorf("posted to %s with delay %q", path, delay)
	}
}

func TestWhatAnEventLacksIsFilledIn(t *testing.T) {
	var got sdk.Event
	p := publisher(t, sdk.OnEvent(func(_ context.Context, e sdk.Event) error {
		got = e
		return nil
	}))
	e, err := sdk.NewEvent("order.placed", map[string]int{"order": 7})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(sdk.WithTrace(t.Context(), trace), "order.placed", e); err != nil {
		t.Fatal(err)
	}
	if got.ID != e.ID || len(e.ID) != 32 || got.Source != "/services/orders" || got.Type != "order.placed" ||
		got.DataType != "application/json" || got.Extensions["traceparent"] != trace || time.Since(got.Time) > time.Minute {
		t.Errorf("got %+v", got)
	}
	var data struct{ Order int }
	if err := got.Decode(&data); err != nil || data.Order != 7 {
		t.Errorf("got %+v, %v", data, err)
	}
}

func TestSeveralEventsAreOneBatch(t *testing.T) {
	var batch []map[string]any
	p := publisher(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ct := r.Header.Get("Content-Type"); ct != "application/cloudevents-batch+json" {
			t.Errorf("it is a %s", ct)
		}
		if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	err := p.Publish(t.Context(), "t",
		sdk.Event{ID: "1", Data: []byte(`{"a":1}`), Key: "k"},
		sdk.Event{ID: "2", Data: []byte("text"), DataType: "text/plain"},
		sdk.Event{ID: "3", Data: []byte{0, 255}, DataType: "image/png"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range batch {
		got = append(got, fmt.Sprint(e["id"], e["specversion"], e["type"], e["partitionkey"], e["data"], e["data_base64"]))
	}
	want := []string{"1 1.0 t k map[a:1] <nil>", "2 1.0 t <nil> text <nil>", "3 1.0 t <nil> <nil> AP8="}
	for i := range want {
		if strings.ReplaceAll(got[i], " ", "") != strings.ReplaceAll(want[i], " ", "") {
			t.Errorf("got %s, want %s", got[i], want[i])
		}
	}
}

func TestABatchOfSeveralTimesIsRefusedRatherThanDeliveredAtTheWrongOne(t *testing.T) {
	p := publisher(t, http.NotFoundHandler())
	if err := p.Publish(t.Context(), "t", sdk.Event{}, sdk.Event{DeliverAt: time.Now()}); err == nil {
		t.Error("it was taken")
	}
}

func TestABusyBusIsAskedAgainWithTheSameID(t *testing.T) {
	var ids []string
	p := publisher(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		ids = append(ids, r.Header.Get("Ce-Id")+string(body))
		switch len(ids) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.WriteHeader(http.StatusTooManyRequests)
		case 3:
			panic(http.ErrAbortHandler) // the answer is lost
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	if err := p.Publish(t.Context(), "t", sdk.Event{Data: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if len(ids) != 4 || ids[0] != ids[1] || ids[0] != ids[2] || ids[0] != ids[3] || len(ids[0]) < 32 {
		t.Errorf("got %q", ids)
	}
}

func TestARefusalIsAProblemAndNotRepeated(t *testing.T) {
	var calls atomic.Int32
	p := publisher(t, sdk.Handler(func(http.ResponseWriter, *http.Request) error {
		calls.Add(1)
		return sdk.Error(http.StatusForbidden, "topic-undeclared", "Not yours.")
	}))
	err := p.Publish(t.Context(), "t", sdk.Event{})
	problem, ok := errors.AsType[*sdk.Problem](err)
	if !ok || problem.Code != "topic-undeclared" || calls.Load() != 1 {
		t.Errorf("got %v after %d calls", err, calls.Load())
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := publisher(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
		cancel()
	}))
	if err := p.Publish(ctx, "t", sdk.Event{}); err == nil {
		t.Error("it was taken")
	}
}

// deliver posts to a handler of events and returns the answer.
func deliver(t *testing.T, header http.Header, body string, handle func(context.Context, sdk.Event) error) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/events/x", bytes.NewBufferString(body))
	r.Header = header
	w := httptest.NewRecorder()
	sdk.OnEvent(handle).ServeHTTP(w, r)
	return w.Result()
}

func binaryHeader() http.Header {
	return http.Header{
		"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}, "Content-Type": {"application/json"},
	}
}

func TestTheAnswerTellsTheBusWhatToDoWithTheEvent(t *testing.T) {
	callee := sdk.Error(http.StatusUnprocessableEntity, "no", "The callee refuses.")
	busy := sdk.Error(http.StatusServiceUnavailable, "busy", "Later.")
	busy.RetryAfter = 7 * time.Second
	for name, test := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"done":                                {nil, 204, ""},
		"never again":                         {sdk.Reject(errors.New("no such order")), 422, "event-rejected"},
		"never again, wrapped":                {fmt.Errorf("x: %w", sdk.Reject(errors.New("no such order"))), 422, "event-rejected"},
		"again":                               {errors.New("secret"), 500, "internal"},
		"again, whatever a callee refused":    {fmt.Errorf("call: %w", callee), 500, "internal"},
		"again, when the callee wants it to":  {fmt.Errorf("call: %w", busy), 500, "internal"},
		"never, although a callee was at it":  {sdk.Reject(callee), 422, "event-rejected"},
		"again, since the context has ended ": {context.Canceled, 500, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := deliver(t, binaryHeader(), "{}", func(context.Context, sdk.Event) error { return test.err })
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != test.status || !strings.Contains(string(body), test.code) || strings.Contains(string(body), "secret") {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			if after := resp.Header.Get("Retry-After"); (after == "7") != errors.Is(test.err, busy) {
				t.Errorf("Retry-After is %q", after)
			}
		})
	}
}

func TestAStructuredEventIsRead(t *testing.T) {
	for name, test := range map[string]struct{ data, dataType, want string }{
		"JSON":                    {`"data": {"a": [1, 2]}`, `"application/json"`, `{"a": [1, 2]}`},
		"JSON text":               {`"data": "x"`, `"application/json"`, `"x"`},
		"JSON without a type":     {`"data": "x"`, `null`, `"x"`},
		"JSON of another kind":    {`"data": {}`, `"application/geo+json; charset=utf-8"`, `{}`},
		"text":                    {`"data": "x\n"`, `"text/plain"`, "x\n"},
		"bytes":                   {`"data_base64": "AP8="`, `"image/png"`, "\x00\xff"},
		"none":                    {`"subject": "s"`, `"text/plain"`, ""},
		"text in a type of bytes": {`"data": {"a": 1}`, `"image/png"`, `{"a": 1}`},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "partitionkey": "k", "count": 7, "yes": true, "none": null,
				"time": "2026-11-23T01:02:03Z", "datacontenttype": ` + test.dataType + `, ` + test.data + `}`
			resp := deliver(t, http.Header{"Content-Type": {"application/cloudevents+json; charset=utf-8"}}, body, func(_ context.Context, e sdk.Event) error {
				if string(e.Data) != test.want || e.ID != "1" || e.Key != "k" || e.Extensions["count"] != "7" || e.Extensions["yes"] != "true" || len(e.Extensions) != 2 || e.Time.Hour() != 1 {
					t.Errorf("got %+v with data %q", e, e.Data)
				}
				return nil
			})
			resp.Body.Close()
			if resp.StatusCode != http.StatusNoContent {
				t.Errorf("got %s", resp.Status)
			}
		})
	}
}

func TestWhatIsNoEventIsRefusedForGood(t *testing.T) {
	structured := http.Header{"Content-Type": {"application/cloudevents+json"}}
	without := func(name string) http.Header { h := binaryHeader(); h.Del(name); return h }
	with := func(name, value string) http.Header { h := binaryHeader(); h.Set(name, value); return h }
	for name, test := range map[string]struct {
		header http.Header
		body   string
	}{
		"no version":             {without("Ce-Specversion"), ""},
		"another version":        {with("Ce-Specversion", "0.3"), ""},
		"no id":                  {without("Ce-Id"), ""},
		"no source":              {without("Ce-Source"), ""},
		"bad time":               {with("Ce-Time", "noon"), ""},
		"not JSON":               {structured, "<"},
		"structured, no version": {structured, `{"id": "1", "source": "/s", "type": "t"}`},
		"structured, no id":      {structured, `{"specversion": "1.0", "source": "/s", "type": "t"}`},
		"structured attribute":   {structured, `{"specversion": "1.0", "id": {}, "source": "/s", "type": "t"}`},
		"structured base64":      {structured, `{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data_base64": "?"}`},
		"batch":                  {http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := deliver(t, test.header, test.body, func(context.Context, sdk.Event) error {
				t.Error("it was handled")
				return nil
			})
			resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("got %s", resp.Status)
			}
		})
	}
}

func TestTheHeadersOfABinaryDeliveryNameTheEventWhateverItsDataSay(t *testing.T) {
	forged := `{"specversion": "1.0", "id": "forged", "source": "/services/bank", "type": "paid", "data": {}}`
	for _, media := range []string{"application/cloudevents+json", "application/cloudevents-batch+json"} {
		h := binaryHeader()
		h.Set("Content-Type", media)
		var got sdk.Event
		deliver(t, h, forged, func(_ context.Context, e sdk.Event) error {
			got = e
			return nil
		}).Body.Close()
		if got.ID != h.Get("Ce-Id") || got.Source != h.Get("Ce-Source") || string(got.Data) != forged {
			t.Errorf("%s: the data were taken for the event: %+v", media, got)
		}
	}
}

func TestNoEventIsSentWhoseDataPassForAnEvent(t *testing.T) {
	p := publisher(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }))
	bad := sdk.Event{Data: []byte("{}"), DataType: "Application/CloudEvents+json"}
	for _, events := range [][]sdk.Event{{bad}, {{Data: []byte("{}")}, bad}} {
		if err := p.Publish(t.Context(), "order.placed", events...); err == nil || !strings.Contains(err.Error(), "whole event") {
			t.Errorf("%d events: got %v", len(events), err)
		}
	}
	outbox, err := sdk.NewOutbox(&sdk.TableOptions{Dialect: sdk.SQLite})
	if err != nil {
		t.Fatal(err)
	}
	bad.Topic = "order.placed"
	if err := outbox.Add(t.Context(), nil, bad); err == nil || !strings.Contains(err.Error(), "whole event") {
		t.Errorf("outbox: got %v", err)
	}
}

func TestARejectionWithoutAReasonStillHasAText(t *testing.T) {
	resp := deliver(t, binaryHeader(), "", func(context.Context, sdk.Event) error { return sdk.Reject(nil) })
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusUnprocessableEntity || strings.Contains(string(text), "nil") {
		t.Errorf("got %s %s", resp.Status, text)
	}
}

func TestTheTraceOfAnEventGoesOn(t *testing.T) {
	const other = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01"
	for name, test := range map[string]struct{ header, extension, want string }{
		"of the delivery":               {other, trace, other},
		"of the event if there is none": {"", trace, trace},
		"none":                          {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := binaryHeader()
			if test.header != "" {
				h.Set(sdk.HeaderTrace, test.header)
			}
			if test.extension != "" {
				h.Set("Ce-Traceparent", test.extension)
			}
			resp := deliver(t, h, "{}", func(ctx context.Context, _ sdk.Event) error {
				if got := sdk.Traceparent(ctx); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
				return nil
			})
			resp.Body.Close()
		})
	}
}
