package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/atollhq/atoll/internal/control/api"
)

// Alerts returns the alerts, their rules and who is told.
func (c *Client) Alerts(ctx context.Context) (api.Alerts, error) {
	var out api.Alerts
	return out, c.do(ctx, http.MethodGet, "/v1/alerts", nil, &out)
}

// AlertHistory returns the newest changes, the newest first; limit 0 leaves the number to the server.
func (c *Client) AlertHistory(ctx context.Context, limit int) ([]api.AlertChange, error) {
	var out struct{ Changes []api.AlertChange }
	path := "/v1/alerts/history"
	if limit > 0 {
		path += "?limit=" + strconv.Itoa(limit)
	}
	err := c.do(ctx, http.MethodGet, path, nil, &out)
	return out.Changes, err
}

// TestAlert asks a rule's question now.
func (c *Client) TestAlert(ctx context.Context, name string) (api.AlertTest, error) {
	var out api.AlertTest
	return out, c.do(ctx, http.MethodPost, "/v1/alerts/"+url.PathEscape(name)+"/test", nil, &out)
}

// Silences lists silences, those in force first.
func (c *Client) Silences(ctx context.Context) ([]api.Silence, error) {
	var out struct{ Silences []api.Silence }
	err := c.do(ctx, http.MethodGet, "/v1/silences", nil, &out)
	return out.Silences, err
}

// AddSilence silences alerts.
func (c *Client) AddSilence(ctx context.Context, s api.SilenceSpec) (api.Silence, error) {
	var out api.Silence
	return out, c.do(ctx, http.MethodPost, "/v1/silences", s, &out)
}

// EndSilence ends a silence now.
func (c *Client) EndSilence(ctx context.Context, id string) (api.Silence, error) {
	var out api.Silence
	return out, c.do(ctx, http.MethodDelete, "/v1/silences/"+url.PathEscape(id), nil, &out)
}
