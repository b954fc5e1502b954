package define_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/define"
)

func TestWhatIsNoOpenAPIDocumentIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no YAML":    "a: b: c",
		"a list":     "- a",
		"Swagger":    "swagger: '2.0'",
		"no version": "paths: {}",
		"too large":  "openapi: 3.1.0 #" + strings.Repeat("x", 4<<20),
	} {
		if _, err := define.ReadContract("stock", []byte(text)); err == nil {
			t.Errorf("%s is taken for a contract", name)
		}
	}
}

// Documents whose schemas refer to themselves in every way end, and what they say of one level still counts.
func TestAContractMayReferToItself(t *testing.T) {
	contract, err := define.ReadContract("stock", []byte(`
openapi: 3.1.0
paths:
  /items: {$ref: "#/components/pathItems/items"}
components:
  pathItems:
    items:
      post:
        requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/Tree"}}}}
        responses: {200: {content: {application/json: {schema: {$ref: "#/components/schemas/Leaf"}}}}}
  schemas:
    Tree: {type: object, required: [name], properties: {name: {type: string}, left: {$ref: "#/components/schemas/Tree"}, right: {$ref: "#/components/schemas/Tree"}, list: {type: array, items: {$ref: "#/components/schemas/Tree"}}}}
    Leaf: {type: object, properties: {name: {type: integer}, left: {$ref: "#/components/schemas/Leaf"}, right: {$ref: "#/components/schemas/Leaf"}}}
    Loop: {$ref: "#/components/schemas/Loop"}
    All: {allOf: [{$ref: "#/components/schemas/All"}, {$ref: "#/components/schemas/All"}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	input := `{"type":"object","properties":{"a":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"object","properties":{"name":{"type":"string"},"left":{"$ref":"#/$defs/n"},"right":{"$ref":"#/$defs/n"}}}}}`
	s := &manifest.Saga{Name: "s", Input: manifest.JSON(input), Steps: []manifest.SagaStep{
		{Name: "one", Do: &manifest.SagaCall{Call: "POST stock/items", Body: `"${input.a}"`}, Undo: &manifest.SagaUndo{Call: "none"}},
		{Name: "two", Do: &manifest.SagaCall{Call: "POST stock/items", Body: `{"name":"${steps.one.left.right.name}","left":"${steps.one.left}"}`}, Undo: &manifest.SagaUndo{Call: "none"}},
	}}
	_, faults := define.Compile(s, define.Options{Contract: func(string) *define.Contract { return contract }})
	if len(faults) == 0 {
		t.Fatal("an int is taken for the text that the contract wants")
	}
	for _, e := range faults {
		if !strings.Contains(e.Text, "is of type int, and name of") {
			t.Errorf("also found: %v", e)
		}
	}
}

func TestSchemasThatLeadNowhereSayNothing(t *testing.T) {
	for _, schema := range []string{
		`{"$ref":"#/$defs/loop","$defs":{"loop":{"$ref":"#/$defs/loop"}}}`,
		`{"$ref":"#/$defs/all","$defs":{"all":{"allOf":[{"$ref":"#/$defs/all"},{"$ref":"#/$defs/all"}]}}}`,
		`{"$ref":"#/$defs/none"}`, `{"$ref":"other.json"}`, `true`, `{}`, `{"oneOf":[{"type":"string"},{"type":"object","properties":{"a":{}}}]}`,
	} {
		topic := func(string) []byte { return []byte(schema) }
		s := &manifest.Saga{Name: "s", Start: []manifest.SagaStart{{Event: "order.placed", When: "event.data.a.b > 1"}}, Steps: []manifest.SagaStep{{Name: "one", Sleep: "1m"}}}
		if _, faults := define.Compile(s, define.Options{Topic: topic}); len(faults) > 0 {
			t.Errorf("%s: %v", schema, faults)
		}
	}
}

func TestAnInputIsHeldAgainstItsSchema(t *testing.T) {
	check := compiled(t, orderToCash, define.Options{}).Input
	if err := check.Check(json.RawMessage(`{"order":"o","amount":1}`)); err != nil {
		t.Error(err)
	}
	for input, says := range map[string]string{
		`{"order":"o"}`:              "missing property 'amount'",
		`{"order":"o","amount":"x"}`: "at /amount: got string, want integer",
		`{"order`:                    "it is not JSON",
		``:                           "at the top: got null, want object",
	} {
		if err := check.Check(json.RawMessage(input)); fault.CodeOf(err) != fault.CodeSagaInput || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", input, err, says)
		}
	}
}

func TestWhatADefinitionLeavesOpenIsFilledIn(t *testing.T) {
	plan := compiled(t, `
saga: s
start: [{event: order.placed}, {name: nightly, cron: "@daily"}]
steps:
  - {step: a, do: POST stock/a, undo: POST stock/b}
  - {step: b, do: {call: GET stock/b, refused: [503]}, undo: none, retry: {attempts: 50, backoff: 2m}}
  - {step: c, pivot: true, do: {call: POST stock/c, async: {}}, timeout: 5s}
  - {step: d, each: {in: "${[1]}"}, do: DELETE stock/d}
  - {step: e, wait: {event: order.placed, key: a}}
  - {step: f, do: POST stock/f, retry: {attempts: 3}}
`, define.Options{})
	a, b, c, d, e := plan.Steps[0], plan.Steps[1], plan.Steps[2], plan.Steps[3], plan.Steps[4]
	const half, minute = 500 * time.Millisecond, time.Minute
	for what, ok := range map[string]bool{
		"tries before the pivot":  a.Retry == saga.Retry{Attempts: 5, Backoff: half, MaxBackoff: minute},
		"tries of an undo":        a.Again == saga.Retry{Attempts: 20, Backoff: half, MaxBackoff: minute},
		"tries as written":        b.Retry == saga.Retry{Attempts: 50, Backoff: 2 * minute, MaxBackoff: 2 * minute} && b.Again.Attempts == 50,
		"tries of the pivot":      c.Retry.Attempts == 5 && c.Role == saga.Pivot,
		"tries after the pivot":   d.Retry.Attempts == 20 && d.Role == saga.Retriable,
		"time of an attempt":      a.Do.Timeout == 30*time.Second && c.Do.Timeout == 5*time.Second && a.Undo.Timeout == 30*time.Second,
		"what refuses":            a.Do.Refused(400) && a.Do.Refused(409) && !a.Do.Refused(408) && !a.Do.Refused(421) && !a.Do.Refused(425) && !a.Do.Refused(429) && !a.Do.Refused(503) && !a.Do.Refused(200),
		"what refuses as written": b.Do.Refused(503) && !b.Do.Refused(409),
		"body of a POST":          a.Do.Body != nil && a.Undo.Body != nil,
		"no body of GET, DELETE":  b.Do.Body == nil && d.Do.Body == nil,
		"few tries as written":    plan.Steps[5].Retry.Attempts == 3 && plan.Steps[5].Again.Attempts == 20,
		"no undo":                 b.Undo == nil,
		"time of async":           c.Do.Async.Timeout == 24*time.Hour && c.Do.Async.Topic == "",
		"items at once":           d.AtOnce == 8,
		"by":                      e.WaitBy != nil && e.WaitTime == 0 && !e.GoOn,
		"starts":                  plan.Starts[0].Input == nil && plan.Starts[0].Key == nil && plan.Starts[1].Zone == "UTC" && plan.Starts[1].Missed == manifest.MissedOnce,
		"what follows":            len(a.Before) == 1 && a.Before[0] == 1 && len(e.After) == 1 && e.After[0] == 3,
	} {
		if !ok {
			t.Errorf("%s: not so", what)
		}
	}
}

// An instance keeps its definition, whatever has become of the sagas that it runs as children.
func TestAChildIsUndoneAlsoBySomethingStored(t *testing.T) {
	plan := compiled(t, `
saga: s
steps:
  - {step: a, child: s2}
  - {step: b, child: s2, undo: none}
  - {step: c, pivot: true, child: s2}
  - {step: d, child: s2}
`, define.Options{Others: map[string]*manifest.Saga{"s2": {Name: "s2", Steps: []manifest.SagaStep{{Name: "x", Sleep: "1s"}}}}})
	s, err := define.Decode(plan.Source)
	if err != nil {
		t.Fatal(err)
	}
	stored, faults := define.Compile(s, define.Options{})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for i, want := range []bool{true, false, false, false} {
		if plan.Steps[i].Revocable != want || stored.Steps[i].Revocable != want {
			t.Errorf("step %s: revocable %v, stored %v, want %v", plan.Steps[i].Name, plan.Steps[i].Revocable, stored.Steps[i].Revocable, want)
		}
	}
}

func TestADefinitionOfAnotherVersionIsNotReadByGuess(t *testing.T) {
	for _, text := range []string{`{`, `{"saga":"s","stepz":[]}`, `{"saga":"s","steps":[{"step":"a","do":{"cal":"x"}}]}`} {
		if _, err := define.Decode([]byte(text)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
	s, err := define.Decode([]byte(`{"saga":"s","steps":[{"step":"a","do":"POST stock/x","undo":"none"},{"step":"b","child":"t"}]}`))
	if err != nil || s.Steps[0].Do.Call != "POST stock/x" || !s.Steps[0].Undo.None() || s.Steps[1].Child.Saga != "t" {
		t.Errorf("short forms: %+v, %v", s, err)
	}
}

func TestADocumentHasTextForKeysSoThatItIsJSON(t *testing.T) {
	doc, err := define.ReadDocument([]byte("paths: {/a: {get: {responses: {200: {description: OK}, default: {}}}}}\nnumbers: [{1: {true: x}}]"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(doc)
	if err != nil || string(text) != `{"numbers":[{"1":{"true":"x"}}],"paths":{"/a":{"get":{"responses":{"200":{"description":"OK"},"default":{}}}}}}` {
		t.Errorf("%s %v", text, err)
	}
}
