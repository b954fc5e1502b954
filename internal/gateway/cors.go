package gateway

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// cors is the answer to cross-origin requests (https://fetch.spec.whatwg.org/#http-cors-protocol).
type cors struct {
	any         bool
	origins     []string // lower case
	methods     string
	headers     string // "" for those that the browser asks for
	expose      string
	credentials bool
	maxAge      string
}

func newCORS(m *manifest.CORS) (*cors, *fault.Error) {
	if m == nil {
		return nil, nil //nolint:nilnil // no CORS is no fault
	}
	c := &cors{
		any: slices.Contains(m.Origins, "*"), credentials: m.Credentials,
		methods: strings.Join(m.Methods, ", "), headers: strings.Join(m.Headers, ", "), expose: strings.Join(m.Expose, ", "),
		maxAge: strconv.Itoa(seconds(m.MaxAge.Std())),
	}
	if m.MaxAge == 0 {
		c.maxAge = strconv.Itoa(seconds(10 * time.Minute))
	}
	if c.methods == "" {
		c.methods = "GET, HEAD, POST, PUT, PATCH, DELETE"
	}
	for _, o := range m.Origins {
		c.origins = append(c.origins, strings.ToLower(strings.TrimSuffix(o, "/")))
	}
	if c.any && c.credentials {
		return nil, fault.New(fault.CodeGatewayCORS, "cors: credentials are not allowed for every origin").
			Fix("name the origins instead of *, or take credentials away")
	}
	return c, nil
}

// isPreflight tells whether a browser asks what it may do.
func isPreflight(r *relay.Request) bool {
	return r.Method == "OPTIONS" && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

func (c *cors) allows(origin string) bool {
	return c.any || slices.Contains(c.origins, strings.ToLower(origin))
}

// preflight answers a preflight.
func (c *cors) preflight(r *relay.Request) *relay.Reply {
	origin := r.Header.Get("Origin")
	if !c.allows(origin) {
		return relay.Refuse(403, fault.New(fault.CodeOriginRefused, "pages of %s may not make this request", origin).
			Fix("let the operator add the origin to `cors: {origins: […]}` of the gateway or the route"))
	}
	f := []relay.Field{
		{Name: "Access-Control-Allow-Methods", Value: c.methods},
		{Name: "Access-Control-Max-Age", Value: c.maxAge},
		{Name: "Vary", Value: "Access-Control-Request-Method, Access-Control-Request-Headers"},
	}
	headers := c.headers
	if headers == "" {
		headers = strings.Join(r.Header.Values("Access-Control-Request-Headers"), ", ")
	}
	if headers != "" {
		f = append(f, relay.Field{Name: "Access-Control-Allow-Headers", Value: headers})
	}
	return &relay.Reply{Status: 204, Header: f}
}

// mark puts the answer for an origin on a response. What the service said of it is replaced.
func (c *cors) mark(origin string, h relay.Header) {
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"} {
		h.Del(name)
	}
	if !c.any {
		h.Add("Vary", "Origin")
	}
	if origin == "" || !c.allows(origin) {
		return
	}
	if c.any {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if c.expose != "" {
		h.Set("Access-Control-Expose-Headers", c.expose)
	}
}
