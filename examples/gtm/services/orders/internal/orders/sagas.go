package orders

import (
	"context"
	"errors"
	"net/http"

	"github.com/atollhq/atoll/sdk"
)

// saga is the one that takes an order to cash.
const saga = "order-to-cash"

// Instance is one run of the saga.
type Instance struct {
	ID    string
	State State
	Why   string // it is not completed
}

// Sagas is where the saga is started, asked for and cancelled. What is refused is a *sdk.Problem error. It is safe for
// concurrent use.
type Sagas interface {
	// Start starts an instance, or returns the one that was started by the same key.
	Start(ctx context.Context, key string, input any) (Instance, error)
	Get(ctx context.Context, id string) (Instance, error)
	Cancel(ctx context.Context, id, reason string) (Instance, error)
}

// refused tells whether the saga will never take what it was given. That it is not there, or not to be used by this service,
// is another matter: somebody will see to it.
func refused(err error) (why string, yes bool) {
	p, ok := errors.AsType[*sdk.Problem](err)
	if !ok || !sdk.Refusal(p.Status) {
		return "", false
	}
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return "", false
	}
	return p.Detail, true
}
