package define_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/saga/define"
	"github.com/atollhq/atoll/sdk"
)

// TestTheBuilderAndYAMLMakeTheSameVersion holds that it does not matter by which of the two a definition was written.
func TestTheBuilderAndYAMLMakeTheSameVersion(t *testing.T) {
	text, err := sdk.NewSaga("order-to-cash").
		Input(json.RawMessage(`{"type":"object","required":["order","amount"],"properties":{"order":{"type":"string"},"amount":{"type":"integer"},
			"price":{"type":"number"},"lines":{"type":"array","items":{"type":"object","properties":{"sku":{"type":"string"}}}}}}`)).
		Key(sdk.Expr("input.order")).Lock("order/"+sdk.Expr("input.order")).
		Step("reserve",
			sdk.Do("POST stock/reservations/${input.order}?q=${input.order}", sdk.Body{"order": sdk.Expr("input.order"), "lines": sdk.Expr("input.lines")}),
			sdk.Undo("POST stock/reservations/cancel", sdk.Body{"key": sdk.Expr("step.key")}, sdk.DoneOn(http.StatusNotFound))).
		Step("invoice",
			sdk.Do("POST billing/invoices", sdk.Body{"order": sdk.Expr("input.order"), "amount": sdk.Expr("input.amount")}),
			sdk.Undo("POST billing/invoices/void")).
		Step("charge", sdk.Pivot(),
			sdk.Do("POST billing/charges", sdk.Body{"order": sdk.Expr("input.order"), "amount": sdk.Expr("steps.invoice.total")}, sdk.RefusedOn(http.StatusPaymentRequired))).
		Step("notify", sdk.When("input.amount > 100"), sdk.Do("POST orders/notices")).
		Step("lines", sdk.Each(sdk.Expr("input.lines"), 0), sdk.Do("POST orders/lines", sdk.Body{"n": sdk.Expr("index"), "sku": sdk.Expr("item.sku")})).
		Step("nap", sdk.SleepFor(10*time.Minute)).
		Step("due", sdk.Until(sdk.Expr("timestamp('2026-01-01T00:00:00Z')"))).
		Output(map[string]any{
			"invoice": sdk.Expr("steps.invoice.id"), "twice": sdk.Expr("input.amount * 2"), "half": sdk.Expr("input.price / 2.0"),
			"first": sdk.Expr("steps.lines[0]"), "started": sdk.Expr("saga.started"),
		}).JSON()
	if err != nil {
		t.Fatal(err)
	}
	built, written := compiled(t, string(text), define.Options{}), compiled(t, orderToCash, define.Options{})
	if built.Hash != written.Hash {
		t.Errorf("the builder's version differs:\n%s\n%s", built.Source, written.Source)
	}
}
