package control

import (
	"context"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
)

// Alerts is what tells of trouble, as the API needs it.
type Alerts interface {
	Alerts(ctx context.Context) (api.Alerts, error)
	// AlertHistory lists the newest changes, the newest first.
	AlertHistory(ctx context.Context, limit int) ([]api.AlertChange, error)
	// TestAlert asks a rule's question and changes nothing.
	TestAlert(ctx context.Context, name string) (api.AlertTest, error)
	Silences(ctx context.Context) ([]api.Silence, error)
	AddSilence(ctx context.Context, s *api.SilenceSpec, lasts time.Duration) (api.Silence, error)
	EndSilence(ctx context.Context, id string) (api.Silence, error)
}
