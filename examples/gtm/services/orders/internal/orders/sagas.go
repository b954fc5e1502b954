package orders

import (
	"context"
	"errors"
	"net/http"

	"github.com/atollhq/atoll/sdk"
)

// saga is the one that takes an order to cash.
const saga = "order-to-cash"

// Sagas is where the saga is started, asked for and cancelled; *sdk.Sagas is one.
type Sagas interface {
	Start(ctx context.Context, name string, input any, opts *sdk.StartOptions) (*sdk.SagaInstance, error)
	Get(ctx context.Context, name, id string) (*sdk.SagaInstance, error)
	Cancel(ctx context.Context, name, id, reason string) (*sdk.SagaInstance, error)
}

var _ Sagas = (*sdk.Sagas)(nil)

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
