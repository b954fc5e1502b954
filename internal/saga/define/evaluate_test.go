package define_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/define"
)

// bodies compiles values, as the bodies of the steps of one saga.
func bodies(tb testing.TB, values ...string) []saga.Template {
	tb.Helper()
	m := &manifest.Saga{Name: "s", Steps: []manifest.SagaStep{{Name: "before", Do: &manifest.SagaCall{Call: "POST stock/x"}, Undo: &manifest.SagaUndo{Call: "none"}}}}
	for i, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		if json.Valid([]byte(v)) {
			text = []byte(v)
		}
		m.Steps = append(m.Steps, manifest.SagaStep{
			Name: fmt.Sprintf("s%d", i), Do: &manifest.SagaCall{Call: "POST stock/x", Body: manifest.JSON(text)}, Undo: &manifest.SagaUndo{Call: "none"},
		})
	}
	plan, faults := define.Compile(m, define.Options{})
	if len(faults) > 0 {
		tb.Fatal(faults)
	}
	out := make([]saga.Template, len(values))
	for i := range values {
		out[i] = plan.Steps[i+1].Do.Body
	}
	return out
}

func TestValuesBecomeJSON(t *testing.T) {
	sc := &saga.Scope{
		Input: json.RawMessage(`{"a":7,"b":2.5,"big":9007199254740993,"five":5.0,"t":"é \"x\" <b>&","dup":1,"dup":2,"n":null,"l":[1,"two"],"o":{"z":1,"y":2},"html":"<>"}`),
		Saga:  saga.Info{Started: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))},
		Steps: map[string]json.RawMessage{},
	}
	cases := []struct{ value, want string }{
		{`${input.a}`, `7`},
		{`${input.a + 1}`, `8`},
		{`${input.a * input.b}`, `17.5`},
		{`${input.a / 2.0}`, `3.5`},
		{`${input.a - input.b > 4}`, `true`},
		{`${input.five / 2}`, `2`},
		{`${input.big}`, `9007199254740993`},
		{`${input.big + 1}`, `9007199254740994`},
		{`a ${input.a} ${input.b} ${input.t} $${x}`, `"a 7 2.5 é \"x\" <b>& ${x}"`},
		{`${input.html + "\n"}`, `"<>\n"`},
		{`${input.n}`, `null`},
		{`${input.dup}`, `2`},
		{`${dyn(input.dup)}`, `2`},
		{`${input.l}`, `[1,"two"]`},
		{`${dyn(input.o)}`, `{"y":2,"z":1}`},
		{`${ {"b": 1, "a": [true, null]} }`, `{"a":[true,null],"b":1}`},
		{`${ {2: "x"} }`, `{"2":"x"}`},
		{`${saga.started}`, `"2026-01-02T02:04:05.000006Z"`},
		{`${duration("90m")}`, `"1h30m0s"`},
		{`${b"\x00\xff"}`, `"AP8="`},
		{`${base64.encode(b"hi")}`, `"aGk="`},
		{`${input.?none.orValue(3)}`, `3`},
		{`${input.?none}`, `null`},
		{`${steps.before}`, `null`},
		{`${steps.before == null}`, `true`},
		{`${1u}`, `1`},
		{`${1e30}`, `1e+30`},
		{`{"b": "${input.a}", "a": [1, "${input.a}", {"c": null}], "n": 12345678901234567890}`, `{"a":[1,7,{"c":null}],"b":7,"n":12345678901234567890}`},
		{`{}`, `{}`},
		{``, `""`},
		{`x${r'\'}${'\'}'}${br"\".size()}y`, `"x\\'}1y"`},
		{`$${`, `"${"`},
		{`$$ $ {}`, `"$$ $ {}"`},
	}
	values := make([]string, len(cases))
	for i, c := range cases {
		values[i] = c.value
	}
	for i, body := range bodies(t, values...) {
		got, err := body.Value(sc)
		if err != nil || string(got) != cases[i].want {
			t.Errorf("%s: got %s (%v), want %s", cases[i].value, got, err, cases[i].want)
		}
	}
}

func TestWhatCannotBeEvaluatedSaysWhyInOneSentence(t *testing.T) {
	sc := &saga.Scope{Input: json.RawMessage(`{"a":7,"t":"x","l":[1],"o":{}}`)}
	cases := []struct{ value, want string }{
		{`${input.none}`, "${input.none} cannot be evaluated: there is no none"},
		{`${input.l[1]}`, "${input.l[1]} cannot be evaluated: index out of bounds: 1"},
		{`${input.a + input.t}`, "${input.a + input.t} cannot be evaluated: a value is not of the type that it wants"},
		{`${input.a / 0}`, "${input.a / 0} cannot be evaluated: division by zero"},
		{`x ${input.o}`, "${input.o} cannot be evaluated: it is an object, where a text is wanted"},
		{`x ${input.l}`, "${input.l} cannot be evaluated: it is a list, where a text is wanted"},
		{`x ${input.?n}`, "${input.?n} cannot be evaluated: it is absent, where a text is wanted"},
		{`${1.0 / 0.0}`, "${1.0 / 0.0} cannot be evaluated: it is no finite number"},
		{`${timestamp(input.t)}`, "cannot be evaluated: "},
		{`${lists.range(9999).map(x, lists.range(9999).map(y, x * y)).size()}`, "cannot be evaluated: it takes too long"},
		{`${lists.range(100000)}`, "cannot be evaluated: "},
		{`${steps.before.id}`, "${steps.before.id} cannot be evaluated: there is no id"},
	}
	values := make([]string, len(cases))
	for i, c := range cases {
		values[i] = c.value
	}
	for i, body := range bodies(t, values...) {
		got, err := body.Value(sc)
		if fault.CodeOf(err) != fault.CodeSagaExpression || !strings.Contains(err.Error(), cases[i].want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %s, %v, want an error that says %q", cases[i].value, got, err, cases[i].want)
		}
	}
}

func TestAPathCannotBeLedElsewhere(t *testing.T) {
	plan := compiled(t, `
saga: s
steps:
  - {step: one, do: {call: "DELETE stock/items/${input.id}/x?q=${input.q}&r=1", headers: {X-A: "${input.h}"}}, undo: none}
`, define.Options{})
	call := plan.Steps[0].Do
	for input, want := range map[string]string{
		`{"id":"a/b?c#d e%","q":"&=+/ é"}`: "/items/a%2Fb%3Fc%23d%20e%25/x?q=%26%3D%2B%2F+%C3%A9&r=1",
		`{"id":7,"q":""}`:                  "/items/7/x?q=&r=1",
		`{"id":"..","q":""}`:               "",
		`{"id":"","q":""}`:                 "",
		`{"id":null,"q":""}`:               "",
		`{"q":""}`:                         "",
	} {
		got, err := call.Path.Text(&saga.Scope{Input: json.RawMessage(input)})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", input, got, err, want)
		}
	}
	for value, ok := range map[string]bool{`"plain é"`: true, `"a\r\nX-B: c"`: false, `"a\u0000"`: false} {
		_, err := call.Headers[0].Value.Text(&saga.Scope{Input: json.RawMessage(`{"h":` + value + `}`)})
		if (err == nil) != ok {
			t.Errorf("header %s: %v", value, err)
		}
	}
}

func TestMomentsAreFoundFromValues(t *testing.T) {
	plan := compiled(t, `
saga: s
steps:
  - {step: a, sleep: 10m}
  - {step: b, sleep: "${duration(input.d)}"}
  - {step: c, until: "${timestamp(input.t)}"}
  - {step: d, until: "${input.t}"}
`, define.Options{})
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	sc := &saga.Scope{Input: json.RawMessage(`{"d":"90s","t":"2026-01-01T01:00:00Z"}`)}
	for i, want := range []time.Duration{10 * time.Minute, 90 * time.Second, time.Hour} {
		if got, err := plan.Steps[i].Sleep.End(begin, sc); err != nil || got.Sub(begin) != want {
			t.Errorf("step %d ends at %s (%v), want after %s", i, got, err, want)
		}
	}
	past := &saga.Scope{Input: json.RawMessage(`{"d":"-90s","t":"2025-01-01T01:00:00Z"}`)}
	for i := 1; i < 3; i++ {
		if got, err := plan.Steps[i].Sleep.End(begin, past); err != nil || !got.Equal(begin) {
			t.Errorf("step %d ends at %s (%v), before it began", i, got, err)
		}
	}
	if _, err := plan.Steps[3].Sleep.End(begin, sc); err == nil {
		t.Error("a text is taken for a timestamp")
	}
}

func TestACopyOfAScopeIsAnotherScope(t *testing.T) {
	body := bodies(t, `{"i": "${input.a + 0}", "s": "${steps.before + 0}"}`)[0]
	first := saga.Scope{Input: json.RawMessage(`{"a":1}`), Steps: map[string]json.RawMessage{"before": json.RawMessage("2")}}
	if got, err := body.Value(&first); err != nil || string(got) != `{"i":1,"s":2}` {
		t.Fatal(string(got), err)
	}
	second := first
	second.Input, second.Steps = json.RawMessage(`{"a":3}`), map[string]json.RawMessage{"before": json.RawMessage("4")}
	if got, err := body.Value(&second); err != nil || string(got) != `{"i":3,"s":4}` {
		t.Error(string(got), err)
	}
	if got, err := body.Value(&first); err != nil || string(got) != `{"i":1,"s":2}` {
		t.Error(string(got), err)
	}
}

func TestExpressionsAreEvaluatedSideBySide(t *testing.T) {
	plan := compiled(t, orderToCash, define.Options{})
	shared := scope()
	if _, err := plan.Output.Value(shared); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			mine := *shared
			for range 50 {
				if _, err := plan.Output.Value(&mine); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Most of what bodies are made of is selected, thousands of times a second: it must not be decoded for that.
func TestASelectionIsReadWithoutDecoding(t *testing.T) {
	pair := bodies(t, `{"o": "${input.o.a}", "l": "${input.l[1]}", "t": "x${input.o.a}"}`, `{"o": "${dyn(input.o.a)}", "l": "${dyn(input.l[1])}", "t": "x${dyn(input.o.a)}"}`)
	input := json.RawMessage(`{"o":{"b":[1,2],"a":"x"},"l":[{"a":1},{"a":2}]}`)
	var allocations [2]float64
	for i, body := range pair {
		allocations[i] = testing.AllocsPerRun(50, func() {
			if _, err := body.Value(&saga.Scope{Input: input}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if allocations[0] > 6 || allocations[1] < 3*allocations[0] {
		t.Errorf("%.0f allocations, where CEL needs %.0f", allocations[0], allocations[1])
	}
}

// documents generates JSON with few keys, so that paths often lead somewhere.
func documents(depth int) *rapid.Generator[any] {
	key := rapid.SampledFrom([]string{"a", "b", "c d", "é", `"`})
	scalar := rapid.OneOf(
		rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.Int64(), func(n int64) any { return n }), rapid.Map(rapid.Float64Range(-1e6, 1e6), func(f float64) any { return f }),
		rapid.Map(rapid.IntRange(-3, 3), func(n int) any { return json.Number(fmt.Sprintf("%d.0", n)) }),
	)
	if depth == 0 {
		return scalar
	}
	inner := documents(depth - 1)
	return rapid.OneOf(
		scalar,
		rapid.Map(rapid.MapOfN(key, inner, 1, 4), func(m map[string]any) any { return m }),
		rapid.Map(rapid.SliceOfN(inner, 0, 3), func(l []any) any { return l }),
	)
}

// same tells whether two JSON texts say the same.
func same(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

func TestASelectionIsWhatCELSelects(t *testing.T) {
	paths := []string{
		"input", "input.a", "input.b", "input.a.a", "input.a.b", "input.b[0]", "input[0]", "input[1].a", `input["c d"]`, `input["é"].a`, `input["\""]`,
		"input.a[1][0]", "input.a.b.a", `input.a["a"].b`, "steps.before", "steps.before.a", "steps.before[2]",
	}
	var values []string
	for _, p := range paths {
		values = append(values, "${"+p+"}", "${dyn("+p+")}", "x${"+p+"}", "x${dyn("+p+")}")
	}
	pairs := bodies(t, values...)
	found, missed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		write := func(v any) json.RawMessage {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		sc := saga.Scope{Input: write(documents(3).Draw(t, "input")), Steps: map[string]json.RawMessage{"before": write(documents(2).Draw(t, "step"))}}
		for i := 0; i < len(pairs); i += 2 {
			short, long := sc, sc
			got, err1 := pairs[i].Value(&short)
			want, err2 := pairs[i+1].Value(&long)
			if (err1 == nil) != (err2 == nil) || err1 == nil && !same(got, want) {
				t.Fatalf("%s of %s:\n%s (%v)\nCEL: %s (%v)", values[i], sc.Input, got, err1, want, err2)
			}
			if err1 == nil {
				found++
			} else {
				missed++
			}
		}
	})
	if found < 100 || missed < 100 {
		t.Errorf("the property proves little: %d found, %d missed", found, missed)
	}
}

func FuzzAValueSurvivesItsEvaluation(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5,"x",null,true,{}]}`, `"\u00e9\ud800\n"`, `[1e3,-0,1E-7,12345678901234567890]`, ` { "a" : 1 , "a" : 2 } `, "\"\xff\"", `[[[[]]]]`} {
		f.Add([]byte(seed))
	}
	both := bodies(f, "${input}", "${dyn(input)}")
	f.Fuzz(func(t *testing.T, text []byte) {
		var v any
		if json.Unmarshal(text, &v) != nil {
			t.Skip("no JSON: nothing to survive")
		}
		for i, body := range both {
			got, err := body.Value(&saga.Scope{Input: text})
			if err != nil && strings.Contains(err.Error(), "nested too deep") {
				continue
			}
			if err != nil || !same(got, text) {
				t.Errorf("%d: %q became %q (%v)", i, text, got, err)
			}
		}
	})
}

func FuzzATextEndsWhereItsExpressionDoes(f *testing.F) {
	for _, seed := range []string{"a", "}", `"'\`, "${x}", "$${", "// }\n", "'''", `\"""`, "r'", "{}}{", "é\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 200 {
			t.Skip("longer texts show nothing new")
		}
		text = strings.ToValidUTF8(text, "?")
		quoted, err := json.Marshal(text) // a text in CEL too, but for surrogates, which it has none of
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal("a" + text + "b")
		if err != nil {
			t.Fatal(err)
		}
		values := []string{
			"a" + strings.ReplaceAll(text, "${", "$${") + "b",
			"a${" + string(quoted) + "}b",
			"a${ {'}': " + string(quoted) + "}['}'] // }\n}b",
		}
		for i, body := range bodies(t, values...) {
			if got, err := body.Value(&saga.Scope{}); err != nil || !same(got, want) {
				t.Errorf("%q: got %s (%v), want %s", values[i], got, err, want)
			}
		}
	})
}

func FuzzNoTextMakesTheCompilerPanic(f *testing.F) {
	for _, seed := range []string{"${input.a}", "${", "${a{b}c}", "$${${'}'}}", "${r'\\'}", `${"""}"""}`, "${input.map(x, x{a: 1})}", "${steps.one}", "${type(input)}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		s, err := define.Decode([]byte(`{"saga":"s","key":` + string(quoted) + `,"steps":[{"step":"one","do":{"call":"POST stock/x","body":` + string(quoted) +
			`},"undo":"none"},{"step":"two","when":` + string(quoted) + `,"sleep":` + string(quoted) + `}]}`))
		if err != nil {
			t.Fatal(err)
		}
		plan, faults := define.Compile(s, define.Options{})
		for _, e := range faults {
			if e.Text == "" || e.Remedy == "" {
				t.Errorf("%q: no text or no remedy: %v", text, e)
			}
		}
		if plan != nil {
			_, _ = plan.Steps[0].Do.Body.Value(&saga.Scope{Input: json.RawMessage(`{"a":1}`)})
		}
	})
}
