package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/atollhq/atoll/sdk"
)

// batch is an import, with how far it has come.
type batch struct {
	ID         int64 `json:"id"`
	Accepted   int   `json:"accepted"`
	Duplicates int   `json:"duplicates"`
	Rejected   int   `json:"rejected"`
	Done       int   `json:"done"`
	Stuck      int   `json:"stuck"`
}

func (b batch) lines() int { return b.Accepted + b.Duplicates + b.Rejected }

type report struct {
	batch
	Rejections []struct {
		Line   int    `json:"line"`
		Reason string `json:"reason"`
	} `json:"rejections"`
}

type lead struct {
	State     string         `json:"state"`
	Verdict   string         `json:"verdict"`
	Owner     string         `json:"owner_name"`
	Facts     map[string]any `json:"facts"`
	CreatedAt time.Time      `json:"created_at"`
	DoneAt    time.Time      `json:"done_at"`
}

type client struct{ gateway string }

// send uploads the file.
func (c *client) send(ctx context.Context, file string) (r report, err error) {
	f, err := os.Open(file)
	if err != nil {
		return r, err
	}
	defer f.Close()
	return r, c.call(ctx, http.MethodPost, "/api/leads/import", f, &r)
}

// follow waits until every lead is done or stuck, or ctx ends. What fails for a moment is asked again.
func (c *client) follow(ctx context.Context, b batch, show *bar) (batch, error) {
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		var now batch
		err := c.call(ctx, http.MethodGet, fmt.Sprintf("/api/leads/imports/%d", b.ID), nil, &now)
		if err == nil {
			b = now
			show.draw(b)
			if b.Done+b.Stuck >= b.Accepted {
				show.end()
				return b, nil
			}
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			show.end()
			return b, fmt.Errorf("%d of %d leads were done when the time was up", b.Done, b.Accepted)
		}
	}
}

// leads are all leads of an import.
func (c *client) leads(ctx context.Context, id int64) (all []lead, err error) {
	cursor := ""
	for {
		var page struct {
			Leads []lead `json:"leads"`
			Next  string `json:"next"`
		}
		q := url.Values{"import": {fmt.Sprint(id)}, "limit": {"500"}, "cursor": {cursor}}
		if err := c.call(ctx, http.MethodGet, "/api/leads?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Leads...)
		if page.Next == "" {
			return all, nil
		}
		cursor = page.Next
	}
}

func (c *client) call(ctx context.Context, method, path string, body io.Reader, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.gateway+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "text/csv")
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return fmt.Errorf("the gateway does not answer; is `atoll up` running? %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		var p sdk.Problem
		if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&p) == nil && p.Title != "" {
			return &p
		}
		return errors.New(method + " " + path + ": " + resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
