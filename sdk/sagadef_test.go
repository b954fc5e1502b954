package sdk_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/sdk"
)

// everything says all that a definition can say.
func everything() *sdk.SagaDefinition {
	return sdk.NewSaga("order-to-cash").Owner("finance").Summary("Takes an order to cash.").
		Input(json.RawMessage(`{"type": "object", "required": ["order", "lines", "grace", "due", "amount", "mail"], "properties": {"order": {"type": "string"}, "lines": {"type": "array"},
			"grace": {"type": "string"}, "due": {"type": "string"}, "amount": {"type": "integer"}, "mail": {"type": "boolean"}}}`)).
		StartOn(sdk.StartEvent{Topic: "order.placed", When: "event.data.amount > 0", Key: "${event.subject}", Input: sdk.Expr("event.data")}).
		StartAt(sdk.StartSchedule{Name: "nightly", Cron: "0 2 * * *", Zone: "UTC", Missed: "skip", Input: map[string]any{"order": "x"}}).
		Key("${input.order}").Lock("order/${input.order}").Timeout(24*time.Hour).Keep(90*time.Minute).
		Step("reserve",
			sdk.Do("POST shipping/reservations", sdk.Body{"order": sdk.Expr("input.order"), "note": sdk.Plain("cost < ${5}")}, sdk.Headers{"X-Tenant": "${input.order}"}, sdk.RefusedOn(402, 409)),
			sdk.Undo("POST shipping/reservations/cancel", sdk.BodyOf([]string{"${step.key}"}), sdk.Headers{"X-Undo": "yes"}, sdk.DoneOn(404))).
		Step("invoice", sdk.After(), sdk.Do("POST billing/invoices", sdk.Async{Timeout: time.Hour, Event: "invoice.made", Key: "${input.order}", By: "${event.data.order}"}), sdk.UndoNone()).
		Step("lines", sdk.Do("POST shipping/lines", sdk.BodyOf("${item}")), sdk.Undo("POST shipping/lines/void"), sdk.Each("${input.lines}", 4)).
		Step("part", sdk.Child("part", map[string]any{"order": "${input.order}"}), sdk.UndoNone()).
		Step("whole", sdk.Child("whole", nil)).
		Step("charge", sdk.After("reserve", "invoice", "whole"), sdk.Pivot(), sdk.Do("POST billing/charges"),
			sdk.Retries(sdk.Retry{Attempts: 5, Backoff: 500 * time.Millisecond, MaxBackoff: time.Minute}), sdk.AttemptTimeout(10*time.Second),
			sdk.StepOutput(map[string]string{"id": "${answer.body.id}"})).
		Step("paid", sdk.WaitFor(sdk.EventWait{Topic: "payment.settled", Key: "${input.order}", By: "${event.subject}", Timeout: 24 * time.Hour, GoOn: true})).
		Step("pause", sdk.SleepFor(10*time.Minute)).
		Step("grace", sdk.SleepExpr("${duration(input.grace)}")).
		Step("due", sdk.Until("${timestamp(input.due)}")).
		Step("notify", sdk.After("charge"), sdk.When("input.amount > 100 && input.mail"), sdk.Do("POST orders/notices")).
		Output(map[string]string{"invoice": "${steps.invoice.id}"})
}

const everythingJSON = `{"saga":"order-to-cash","owner":"finance","summary":"Takes an order to cash.",
"input":{"type":"object","required":["order","lines","grace","due","amount","mail"],"properties":{"order":{"type":"string"},"lines":{"type":"array"},
"grace":{"type":"string"},"due":{"type":"string"},"amount":{"type":"integer"},"mail":{"type":"boolean"}}},
"start":[{"event":"order.placed","when":"event.data.amount > 0","key":"${event.subject}","input":"${event.data}"},
{"name":"nightly","cron":"0 2 * * *","zone":"UTC","missed":"skip","input":{"order":"x"}}],
"key":"${input.order}","lock":"order/${input.order}","timeout":"24h","keep":"1h30m","steps":[
{"step":"reserve","do":{"call":"POST shipping/reservations","body":{"note":"cost < $${5}","order":"${input.order}"},"headers":{"X-Tenant":"${input.order}"},"refused":[402,409]},
"undo":{"call":"POST shipping/reservations/cancel","body":["${step.key}"],"headers":{"X-Undo":"yes"},"done":[404]}},
{"step":"invoice","do":{"call":"POST billing/invoices","async":{"timeout":"1h","event":"invoice.made","key":"${input.order}","by":"${event.data.order}"}},"undo":"none","after":[]},
{"step":"lines","do":{"call":"POST shipping/lines","body":"${item}"},"undo":"POST shipping/lines/void","each":{"in":"${input.lines}","at_once":4}},
{"step":"part","child":{"saga":"part","input":{"order":"${input.order}"}},"undo":"none"},
{"step":"whole","child":"whole"},
{"step":"charge","do":"POST billing/charges","after":["reserve","invoice","whole"],"pivot":true,"retry":{"attempts":5,"backoff":"500ms","max_backoff":"1m"},"timeout":"10s","output":{"id":"${answer.body.id}"}},
{"step":"paid","wait":{"event":"payment.settled","key":"${input.order}","by":"${event.subject}","timeout":"24h","else":"go-on"}},
{"step":"pause","sleep":"10m"},
{"step":"grace","sleep":"${duration(input.grace)}"},
{"step":"due","until":"${timestamp(input.due)}"},
{"step":"notify","do":"POST orders/notices","after":["charge"],"when":"input.amount > 100 && input.mail"}],
"output":{"invoice":"${steps.invoice.id}"}}`

func TestADefinitionSaysWhatWasSaidAndNothingElse(t *testing.T) {
	got, err := everything().JSON()
	if want := strings.ReplaceAll(everythingJSON, "\n", ""); err != nil || string(got) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
	small, err := sdk.NewSaga("s").Step("a", sdk.Do("b/c"), sdk.UndoNone()).JSON()
	if err != nil || string(small) != `{"saga":"s","steps":[{"step":"a","do":"b/c","undo":"none"}]}` {
		t.Errorf("%s, %v", small, err)
	}
}

func TestWhatGoCannotExpressIsAnErrorThatNamesTheStep(t *testing.T) {
	do := sdk.Do("POST a/b")
	step := func(parts ...sdk.StepOption) *sdk.SagaDefinition { return sdk.NewSaga("s").Step("one", parts...) }
	for want, d := range map[string]*sdk.SagaDefinition{
		"the name of the saga is empty":                 sdk.NewSaga(" ").Step("one", do),
		"saga s: it has no step":                        sdk.NewSaga("s"),
		"the name of a step is empty":                   sdk.NewSaga("s").Step("", do),
		"two steps have the name one":                   step(do).Step("one", do),
		"step one has to be one of Do, Child":           step(sdk.Pivot()),
		"and is 2: [do sleep]":                          step(do, sdk.SleepFor(1)),
		"step one says do twice":                        step(do, do),
		"step one says undo twice":                      step(do, sdk.UndoNone(), sdk.Undo("a/b")),
		"step one says sleep twice":                     step(sdk.SleepFor(1), sdk.SleepExpr("x")),
		"step one: the call is empty":                   step(sdk.Do("")),
		"step one: the call of undo is empty":           step(do, sdk.Undo("")),
		"step one has two bodies in one call":           step(sdk.Do("a/b", sdk.Body{}, sdk.BodyOf(1))),
		"step one: the body: json: unsupported type":    step(sdk.Do("a/b", sdk.BodyOf(make(chan int)))),
		"step one has headers twice":                    step(sdk.Do("a/b", sdk.Headers{}, sdk.Headers{"A": "b"})),
		"the name of a header is empty":                 step(sdk.Do("a/b", sdk.Headers{"": "b"})),
		"step one is async twice":                       step(sdk.Do("a/b", sdk.Async{}, sdk.Async{})),
		"the saga is empty":                             step(sdk.Child("", nil)),
		"the key of the event is empty":                 step(sdk.WaitFor(sdk.EventWait{Topic: "a"})),
		"goes on when its time is over":                 step(sdk.WaitFor(sdk.EventWait{Topic: "a", Key: "b", GoOn: true})),
		"step one is 0s, which is no time":              step(sdk.SleepFor(0)),
		"step one: the timeout is -1ns":                 step(do, sdk.AttemptTimeout(-1)),
		"step one follows a twice":                      step(do, sdk.After("a", "a")),
		"step two and step one are both the pivot":      step(do, sdk.Pivot()).Step("two", do, sdk.Pivot()),
		"the condition of step one is plain CEL":        step(do, sdk.When("${input.x}")),
		"the condition of the start by a is plain CEL":  step(do).StartOn(sdk.StartEvent{Topic: "a", When: "${true}"}),
		"the topic of a start is empty":                 step(do).StartOn(sdk.StartEvent{}),
		"the cron of the schedule a is empty":           step(do).StartAt(sdk.StartSchedule{Name: "a"}),
		"two schedules have the name a":                 step(do).StartAt(sdk.StartSchedule{Name: "a", Cron: "@"}).StartAt(sdk.StartSchedule{Name: "a", Cron: "@"}),
		"owner is said twice":                           step(do).Owner("a").Owner("b"),
		"input is said twice":                           step(do).Input(1).Input(2),
		"keep is said twice":                            step(do).Keep(1).Keep(2),
		"step one has -1 attempts":                      step(do, sdk.Retries(sdk.Retry{Attempts: -1})),
		"step one takes -1 items at once":               step(do, sdk.Each("${x}", -1)),
		"output: json: error calling MarshalJSON":       step(do).Output(json.RawMessage("{")),
		"step one: the list of each is empty":           step(do, sdk.Each("", 0)),
		"step one: the time to wait until is empty":     step(sdk.Until("")),
		"step one: the backoff is -1ns, which is no":    step(do, sdk.Retries(sdk.Retry{Backoff: -1})),
		"step one: the timeout of async is -1ns, which": step(sdk.Do("a/b", sdk.Async{Timeout: -1})),
	} {
		if _, err := d.JSON(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if err := d.WriteFile(filepath.Join(t.TempDir(), "none", "s.json")); err == nil {
			t.Errorf("%s: it was written", want)
		}
	}
}

func TestAFileIsWrittenWholeAndLeftAloneIfItSaysTheSame(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "order-to-cash.yaml")
	if err := everything().WriteFile(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	var got bytes.Buffer
	if err != nil || json.Compact(&got, text) != nil || got.String() != strings.ReplaceAll(everythingJSON, "\n", "") || !bytes.HasSuffix(text, []byte("}\n")) {
		t.Errorf("%v: it has %s", err, text)
	}
	before, err := os.Stat(path)
	if err != nil || before.Mode().Perm() != 0o644 {
		t.Fatal(before.Mode(), err)
	}
	if err := everything().WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("it was written again, %v", err)
	}
	if err := everything().Step("more", sdk.SleepFor(time.Second)).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || !strings.Contains(string(after), `"more"`) {
		t.Errorf("the change is not there, %v", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	if err := everything().WriteFile(filepath.Join(dir, "none", "s.yaml")); err == nil {
		t.Error("it was written into a folder that is not there")
	}
}
