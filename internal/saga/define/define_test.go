package define_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/define"
)

// compiled compiles a saga that is written as a person writes it.
func compiled(tb testing.TB, text string, o define.Options) *saga.Plan {
	tb.Helper()
	app, faults := manifest.Load(tb.TempDir(), &manifest.Options{Overlay: map[string][]byte{
		"atoll.yaml": []byte("app: shop\nservices: [{service: stock, run: x}, {service: billing, run: x}, {service: orders, run: x}]\nsagas: [saga.yaml, s2.yaml]\n"),
		"saga.yaml":  []byte(text),
		"s2.yaml":    []byte("saga: s2\nsteps: {step: x, sleep: 1s}\n"),
	}})
	if faults.HasErrors() {
		tb.Fatal(faults)
	}
	at := slices.IndexFunc(app.Sagas, func(s *manifest.Saga) bool { return s.File == "saga.yaml" })
	plan, faults := define.Compile(app.Sagas[at], o)
	if faults.HasErrors() {
		var b strings.Builder
		_ = faults.Render(&b, false)
		tb.Fatal(b.String())
	}
	return plan
}

const orderToCash = `
saga: order-to-cash
input:
  type: object
  required: [order, amount]
  properties: {order: {type: string}, amount: {type: integer}, price: {type: number}, lines: {type: array, items: {type: object, properties: {sku: {type: string}}}}}
key: "${input.order}"
lock: "order/${input.order}"
steps:
  - step: reserve
    do: {call: "POST stock/reservations/${input.order}?q=${input.order}", body: {order: "${input.order}", lines: "${input.lines}"}}
    undo: {call: POST stock/reservations/cancel, body: {key: "${step.key}"}, done: [404]}
  - step: invoice
    do: {call: POST billing/invoices, body: {order: "${input.order}", amount: "${input.amount}"}}
    undo: POST billing/invoices/void
  - step: charge
    pivot: true
    do: {call: POST billing/charges, body: {order: "${input.order}", amount: "${steps.invoice.total}"}, refused: [402]}
  - {step: notify, when: "input.amount > 100", do: POST orders/notices}
  - {step: lines, each: {in: "${input.lines}"}, do: {call: POST orders/lines, body: {n: "${index}", sku: "${item.sku}"}}}
  - {step: nap, sleep: 10m}
  - {step: due, until: "${timestamp('2026-01-01T00:00:00Z')}"}
output: {invoice: "${steps.invoice.id}", twice: "${input.amount * 2}", half: "${input.price / 2.0}", first: "${steps.lines[0]}", started: "${saga.started}"}
`

func scope() *saga.Scope {
	return &saga.Scope{
		Input: json.RawMessage(`{"order":"o/1","amount":120,"price":5,"lines":[{"sku":"a"},{"sku":"b"}]}`),
		Steps: map[string]json.RawMessage{"invoice": json.RawMessage(`{"id":"i1","total":99.5}`), "lines": json.RawMessage(`[{"a":1},2]`)},
		Saga:  saga.Info{ID: "s1", Name: "order-to-cash", Key: "o/1", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		Key:   "s1/reserve/do",
		Item:  json.RawMessage(`{"sku":"a"}`),
	}
}

func TestAPlanIsWhatTheDefinitionSays(t *testing.T) {
	plan := compiled(t, orderToCash, define.Options{})
	sc := scope()
	value := func(tpl saga.Template) string {
		t.Helper()
		v, err := tpl.Value(sc)
		if err != nil {
			t.Fatal(err)
		}
		return string(v)
	}
	text := func(x saga.Text) string {
		t.Helper()
		v, err := x.Text(sc)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ got, want string }{
		{text(plan.Key), "o/1"},
		{text(plan.Lock), "order/o/1"},
		{text(plan.Steps[0].Do.Path), "/reservations/o%2F1?q=o%2F1"},
		{value(plan.Steps[0].Do.Body), `{"lines":[{"sku":"a"},{"sku":"b"}],"order":"o/1"}`},
		{value(plan.Steps[0].Undo.Body), `{"key":"s1/reserve/do"}`},
		{value(plan.Steps[1].Undo.Body), string(sc.Input)},
		{value(plan.Steps[2].Do.Body), `{"amount":99.5,"order":"o/1"}`},
		{value(plan.Steps[4].Do.Body), `{"n":0,"sku":"a"}`},
		{value(plan.Output), `{"first":{"a":1},"half":2.5,"invoice":"i1","started":"2026-01-02T03:04:05Z","twice":240}`},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	if holds, err := plan.Steps[3].When.Holds(sc); !holds || err != nil {
		t.Errorf("when: %v, %v", holds, err)
	}
	again, err := define.Decode(plan.Source)
	if err != nil {
		t.Fatal(err)
	}
	second, faults := define.Compile(again, define.Options{})
	if faults.HasErrors() || second.Hash != plan.Hash || !bytes.Equal(second.Source, plan.Source) {
		t.Errorf("decoded from its source the plan is another: %v", faults)
	}
}

// A body as most are: what is selected of the input and of earlier answers. Each evaluation is of a scope that knows nothing yet.
func BenchmarkBody(b *testing.B) {
	for name, body := range map[string]string{
		"constant":   `{order: x, amount: 1}`,
		"selections": `{order: "${input.order}", amount: "${steps.invoice.total}"}`,
		"text":       `{order: "order/${input.order}", amount: "${steps.invoice.total}"}`,
		"computed":   `{order: "${input.order}", amount: "${steps.invoice.total * 2}"}`,
	} {
		b.Run(name, func(b *testing.B) {
			plan := compiled(b, strings.Replace(orderToCash, `{order: "${input.order}", amount: "${steps.invoice.total}"}`, body, 1), define.Options{})
			fresh := *scope()
			b.ReportAllocs()
			for b.Loop() {
				sc := fresh
				if _, err := plan.Steps[2].Do.Body.Value(&sc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCondition(b *testing.B) {
	plan := compiled(b, orderToCash, define.Options{})
	fresh := *scope()
	b.ReportAllocs()
	for b.Loop() {
		sc := fresh
		if _, err := plan.Steps[3].When.Holds(&sc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	plan := compiled(b, orderToCash, define.Options{})
	b.ReportAllocs()
	for b.Loop() {
		if _, faults := define.Compile(plan.Saga, define.Options{}); faults != nil {
			b.Fatal(faults)
		}
	}
}
