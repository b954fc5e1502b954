package control

import (
	"net/http"

	"github.com/atollhq/atoll/internal/control/api"
)

// webhookOperations are those of parties outside.
func (s *server) webhookOperations() map[string]handlerFunc {
	return map[string]handlerFunc{
		"GET /v1/webhooks":                      s.webhooks,
		"POST /v1/webhooks":                     s.createWebhook,
		"GET /v1/webhooks/{webhook}":            s.webhook,
		"PUT /v1/webhooks/{webhook}":            s.updateWebhook,
		"DELETE /v1/webhooks/{webhook}":         s.removeWebhook,
		"POST /v1/webhooks/{webhook}/rotate":    s.rotateWebhook,
		"POST /v1/webhooks/{webhook}/enable":    s.enableWebhook(true),
		"POST /v1/webhooks/{webhook}/disable":   s.enableWebhook(false),
		"POST /v1/webhooks/{webhook}/replay":    s.replayWebhook,
		"GET /v1/webhooks/{webhook}/deliveries": s.webhookDeliveries,
	}
}

func (s *server) webhooks(w http.ResponseWriter, _ *http.Request) error {
	list, err := s.app.Webhooks()
	return answer(w)(map[string]any{"webhooks": list}, err)
}

func (s *server) webhook(w http.ResponseWriter, r *http.Request) error {
	return answer(w)(s.app.Webhook(r.PathValue("webhook")))
}

// specExample is a body that makes a webhook.
const specExample = `{"url": "https://partner.example/hooks", "topics": ["order.placed"]}`

func (s *server) createWebhook(w http.ResponseWriter, r *http.Request) error {
	var body api.WebhookSpec
	if err := readJSON(r, &body, specExample); err != nil {
		return err
	}
	created, err := s.app.CreateWebhook(r.Context(), body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	return writeJSON(w, created)
}

func (s *server) updateWebhook(w http.ResponseWriter, r *http.Request) error {
	var body api.WebhookSpec
	if err := readJSON(r, &body, specExample); err != nil {
		return err
	}
	return answer(w)(s.app.UpdateWebhook(r.Context(), r.PathValue("webhook"), body))
}

func (s *server) removeWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := s.app.RemoveWebhook(r.Context(), r.PathValue("webhook")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) rotateWebhook(w http.ResponseWriter, r *http.Request) error {
	return answer(w)(s.app.RotateWebhook(r.Context(), r.PathValue("webhook")))
}

// enableWebhook lets a webhook get events, or lets it get none.
func (s *server) enableWebhook(enabled bool) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		return answer(w)(s.app.EnableWebhook(r.Context(), r.PathValue("webhook"), enabled))
	}
}

func (s *server) webhookDeliveries(w http.ResponseWriter, r *http.Request) error {
	before, limit, err := page(r, "before")
	if err != nil {
		return err
	}
	list, err := s.app.WebhookDeliveries(r.Context(), r.PathValue("webhook"), before, limit)
	return answer(w)(map[string]any{"deliveries": list}, err)
}

func (s *server) replayWebhook(w http.ResponseWriter, r *http.Request) error {
	var body api.WebhookReplay
	if err := readJSON(r, &body, `{"delivery": 1}, or {} for all that was given up`); err != nil {
		return err
	}
	return answer(w)(s.app.ReplayWebhook(r.Context(), r.PathValue("webhook"), body))
}
