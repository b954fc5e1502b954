package main

import (
	"bytes"
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
	ID        string          `json:"id"`
	Email     string          `json:"email"`
	State     string          `json:"state"`
	Account   string          `json:"account"`
	Verdict   string          `json:"verdict"`
	Score     int             `json:"score"`
	Owner     string          `json:"owner_name"`
	Facts     map[string]fact `json:"facts"`
	Deal      int64           `json:"opportunity_id"`
	Stage     string          `json:"stage"`
	CreatedAt time.Time       `json:"created_at"`
	DoneAt    time.Time       `json:"done_at"`
}

type fact struct {
	Value  any    `json:"value"`
	Source string `json:"source"`
}

type client struct{ gateway string }

// send uploads the file.
func (c *client) send(ctx context.Context, file string) (r report, err error) {
	f, err := os.Open(file)
	if err != nil {
		return r, err
	}
	defer f.Close()
	return r, c.call(ctx, http.MethodPost, "/api/leads/import", "text/csv", f, &r)
}

// follow waits until every lead is done, or ctx ends. What fails for a moment is asked again.
func (c *client) follow(ctx context.Context, b batch, show *bar) (batch, error) {
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		var now batch
		err := c.call(ctx, http.MethodGet, fmt.Sprintf("/api/leads/imports/%d", b.ID), "", nil, &now)
		if err == nil {
			b = now
			show.draw(b)
			if b.Done >= b.Accepted {
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
		if err := c.call(ctx, http.MethodGet, "/api/leads?"+q.Encode(), "", nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Leads...)
		if page.Next == "" {
			return all, nil
		}
		cursor = page.Next
	}
}

// json sends a value, if there is one, and decodes the answer, if it is wanted.
func (c *client) json(ctx context.Context, method, path string, in, out any) error {
	if in == nil {
		return c.call(ctx, method, path, "", nil, out)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.call(ctx, method, path, "application/json", bytes.NewReader(body), out)
}

func (c *client) call(ctx context.Context, method, path, media string, body io.Reader, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.gateway+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", media)
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
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// await asks until the answer is as wanted, or ctx ends. What fails for a moment is asked again.
func await[T any](ctx context.Context, ask func() (T, error), wanted func(T) bool) (got T, err error) {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		got, err = ask()
		if err == nil && wanted(got) {
			return got, nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("the time is up; the last answer was %+v", got)
			}
			return got, err
		}
	}
}
