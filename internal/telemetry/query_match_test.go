package telemetry_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/telemetry"
)

func orders() *telemetry.Resource {
	return &telemetry.Resource{
		Service: "orders", Replica: "orders-1",
		Attrs: []telemetry.Attr{{Key: "region", Value: telemetry.String("north")}, {Key: "zone", Value: telemetry.String("z")}},
	}
}

func rows() []telemetry.Row {
	return []telemetry.Row{
		{Span: &telemetry.Span{
			Resource: orders(), Scope: &telemetry.Scope{Name: "lib"}, TraceID: telemetry.TraceID{1}, SpanID: telemetry.SpanID{2}, Name: "GET /orders",
			Kind: telemetry.KindServer, Start: 5e9, Duration: 3e8, Status: telemetry.StatusError, StatusText: "Connection refused",
			Attrs: []telemetry.Attr{
				{Key: "http.response.status_code", Value: telemetry.Int(503)},
				{Key: "region", Value: telemetry.String("south")},
				{Key: "zone"},
				{Key: "code", Value: telemetry.String("500")},
				{Key: "flag", Value: telemetry.Bool(true)},
				{Key: "list", Value: telemetry.JSON("[1]")},
			},
			Events: []telemetry.SpanEvent{{Name: "exception", Attrs: []telemetry.Attr{{Key: "exception.type", Value: telemetry.String("Timeout")}}}},
		}},
		{Record: &telemetry.Record{
			Resource: orders(), Time: 6e9, Severity: 14, Body: telemetry.String("took a lead"), TraceID: telemetry.TraceID{1},
			Attrs: []telemetry.Attr{{Key: "duration", Value: telemetry.Float(1.5)}, {Key: "n", Value: telemetry.Float(math.NaN())}},
		}},
		{Record: &telemetry.Record{Time: 7e9, Name: "replica.started"}},
	}
}

func TestEachComparisonChoosesTheRowsItSays(t *testing.T) {
	for text, want := range map[string]string{ // a letter for each row that is chosen
		"": "abc", "service=orders": "ab", "service!=orders": "c", "not service=orders": "c", "service<p": "ab",
		"replica=orders-1": "ab", "scope=lib": "a", "name=replica.started": "c", "has name": "ac", "has parent": "",
		"trace=01000000000000000000000000000000": "ab", "span=0200000000000000": "a", "time<1970-01-01T00:00:06Z": "a",
		"http.response.status_code>=500": "a", "http.response.status_code<503": "", "http.response.status_code<=503": "a", "http.response.status_code>503": "", `http.response.status_code="503"`: "a",
		"code=500": "a", "code>400": "", "code!=500": "bc", "flag=true": "a", `flag="true"`: "a", "flag>true": "", `list="[1]"`: "a",
		"region=south": "a", "region=north": "b", "zone=z": "ab", "n=0": "", "n!=0": "abc", "n>=0": "",
		`name ~ "^GET"`: "a", `name !~ "^GET"`: "bc", "~ lead": "b", "~ Timeout": "a", `"connection REFUSED"`: "a", "refuse": "",
		"exception.type=Timeout": "", "timeout": "a", `"exception.type=timeout"`: "a", "exception": "a", `"a lead"`: "b", "a or lead": "b",
		"service=orders and not lead": "a", "lead or code=500": "ab", "has zone": "ab",
	} {
		got := ""
		for i, r := range rows() {
			signal := telemetry.Spans
			if r.Record != nil {
				signal = telemetry.Logs
			}
			q, err := telemetry.ParseQuery(text, signal)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if q.Match(r) {
				got += string(rune('a' + i))
			}
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]bool{"level=warn": true, "level>=error": false, "level<error": true, "text=x": false, "duration=1.5": true} {
		q, err := telemetry.ParseQuery(text, telemetry.Logs)
		if err != nil {
			t.Fatal(err)
		}
		if q.Match(rows()[1]) != want {
			t.Errorf("%s: got %t", text, !want)
		}
	}
}

// naive reads a query's boolean part by the truth of its leaves alone.
func naive(e telemetry.Expr, leaf func(telemetry.Expr) bool) bool {
	switch e := e.(type) {
	case *telemetry.And:
		x, y := naive(e.X, leaf), naive(e.Y, leaf)
		return x == y && x
	case *telemetry.Or:
		x, y := naive(e.X, leaf), naive(e.Y, leaf)
		return x != y || x
	case *telemetry.Not:
		return !naive(e.X, leaf)
	}
	return leaf(e)
}

func TestMatchAgreesWithTheTruthTableOfItsLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := rapid.SampledFrom(rows()).Draw(t, "row")
		signal := telemetry.Spans
		if row.Record != nil {
			signal = telemetry.Logs
		}
		e := genExpr(signal, 5).Draw(t, "expr")
		want := naive(e, func(leaf telemetry.Expr) bool { return (&telemetry.Query{Where: leaf}).Match(row) })
		if got := (&telemetry.Query{Where: e}).Match(row); got != want {
			t.Fatalf("%s: got %t", dumpExpr(e), got)
		}
	})
}

func TestUnequalIsNotEqualForAllValues(t *testing.T) {
	values := []telemetry.Value{
		{},
		telemetry.String(""), telemetry.String("1"), telemetry.String("1.5"), telemetry.Int(1), telemetry.Float(1), telemetry.Float(1.5), telemetry.Float(math.NaN()),
		telemetry.Bool(true), telemetry.Bool(false), telemetry.JSON("1"), telemetry.String("NaN"), telemetry.String("true"),
	}
	for _, a := range values {
		for _, b := range values {
			eq := telemetry.CompareValues("=", a, b)
			if telemetry.CompareValues("!=", a, b) == eq {
				t.Errorf("%v %v: both or neither", a, b)
			}
			if eq != telemetry.CompareValues("=", b, a) {
				t.Errorf("%v %v: equality has a side", a, b)
			}
			if telemetry.CompareValues("<", a, b) && telemetry.CompareValues(">=", a, b) {
				t.Errorf("%v %v: both less and not", a, b)
			}
		}
	}
}

// slowPhrase is MatchPhrase as its comment says it.
func slowPhrase(text, phrase string) bool {
	fold := func(s string) string {
		return strings.Map(func(r rune) rune { return r }, string(bytes.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' {
				return r + 32
			}
			return r
		}, []byte(s))))
	}
	isWord := func(c byte) bool {
		return c == '_' || c >= 0x80 || strings.IndexByte("abcdefghijklmnopqrstuvwxyz0123456789", c) >= 0
	}
	text, phrase = fold(text), fold(phrase)
	for i := 0; i+len(phrase) <= len(text); i++ {
		end := i + len(phrase)
		if text[i:end] == phrase && (i == 0 || !isWord(phrase[0]) || !isWord(text[i-1])) &&
			(end == len(text) || !isWord(phrase[len(phrase)-1]) || !isWord(text[end])) {
			return true
		}
	}
	return false
}

func TestAPhraseIsFoundExactlyWhereItsWordsStandWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		phrase := rapid.StringMatching(`[abzAZ 0_/é.-]{1,4}`).Draw(t, "phrase")
		text := rapid.StringMatching(`[abzAZ 0_/é.-]{0,24}`).Draw(t, "text")
		want := slowPhrase(text, phrase)
		if telemetry.MatchPhrase(text, phrase) != want || telemetry.MatchPhrase([]byte(text), phrase) != want {
			t.Fatalf("%q in %q: want %t", phrase, text, want)
		}
		if !want {
			return
		}
		var words []string
		telemetry.Words(text, func(w []byte) { words = append(words, string(w)) })
		for _, w := range telemetry.PhraseWords(phrase) {
			if !slices.Contains(words, w) {
				t.Fatalf("%q is found in %q, which lacks its word %q", phrase, text, w)
			}
		}
	})
}

func TestAPhraseIsFoundBehindItsOwnBeginning(t *testing.T) {
	for text, phrase := range map[string]string{"//a": "/a", "xab ab": "AB", "abab ab": "ab", "=a ==A": "==a", "a-a-a-b": "a-a-b"} {
		if !telemetry.MatchPhrase(text, phrase) {
			t.Errorf("%q is not found in %q", phrase, text)
		}
	}
}

func TestLongWordsCountByTheirFirstBytes(t *testing.T) {
	long := strings.Repeat("X", 70)
	var words []string
	telemetry.Words([]byte(long+"y, "+long[:64]+" Z_9é"), func(w []byte) { words = append(words, string(w)) })
	cut := strings.ToLower(long[:64])
	if want := []string{cut, cut, "z_9é"}; !slices.Equal(words, want) {
		t.Errorf("got %q", words)
	}
}

func TestPhrasesAreFoundWithoutAllocating(t *testing.T) {
	text := []byte(strings.Repeat("the quick brown fox ", 50) + "Connection Refused")
	if n := testing.AllocsPerRun(100, func() {
		if !telemetry.MatchPhrase(text, "connection refused") {
			t.Error("not found")
		}
		var buf [telemetry.MaxWord]byte
		for word, rest := telemetry.NextWord(text, &buf); len(word) > 0; {
			word, rest = telemetry.NextWord(rest, &buf)
		}
	}); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}

func BenchmarkMatchPhrase(b *testing.B) {
	text := []byte(strings.Repeat("GET /api/orders/1234 took 12ms status=200 ", 4))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		telemetry.MatchPhrase(text, "connection refused")
	}
}
