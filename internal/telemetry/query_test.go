package telemetry_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

// dump shows a query's structure but for its text and columns.
func dump(q *telemetry.Query) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", dumpExpr(q.Where))
	if a := q.Tell; a != nil {
		for _, f := range a.Funcs {
			fmt.Fprintf(&b, " %s(%v,%q)as%q", f.Kind, f.Q, f.Field.Name, f.As)
		}
		for _, f := range a.By {
			fmt.Fprintf(&b, " by%q", f.Name)
		}
		fmt.Fprintf(&b, " every%s", a.Every)
	}
	for _, o := range q.Sort {
		fmt.Fprintf(&b, " sort%q%t", o.Field.Name, o.Descending)
	}
	fmt.Fprintf(&b, " limit%d", q.Limit)
	return b.String()
}

func dumpExpr(e telemetry.Expr) string {
	switch e := e.(type) {
	case *telemetry.And:
		return "(" + dumpExpr(e.X) + " & " + dumpExpr(e.Y) + ")"
	case *telemetry.Or:
		return "(" + dumpExpr(e.X) + " + " + dumpExpr(e.Y) + ")"
	case *telemetry.Not:
		return "!" + dumpExpr(e.X)
	case *telemetry.Compare:
		return fmt.Sprintf("%q%s%d:%q", e.Field.Name, e.Op, e.Value.Kind(), e.Value.Text())
	case *telemetry.Matches:
		return fmt.Sprintf("%q~%q", e.Field.Name, e.Regex)
	case *telemetry.Has:
		return fmt.Sprintf("has%q", e.Field.Name)
	case *telemetry.Phrase:
		return fmt.Sprintf("%q", e.Text)
	}
	return "all"
}

func TestQueriesMeanWhatTheyLookLike(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "all limit0",
		"  ":                 "all limit0",
		"a b":                `("a" & "b") limit0`,
		"a or b and not c d": `("a" + (("b" & !"c") & "d")) limit0`,
		"(a OR b) AND c":     `(("a" + "b") & "c") limit0`,
		"service = orders and http.response.status_code >= 500 and duration > 250ms": `(("service"=1:"orders" & "http.response.status_code">=2:"500") & "duration">2:"250000000") limit0`,
		`"connection refused" not service:mail`:                                      `("connection refused" & !"service"=1:"mail") limit0`,
		"url.path=/x?a=b http.route = /api/leads/**":                                 `("url.path"=1:"/x?a=b" & "http.route"=1:"/api/leads/**") limit0`,
		"/api/leads":                  `"/api/leads" limit0`,
		`name ~ "GET \d+ \"x\""`:      `"name"~"GET \\d+ \"x\"" limit0`,
		`name !~ ^GET ~ x`:            `(!"name"~"^GET" & ""~"x") limit0`,
		"has user.id has `odd field`": `(has"user.id" & has"odd field") limit0`,
		"`odd field` != 3":            `"odd field"!=2:"3" limit0`,
		`a="3" b=3 c=3.5 d=true e=007 f=-1 g=1e3 h="true" i=1.2.3`: `(((((((("a"=1:"3" & "b"=2:"3") & "c"=3:"3.5") & "d"=4:"true") & "e"=1:"007") & "f"=2:"-1") & "g"=2:"1000") & "h"=1:"true") & "i"=1:"1.2.3") limit0`,
		"kind=SERVER status!=error service.name=x":                 `(("kind"=1:"server" & "status"!=1:"error") & "service"=1:"x") limit0`,
		"time >= 1970-01-01T00:00:01Z":                             `"time">=2:"1000000000" limit0`,
		"name=404":                                                 `"name"=1:"404" limit0`,
		`status = error | rate() by service every 1m`:              `"status"=1:"error" rate(0,"")as"rate" by"service" every1m0s limit0`,
		`| count(), quantile(0.99, duration) by service, name | sort count desc | limit 10`:        `all count(0,"")as"count" quantile(0.99,"duration")as"p99(duration)" by"service" by"name" every0s sort"count"true limit10`,
		"| p50(duration) as mid, p999(duration), quantile(0.123,x) | sort p999(duration), mid asc": `all quantile(0.5,"duration")as"mid" quantile(0.999,"duration")as"p999(duration)" quantile(0.123,"x")as"quantile(0.123,x)" every0s sort"p999(duration)"false sort"mid"false limit0`,
		"a | sort duration desc, time": `"a" sort"duration"true sort"time"false limit0`,
	} {
		q, err := telemetry.ParseQuery(text, telemetry.Spans)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := dump(q); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestLevelsAreOfRecordsAndDurationsOfSpans(t *testing.T) {
	q, err := telemetry.ParseQuery("level>=warning duration=5", telemetry.Logs)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := dump(q), `("level">=2:"13" & "duration"=2:"5") limit0`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestErrorsPointAtTheColumnAndSayWhatToDo(t *testing.T) {
	_, err := telemetry.ParseQuery("é = x and a == b", telemetry.Spans)
	if e, ok := err.(*fault.Error); !ok || fault.ProblemFor(e, 400).Column != 13 || fault.ProblemFor(e, 400).Width != 2 { //nolint:errorlint // as below
		t.Errorf("a problem document lacks the place: %v", err)
	}
	for text, want := range map[string]string{
		"a = ":                     "5:1 here is the end where a value should be",
		"a = b )":                  "7:1 this parenthesis was never opened",
		"(a = b":                   "1:1 this parenthesis is never closed",
		"a == b":                   "3:2 there is no ==",
		"a =~ b":                   "3:2 there is no =~",
		"duration > 250":           `12:3 "250" is not a duration`,
		"é duration > 250":         `14:3 "250" is not a duration`,
		"time > yesterday":         `8:9 "yesterday" is not a time`,
		"status = eror":            `10:4 "eror" is not a status of a span; did you mean error?`,
		"kind = servr":             `8:5 "servr" is not a kind of a span; did you mean server?`,
		"trace = 4bf9":             `9:4 "4bf9" is not an id of 32 hexadecimal digits`,
		"duration ~ x":             "12:1 duration is compared, and has no regular expression",
		`name ~ "a["`:              "8:4 this is not a regular expression (RE2): missing closing ]: [",
		`"never`:                   "1:6 a quote that is never closed",
		`a = "x\q"`:                `7:2 \q is not known in a text`,
		`"a b" = c`:                "1:5 a text in quotes is searched for, and is not the name of a field",
		`a = 'b'`:                  "5:3 texts do not stand in single quotes",
		`""`:                       "1:2 an empty phrase chooses nothing",
		"a+b = c":                  "1:3 a+b is not the name of a field",
		"http://x":                 "1:5 http is not a field",
		"and a":                    "1:3 nothing to choose stands before and",
		"a or":                     "5:1 here is the end where a comparison, a word or a phrase should be",
		"a | cuont()":              "5:5 here is cuont where a function should be; did you mean count?",
		"a | count":                "5:5 count has no parentheses",
		"a | count(":               "11:1 the field of count is missing here",
		"a | sum()":                "9:1 sum lacks its field",
		"a | quantile(duration)":   "14:8 quantile begins with duration",
		"a | quantile(0.5)":        "17:1 quantile lacks its field",
		"a | count() every 1":      "19:1 every is followed by 1",
		"a | limit none":           "11:4 limit is followed by none",
		"a | limit 5 | sort b":     "15:4 sort stands once, before limit",
		"a | sort b | count()":     "14:5 functions stand once",
		"a | count() | sort cuont": "20:5 cuont is not a column of the table; did you mean count?",
		"a | count(), count()":     "1:1 two columns are called count",
		"a | where b":              "5:5 rows are chosen before the first bar",
		"a | count() b":            "13:1 here is b where the query should end",
		"has":                      "4:1 the field that rows shall have is missing here",
		"a, b":                     "2:1 here is , where",
		"by = 3":                   "1:2 by is a word of the language",
		strings.Repeat("(", 101):   "101:1 more than 100 parentheses",
		strings.Repeat("a ", 1001): "1001:1 the query has more than 1000 parts",
		strings.Repeat("a", 9000):  "0:0 the query has 9000 bytes",
		"a\xff":                    "0:0 the query is not UTF-8",
	} {
		_, err := telemetry.ParseQuery(text, telemetry.Spans)
		e, ok := err.(*fault.Error) //nolint:errorlint // the promise is that it is this type itself
		if !ok || e.Code != fault.CodeQueryInvalid || e.Remedy == "" {
			t.Errorf("%.60s: got %v", text, err)
			continue
		}
		got := fmt.Sprintf("%d:%d %s; %s", e.Column, e.Width, e.Text, e.Remedy)
		if !strings.HasPrefix(got, want) {
			t.Errorf("%.60s\n got %s\nwant %s", text, got, want)
		}
	}
}

func genExpr(signal telemetry.Signal, depth int) *rapid.Generator[telemetry.Expr] {
	return rapid.Custom(func(t *rapid.T) telemetry.Expr {
		kinds := 4
		if depth > 0 {
			kinds = 7
		}
		sub := func() telemetry.Expr { return genExpr(signal, depth-1).Draw(t, "sub") }
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 1:
			return &telemetry.Matches{Field: telemetry.Field{Name: rapid.SampledFrom([]string{"", "name", "a b", "x"}).Draw(t, "field")}, Regex: genRegex.Draw(t, "regex")}
		case 2:
			return &telemetry.Has{Field: genField.Draw(t, "field")}
		case 3:
			return &telemetry.Phrase{Text: genText.Draw(t, "phrase")}
		case 4:
			return &telemetry.And{X: sub(), Y: sub()}
		case 5:
			return &telemetry.Or{X: sub(), Y: sub()}
		case 6:
			return &telemetry.Not{X: sub()}
		}
		return genCompare(signal).Draw(t, "compare")
	})
}

var (
	genText  = rapid.SampledFrom([]string{"error", "Connection refused", `a"b\c`, "x\ny\tz", "é", "and", "a,b|c)", "refused", "500", "-", "/api"})
	genField = rapid.Map(rapid.SampledFrom([]string{
		"service", "name", "http.response.status_code", "user id", "and", "x", "flag", "text", "kind", "status", "level", "duration", "time",
	}), func(name string) telemetry.Field { return telemetry.Field{Name: name} })
	genRegex = rapid.Map(rapid.SampledFrom([]string{`GET \d+`, `a"b`, `\\`, `\\"x`, `^$`, `(a|b)`, "refused", "é", "[|,)]"}), regexp.MustCompile)
	genOp    = rapid.SampledFrom([]telemetry.Op{"=", "!=", "<", "<=", ">", ">="})
)

func genCompare(signal telemetry.Signal) *rapid.Generator[telemetry.Expr] {
	return rapid.Custom(func(t *rapid.T) telemetry.Expr {
		c := &telemetry.Compare{Field: genField.Draw(t, "field"), Op: genOp.Draw(t, "op")}
		switch name := c.Field.Name; {
		case name == "time", name == "duration" && signal == telemetry.Spans:
			c.Value = telemetry.Int(rapid.Int64Range(0, 3e18).Draw(t, "ns"))
		case name == "level" && signal == telemetry.Logs:
			c.Value = telemetry.Int(int64(rapid.SampledFrom([]int{5, 9, 13, 17}).Draw(t, "level")))
		case name == "kind" && signal == telemetry.Spans:
			c.Value = telemetry.String(rapid.SampledFrom([]string{"server", "client"}).Draw(t, "kind"))
		case name == "status" && signal == telemetry.Spans:
			c.Value = telemetry.String(rapid.SampledFrom([]string{"ok", "error"}).Draw(t, "status"))
		case name == "service", name == "name", name == "text" && signal == telemetry.Logs:
			c.Value = telemetry.String(genText.Draw(t, "text"))
		default:
			c.Value = genValue.Draw(t, "value")
		}
		return c
	})
}

var genValue = rapid.OneOf(
	rapid.Map(genText, telemetry.String),
	rapid.SampledFrom([]telemetry.Value{
		telemetry.String("1"), telemetry.String("true"), telemetry.Int(1), telemetry.Int(-1), telemetry.Int(500), telemetry.Float(0.5), telemetry.Float(1e300),
		telemetry.Bool(true), telemetry.Bool(false), telemetry.Float(-1.25e-7),
	}),
)

func genQuery(signal telemetry.Signal) *rapid.Generator[*telemetry.Query] {
	return rapid.Custom(func(t *rapid.T) *telemetry.Query {
		q := &telemetry.Query{Limit: rapid.IntRange(0, 5).Draw(t, "limit")}
		if rapid.Bool().Draw(t, "where") {
			q.Where = genExpr(signal, 4).Draw(t, "expr")
		}
		if rapid.Bool().Draw(t, "tell") {
			q.Tell = &telemetry.Aggregation{
				Funcs: []telemetry.Func{
					{Kind: telemetry.FuncCount, As: "count"},
					{Kind: telemetry.FuncQuantile, Field: genField.Draw(t, "of"), Q: rapid.Float64Range(0, 1).Draw(t, "q"), As: "odd name"},
				},
				By: rapid.SliceOfNDistinct(rapid.Map(genField, func(f telemetry.Field) telemetry.Field { return f }), 0, 2,
					func(f telemetry.Field) string { return f.Name }).Draw(t, "by"),
				Every: rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour, 90 * time.Second, 1500 * time.Millisecond}).Draw(t, "every"),
			}
			if len(q.Tell.By) > 0 && q.Tell.By[0].Name == "time" || len(q.Tell.By) > 1 && q.Tell.By[1].Name == "time" {
				q.Tell.Every = 0
			}
			q.Sort = []telemetry.Order{{Field: telemetry.Field{Name: "odd name"}, Descending: rapid.Bool().Draw(t, "desc")}}
		} else {
			for _, f := range rapid.SliceOfN(genField, 0, 2).Draw(t, "sort") {
				q.Sort = append(q.Sort, telemetry.Order{Field: f, Descending: rapid.Bool().Draw(t, "desc")})
			}
		}
		return q
	})
}

func TestAQueryIsTheSameAgainOnceFormatted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		signal := rapid.SampledFrom([]telemetry.Signal{telemetry.Spans, telemetry.Logs}).Draw(t, "signal")
		q := genQuery(signal).Draw(t, "query")
		text := q.Format(signal)
		again, err := telemetry.ParseQuery(text, signal)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if dump(q) != dump(again) {
			t.Fatalf("%s\n was %s\n now %s", text, dump(q), dump(again))
		}
	})
}

func FuzzParseQuery(f *testing.F) {
	for _, text := range []string{
		`service = orders and http.response.status_code >= 500 and duration > 250ms`,
		`"connection refused" and level >= warn and not service = mail`,
		`name ~ "GET /api/.*" | count(), quantile(0.99, duration) by service | sort count desc | limit 10`,
		"status = error | rate() by service every 1m", "(a or `b c`!=1.5e3) !~ x | p99(d) as q by a, b", "a:b has c | sort x desc, y",
		`a = "\"" | quantile(1, x)`,
	} {
		f.Add(text, len(text), false)
		f.Add(text, len(text)/2, true)
	}
	f.Fuzz(func(t *testing.T, text string, cursor int, logs bool) {
		signal := telemetry.Spans
		if logs {
			signal = telemetry.Logs
		}
		list, err := telemetry.Complete(t.Context(), text, cursor, signal, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.From < 0 || c.To < c.From || c.To > len([]rune(text)) || c.Cursor > len([]rune(c.Text)) {
				t.Fatalf("%q at %d: %+v", text, cursor, c)
			}
		}
		q, err := telemetry.ParseQuery(text, signal)
		if err != nil {
			e, ok := err.(*fault.Error) //nolint:errorlint // the promise is that it is this type itself
			if !ok || e.Remedy == "" || e.Text == "" || e.Column > len(text)+1 {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		again, err := telemetry.ParseQuery(q.Format(signal), signal)
		if err != nil {
			t.Fatalf("%q is formatted as %q: %v", text, q.Format(signal), err)
		}
		if dump(q) != dump(again) {
			t.Fatalf("%q\n was %s\n now %s", text, dump(q), dump(again))
		}
	})
}
