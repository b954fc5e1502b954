package manifest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

var (
	methodForm = regexp.MustCompile(`^[A-Z][A-Z0-9-]*$`)
	hostForm   = regexp.MustCompile(`^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	headerForm = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
)

func (c *checker) routes() {
	list := lookup(c.root, "gateway", "routes")
	taken := map[string][]int{} // routes by all that they match on but their methods
	for i := range c.app.Gateway.Routes {
		r := &c.app.Gateway.Routes[i]
		n := lookup(list, i)
		c.route(n, r)
		key := r.conditions()
		c.overlap(n, r, taken[key])
		taken[key] = append(taken[key], i)
	}
}

// conditions is what a route matches on besides the method, as a key.
func (r *Route) conditions() string {
	var key strings.Builder
	fmt.Fprintf(&key, "%s %s", strings.ToLower(r.Host), r.Path)
	for _, m := range []map[string]string{r.Header, r.Query} {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&key, " %q=%q", strings.ToLower(name), m[name])
		}
		key.WriteByte(';')
	}
	return key.String()
}

// overlap refuses a route that an earlier one with the same conditions leaves nothing to match.
func (c *checker) overlap(n *yaml.Node, r *Route, earlier []int) {
	left := slices.Clone(r.Methods)
	for _, i := range earlier {
		e := &c.app.Gateway.Routes[i]
		if slices.Equal(slices.Sorted(slices.Values(e.Methods)), slices.Sorted(slices.Values(r.Methods))) {
			c.add(c.fault(lookup(n, "path"), fault.CodeRouteDuplicate, "this route is declared already, in %s", e.At).
				Fix("take one of the two away, or give it a condition of its own: host, methods, header or query"))
			return
		}
		if len(r.Methods) > 0 && len(e.Methods) > 0 {
			left = slices.DeleteFunc(left, func(m string) bool { return slices.Contains(e.Methods, m) })
		}
		if len(r.Methods) > 0 && len(left) == 0 {
			c.add(c.fault(lookup(n, "methods"), fault.CodeRouteNeverMatches,
				"this route can never match: the route in %s takes all its methods", e.At).
				Fix("take it away, or take %s out of the other", strings.Join(r.Methods, ", ")))
			return
		}
	}
}

func (c *checker) route(n *yaml.Node, r *Route) {
	if why := badPath(r.Path); r.Path != "" && why != "" {
		c.add(c.fault(lookup(n, "path"), fault.CodeBadPath, "%q can never match: %s", r.Path, why).
			Fix("write a path such as /api/orders/**, where * is one segment and ** at the end the rest"))
	}
	c.routeTarget(n, r)
	c.webhook(lookup(n, "webhook"), r.Webhook)
	c.routeConditions(n, r)
	c.routeAuth(n, r)
	if r.Strip != "" && !stripFits(r.Strip, r.Path) {
		c.add(c.fault(lookup(n, "strip"), fault.CodeBadPath, "%q is not a beginning of %q", r.Strip, r.Path).
			Fix("write whole segments that the path begins with"))
	}
	if r.Rewrite != "" && badPath(r.Rewrite) != "" || strings.Contains(r.Rewrite, "*") {
		c.add(c.fault(lookup(n, "rewrite"), fault.CodeBadPath, "%q is not a path to put in front", r.Rewrite).
			Fix("write a plain path such as /v2"))
	}
	if r.Tries < 1 || r.Tries > 10 {
		c.add(c.fault(lookup(n, "tries"), fault.CodeBadValue, "%d is not a number of tries", r.Tries).Fix("write a number from 1 to 10"))
	}
}

// badPath says why a path pattern can match nothing, or "".
func badPath(p string) string {
	if !strings.HasPrefix(p, "/") {
		return "it does not begin with /"
	}
	if strings.ContainsAny(p, "?#\\ \x00") {
		return "a path holds no ?, #, backslash or space"
	}
	segments := strings.Split(p[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "" && !last:
			return "it has an empty segment"
		case s == "." || s == "..":
			return "it holds a " + s + " segment, which requests may not"
		case s == "**" && !last:
			return "** stands before the end"
		case s != "*" && s != "**" && strings.Contains(s, "*"):
			return "a * stands for a whole segment, not for a part of one"
		}
	}
	return ""
}

// stripFits tells whether a prefix is made of the literal segments that a path begins with.
func stripFits(prefix, path string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return !strings.Contains(prefix, "*") && (path == prefix || strings.HasPrefix(path, prefix+"/"))
}

func (c *checker) routeTarget(n *yaml.Node, r *Route) {
	switch s := c.app.Service(r.To); {
	case r.Start != "" && (r.To != "" || r.Publish != ""):
		c.add(c.fault(keyNode(n, "start"), fault.CodeBadValue, "a route goes to a service, publishes or starts a saga, and this one says more than one").
			Fix("keep one of to, publish and start; a saga is also started by events: start: [{event: TOPIC}] in its file"))
	case r.To != "" && r.Publish != "":
		c.add(c.fault(keyNode(n, "publish"), fault.CodeBadValue, "a route goes to a service or publishes, and this one says both").
			Fix("take one of the two away; for both, let the service subscribe to %s", r.Publish))
	case r.Publish != "":
		c.topic(lookup(n, "publish"), r.Publish)
		c.toNoService(n, "publishes")
	case r.Start != "":
		if c.app.Saga(r.Start) == nil {
			c.noSaga(lookup(n, "start"), "start", r.Start)
		}
		c.toNoService(n, "starts a saga")
	case r.To == "" && n.Kind == yaml.MappingNode:
		c.add(c.fault(n, fault.CodeMissingKey, "this route says neither to nor publish nor start").
			Fix("add \"to: SERVICE\", \"publish: TOPIC\" to make an event of each request, or \"start: SAGA\" to start a saga with it"))
	case r.To == "":
	case s == nil:
		c.noService(lookup(n, "to"), "route to", r.To)
	case s.Protocol == ProtocolTCP:
		c.add(c.fault(lookup(n, "to"), fault.CodeRouteUnroutable, "%s speaks tcp, and the gateway routes HTTP and gRPC", r.To).
			Fix("let another service call it, or correct its protocol"))
	}
}

// toNoService refuses what has no meaning where no service gets the request.
func (c *checker) toNoService(n *yaml.Node, instead string) {
	for _, key := range []string{"strip", "rewrite", "tries", "try_timeout"} {
		if value(n, key) != nil {
			c.add(c.fault(keyNode(n, key), fault.CodeBadValue, "%s is about the way to a service, and this route %s", key, instead).
				Fix("take it away"))
		}
	}
}

// webhook checks the signature that a route wants.
func (c *checker) webhook(n *yaml.Node, w *Webhook) {
	if w == nil {
		return
	}
	if w.Secret != "" {
		c.secret(lookup(n, "secret"), w.Secret)
	}
	switch {
	case w.Scheme == WebhookHMAC && !headerForm.MatchString(w.Header):
		c.add(c.fault(lookup(n, "header"), fault.CodeBadValue, "scheme hmac wants the header that holds the signature").
			Fix("add a line such as \"header: X-Signature\""))
	case w.Scheme != WebhookHMAC:
		c.onlyOf(n, "hmac", "header", "prefix", "encoding")
	}
	if w.Scheme == WebhookGitHub || w.Scheme == WebhookHMAC {
		c.onlyOf(n, "standard or stripe, which sign the time", "tolerance")
	}
	if w.Tolerance < Duration(time.Second) || w.Tolerance > Duration(time.Hour) {
		c.add(c.fault(lookup(n, "tolerance"), fault.CodeBadValue, "%s is not a tolerance", w.Tolerance).Fix("write a time span from 1s to 1h"))
	}
}

// onlyOf refuses keys of a webhook that belong to another scheme.
func (c *checker) onlyOf(n *yaml.Node, scheme string, keys ...string) {
	for _, key := range keys {
		if value(n, key) != nil {
			c.add(c.fault(keyNode(n, key), fault.CodeBadValue, "%s belongs to scheme %s", key, scheme).Fix("take it away, or correct scheme"))
		}
	}
}

func (c *checker) routeConditions(n *yaml.Node, r *Route) {
	if r.Host != "" && !hostForm.MatchString(strings.ToLower(r.Host)) {
		c.add(c.fault(lookup(n, "host"), fault.CodeBadValue, "%q is not a host", r.Host).
			Fix("write a name without a port, such as shop.example.com or *.example.com"))
	}
	for i, m := range r.Methods {
		if !methodForm.MatchString(m) {
			c.add(c.fault(lookup(n, "methods", i), fault.CodeBadValue, "%q is not a method", m).Fix("write GET, POST, …"))
		}
	}
	for name := range r.Header {
		if !headerForm.MatchString(name) {
			c.add(c.fault(keyNode(lookup(n, "header"), name), fault.CodeBadValue, "%q is not a header", name).Fix("write a name such as X-Tenant"))
		}
	}
}

// routeAuth checks that the ways named exist, and that a limit counts by something that the route knows.
func (c *checker) routeAuth(n *yaml.Node, r *Route) {
	names := slices.Sorted(maps.Keys(c.app.Gateway.Auth))
	keys := false
	for i, name := range r.Auth {
		a, ok := c.app.Gateway.Auth[name]
		keys = keys || a.APIKey != nil
		if ok {
			continue
		}
		e := c.fault(lookup(n, "auth", i), fault.CodeAuthUnknown, "the gateway has no auth %q", name)
		if near := nearest(name, names); near != "" {
			c.add(e.Fix("did you mean %q?", near))
		} else {
			c.add(e.Fix("declare it under auth of the gateway"))
		}
	}
	for i, l := range r.Limit {
		if l.By == LimitBySubject && len(r.Auth) == 0 || l.By == LimitByKey && !keys {
			c.add(c.fault(lookup(n, "limit", i), fault.CodeLimitNeedsAuth, "this limit counts by %s, which the route does not learn", l.By).
				Fix("add auth to the route (for key, one with apiKey), or count per address"))
		}
	}
}
