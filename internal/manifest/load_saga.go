package manifest

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

// sagas reads the files that sagas in atoll.yaml names.
func (l *loader) sagas() {
	l.sagaNodes = map[*Saga]*yaml.Node{}
	d := &decoder{reader: l.reader, vars: &variables{}, literal: true}
	seen := map[string]bool{}
	byName := map[string]*Saga{}
	for i, pattern := range l.app.SagaFiles {
		files := l.glob(pattern)
		if len(files) == 0 {
			l.add(l.fault(lookup(l.root, "sagas", i), fault.CodeFileMissing, "no file is named %s", pattern).
				Fix("write one, or take the line away"))
		}
		for _, name := range files {
			if seen[name] {
				continue
			}
			seen[name] = true
			if node := l.read(name); node != nil {
				l.saga(d, node, name, byName)
			}
		}
	}
	slices.SortFunc(l.app.Sagas, func(a, b *Saga) int { return cmp.Compare(a.Name, b.Name) })
}

// saga decodes one file.
func (l *loader) saga(d *decoder, node *yaml.Node, file string, byName map[string]*Saga) {
	s := &Saga{File: file, places: map[string]place{}}
	l.places(s, node, "")
	before := len(l.faults)
	d.structure(node, reflect.ValueOf(s).Elem(), field{key: "saga"})
	s.sound = len(l.faults) == before
	if first := byName[s.Name]; first != nil && s.Name != "" {
		at, _ := first.Place("saga")
		l.add(l.fault(lookup(node, "saga"), fault.CodeSagaDuplicate, "a saga %s is defined already, in %s", s.Name, at).
			Fix("give one of the two another name"))
		return
	}
	byName[s.Name] = s
	l.sagaNodes[s] = node
	l.app.Sagas = append(l.app.Sagas, s)
}

// places notes where everything in a saga stands.
func (l *loader) places(s *Saga, n *yaml.Node, path string) {
	at, source := l.position(n)
	s.places[path] = place{at, source}
	if (path == "steps" || path == "start") && n.Kind == yaml.MappingNode {
		path += "[0]" // a list of one, written as its item
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			l.places(s, n.Content[i+1], strings.TrimPrefix(path+"."+n.Content[i].Value, "."))
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			l.places(s, item, path+"["+strconv.Itoa(i)+"]")
		}
	default:
	}
}

// Saga returns the saga of that name, or nil.
func (a *App) Saga(name string) *Saga {
	for _, s := range a.Sagas {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// SagasByName are the sagas by name.
func (a *App) SagasByName() map[string]*Saga {
	byName := make(map[string]*Saga, len(a.Sagas))
	for _, s := range a.Sagas {
		byName[s.Name] = s
	}
	return byName
}
