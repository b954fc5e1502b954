package telemetry_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry"
)

type source struct{ err error }

func (s source) Fields(_ context.Context, prefix string, _ int) ([]telemetry.FieldInfo, error) {
	var out []telemetry.FieldInfo
	for _, f := range []telemetry.FieldInfo{{Name: "http.route", Rows: 9}, {Name: "service", Rows: 8}, {Name: "my field", Rows: 2}} {
		if strings.HasPrefix(f.Name, prefix) {
			out = append(out, f)
		}
	}
	return out, s.err
}

func (s source) Values(_ context.Context, field, prefix string, _ int) ([]telemetry.ValueInfo, error) {
	var out []telemetry.ValueInfo
	for _, v := range []string{field + "-a", field + " b", "/x?a=b", "12"} {
		if strings.HasPrefix(v, prefix) {
			out = append(out, telemetry.ValueInfo{Value: telemetry.String(v), Rows: 3})
		}
	}
	return append(out, telemetry.ValueInfo{Value: telemetry.Int(7)}), s.err
}

func TestWhatMayStandAtTheCursorIsTold(t *testing.T) {
	for text, want := range map[string]string{ // the cursor is at ^
		"^":                             "service replica time trace span scope name parent kind duration status status_text http.route `my field` not has |",
		"ser^":                          "service",
		"SER^v":                         "service",
		"m^":                            "`my field`",
		"`my^":                          "`my field`",
		"service^":                      "service",
		"service ^":                     "= != ~ !~ service replica time trace span scope name parent kind duration status status_text http.route `my field` and or not has |",
		"duration ^":                    "> < >= <= = != service replica time trace span scope name parent kind duration status status_text http.route `my field` and or not has |",
		"service = ^":                   `service-a "service b" /x?a=b "12" 7`,
		"service=^":                     `service-a "service b" /x?a=b "12" 7`,
		"service=ser^":                  `service-a "service b"`,
		`service="ser^`:                 `"service-a" "service b"`,
		"url.path=/x?a=^":               "/x?a=b",
		"status = e^":                   "error",
		"kind!=^ and a=b":               "unspecified internal server client producer consumer",
		"duration > ^":                  "",
		"a = b ^":                       "service replica time trace span scope name parent kind duration status status_text http.route `my field` and or not has |",
		"a = b an^":                     "and",
		"a = b and n^":                  "name not",
		"(a = b ^":                      "service replica time trace span scope name parent kind duration status status_text http.route `my field` and or not has | )",
		"not h^":                        "http.route has",
		"has h^":                        "http.route",
		"a | ^":                         "count() rate() sum() avg() min() max() quantile(0.99, ) distinct() p50() p90() p95() p99() sort limit",
		"a | c^":                        "count()",
		"a | count^":                    "count()",
		"a | sum(dur^":                  "duration",
		"a | count() ^":                 "as by every , |",
		"a | count() b^":                "by",
		"a | count(), q^":               "quantile(0.99, )",
		"a | count() by s^":             "service span scope status status_text",
		"a | count() by service ^":      "every , |",
		"a | count() | s^":              "sort",
		"a | count() | sort ^":          "count",
		"a | count() by name | sort n^": "name",
		"a | sort time ^":               "asc desc , |",
		"a | limit 5 | ^":               "",
		"a == ^":                        "",
		"a )^":                          "",
	} {
		cursor := strings.Index(text, "^")
		list, err := telemetry.Complete(t.Context(), text[:cursor]+text[cursor+1:], cursor, telemetry.Spans, source{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		var got []string
		for _, c := range list {
			got = append(got, c.Text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s\n got %s\nwant %s", text, strings.Join(got, " "), want)
		}
	}
}

func TestACompletionReplacesTheWordThatItCompletes(t *testing.T) {
	for text, want := range map[string]string{
		"é ser^v = x": "é service^ = x", "service=ser^d)": "service=service-a^)", `a = "a^ b" c`: `a = "a-a"^ c`,
		"| q^": "| quantile(0.99, ^)", "| quantile(0.9, d^x)": "| quantile(0.9, duration^)", "| co^": "| count()^", "`my^ f` = 1": "`my field`^ = 1",
	} {
		at := strings.Index(text, "^")
		plain := []rune(text[:at] + text[at+1:])
		list, err := telemetry.Complete(t.Context(), string(plain), len([]rune(text[:at])), telemetry.Spans, source{})
		if err != nil || len(list) == 0 {
			t.Errorf("%s: %v, %v", text, list, err)
			continue
		}
		c := list[0]
		put := []rune(c.Text)
		got := string(plain[:c.From]) + string(put[:c.Cursor]) + "^" + string(put[c.Cursor:]) + string(plain[c.To:])
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestCompletionTellsWhenTheStoreCannot(t *testing.T) {
	broken := errors.New("disk")
	for _, text := range []string{"", "a="} {
		if _, err := telemetry.Complete(t.Context(), text, 9, telemetry.Logs, source{broken}); !errors.Is(err, broken) {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if list, err := telemetry.Complete(t.Context(), "", 0, telemetry.Logs, nil); err != nil || len(list) == 0 {
		t.Error("without a store there is nothing", err)
	}
}
