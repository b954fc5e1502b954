package platform

import (
	"errors"

	"github.com/atollhq/atoll/internal/bus/contract"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// Load reads the manifests of an application, the contracts that they name, the expressions of its sagas and the queries of its alerts.
func Load(dir string, opts *manifest.Options) (*manifest.App, fault.List) {
	app, faults := manifest.Load(dir, opts)
	if app == nil || faults.HasErrors() {
		return app, faults
	}
	_, err := contract.Compile(app)
	if list, ok := errors.AsType[fault.List](err); ok {
		return app, append(faults, list...)
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return app, append(faults, e)
	}
	_, found := plans(app)
	return app, append(append(faults, found...), checkAlerts(app)...)
}
