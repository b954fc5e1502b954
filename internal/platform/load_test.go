package platform_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/platform"
)

// What atoll check says of sagas comes from here: expressions are held against the contract of the service and the schema of the topic.
func TestLoadFindsWhatIsWrongWithSagas(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("atoll.yaml", "app: shop\nservices: services/*\nsagas: sagas/*.yaml\n")
	write("services/stock/service.yaml", "service: stock\nrun: x\napi: openapi.yaml\npublishes: [{topic: stock.low, schema: low.json}]\n")
	write("services/stock/low.json", `{"type": "object", "properties": {"sku": {"type": "string"}}}`)
	write("services/stock/openapi.yaml", "openapi: 3.1.0\npaths:\n  /orders:\n    post:\n      responses: {200: {content: {application/json: {schema: {type: object, properties: {id: {type: string}}}}}}}\n")
	write("services/old/service.yaml", "service: old\nrun: x\napi: api.json\n")
	write("services/old/api.json", `{"swagger": "2.0"}`)
	write("sagas/refill.yaml", `saga: refill
start: {event: stock.low, when: event.data.skuu != ""}
steps:
  - {step: order, do: POST stock/orders, undo: none}
  - {step: tell, do: {call: POST old/orders, body: "${steps.order.idd}"}, undo: none}
`)
	_, faults := platform.Load(dir, nil)
	for _, want := range []string{
		"sagas/refill.yaml:2:44: event.data.skuu != \"\": there is no skuu in the data of stock.low (saga-expression)",
		"sagas/refill.yaml:5:67: ${steps.order.idd}: there is no idd in the answer of POST stock/orders (saga-expression)",
		"services/old/service.yaml:1:10: api.json, the contract of old, is no OpenAPI document that is understood, so that calls of sagas are not held against it (contract-invalid)",
	} {
		if !strings.Contains(faults.Error(), want) {
			t.Errorf("%s\nis not among\n%s", want, faults)
		}
	}
	if !faults.HasErrors() || len(faults) != 3 {
		t.Errorf("%d faults", len(faults))
	}
	write("sagas/refill.yaml", "saga: refill\nsteps: [{step: order, do: POST stock/orders, undo: none}]\n")
	if _, faults := platform.Load(dir, nil); faults.HasErrors() || len(faults) > 1 || len(faults) == 1 && faults[0].Code != fault.CodeServiceUnreachable {
		t.Error(faults)
	}
}
