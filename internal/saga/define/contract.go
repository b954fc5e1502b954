package define

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Contract is an OpenAPI document (3.0 or 3.1) of a service, as far as expressions and calls are held against it: its paths, and
// the JSON that goes in and comes out. References are followed within the document only.
type Contract struct {
	service string
	root    any
	base    []string // paths of its servers
	paths   map[string]map[string]any
}

// maxContract is the size of the largest document that is read.
const maxContract = 4 << 20

// ReadContract reads the OpenAPI document of a service, in YAML or JSON.
func ReadContract(service string, text []byte) (*Contract, error) {
	if len(text) > maxContract {
		return nil, errors.New("it is larger than 4 MiB")
	}
	root, err := ReadDocument(text)
	if err != nil {
		return nil, err
	}
	if version, _ := root["openapi"].(string); !strings.HasPrefix(version, "3.") {
		return nil, errors.New("it does not say openapi: 3.0 or 3.1")
	}
	c := &Contract{service: service, root: root, paths: map[string]map[string]any{}, base: []string{""}}
	servers, _ := root["servers"].([]any)
	for _, one := range servers {
		server, _ := one.(map[string]any)
		address, _ := server["url"].(string)
		if _, rest, ok := strings.Cut(address, "://"); ok {
			_, address, _ = strings.Cut(rest, "/")
			address = "/" + address
		}
		if base := strings.TrimSuffix(address, "/"); base != "" && !slices.Contains(c.base, base) {
			c.base = append(c.base, base)
		}
	}
	paths, _ := root["paths"].(map[string]any)
	for path, item := range paths {
		if _, fields, ok := (schema{node: item, root: root}).resolve(); ok {
			c.paths[path] = fields
		}
	}
	return c, nil
}

// ReadDocument reads a mapping, in YAML or JSON, in which all keys are text.
func ReadDocument(text []byte) (map[string]any, error) {
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("parse YAML: %w", err)
	}
	root, ok := textKeys(doc, 0).(map[string]any)
	if !ok {
		return nil, errors.New("it is not a mapping")
	}
	return root, nil
}

// textKeys is a document whose mappings have text for keys, such as "200" of responses.
func textKeys(v any, depth int) any {
	if depth > maxNesting {
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		for key, one := range v {
			v[key] = textKeys(one, depth+1)
		}
		return v
	case map[any]any:
		out := make(map[string]any, len(v))
		for key, one := range v {
			out[fmt.Sprint(key)] = textKeys(one, depth+1)
		}
		return out
	case []any:
		for i := range v {
			v[i] = textKeys(v[i], depth+1)
		}
		return v
	}
	return v
}

// operation is what a service does at a path by a method.
type operation struct {
	name   string // POST billing/invoices
	fields map[string]any
	root   any
}

func methodNames() []string { return []string{"get", "head", "post", "put", "patch", "delete"} }

// find looks for the operation of a call, whose path has {} for each segment that holds an expression. Otherwise it says what there
// is instead.
func (c *Contract) find(method, path string) (op *operation, why, remedy string) {
	var others []string
	for _, base := range c.base {
		rest, ok := strings.CutPrefix(path, base)
		if !ok {
			continue
		}
		for _, written := range slices.Sorted(maps.Keys(c.paths)) { // literal segments sort before {parameters}
			if !samePath(written, rest) {
				continue
			}
			fields, ok := c.paths[written][strings.ToLower(method)].(map[string]any)
			if ok {
				return &operation{name: method + " " + c.service + path, fields: fields, root: c.root}, "", ""
			}
			for _, m := range methodNames() {
				if _, ok := c.paths[written][m]; ok {
					others = append(others, strings.ToUpper(m))
				}
			}
		}
	}
	if len(others) > 0 {
		return nil, fmt.Sprintf("the contract of %s has no %s %s", c.service, method, path), "the methods there are " + strings.Join(others, ", ")
	}
	return nil, fmt.Sprintf("the contract of %s has no path %s", c.service, path), meant(path, slices.Sorted(maps.Keys(c.paths)), "the paths are")
}

// samePath tells whether a path of a contract, with {name} for parameters, is that of a call.
func samePath(written, call string) bool {
	a, b := strings.Split(written, "/"), strings.Split(call, "/")
	return slices.EqualFunc(a, b, func(x, y string) bool { return x == y || strings.Contains(x, "{") && y != "" })
}

// media is the schema of the JSON of a requestBody or response.
func (o *operation) media(node any, name string) schema {
	_, fields, ok := schema{node: node, root: o.root}.resolve()
	if !ok {
		return schema{}
	}
	content, _ := fields["content"].(map[string]any)
	for _, kind := range slices.Sorted(maps.Keys(content)) {
		mediaType, _, _ := strings.Cut(kind, ";")
		if mediaType == "application/json" || strings.HasSuffix(mediaType, "+json") && mediaType != "application/problem+json" {
			one, _ := content[kind].(map[string]any)
			return schema{node: one["schema"], root: o.root, name: name}
		}
	}
	return schema{}
}

// request is the schema of the body that is sent.
func (o *operation) request() schema {
	return o.media(o.fields["requestBody"], "the body of "+o.name)
}

// answer is the schema of the body that comes back with 2xx, where it is one.
func (o *operation) answer() schema {
	responses, _ := o.fields["responses"].(map[string]any)
	var found []schema
	for _, status := range slices.Sorted(maps.Keys(responses)) {
		if strings.HasPrefix(status, "2") {
			found = append(found, o.media(responses[status], "the answer of "+o.name))
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	return schema{}
}
