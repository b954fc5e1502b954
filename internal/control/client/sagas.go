package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
)

// Sagas lists the definitions in force, and after them those that are gone while instances have not ended.
func (c *Client) Sagas(ctx context.Context) ([]api.Saga, error) {
	var out struct{ Sagas []api.Saga }
	err := c.do(ctx, http.MethodGet, "/v1/sagas", nil, &out)
	return out.Sagas, err
}

// Saga returns a definition; version is "" for the one in force.
func (c *Client) Saga(ctx context.Context, name, version string) (api.Saga, error) {
	var out api.Saga
	return out, c.do(ctx, http.MethodGet, "/v1/sagas/"+url.PathEscape(name)+"?version="+url.QueryEscape(version), nil, &out)
}

// SagaInstances returns a page of those that q finds, the newest first.
func (c *Client) SagaInstances(ctx context.Context, q *api.SagaQuery) (api.SagaInstances, error) {
	v := url.Values{"state": q.States}
	for name, text := range map[string]string{
		"saga": q.Saga, "key": q.Key, "step": q.Step, "error": q.Error, "parent": q.Parent, "before": q.Before,
	} {
		if text != "" {
			v.Set(name, text)
		}
	}
	for name, at := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !at.IsZero() {
			v.Set(name, at.Format(time.RFC3339Nano))
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var out api.SagaInstances
	return out, c.do(ctx, http.MethodGet, "/v1/saga-instances?"+v.Encode(), nil, &out)
}

// SagaInstance returns an instance, once it has ended or so much time has passed.
func (c *Client) SagaInstance(ctx context.Context, id string, wait time.Duration) (api.SagaDetail, error) {
	var out api.SagaDetail
	return out, c.do(ctx, http.MethodGet, "/v1/saga-instances/"+url.PathEscape(id)+"?wait="+wait.String(), nil, &out)
}

// StartSaga starts an instance, or finds the one that the key has started, and returns it once it has ended or so much time has passed.
func (c *Client) StartSaga(ctx context.Context, name string, s *api.SagaStart, wait time.Duration) (api.SagaDetail, error) {
	var out api.SagaDetail
	return out, c.do(ctx, http.MethodPost, "/v1/sagas/"+url.PathEscape(name)+"/instances?wait="+wait.String(), s, &out)
}

// ActOnSaga does something with an instance, and returns it as it is then.
func (c *Client) ActOnSaga(ctx context.Context, id string, a *api.SagaAction) (api.SagaDetail, error) {
	var out api.SagaDetail
	return out, c.do(ctx, http.MethodPost, "/v1/saga-instances/"+url.PathEscape(id)+"/actions", a, &out)
}

// ActOnSagas does something with all instances that a.Select finds.
func (c *Client) ActOnSagas(ctx context.Context, a *api.SagaAction) (api.SagaActed, error) {
	var out api.SagaActed
	return out, c.do(ctx, http.MethodPost, "/v1/saga-actions", a, &out)
}

// MigrateSagas makes instances ones of the version in force, or says which it could.
func (c *Client) MigrateSagas(ctx context.Context, m *api.SagaMigration) (api.SagaMigrated, error) {
	var out api.SagaMigrated
	return out, c.do(ctx, http.MethodPost, "/v1/saga-migrations", m, &out)
}
