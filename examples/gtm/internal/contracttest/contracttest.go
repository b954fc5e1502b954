// Package contracttest holds a service to its contract: every answer that a test sees must be documented in the
// service's OpenAPI document, and every documented operation must be seen.
package contracttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Contract is an OpenAPI 3.1 document. Of JSON Schema it knows what the contracts here use: $ref, type,
// required, properties, additionalProperties, items, enum.
type Contract struct {
	t     *testing.T
	paths map[string]map[string]any
	doc   map[string]any

	mu   sync.Mutex // guards seen
	seen map[string]bool
}

// Load reads a contract.
func Load(t *testing.T, file string) *Contract {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &Contract{t: t, seen: map[string]bool{}}
	if err := yaml.Unmarshal(text, &c.doc); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	c.paths = map[string]map[string]any{}
	for path, item := range object(c.doc["paths"]) {
		c.paths[path] = object(item)
	}
	return c
}

// Client is an HTTP client whose every exchange is held to the contract. It follows no redirects.
func (c *Contract) Client() *http.Client {
	return &http.Client{Transport: c, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// RoundTrip implements http.RoundTripper.
func (c *Contract) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var body []byte
	if media != "text/event-stream" { // a stream has no end to wait for
		if body, err = io.ReadAll(resp.Body); err != nil {
			return nil, err
		}
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	if err := c.check(req.Method, req.URL.Path, resp.StatusCode, media, body); err != nil {
		c.t.Errorf("the contract is not true: %s %s: %v\n%.500s", req.Method, req.URL.Path, err, body)
	}
	return resp, nil
}

// AllSeen fails the test for every documented operation that no request has reached.
func (c *Contract) AllSeen() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, item := range c.paths {
		for method := range item {
			if name := strings.ToUpper(method) + " " + path; method != "parameters" && !c.seen[name] {
				c.t.Errorf("%s is documented and not tested", name)
			}
		}
	}
}

func (c *Contract) check(method, path string, status int, media string, body []byte) error {
	template, ok := c.find(path)
	if !ok {
		if status == http.StatusNotFound {
			return nil
		}
		return fmt.Errorf("answers %d at a path that is not documented", status)
	}
	operation := object(c.paths[template][strings.ToLower(method)])
	if operation == nil {
		if status == http.StatusMethodNotAllowed {
			return nil
		}
		return fmt.Errorf("answers %d to a method that is not documented", status)
	}
	c.mu.Lock()
	c.seen[method+" "+template] = true
	c.mu.Unlock()
	responses := object(operation["responses"])
	response := c.resolve(responses[fmt.Sprint(status)])
	if response == nil {
		response = c.resolve(responses["default"])
	}
	if response == nil {
		return fmt.Errorf("status %d is not documented", status)
	}
	content := object(response["content"])
	if content == nil {
		return nil
	}
	form := object(content[media])
	if form == nil {
		return fmt.Errorf("status %d with media type %q is not documented", status, media)
	}
	if !strings.HasSuffix(media, "json") {
		return nil
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return err
	}
	return c.conforms(form["schema"], value, "body")
}

// find is the template that a path matches; one without parameters goes before one with.
func (c *Contract) find(path string) (string, bool) {
	if _, ok := c.paths[path]; ok {
		return path, true
	}
	have := strings.Split(path, "/")
	for template := range c.paths {
		want := strings.Split(template, "/")
		if slices.EqualFunc(want, have, func(w, h string) bool { return w == h || strings.HasPrefix(w, "{") }) {
			return template, true
		}
	}
	return "", false
}

func (c *Contract) resolve(v any) map[string]any {
	o := object(v)
	ref, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	at := any(c.doc)
	for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at = object(at)[name]
	}
	return c.resolve(at)
}

func (c *Contract) conforms(schema, value any, at string) error {
	if schema == true { // anything
		return nil
	}
	s := c.resolve(schema)
	if s == nil {
		return fmt.Errorf("%s: no schema", at)
	}
	if types := list(s["type"]); len(types) > 0 && !slices.ContainsFunc(types, func(t any) bool { return isType(t, value) }) {
		return fmt.Errorf("%s is %T, documented is %v", at, value, types)
	}
	if enum := list(s["enum"]); len(enum) > 0 && value != nil && !slices.ContainsFunc(enum, func(e any) bool { return e == value }) {
		return fmt.Errorf("%s is %v, documented is one of %v", at, value, enum)
	}
	switch v := value.(type) {
	case map[string]any:
		return c.conformsObject(s, v, at)
	case []any:
		for i, element := range v {
			if err := c.conforms(s["items"], element, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Contract) conformsObject(s, v map[string]any, at string) error {
	for _, name := range list(s["required"]) {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Errorf("%s lacks %q", at, name)
		}
	}
	properties := object(s["properties"])
	for name, element := range v {
		schema, ok := properties[name]
		if !ok {
			schema, ok = s["additionalProperties"]
		}
		if !ok {
			return fmt.Errorf("%s has %q, which is not documented", at, name)
		}
		if err := c.conforms(schema, element, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func isType(name, value any) bool {
	switch v := value.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || (name == "integer" && v == float64(int64(v)))
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}

func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

func list(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	if v == nil {
		return nil
	}
	return []any{v}
}
