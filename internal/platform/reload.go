package platform

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

// Reload reads the manifests again and puts them into force. With errors among the faults that it returns, what was
// in force still is.
func (p *Platform) Reload(ctx context.Context) fault.List {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	app, findings, err := p.load()
	if err == nil && !reflect.DeepEqual(app, p.current()) {
		err = p.putInForce(context.WithoutCancel(ctx), app)
	}
	findings = withError(findings, err)
	p.mu.Lock()
	p.findings = findings
	p.mu.Unlock()
	p.tellReload(findings)
	return findings
}

// withError is the findings with an error that they do not hold already.
func withError(findings fault.List, err error) fault.List {
	if err == nil || findings.HasErrors() {
		return findings
	}
	if list, ok := errors.AsType[fault.List](err); ok {
		return append(findings, list...)
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return append(findings, e)
	}
	return append(findings, fault.New(fault.CodeInternal, "the change could not be put into force").
		Fix("look at the operator's log, .atoll/atoll.log").Because(err))
}

func (p *Platform) tellReload(findings fault.List) {
	e := api.Event{Time: time.Now(), Kind: api.EventReload, Text: "the manifests were read again and are in force"}
	for _, f := range findings {
		if f.Severity == fault.SeverityError {
			e.Text, e.Fault = "the manifests were read again and have errors: what was in force still is", f
			p.log.Error("reload refused", "fault", f, "cause", f.Cause)
		}
	}
	p.log.Info(e.Text)
	level := telemetry.LevelInfo
	if e.Fault != nil {
		level = telemetry.LevelError
	}
	p.event(e.Time, eventReload, scopeName, "", level, e.Text)
	p.events.add(e)
}
