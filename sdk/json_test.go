package sdk_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/sdk"
)

func TestDecodeJSONSaysWhereABadBodyIsBad(t *testing.T) {
	tests := map[string]struct {
		body   string
		media  string
		status int
		want   string
	}{
		"empty":         {"", "", 400, "The body is empty"},
		"cut off":       {"{\n \"name\": \"x\"", "", 400, "ends within the JSON value, at line 2, column 12"},
		"syntax":        {"{\n  \"name\" \"x\"}", "", 400, "line 2, column 10"},
		"unknown field": {"{\n  \"name\": \"x\",\n  \"nmae\": 1}", "", 400, `The field "nmae" at line 3, column 3 is not known.`},
		"wrong type":    {"{\"name\": \"x\",\n \"seats\": \"many\"}", "", 400, `The field "seats" at line 2, column 16 is a string; a whole number is expected.`},
		"a second one":  {`{"name":"x"} {}`, "", 400, "goes on after the JSON value"},
		"too large":     {`{"name":"` + strings.Repeat("x", 200) + `"}`, "", 413, "larger than 100 bytes"},
		"a form":        {"name=x", "application/x-www-form-urlencoded", 415, "application/json is expected"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(test.body))
			if test.media != "" {
				r.Header.Set("Content-Type", test.media)
			}
			var v struct {
				Name  string `json:"name"`
				Seats int    `json:"seats"`
			}
			p, ok := errors.AsType[*sdk.Problem](sdk.DecodeJSON(r, &v, 100))
			if !ok || p.Status != test.status || !strings.Contains(p.Detail, test.want) {
				t.Errorf("got %+v, want %d %q", p, test.status, test.want)
			}
		})
	}
}

func FuzzDecodeJSONNeverPanicsAndAlwaysAnswersAProblem(f *testing.F) {
	for _, seed := range []string{"", "{", `{"a":1}`, "\"\xff", "{\"x\":\n[1,2}", `{"a":"é","b":{}}`, "1 2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var v struct{ A, B int }
		err := sdk.DecodeJSON(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), &v, 1000)
		if err == nil {
			return
		}
		if p, ok := errors.AsType[*sdk.Problem](err); !ok || p.Status < 400 || p.Detail == "" {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnInternalErrorStaysInside(t *testing.T) {
	h := sdk.Handler(func(http.ResponseWriter, *http.Request) error { return errors.New("table leads is locked") })
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "locked") || w.Header().Get("Content-Type") != fault.ProblemType {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestSQLitePathTakesOnlyAbsoluteFiles(t *testing.T) {
	if path, err := sdk.SQLitePath("sqlite:///var/lib/a%20b/leads.db"); err != nil || path != "/var/lib/a b/leads.db" {
		t.Errorf("got %q, %v", path, err)
	}
	for _, bad := range []string{"", "sqlite://leads.db", "sqlite:leads.db", "postgres:///x", "sqlite:///", "::"} {
		if _, err := sdk.SQLitePath(bad); fault.CodeOf(err) != sdk.CodeDatabaseURL {
			t.Errorf("%q: got %v", bad, err)
		}
		if _, err := sdk.SQLiteDSN(bad); fault.CodeOf(err) != sdk.CodeDatabaseURL {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestOnlyAWellFormedTraceparentIsTakenOn(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if ctx := sdk.WithTrace(t.Context(), good); sdk.TraceID(ctx) != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("got %q", sdk.TraceID(ctx))
	}
	for _, bad := range []string{
		"", "00", good + "-x", strings.ToUpper(good), "ff" + good[2:], strings.Replace(good, "7", "g", 1),
		"00-00000000000000000000000000000000-b7ad6b7169203331-01", good[:36] + "0000000000000000-01",
	} {
		if sdk.TraceID(sdk.WithTrace(t.Context(), bad)) != "" {
			t.Errorf("took %q", bad)
		}
	}
	a, b := sdk.TraceID(sdk.NewTrace(t.Context())), sdk.TraceID(sdk.NewTrace(t.Context()))
	if len(a) != 32 || a == b {
		t.Errorf("new traces: %q %q", a, b)
	}
}
