package otlp_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

// post sends a request, given as lines of headers, and returns the status, the headers and the body.
func post(t *testing.T, url string, body []byte, headers ...string) (int, http.Header, []byte) {
	t.Helper()
	return send(t, http.MethodPost, url, body, headers...)
}

func send(t *testing.T, method, url string, body []byte, headers ...string) (int, http.Header, []byte) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		q.Header.Set(k, v)
	}
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, out
}

func jsonOf(t *testing.T, s otlp.Signal, request []byte) []byte {
	t.Helper()
	var e otlp.JSONEncoder
	b, err := e.Append(nil, s, request)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	binaryType = "Content-Type: application/x-protobuf"
	jsonType   = "Content-Type: application/json; charset=utf-8"
)

func TestHTTPTakesEveryFormAndEncoding(t *testing.T) {
	spans := someSpans(20)
	request := otlp.AppendTraces(nil, spans)
	want := clone(&telemetry.Batch{Spans: spans}).Spans
	js := jsonOf(t, otlp.Traces, request)
	for name, c := range map[string]struct {
		body    []byte
		headers []string
	}{
		"protobuf":      {request, []string{binaryType}},
		"protobuf gzip": {gzipped(request), []string{binaryType, "Content-Encoding: gzip"}},
		"protobuf zstd": {zstded(request), []string{binaryType, "Content-Encoding: zstd"}},
		"json":          {js, []string{jsonType}},
		"json gzip":     {gzipped(js), []string{jsonType, "Content-Encoding: gzip"}},
		"from loopback": {request, []string{binaryType, "Origin: http://localhost:3000", "Content-Encoding: identity"}},
	} {
		t.Run(name, func(t *testing.T) {
			var k kept
			addr := serve(t, otlp.NewReceiver(k.take, nil).RunHTTP)
			code, h, body := post(t, "http://"+addr+"/v1/traces", c.body, c.headers...)
			if code != http.StatusOK {
				t.Fatalf("answered %d %s", code, body)
			}
			if isJSON := h.Get("Content-Type") == "application/json"; isJSON != strings.HasPrefix(name, "json") {
				t.Errorf("answered in %s", h.Get("Content-Type"))
			}
			if !reflect.DeepEqual(k.spans, want) {
				t.Errorf("took %+v", k.spans)
			}
		})
	}
}

func TestHTTPRefusesWithAStatusThatHelps(t *testing.T) {
	request := otlp.AppendTraces(nil, someSpans(1))
	bomb := bytes.Repeat([]byte{0}, 2<<20)
	for name, c := range map[string]struct {
		method, path string
		body         []byte
		headers      []string
		code         int
		text         string
	}{
		"get":           {"GET", "/v1/traces", nil, nil, 405, "POST"},
		"path":          {"POST", "/v1/spans", nil, nil, 404, "/v1/traces"},
		"no type":       {"POST", "/v1/traces", request, nil, 415, "application/json"},
		"text":          {"POST", "/v1/logs", request, []string{"Content-Type: text/plain"}, 415, "application/json"},
		"encoding":      {"POST", "/v1/traces", request, []string{binaryType, "Content-Encoding: br"}, 415, "zstd"},
		"not gzip":      {"POST", "/v1/traces", request, []string{binaryType, "Content-Encoding: gzip"}, 400, "not gzip"},
		"not zstd":      {"POST", "/v1/traces", request, []string{binaryType, "Content-Encoding: zstd"}, 400, "not zstd"},
		"truncated":     {"POST", "/v1/traces", request[:len(request)-3], []string{binaryType}, 400, "truncated"},
		"json":          {"POST", "/v1/traces", []byte(`{"resourceSpans":[{"scopeSpans":3}]}`), []string{jsonType}, 400, "resourceSpans.scopeSpans"},
		"other page":    {"POST", "/v1/traces", request, []string{binaryType, "Origin: https://example.com"}, 403, "pages"},
		"null page":     {"POST", "/v1/traces", request, []string{binaryType, "Origin: null"}, 403, "pages"},
		"large":         {"POST", "/v1/traces", bomb, []string{binaryType}, 413, "1 MiB"},
		"bomb":          {"POST", "/v1/traces", gzipped(bomb), []string{binaryType, "Content-Encoding: gzip"}, 413, "1 MiB"},
		"bomb of zstd":  {"POST", "/v1/traces", zstded(bomb), []string{binaryType, "Content-Encoding: zstd"}, 413, "larger"},
		"many elements": {"POST", "/v1/metrics", manyPoints(400_000), []string{binaryType}, 413, "send it in several"},
	} {
		t.Run(name, func(t *testing.T) {
			var k kept
			r := otlp.NewReceiver(k.take, &otlp.ReceiverOptions{Limits: otlp.Limits{Request: 1 << 20}})
			addr := serve(t, r.RunHTTP)
			code, h, body := send(t, c.method, "http://"+addr+c.path, c.body, c.headers...)
			if code != c.code {
				t.Fatalf("answered %d %s", code, body)
			}
			if got := message(t, h, body); !strings.Contains(got, c.text) {
				t.Errorf("said %q", got)
			}
			if n := r.Stats().InFlight; n != 0 {
				t.Errorf("%d bytes are still in flight", n)
			}
		})
	}
}

// manyPoints is a request with a gauge of n empty points, two bytes each.
func manyPoints(n int) []byte {
	nest := func(field byte, b []byte) []byte {
		length := len(b)
		return append([]byte{field<<3 | 2, byte(length) | 0x80, byte(length>>7) | 0x80, byte(length >> 14)}, b...)
	}
	points := bytes.Repeat([]byte{1<<3 | 2, 0}, n)
	metric := append([]byte{1<<3 | 2, 1, 'm'}, nest(5, points)...)
	return nest(1, nest(2, nest(2, metric)))
}

// message is the text of an answer's google.rpc.Status.
func message(t *testing.T, h http.Header, body []byte) string {
	t.Helper()
	var s spb.Status
	if h.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(body, &s); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		return s.GetMessage()
	}
	if err := proto.Unmarshal(body, &s); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return s.GetMessage()
}

func TestHTTPAcknowledgesNothingThatWasNotTaken(t *testing.T) {
	request := otlp.AppendTraces(nil, someSpans(1))
	var k kept
	r := otlp.NewReceiver(k.take, nil)
	url := "http://" + serve(t, r.RunHTTP) + "/v1/traces"
	k.refuse(&telemetry.Busy{After: 2500 * time.Millisecond})
	if code, h, _ := post(t, url, request, binaryType); code != 503 || h.Get("Retry-After") != "3" {
		t.Errorf("busy: answered %d, Retry-After %q", code, h.Get("Retry-After"))
	}
	k.refuse(errors.New("the disk /var/x is broken"))
	code, h, body := post(t, url, request, binaryType)
	if code != 500 || strings.Contains(message(t, h, body), "/var") {
		t.Errorf("broken: answered %d %q", code, body)
	}
	if s := r.Stats().Traces; s.Busy != 1 || s.Failed != 1 || s.Taken != 0 {
		t.Errorf("counted %+v", s)
	}
}

func TestHTTPTellsWhatItRejectedOfARequest(t *testing.T) {
	spans := someSpans(3)
	spans[1].SpanID = telemetry.SpanID{}
	request := otlp.AppendTraces(nil, spans)
	var k kept
	url := "http://" + serve(t, otlp.NewReceiver(k.take, nil).RunHTTP) + "/v1/traces"
	code, _, body := post(t, url, jsonOf(t, otlp.Traces, request), jsonType)
	var got struct {
		PartialSuccess struct {
			RejectedSpans string
			ErrorMessage  string
		}
	}
	if err := json.Unmarshal(body, &got); err != nil || code != 200 {
		t.Fatalf("%d %s: %v", code, body, err)
	}
	if p := got.PartialSuccess; p.RejectedSpans != "1" || !strings.Contains(p.ErrorMessage, "span id") || len(k.spans) != 2 {
		t.Errorf("said %+v, kept %d", p, len(k.spans))
	}
}
