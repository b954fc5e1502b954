package telemetry_test

import (
	"encoding/json"
	"math"
	"regexp"
	"testing"

	"github.com/atollhq/atoll/internal/telemetry"
)

func TestLevelIsFoundInTheFormsThatProgramsWrite(t *testing.T) {
	for line, want := range map[string]telemetry.Level{
		`{"time":"2026-01-01","level":"WARN","msg":"x"}`:      telemetry.LevelWarn,
		`{"level":50,"msg":"pino"}`:                           telemetry.LevelError,
		`{"level":10,"msg":"pino"}`:                           telemetry.LevelDebug,
		`{"severity":"CRITICAL"}`:                             telemetry.LevelError,
		`{"msg":"no level"}`:                                  telemetry.LevelInfo,
		`ts=1 level=error msg="x"`:                            telemetry.LevelError,
		`time=x level="debug" msg=y`:                          telemetry.LevelDebug,
		"2026/11/22 10:00:00 [error] 31#31: *1 open() failed": telemetry.LevelError,
		"2026-11-22 10:00:00.000 UTC [12] ERROR:  syntax":     telemetry.LevelError,
		"WARNING: apples":                                     telemetry.LevelWarn,
		"INFO:     Started server process":                    telemetry.LevelInfo,
		"10:00 DBG starting":                                  telemetry.LevelDebug,
		"panic: runtime error: index out of range":            telemetry.LevelError,
		"Traceback (most recent call last):":                  telemetry.LevelError,
		"we handle an error here and there":                   telemetry.LevelInfo,
		"listening on 127.0.0.1:80":                           telemetry.LevelInfo,
		"":                                                    telemetry.LevelInfo,
	} {
		if got := telemetry.LevelOf(line); got != want {
			t.Errorf("%q: got %s, want %s", line, got, want)
		}
	}
}

func TestLinesOfCompilersAreErrors(t *testing.T) {
	for line, want := range map[string]telemetry.Level{
		"./main.go:7:2: undefined: x":            telemetry.LevelError,
		"bad.go:1:1: expected 'package'":         telemetry.LevelError,
		"src/app.ts(3,14): error TS2304: no":     telemetry.LevelError,
		"main.c:3:5: warning: unused variable x": telemetry.LevelWarn,
		"# shop/services/names":                  telemetry.LevelInfo,
		"go: downloading example.com v1":         telemetry.LevelInfo,
		"12:30:01 step 2 of 3":                   telemetry.LevelInfo,
	} {
		if got := telemetry.LevelOfBuild(line); got != want {
			t.Errorf("%q: got %s, want %s", line, got, want)
		}
	}
}

func TestGrepFindsWhatIsShownAndWhatWasWritten(t *testing.T) {
	r := telemetry.Line{Text: `{"msg":"asked","path":"/hello"}`}
	for text, want := range map[string]bool{"path=/hello": true, `"path":"/hello"`: true, "path=/other": false} {
		q := telemetry.LineQuery{Grep: regexp.MustCompile(regexp.QuoteMeta(text))}
		if q.Greps(&r) != want {
			t.Errorf("%s: matches %t", text, !want)
		}
	}
}

func TestPrettyShowsTheMessageFirstAndDropsWhatTheRecordSays(t *testing.T) {
	r := telemetry.Line{Text: `{"time":"x","level":"INFO","msg":"took a lead","id":7,"who":"Ann Lee","n":{"a":1}}`}
	if got, want := telemetry.Pretty(&r), `took a lead id=7 n={"a":1} who="Ann Lee"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r.Text = `{"msg":"request","method":"GET","path":"/a","status":200,"duration_ms":1.5,"endpoint":"a-1","service":"a","client":"::1"}`
	if got, want := telemetry.Pretty(&r), "GET /a 200 1.5ms → a-1 client=::1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r.Text = "{not json"
	if got := telemetry.Pretty(&r); got != r.Text {
		t.Errorf("got %s", got)
	}
}

func TestTheTraceOfALineIsFoundAsLoggingLibrariesWriteIt(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for line, want := range map[string]string{
		`{"msg":"x","trace_id":"` + trace + `","span_id":"` + span + `"}`: trace + span,
		`{"traceId": "` + trace + `", "spanId": "` + span + `"}`:          trace + span,
		"level=info trace.id=" + trace + " msg=x":                         trace + "0000000000000000",
		`{"trace_id":"short"}`:                                            "000000000000000000000000000000000000000000000000",
		"span_id=" + span:                                                 "000000000000000000000000000000000000000000000000",
	} {
		id, s := telemetry.TraceOfLine(line)
		if got := id.String() + s.String(); got != want {
			t.Errorf("%s: got %s", line, got)
		}
	}
}

func TestEveryValueCanBeWrittenAsJSON(t *testing.T) {
	for value, want := range map[telemetry.Value]string{
		telemetry.Float(math.NaN()): `"NaN"`, telemetry.Float(math.Inf(1)): `"+Inf"`, telemetry.Float(1.5): `1.5`, telemetry.Int(-7): `-7`,
		telemetry.String("a\xff"): `"a\ufffd"`, telemetry.JSON(`[1]`): `[1]`, telemetry.Bool(true): `true`, {}: `null`,
	} {
		if got, err := json.Marshal(value.Any()); err != nil || string(got) != want {
			t.Errorf("%v becomes %s, %v", value.Text(), got, err)
		}
	}
}
