package orders

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/atollhq/atoll/sdk"
)

// Remote is Sagas at SAGAS_URL.
type Remote struct {
	base string
	http *http.Client
}

var _ Sagas = (*Remote)(nil)

// NewSagas returns the sagas of the application.
func NewSagas(getenv func(string) string) (*Remote, error) {
	base := getenv("SAGAS_URL")
	if base == "" {
		return nil, errors.New("SAGAS_URL is not set: the service.yaml of this service needs `sagas: [order-to-cash]`")
	}
	return &Remote{base: base + "/" + saga, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}}, nil
}

// Close closes the idle connections.
func (r *Remote) Close() { r.http.CloseIdleConnections() }

// Start implements Sagas.
func (r *Remote) Start(ctx context.Context, key string, input any) (Instance, error) {
	return r.ask(ctx, http.MethodPost, "", key, input)
}

// Get implements Sagas.
func (r *Remote) Get(ctx context.Context, id string) (Instance, error) {
	return r.ask(ctx, http.MethodGet, "/"+url.PathEscape(id), "", nil)
}

// Cancel implements Sagas.
func (r *Remote) Cancel(ctx context.Context, id, reason string) (Instance, error) {
	return r.ask(ctx, http.MethodPost, "/"+url.PathEscape(id)+"/cancel", "", map[string]string{"reason": reason})
}

func (r *Remote) ask(ctx context.Context, method, path, key string, in any) (Instance, error) {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return Instance{}, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, &body)
	if err != nil {
		return Instance{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if trace := sdk.Traceparent(ctx); trace != "" {
		req.Header.Set(sdk.HeaderTrace, trace)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return Instance{}, fmt.Errorf("ask saga: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return Instance{}, fmt.Errorf("ask saga: %w", err)
	}
	if resp.StatusCode >= 400 {
		p := sdk.Error(resp.StatusCode, "", "The saga was answered with %s.", resp.Status)
		_ = json.Unmarshal(answer, p) // what is no problem document says no more than the status
		p.Status = resp.StatusCode
		return Instance{}, p
	}
	var out struct {
		ID    string
		State State
		Error struct{ Step, Text string }
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return Instance{}, fmt.Errorf("read instance: %w", err)
	}
	return Instance{ID: out.ID, State: out.State, Why: out.Error.Text}, nil
}
