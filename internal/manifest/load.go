package manifest

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

// The names of the files that manifests are written in.
const (
	AppFile     = "atoll.yaml"
	ServiceFile = "service.yaml"
	SagaFile    = "saga.yaml" // stands for every file that sagas names, whatever its name
	EnvFile     = ".env"
)

// Options of Load. The zero value loads without an overlay and with no environment but .env.
type Options struct {
	Environment string            // name of the overlay to lay over
	Environ     []string          // NAME=value, as os.Environ gives them; these win over .env
	Overlay     map[string][]byte // contents of files by relative path, instead of what is on disk
}

// Find returns the folder that holds the atoll.yaml that a command in dir means: dir or the nearest above it.
func Find(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(abs); err != nil {
		return "", fault.New(fault.CodeManifestMissing, "there is no folder %s", abs).Fix("correct what stands behind -C")
	}
	for at := abs; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, AppFile)); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fault.New(fault.CodeManifestMissing, "there is no %s in %s or above it", AppFile, abs).
				Fix("go to the folder of your application, name it with -C DIR, or begin one with: atoll init")
		}
	}
}

// Load reads the application in dir and checks it. The App is nil where the faults leave nothing to look at;
// where faults.HasErrors it must not be run.
func Load(dir string, o *Options) (*App, fault.List) {
	if o == nil {
		o = &Options{}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	l := &loader{reader: newReader(abs, o.Overlay), environment: o.Environment}
	app := l.load(o.Environ)
	return app, l.faults.Sorted()
}

// loader makes an App out of the nodes of all files.
type loader struct {
	*reader
	environment string
	app         *App
	root        *yaml.Node
	nodes       map[*Service]*yaml.Node // where each service is written
	sagaNodes   map[*Saga]*yaml.Node    // where each saga is written
	unread      []string                // folders whose service.yaml cannot be read, which has been said
}

func (l *loader) load(environ []string) *App {
	env := l.readDotEnv()
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env[name] = value
		}
	}
	root := l.read(AppFile)
	if root == nil {
		return nil
	}
	d := &decoder{reader: l.reader, vars: &variables{env: env}}
	l.app = &App{Dir: l.dir, Environment: l.environment, Env: env}
	l.nodes = map[*Service]*yaml.Node{}
	over := l.layOver(root, d)
	l.root = over.root
	d.structure(l.root, reflect.ValueOf(l.app).Elem(), field{key: "atoll.yaml"})
	l.services(d, over)
	l.sagas()
	l.alerts()
	l.settle()
	(&checker{loader: l}).check()
	return l.app
}

// overlaid is the top mapping with the chosen environment laid over, and what it has for services.
type overlaid struct {
	root     *yaml.Node
	services *yaml.Node
}

// layOver decodes every environment and lays the chosen one over the top mapping. Nothing is required in an
// overlay, and those that are not chosen need no values for their variables.
func (l *loader) layOver(root *yaml.Node, d *decoder) overlaid {
	out := overlaid{root: root}
	environments := value(root, "environments")
	if environments != nil && environments.Kind != yaml.MappingNode {
		d.wrongType(environments, field{key: "environments", typ: reflect.TypeFor[map[string]string]()}, "a mapping")
		return out
	}
	l.app.Environments = map[string]Environment{}
	for i := 0; environments != nil && i+1 < len(environments.Content); i += 2 {
		name, node := environments.Content[i].Value, environments.Content[i+1]
		partial := &decoder{reader: d.reader, vars: d.vars, partial: true}
		if name != l.environment {
			partial.vars = &variables{env: lenient(d.vars.env, node)}
		}
		var e Environment
		partial.structure(node, reflect.ValueOf(&e).Elem(), field{key: name, typ: reflect.TypeFor[Environment]()})
		l.app.Environments[name] = e
	}
	chosen := value(environments, l.environment)
	if chosen == nil {
		if l.environment != "" {
			l.unknownEnvironment(root, environments)
		}
		return out
	}
	out.services = value(chosen, "services")
	top := &yaml.Node{Kind: yaml.MappingNode, Line: chosen.Line, Column: chosen.Column}
	for _, key := range []string{"gateway", "postgres", "events", "saga_store", "telemetry", "alerts", "alerting"} {
		if v := value(chosen, key); v != nil {
			top.Content = append(top.Content, keyNode(chosen, key), v)
		}
	}
	out.root = l.merge(root, top)
	return out
}

// lenient is env with every variable that a node names set, since an environment that is not chosen needs no
// values.
func lenient(env map[string]string, n *yaml.Node) map[string]string {
	out := maps.Clone(env)
	var walk func(*yaml.Node)
	walk = func(n *yaml.Node) {
		for _, m := range referenceForm.FindAllStringSubmatch(n.Value, -1) {
			if v := envForm.FindStringSubmatch(m[1]); v != nil && out[v[1]] == "" {
				out[v[1]] = "0"
			}
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	walk(n)
	return out
}

func (l *loader) unknownEnvironment(root, environments *yaml.Node) {
	var names []string
	at := root
	if environments != nil {
		at = keyNode(root, "environments")
		for i := 0; i < len(environments.Content); i += 2 {
			names = append(names, environments.Content[i].Value)
		}
	}
	e := l.fault(at, fault.CodeEnvironmentUnknown, "there is no environment %q", l.environment)
	switch near := nearest(l.environment, names); {
	case near != "":
		e = e.Fix("did you mean %q?", near)
	case len(names) > 0:
		e = e.Fix("the environments are %s", strings.Join(names, ", "))
	default:
		e = e.Fix("write it under environments in %s", AppFile)
	}
	l.add(e)
}

// services reads every entry of services: folders by glob, or a service in place.
func (l *loader) services(d *decoder, over overlaid) {
	list := value(l.root, "services")
	if list == nil {
		return
	}
	if list.Kind == yaml.ScalarNode {
		list = &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{list}}
	}
	if list.Kind != yaml.SequenceNode {
		d.wrongType(list, field{key: "services", typ: reflect.TypeFor[[]string]()}, "a list")
		return
	}
	byName := map[string]*Service{}
	for _, entry := range list.Content {
		switch {
		case entry.Kind == yaml.MappingNode:
			l.service(d, over, entry, "", byName)
		case entry.Kind == yaml.ScalarNode && entry.ShortTag() == "!!str":
			l.folders(d, over, entry, byName)
		default:
			d.wrongType(entry, field{key: "services", typ: reflect.TypeFor[string]()}, "a folder or a service")
		}
	}
	l.unknownOverrides(over, byName)
}

// folders reads the service.yaml of each folder that a glob names.
func (l *loader) folders(d *decoder, over overlaid, entry *yaml.Node, byName map[string]*Service) {
	pattern, ok := d.expand(entry, field{key: "services"})
	if !ok {
		return
	}
	matches := l.glob(path.Join(pattern, ServiceFile))
	if len(matches) == 0 {
		l.add(l.fault(entry, fault.CodeFileMissing, "no folder %s holds a %s", pattern, ServiceFile).
			Fix("write %s, or correct the folder here", path.Join(strings.ReplaceAll(pattern, "*", "NAME"), ServiceFile)))
	}
	for _, name := range matches {
		node := l.read(name)
		if node == nil {
			l.unread = append(l.unread, path.Base(path.Dir(name)))
			continue
		}
		l.service(d, over, node, path.Dir(name), byName)
	}
}

// glob lists the files, by name relative to the application's folder, that a pattern matches.
func (l *loader) glob(pattern string) []string {
	var names []string
	for name := range l.reader.overlay {
		if ok, _ := path.Match(path.Clean(pattern), name); ok {
			names = append(names, name)
		}
	}
	matches, err := filepath.Glob(l.abs(filepath.FromSlash(pattern)))
	if err != nil {
		return names
	}
	for _, m := range matches {
		if name := l.rel(m); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// service decodes one service with its part of the overlay. dir is empty for a service in place.
func (l *loader) service(d *decoder, over overlaid, node *yaml.Node, dir string, byName map[string]*Service) {
	if name := value(node, "service"); name != nil {
		if o := value(over.services, name.Value); o != nil {
			node = l.merge(node, o)
		}
	}
	s := &Service{}
	d.structure(node, reflect.ValueOf(s).Elem(), field{key: "service"})
	at := node
	if n := value(node, "service"); n != nil {
		at = n
	}
	s.At, _ = l.position(at)
	if dir != "" && s.Dir != "" {
		l.add(l.fault(keyNode(node, "dir"), fault.CodeUnknownKey, "dir is only for a service written in %s", AppFile).
			Fix("take it away: the folder is that of this file"))
	}
	if dir == "" {
		dir = s.Dir
	}
	s.Dir = l.abs(filepath.FromSlash(dir))
	s.Written = written(node)
	if first := byName[s.Name]; first != nil && s.Name != "" {
		l.add(l.fault(at, fault.CodeServiceDuplicate, "a service %s is declared already, in %s", s.Name, first.At).
			Fix("give one of the two another name"))
		return
	}
	byName[s.Name] = s
	l.nodes[s] = node
	l.app.Services = append(l.app.Services, s)
}

// written are the texts of a service that may hold variables, as they are written.
func written(node *yaml.Node) map[string]string {
	out := map[string]string{}
	for _, key := range []string{"run", "build"} {
		if v := value(node, key); v != nil {
			out[key] = v.Value
		}
	}
	if env := value(node, "env"); env != nil {
		for i := 0; i+1 < len(env.Content); i += 2 {
			out["env."+env.Content[i].Value] = env.Content[i+1].Value
		}
	}
	return out
}

// unknownOverrides refuses overrides of services that do not exist, in every environment.
func (l *loader) unknownOverrides(over overlaid, byName map[string]*Service) {
	environments := value(over.root, "environments")
	if environments == nil {
		return
	}
	for i := 1; i < len(environments.Content); i += 2 {
		services := value(environments.Content[i], "services")
		if services == nil || services.Kind != yaml.MappingNode {
			continue
		}
		for j := 0; j+1 < len(services.Content); j += 2 {
			key := services.Content[j]
			if byName[key.Value] == nil {
				l.noService(key, "override", key.Value)
			}
			if name := value(services.Content[j+1], "service"); name != nil && name.Value != key.Value {
				l.add(l.fault(name, fault.CodeBadValue, "an environment cannot rename a service").
					Fix("take the line away"))
			}
		}
	}
}

// noService says that a service is named that does not exist. Of one whose own file cannot be read, enough has been said.
func (l *loader) noService(n *yaml.Node, purpose, name string) {
	if slices.Contains(l.unread, name) {
		return
	}
	names := l.serviceNames()
	e := l.fault(n, fault.CodeServiceUnknown, "there is no service %q to %s", name, purpose)
	if near := nearest(name, names); near != "" {
		l.add(e.Fix("did you mean %q?", near))
		return
	}
	l.add(e.Fix("the services are %s; a new one needs a folder with a %s that services in %s names",
		strings.Join(names, ", "), ServiceFile, AppFile))
}

func (l *loader) serviceNames() []string {
	names := make([]string, len(l.app.Services))
	for i, s := range l.app.Services {
		names[i] = s.Name
	}
	slices.Sort(names)
	return names
}

// settle makes what was read complete: services sorted, routes with the gateway's settings.
func (l *loader) settle() {
	slices.SortFunc(l.app.Services, func(a, b *Service) int { return strings.Compare(a.Name, b.Name) })
	g := &l.app.Gateway
	for i := range g.Routes {
		r := &g.Routes[i]
		if r.Body == 0 {
			r.Body = g.Body
		}
		if r.Timeout == nil {
			r.Timeout = &g.Timeout
		}
		if r.CORS == nil {
			r.CORS = g.CORS
		}
		if (r.Publish != "" || r.Start != "") && len(r.Methods) == 0 {
			r.Methods = []string{"POST"}
		}
		for j, m := range r.Methods {
			r.Methods[j] = strings.ToUpper(m)
		}
	}
}

// Service returns the service of that name, or nil.
func (a *App) Service(name string) *Service {
	for _, s := range a.Services {
		if s.Name == name {
			return s
		}
	}
	return nil
}
