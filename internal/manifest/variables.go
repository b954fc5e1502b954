package manifest

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

// variables is what ${env.NAME} can name. One that is not set and has no default (${env.NAME:-default}) is a
// fault, since an empty string in its place would be found much later.
type variables struct{ env map[string]string }

// A reference is ${env.NAME}, ${env.NAME:-default}, ${calls.NAME.url} or ${calls.NAME.addr}; $${ stands for ${.
var (
	referenceForm = regexp.MustCompile(`\$?\$\{([^}]*)\}?`)
	envForm       = regexp.MustCompile(`^env\.([A-Za-z_][A-Za-z0-9_]*)(:-(.*))?$`)
	callForm      = regexp.MustCompile(`^calls\.([a-z][a-z0-9-]*)\.(url|addr)$`)
)

func (d *decoder) hasVariable(text string) bool { return !d.literal && strings.Contains(text, "${") }

// expand puts the environment's variables into a scalar's text. References to calls stay where they may stand,
// which is in env and run: their addresses are known when the application runs. In build and run, what is not
// Atoll's is left for the shell. It returns false where a reference is at fault, which has been said.
func (d *decoder) expand(n *yaml.Node, f field) (string, bool) {
	if !d.hasVariable(n.Value) {
		return n.Value, true
	}
	before := len(d.faults)
	shell := f.key == "run" || f.key == "build"
	calls := f.key == "run" || strings.HasPrefix(f.key, "env.")
	text := referenceForm.ReplaceAllStringFunc(n.Value, func(ref string) string {
		name := strings.TrimSuffix(strings.TrimLeft(ref, "$")[1:], "}")
		closed := strings.HasSuffix(ref, "}")
		switch {
		case !closed && !shell:
		case !closed && (strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "calls.")):
		case strings.HasPrefix(ref, "$$"):
			if calls || shell {
				return ref // the escape is undone when the application runs
			}
			return ref[1:]
		case callForm.MatchString(name) && calls:
			return ref
		case envForm.MatchString(name):
			return d.variable(n, ref, envForm.FindStringSubmatch(name))
		case shell && !strings.HasPrefix(name, "env.") && !strings.HasPrefix(name, "calls."):
			return ref
		}
		d.add(d.reference(n, ref, fault.CodeUnknownVariable, "%s names nothing that can stand here", ref).
			Fix("write ${env.NAME}%s; $${ stands for a plain ${", map[bool]string{
				true: ", ${calls.SERVICE.url} or ${calls.SERVICE.addr}", false: "",
			}[calls]))
		return ref
	})
	return text, len(d.faults) == before
}

func (d *decoder) variable(n *yaml.Node, ref string, m []string) string {
	if v, ok := d.vars.env[m[1]]; ok {
		return v
	}
	if m[2] == "" {
		d.add(d.reference(n, ref, fault.CodeVariableUnset, "the environment variable %s is not set", m[1]).
			Fix("set it, put a line %s=… into .env, or give a default: ${env.%s:-default}", m[1], m[1]))
	}
	return m[3]
}

// reference is a fault that stands at a reference within a scalar, where that is on one line.
func (d *decoder) reference(n *yaml.Node, ref string, code fault.Code, format string, args ...any) *fault.Error {
	pos, source := d.position(n)
	if before, _, ok := strings.Cut(source, ref); ok {
		pos.Column = utf8.RuneCountInString(before) + 1
		pos.Width = utf8.RuneCountInString(ref)
	}
	return fault.New(code, format, args...).At(pos, source)
}

// References lists the calls that a text of env or run names by ${calls.NAME.…}.
func References(text string) []string {
	var names []string
	for _, m := range referenceForm.FindAllStringSubmatch(text, -1) {
		if c := callForm.FindStringSubmatch(m[1]); c != nil && !strings.HasPrefix(m[0], "$$") {
			names = append(names, c[1])
		}
	}
	return names
}

// ExpandCalls puts addresses in the place of ${calls.NAME.url} and ${calls.NAME.addr}, and ${ in the place of
// $${. addr answers host:port of a service that may be called.
func ExpandCalls(text string, addr func(service string) string) string {
	return referenceForm.ReplaceAllStringFunc(text, func(ref string) string {
		if strings.HasPrefix(ref, "$$") {
			return ref[1:]
		}
		m := callForm.FindStringSubmatch(strings.TrimSuffix(strings.TrimPrefix(ref, "${"), "}"))
		switch {
		case m == nil:
			return ref
		case m[2] == "url":
			return "http://" + addr(m[1])
		default:
			return addr(m[1])
		}
	})
}

// CallVariable is the beginning of the names of the variables that a call gives: ORDER_LINES of order-lines.
func CallVariable(service string) string {
	return strings.ToUpper(strings.ReplaceAll(service, "-", "_"))
}

// readDotEnv reads .env: NAME=value lines, with comments, quotes and a leading "export" as shells have them.
func (r *reader) readDotEnv() map[string]string {
	env := map[string]string{}
	text, err := r.bytes(".env")
	if err != nil {
		return env
	}
	for i, line := range strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n") {
		entry := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "export "))
		if entry == "" || strings.HasPrefix(entry, "#") {
			continue
		}
		name, value, err := dotEnvEntry(entry)
		if err != nil {
			r.add(fault.New(fault.CodeBadDotEnv, "this line of .env cannot be read: %s", err).
				Fix("write NAME=value, with quotes around a value that holds spaces or #").
				At(fault.Position{File: ".env", Line: i + 1, Column: 1}, "")) // the line may be a secret: not shown
			continue
		}
		env[name] = value
	}
	return env
}

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func dotEnvEntry(entry string) (name, value string, err error) {
	name, value, ok := strings.Cut(entry, "=")
	name = strings.TrimSpace(name)
	if !ok || !nameForm.MatchString(name) {
		return "", "", fmt.Errorf("no NAME= at its beginning")
	}
	value = strings.TrimSpace(value)
	if value == "" || (value[0] != '"' && value[0] != '\'') {
		if at := strings.Index(value, " #"); at >= 0 {
			value = strings.TrimSpace(value[:at])
		}
		return name, value, nil
	}
	quote := value[0]
	end := 1
	for end < len(value) && value[end] != quote {
		if quote == '"' && value[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(value) {
		return "", "", fmt.Errorf("a quote is not closed")
	}
	if rest := strings.TrimSpace(value[end+1:]); rest != "" && !strings.HasPrefix(rest, "#") {
		return "", "", fmt.Errorf("there is text behind the closing quote")
	}
	value = value[1:end]
	if quote == '"' {
		value = strings.NewReplacer(`\n`, "\n", `\"`, `"`, `\\`, `\`).Replace(value)
	}
	return name, value, nil
}
