package manifest

import (
	"encoding/json"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

// json fills a JSON from any value. Keys keep their order, and texts may hold variables.
func (d *decoder) json(n *yaml.Node, v reflect.Value, f field) {
	before := len(d.faults)
	var b strings.Builder
	d.writeJSON(&b, n, f)
	if len(d.faults) == before {
		v.SetString(b.String())
	}
}

func (d *decoder) writeJSON(b *strings.Builder, n *yaml.Node, f field) {
	switch n.Kind {
	case yaml.MappingNode:
		d.writeObject(b, n, f)
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			d.writeJSON(b, item, f)
		}
		b.WriteByte(']')
	default:
		d.writeScalar(b, n, f)
	}
}

func (d *decoder) writeObject(b *strings.Builder, n *yaml.Node, f field) {
	seen := map[string]bool{}
	b.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			d.wrongType(key, field{key: "a key", typ: reflect.TypeFor[string]()}, "text")
			return
		}
		if seen[key.Value] {
			d.add(d.fault(key, fault.CodeDuplicateKey, "%s stands here a second time", key.Value).Fix("keep one of the two"))
		}
		seen[key.Value] = true
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quoteJSON(key.Value))
		b.WriteByte(':')
		d.writeJSON(b, n.Content[i+1], f)
	}
	b.WriteByte('}')
}

// writeScalar writes what YAML knows as a null, truth value or number as such, and all else as text.
func (d *decoder) writeScalar(b *strings.Builder, n *yaml.Node, f field) {
	switch n.ShortTag() {
	case "!!null":
		b.WriteString("null")
		return
	case "!!bool", "!!int", "!!float":
		var v any
		if n.Decode(&v) == nil {
			if text, err := json.Marshal(v); err == nil { // not so for .inf and .nan
				b.Write(text)
				return
			}
		}
		d.add(d.fault(n, fault.CodeBadValue, "JSON has no value for %s", n.Value).Fix("write a number, or put it in quotes"))
		return
	}
	if text, ok := d.expand(n, f); ok {
		b.WriteString(quoteJSON(text))
	}
}

// quoteJSON is a text as JSON.
func quoteJSON(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		panic("manifest: a text does not marshal: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}
