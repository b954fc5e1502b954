package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// bundle gathers schema files as components of one document. In a document, a reference that begins with # is read from the
// document's top, so each reference is written anew: to where the bundle has what it means.
type bundle struct {
	dir       string
	schemas   *yaml.Node       // components.schemas
	resources map[string]place // by URL: files, subschemas with an $id, and anchors
	links     []link
}

// place is where the bundle has a schema.
type place struct{ component, path string }

// step is a place below, by a key or a number.
func (p place) step(name string) place {
	name = strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	return place{p.component, p.path + "/" + url.PathEscape(name)}
}

// link is a reference that is yet to be written.
type link struct {
	node *yaml.Node
	to   string // URL, resolved
	file string
}

func (b *bundle) add(name string, schema *yaml.Node) { set(b.schemas, name, schema) }

// file puts a schema file into the bundle, where it is not there yet, and returns the name of its component.
func (b *bundle) file(path string) (string, error) {
	base := fileURL(path)
	if p, ok := b.resources[base]; ok {
		return p.component, nil
	}
	text, err := loader{b.dir, filepath.Dir(path)}.read(path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	schema, err := jsonNode(d)
	if err != nil {
		return "", fmt.Errorf("parse %s: %w", path, err)
	}
	name := b.name(path)
	top := place{name, "/schema"}
	b.resources[base] = top
	component := mapping()
	set(component, "schemaFormat", formatOf(schema))
	b.scan(schema, base, path, top)
	set(component, "schema", schema)
	b.add(name, component)
	return name, nil
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// name is a name for a file's component: its path in the application's folder, of letters that such names may have.
func (b *bundle) name(path string) string {
	path = strings.TrimSuffix(relative(b.dir, fileURL(path)), ".json")
	base := strings.Trim(notInName.ReplaceAllString(path, "_"), "_.")
	for i := 1; ; i++ {
		name := base
		if i > 1 {
			name += "_" + strconv.Itoa(i)
		}
		taken := name == envelope
		for _, p := range b.resources {
			taken = taken || p.component == name
		}
		if !taken {
			return name
		}
	}
}

// formatOf is the media type of a schema by its draft.
func formatOf(schema *yaml.Node) string {
	draft := text(schema, "$schema")
	for _, version := range []string{"draft-04", "draft-06", "draft-07"} {
		if strings.Contains(draft, "/"+version+"/") {
			return "application/schema+json;version=" + version
		}
	}
	if strings.Contains(draft, "/2019-09/") {
		return "application/schema+json;version=draft-2019-09"
	}
	return "application/schema+json;version=draft-2020-12"
}

// scan walks a schema, notes what can be referred to and what refers, and takes identifiers away, which would lead readers
// of the document elsewhere.
func (b *bundle) scan(n *yaml.Node, base, file string, at place) {
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			b.scan(item, base, file, at.step(strconv.Itoa(i)))
		}
	case yaml.MappingNode:
		b.object(n, base, file, at)
	default:
	}
}

func (b *bundle) object(n *yaml.Node, base, file string, at place) {
	if id := text(n, "$id"); id != "" && !strings.HasPrefix(id, "#") {
		base = resolve(base, id)
		b.resources[base] = at
	}
	for _, key := range []string{"$anchor", "$dynamicAnchor"} {
		if anchor := text(n, key); anchor != "" {
			b.resources[base+"#"+anchor] = at
		}
	}
	kept := n.Content[:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		switch {
		case v.Kind == yaml.ScalarNode && (key.Value == "$ref" || key.Value == "$dynamicRef"):
			key.SetString("$ref")
			b.links = append(b.links, link{v, resolve(base, v.Value), file})
		case v.Kind == yaml.ScalarNode && (key.Value == "$id" || key.Value == "$anchor" || key.Value == "$dynamicAnchor"):
			continue
		case isData(key.Value):
		case isMap(key.Value) && v.Kind == yaml.MappingNode:
			b.scanValues(v, base, file, at.step(key.Value))
		default:
			b.scan(v, base, file, at.step(key.Value))
		}
		kept = append(kept, key, v)
	}
	n.Content = kept
}

// scanValues walks the schemas of a mapping whose keys are names.
func (b *bundle) scanValues(n *yaml.Node, base, file string, at place) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		b.scan(n.Content[i+1], base, file, at.step(n.Content[i].Value))
	}
}

// isData tells whether a keyword holds data, in which nothing is a reference.
func isData(keyword string) bool {
	return keyword == "const" || keyword == "enum" || keyword == "default" || keyword == "examples"
}

// isMap tells whether a keyword holds schemas by names of the author's choice.
func isMap(keyword string) bool {
	switch keyword {
	case "properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions":
		return true
	}
	return false
}

// link writes every reference, and puts the files that they lead to into the bundle.
func (b *bundle) link() error {
	for len(b.links) > 0 {
		l := b.links[0]
		b.links = b.links[1:]
		path, err := b.target(l)
		if err != nil {
			return err
		}
		l.node.SetString("#/components/schemas/" + path)
	}
	return nil
}

// target is where the bundle has what a reference means.
func (b *bundle) target(l link) (string, error) {
	address, fragment, _ := strings.Cut(l.to, "#")
	if _, ok := b.resources[address]; !ok {
		if err := b.follow(l, address); err != nil {
			return "", err
		}
	}
	if p, ok := b.resources[l.to]; ok {
		return p.component + p.path, nil
	}
	if !strings.HasPrefix(fragment, "/") {
		return "", broken(b.dir, "the document", l.file, &jsonschema.AnchorNotFoundError{URL: l.to, Reference: l.to})
	}
	p := b.resources[address]
	return p.component + p.path + fragment, nil
}

// follow puts the file that a reference leads to into the bundle.
func (b *bundle) follow(l link, address string) error {
	path, err := jsonschema.FileLoader{}.ToFile(address)
	if err == nil {
		_, err = b.file(filepath.FromSlash(path))
	}
	if err != nil {
		return broken(b.dir, "the document", l.file, &jsonschema.LoadURLError{URL: address, Err: err})
	}
	return nil
}

func resolve(base, ref string) string {
	b, err := url.Parse(base)
	if err != nil {
		return ref
	}
	r, err := b.Parse(ref)
	if err != nil {
		return ref
	}
	return strings.TrimSuffix(r.String(), "#")
}

// value is the value of a key of a mapping, or nil.
func value(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// text is the text of a key of a mapping, or "".
func text(n *yaml.Node, key string) string {
	if v := value(n, key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

// jsonNode reads a JSON value as a node, its keys in their order.
func jsonNode(d *json.Decoder) (*yaml.Node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case json.Delim:
		return jsonCompound(d, v)
	case json.Number:
		tag := "!!int"
		if strings.ContainsAny(v.String(), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: v.String()}, nil
	default:
		n := &yaml.Node{}
		if err := n.Encode(v); err != nil {
			return nil, err
		}
		return n, nil
	}
}

// jsonCompound reads the rest of an object or array.
func jsonCompound(d *json.Decoder, open json.Delim) (*yaml.Node, error) {
	n := mapping()
	if open == '[' {
		n = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	}
	for d.More() {
		child, err := jsonNode(d)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, child)
	}
	_, err := d.Token()
	return n, err
}
