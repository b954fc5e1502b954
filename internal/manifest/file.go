package manifest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

// Limits of what is read, so that a hostile manifest cannot cost more than a moment.
const (
	maxFileBytes = 4 << 20
	maxNodes     = 200_000
	maxDepth     = 64
)

// file is one source file of a manifest.
type file struct {
	name  string // relative to the application's folder
	lines []string
}

// line is source line n, counted from 1, or "".
func (f *file) line(n int) string {
	if n < 1 || n > len(f.lines) {
		return ""
	}
	return f.lines[n-1]
}

// reader reads manifests and remembers which file every node came from.
type reader struct {
	dir     string
	overlay map[string][]byte // contents by relative path, instead of the disk's
	origin  map[*yaml.Node]*file
	visited int // nodes seen by register, aliases counted each time
	faults  fault.List
}

func newReader(dir string, overlay map[string][]byte) *reader {
	return &reader{dir: dir, overlay: overlay, origin: map[*yaml.Node]*file{}}
}

func (r *reader) add(e *fault.Error) { r.faults = append(r.faults, e) }

// abs is the absolute path of one relative to the application's folder.
func (r *reader) abs(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(r.dir, name)
}

// rel is the name that faults give to a path.
func (r *reader) rel(path string) string {
	if name, err := filepath.Rel(r.dir, path); err == nil {
		return filepath.ToSlash(name)
	}
	return path
}

func (r *reader) bytes(name string) ([]byte, error) {
	if text, ok := r.overlay[name]; ok {
		return text, nil
	}
	info, err := os.Stat(r.abs(name))
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a file")
	}
	if info.Size() > maxFileBytes {
		return nil, errors.New("it is larger than 4 MiB")
	}
	return os.ReadFile(r.abs(name))
}

// exists tells whether there is a file or folder of that name.
func (r *reader) exists(name string) bool {
	if _, ok := r.overlay[name]; ok {
		return true
	}
	_, err := os.Stat(r.abs(name))
	return err == nil
}

// read parses one YAML file into its top mapping; nil when it cannot be used, which has been said.
func (r *reader) read(name string) *yaml.Node {
	text, err := r.bytes(name)
	if err != nil {
		why := err.Error()
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			why = pe.Err.Error()
		}
		r.add(fault.New(fault.CodeFileMissing, "%s cannot be read: %s", name, why).
			Fix("write the file, or correct the place that names it").At(fault.Position{File: name}, "").Because(err))
		return nil
	}
	f := &file{name: name, lines: strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")}
	if line := firstBadLine(f.lines); line > 0 {
		r.add(fault.New(fault.CodeBadYAML, "this line is not UTF-8 text").Fix("save the file as UTF-8").
			At(fault.Position{File: name, Line: line, Column: 1}, ""))
		return nil
	}
	var doc, second yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(text))
	if err := documents.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		r.add(syntaxFault(f, err))
		return nil
	}
	if doc.Kind == 0 || len(doc.Content) == 0 {
		first := "app: shop"
		switch path.Base(name) {
		case AppFile:
		case ServiceFile:
			first = "service: orders"
		default:
			first = "saga: order-to-cash"
		}
		r.add(fault.New(fault.CodeBadYAML, "%s is empty", name).Fix("begin with the name, such as %q", first).
			At(fault.Position{File: name, Line: 1, Column: 1}, ""))
		return nil
	}
	switch err := documents.Decode(&second); {
	case err == nil && len(second.Content) > 0:
		line := second.Content[0].Line
		r.add(fault.New(fault.CodeBadYAML, "a second document begins here, and a manifest is one").Fix("take the line --- before it away").
			At(fault.Position{File: name, Line: line, Column: 1}, f.line(line)))
	case err != nil && !errors.Is(err, io.EOF):
		r.add(syntaxFault(f, err))
		return nil
	}
	top := doc.Content[0]
	if !r.register(top, f, 0) {
		r.add(fault.New(fault.CodeBadYAML, "%s is nested too deep or holds too much", name).
			Fix("keep it under %d levels and %d values, with aliases counted each time", maxDepth, maxNodes).
			At(fault.Position{File: name, Line: 1, Column: 1}, ""))
		return nil
	}
	if top.Kind != yaml.MappingNode {
		r.add(r.fault(top, fault.CodeWrongType, "a manifest is a mapping of keys, this is %s", kindOf(top)).
			Fix("write \"key: value\" lines"))
		return nil
	}
	return top
}

func firstBadLine(lines []string) int {
	for i, line := range lines {
		if !utf8.ValidString(line) {
			return i + 1
		}
	}
	return 0
}

// register notes the file of every node and puts the target in the place of each alias. It returns false where
// limits are passed, as a chain of aliases does that grows with each.
func (r *reader) register(n *yaml.Node, f *file, depth int) bool {
	if r.visited++; depth > maxDepth || r.visited > maxNodes {
		return false
	}
	r.origin[n] = f
	for i, child := range n.Content {
		if child.Kind == yaml.AliasNode {
			c := *child.Alias
			c.Content = append([]*yaml.Node(nil), c.Content...)
			c.Line, c.Column = child.Line, child.Column
			child = &c
			n.Content[i] = child
		}
		if !r.register(child, f, depth+1) {
			return false
		}
	}
	return true
}

var yamlErrorLine = regexp.MustCompile(`line ([0-9]+): (.*)`)

// syntaxFault makes a fault of what the YAML library says.
func syntaxFault(f *file, err error) *fault.Error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	pos := fault.Position{File: f.name, Line: 1, Column: 1}
	if m := yamlErrorLine.FindStringSubmatch(text); m != nil {
		pos.Line, _ = strconv.Atoi(m[1])
		pos.Line = min(max(pos.Line, 1), len(f.lines))
		text = m[2]
	}
	source := f.line(pos.Line)
	pos.Column = len(source) - len(strings.TrimLeft(source, " \t")) + 1
	if strings.HasPrefix(strings.TrimLeft(source, " "), "\t") {
		text += "; the line is indented with a tab, which YAML does not allow"
	}
	return fault.New(fault.CodeBadYAML, "this is not valid YAML: %s", text).
		Fix("look at this line and the one before: indentation by spaces, closed quotes and brackets, a space after each colon").
		At(pos, source)
}

// position is where a node stands. The width covers a scalar's text where that is on one line.
func (r *reader) position(n *yaml.Node) (fault.Position, string) {
	f := r.origin[n]
	if f == nil {
		return fault.Position{}, ""
	}
	p := fault.Position{File: f.name, Line: n.Line, Column: n.Column, Width: 1}
	source := f.line(n.Line)
	if n.Kind == yaml.ScalarNode {
		p.Width = max(1, utf8.RuneCountInString(n.Value))
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			p.Width += 2
		}
		p.Width = max(1, min(p.Width, utf8.RuneCountInString(source)-n.Column+1))
	}
	return p, source
}

// fault is a fault that stands at a node.
func (r *reader) fault(n *yaml.Node, code fault.Code, format string, args ...any) *fault.Error {
	return fault.New(code, format, args...).At(r.position(n))
}

// warn is a warning that stands at a node.
func (r *reader) warn(n *yaml.Node, code fault.Code, format string, args ...any) *fault.Error {
	return fault.Warn(code, format, args...).At(r.position(n))
}

// kindOf describes a node for users.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	}
	return "text"
}

// lookup walks down from a mapping by keys (text) and list positions (int). What is not there is answered by the
// last node on the way, so that a fault always has a place.
func lookup(n *yaml.Node, path ...any) *yaml.Node {
	for _, step := range path {
		next := (*yaml.Node)(nil)
		switch step := step.(type) {
		case string:
			next = value(n, step)
		case int:
			if n.Kind == yaml.SequenceNode && step < len(n.Content) {
				next = n.Content[step]
			} else if step == 0 && n.Kind != yaml.SequenceNode {
				next = n // a list of one, written as its item
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// value is the value of a key of a mapping, or nil.
func value(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// keyNode is the node of a key itself, or the mapping's where there is none.
func keyNode(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i]
		}
	}
	return n
}
