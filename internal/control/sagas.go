package control

import (
	"context"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
)

// Sagas is the transactions over services, as the API needs them. An application that defines none has none, which is no error
// where there is only nothing to show.
type Sagas interface {
	// Sagas lists the definitions in force, by name, and after them those that are gone while instances have not ended.
	Sagas(ctx context.Context) ([]api.Saga, error)
	// Saga is a definition; version is "" for the one in force, or the beginning of one.
	Saga(ctx context.Context, name, version string) (api.Saga, error)
	SagaInstances(ctx context.Context, q *api.SagaQuery) (api.SagaInstances, error)
	// SagaInstance waits for the end of the instance for so long.
	SagaInstance(ctx context.Context, id string, wait time.Duration) (api.SagaDetail, error)
	StartSaga(ctx context.Context, name string, s *api.SagaStart, wait time.Duration) (api.SagaDetail, error)
	ActOnSaga(ctx context.Context, id string, a *api.SagaAction) (api.SagaDetail, error)
	ActOnSagas(ctx context.Context, a *api.SagaAction) (api.SagaActed, error)
	MigrateSagas(ctx context.Context, m *api.SagaMigration) (api.SagaMigrated, error)
}
