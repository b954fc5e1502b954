package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

const maxAnswer = 64 << 10 // bytes that are read of an answer

// NewClient makes a client for webhooks. It follows no redirect, since what is sent may be signed for one receiver alone.
func NewClient() *http.Client {
	return &http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 20 * time.Second,
			MaxIdleConns: 10, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
	}
}

// failed says that a receiver could not be told.
func failed(cause error, format string, args ...any) error {
	e := fault.New(fault.CodeAlertUntold, format, args...).Fix("look at the receiver, and at its entry of alerting.notify in atoll.yaml; it is tried again")
	if cause != nil {
		e = e.Because(cause)
	}
	return e
}

// post sends v as JSON, with headers that sign its bytes.
func post(ctx context.Context, client *http.Client, to string, v any, sign func(body []byte) http.Header) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode notification: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return failed(hide(err), "the URL cannot be used")
	}
	if sign != nil {
		maps.Copy(req.Header, sign(body))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "atoll")
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return failed(hide(err), "it did not answer in time")
		}
		return failed(hide(err), "it cannot be reached")
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return failed(nil, "it answered %d", resp.StatusCode)
	}
	return nil
}

// hide takes the URL out of an error, which may be a secret.
func hide(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
