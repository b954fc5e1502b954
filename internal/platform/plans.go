package platform

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/define"
)

// plans compiles the sagas of an application against the contracts of its services and topics. Those that are at fault are left out.
func plans(app *manifest.App) ([]*saga.Plan, fault.List) {
	if len(app.Sagas) == 0 {
		return nil, nil
	}
	b := &blueprint{app: app, contracts: map[string]*define.Contract{}, topics: map[string]string{}}
	for _, topic := range app.Topics() {
		b.topics[topic.Name] = topic.Schema
	}
	var out []*saga.Plan
	options := define.Options{Others: app.SagasByName(), Contract: b.contract, Topic: b.topic}
	for _, s := range app.Sagas {
		plan, faults := define.Compile(s, options)
		b.faults = append(b.faults, faults...)
		if plan != nil {
			out = append(out, plan)
		}
	}
	return out, b.faults.Sorted()
}

// blueprint reads what definitions are held against, each file once.
type blueprint struct {
	app       *manifest.App
	contracts map[string]*define.Contract
	topics    map[string]string // files of schemas
	faults    fault.List
}

// contract is the OpenAPI document of a service, or nil where it names none.
func (b *blueprint) contract(service string) *define.Contract {
	if known, ok := b.contracts[service]; ok {
		return known
	}
	b.contracts[service] = nil
	s := b.app.Service(service)
	if s == nil || !slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(s.API))) {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(s.Dir, filepath.FromSlash(s.API)))
	if err != nil {
		return nil // said by the manifest
	}
	c, err := define.ReadContract(service, text)
	if err != nil {
		b.faults = append(b.faults, fault.Warn(fault.CodeContractInvalid, "%s, the contract of %s, is no OpenAPI document that is understood, so that calls of sagas are not held against it", s.API, service).
			Fix("write one of OpenAPI 3.0 or 3.1, or take api away").Because(err).At(s.At, ""))
		return nil
	}
	b.contracts[service] = c
	return c
}

// topic is the JSON Schema of a topic's data, or nil.
func (b *blueprint) topic(name string) []byte {
	if b.topics[name] == "" {
		return nil
	}
	text, err := os.ReadFile(b.topics[name])
	if err != nil {
		return nil // said by the contracts of topics
	}
	return text
}
