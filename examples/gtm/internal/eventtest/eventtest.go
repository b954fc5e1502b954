// Package eventtest stands in for the bus in tests of a service: it delivers events, and shows what was published.
package eventtest

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Deliver sends an event to h as the bus does, and returns the status of the answer: 2xx accepts it; 400, 410 and 422 say
// never; all else has it delivered again.
func Deliver(t *testing.T, h http.Handler, path, id string, data any) int {
	t.Helper()
	body, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader(body))
	for name, value := range map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "/services/test", "Ce-Type": "test",
		"Content-Type": "application/json", "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	} {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// Event is one that was published.
type Event struct {
	Topic string
	Key   string
	Data  json.RawMessage
	At    string // before when nobody gets it, RFC 3339; "" is at once
}

// Outbox are the events in the outbox of a SQLite file, in the order in which they were put there.
func Outbox(t *testing.T, path string) (events []Event) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=query_only(1)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), `SELECT topic, coalesce(ordering_key, ''), data, coalesce(deliver_at, '')
		FROM atoll_outbox ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var e Event
		var data []byte
		if err := rows.Scan(&e.Topic, &e.Key, &data, &e.At); err != nil {
			t.Fatal(err)
		}
		e.Data = data
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return events
}

// Conforms fails the test if an event's data do not fit the JSON Schema in a file, as the bus would refuse it.
func Conforms(t *testing.T, file string, data []byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s: %v\n%s", file, err, data)
	}
}
