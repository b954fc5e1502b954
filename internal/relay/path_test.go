package relay_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/relay/relaytest"
)

func TestPathsThatTwoProgramsReadDifferentlyAreRefused(t *testing.T) {
	for _, raw := range []string{
		"", "a", "*", "//", "/a//b", "//a", "/a//", "/.", "/..", "/a/./b", "/a/../b", "/%2e", "/%2E%2e/x", "/a/.%2e", "/a%2Fb",
		"/a%2fb", `/a\b`, "/a%5Cb", "/a%5cb", "/%00", "/a\x00", "/%0a", "/a\x7f", "/%7F", "/a;b=c", "/..;/x", "/%", "/%2", "/%zz", "/a%2",
	} {
		if p, err := relay.CleanPath(raw); fault.CodeOf(err) != fault.CodePathRefused {
			t.Errorf("%q passes as %+v", raw, p)
		}
	}
}

func TestPathsAreWrittenInOneWay(t *testing.T) {
	for raw, want := range map[string]relay.Path{
		"/":               {Decoded: "/", Escaped: "/"},
		"/a/b.c/":         {Decoded: "/a/b.c/", Escaped: "/a/b.c/"},
		"/%61%2Db":        {Decoded: "/a-b", Escaped: "/a-b"},
		"/%40/@/%3a":      {Decoded: "/@/@/:", Escaped: "/%40/@/%3A"},
		"/caf%c3%a9/café": {Decoded: "/café/café", Escaped: "/caf%C3%A9/caf%C3%A9"},
		"/a%3Bb":          {Decoded: "/a;b", Escaped: "/a%3Bb"},
		"/a%25%3F%23":     {Decoded: "/a%?#", Escaped: "/a%25%3F%23"},
		"/...":            {Decoded: "/...", Escaped: "/..."},
		`/"<>`:            {Decoded: `/"<>`, Escaped: "/%22%3C%3E"},
	} {
		if got, err := relay.CleanPath(raw); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", raw, got, err, want)
		}
	}
}

// What matters of a path: cleaning it again changes nothing, and what a service decodes is what was matched.
func FuzzCleanPath(f *testing.F) {
	for _, s := range []string{"/", "/a/%2e%2e/b", "/%61", "/a%2Fb", "/é/%C3%A9", "/a;b", `/\`, "/%25%32%66", "//", "/a/*/**"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := relay.CleanPath(raw)
		if err != nil {
			return
		}
		if again, err := relay.CleanPath(p.Escaped); err != nil || again != p {
			t.Fatalf("%q: %+v, again %+v, %v", raw, p, again, err)
		}
		if decoded, err := url.PathUnescape(p.Escaped); err != nil || decoded != p.Decoded {
			t.Fatalf("%q: a service decodes %q, matched was %q", raw, decoded, p.Decoded)
		}
		if u, err := url.ParseRequestURI(p.Escaped); err != nil || u.Path != p.Decoded || u.RawQuery != "" {
			t.Fatalf("%q: net/url reads %v, %v", raw, u, err)
		}
		for s := range strings.SplitSeq(p.Decoded[1:], "/") {
			if s == "." || s == ".." {
				t.Fatalf("%q holds a dot segment", raw)
			}
		}
		if strings.Count(p.Decoded, "/") != strings.Count(p.Escaped, "/") || strings.ContainsAny(p.Decoded, "\\\x00") {
			t.Fatalf("%q: %+v", raw, p)
		}
	})
}

func TestReservedFieldsAreKnownInEverySpelling(t *testing.T) {
	for name, want := range map[string]bool{
		"Atoll-Caller": true, "atoll_caller": true, "ATOLL_Subject": true, "aToLl-x": true, " Atoll-Caller": true,
		"Atoll": false, "Atolls-Caller": false, "X-Atoll-Caller": false, "": false,
	} {
		if got := relay.Reserved(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestATraceIsContinuedOnlyFromAValidParent(t *testing.T) {
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for value, want := range map[string]bool{
		"00-" + id + "-" + parent + "-01":                      true,
		"00-" + id + "-" + parent + "-00":                      true,
		"01-" + id + "-" + parent + "-01-more":                 true,
		"00-" + id + "-" + parent + "-01-more":                 false,
		"01-" + id + "-" + parent + "-01more":                  false,
		"ff-" + id + "-" + parent + "-01":                      false,
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01": false,
		"00-" + id + "-" + strings.Repeat("0", 16) + "-01":     false,
		"00-" + strings.ToUpper(id) + "-" + parent + "-01":     false,
		"00-" + id[:31] + "g-" + parent + "-01":                false,
		"00-" + id + "-" + parent:                              false,
		"00-" + id + "-" + parent + "-0":                       false,
		"00_" + id + "_" + parent + "_01":                      false,
		"":                                                     false,
	} {
		h := relaytest.Header{"Traceparent": {value}, "Tracestate": {"a=1"}}
		trace := relay.ContinueTrace(h)
		continued := trace.ID.String() == id && trace.Parent.String() == parent
		if continued != want || trace.Span == (relay.SpanID{}) || trace.ID == (relay.TraceID{}) {
			t.Errorf("%q: %+v", value, trace)
		}
		if kept := h.Get("Tracestate") != ""; kept != want {
			t.Errorf("%q: tracestate kept %v", value, kept)
		}
	}
	twice := relaytest.Header{"Traceparent": {"00-" + id + "-" + parent + "-01", "00-" + id + "-" + parent + "-01"}}
	if relay.ContinueTrace(twice).ID.String() == id {
		t.Error("one of two traceparents was believed")
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x")
	f.Add("00-00000000000000000000000000000000-00f067aa0ba902b7-01")
	f.Fuzz(func(t *testing.T, s string) {
		id, parent, flags, ok := relay.ParseTraceparent(s)
		if !ok {
			return
		}
		again := relay.Trace{ID: id, Span: parent, Flags: flags}.Traceparent()
		if again[3:53] != s[3:53] {
			t.Fatalf("%q became %q", s, again)
		}
		if _, _, _, ok := relay.ParseTraceparent(again); !ok {
			t.Fatalf("%q is not read again", again)
		}
	})
}
