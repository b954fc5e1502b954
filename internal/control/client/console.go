package client

import (
	"context"
	"net/http"

	"github.com/atollhq/atoll/internal/control/api"
)

// ConsoleLink makes a link that logs in to the console once.
func (c *Client) ConsoleLink(ctx context.Context) (api.ConsoleLink, error) {
	var out api.ConsoleLink
	return out, c.do(ctx, http.MethodPost, "/v1/console/links", nil, &out)
}
