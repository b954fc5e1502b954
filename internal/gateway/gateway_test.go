package gateway_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/gateway"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/relay/relaytest"
	"github.com/atollhq/atoll/internal/relay/std"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func app(change func(*manifest.Gateway)) *manifest.App {
	a := &manifest.App{Name: "test", Dir: "testdata", Services: []*manifest.Service{
		{Name: "crm", Protocol: manifest.ProtocolHTTP}, {Name: "web", Protocol: manifest.ProtocolHTTP}, {Name: "db", Protocol: manifest.ProtocolTCP},
	}}
	a.Gateway.Routes = []manifest.Route{{Path: "/crm/**", To: "crm"}, {Path: "/**", To: "web"}}
	if change != nil {
		change(&a.Gateway)
	}
	return a
}

func open(t *testing.T, o *gateway.Options, a *manifest.App, secrets map[string]string) *gateway.Gateway {
	t.Helper()
	g := gateway.New(relay.NewUpstreams(std.New(), nil), o)
	if err := apply(t.Context(), g, a, secrets); err != nil {
		t.Fatal(err)
	}
	return g
}

func apply(ctx context.Context, g *gateway.Gateway, a *manifest.App, secrets map[string]string) error {
	return g.Apply(ctx, a, func(name string) (string, bool) {
		s, ok := secrets[name]
		return s, ok
	})
}

// ask puts a request to a gateway; fields are name, value in turn, with their spelling kept.
func ask(t *testing.T, g *gateway.Gateway, method, target string, fields ...string) (relay.Decision, *relay.Request) {
	t.Helper()
	path, query, _ := strings.Cut(target, "?")
	h := relaytest.Header{}
	for i := 0; i < len(fields); i += 2 {
		h[fields[i]] = append(h[fields[i]], fields[i+1])
	}
	r := &relay.Request{Method: method, Authority: "app.example", RawPath: path, Query: query, Header: h, Peer: netip.MustParseAddr("192.0.2.1")}
	return g.Decide(t.Context(), r), r
}

// refusal is the status and code of a decision, or 0.
func refusal(d relay.Decision) (int, fault.Code) {
	if d.Reply == nil {
		return 0, ""
	}
	if d.Reply.Problem == nil {
		return d.Reply.Status, ""
	}
	return d.Reply.Status, d.Reply.Problem.Code
}

func upstream(d relay.Decision, name string) string {
	for _, f := range d.Upstream {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func responseHeader(d relay.Decision, status int, h relaytest.Header) relaytest.Header {
	d.Response(status, h)
	return h
}

func TestStripAndRewriteChangeThePathThatTheServiceSees(t *testing.T) {
	for _, c := range []struct{ strip, rewrite, path, want string }{
		{"", "", "/crm/a%40b", "/crm/a%40b"},
		{"/crm", "", "/crm/a", "/a"},
		{"/crm/", "", "/crm/a/", "/a/"},
		{"/crm", "", "/crm", "/"},
		{"/crm", "/v2", "/crm/a%3Ab", "/v2/a%3Ab"},
		{"/crm/x", "", "/crm/xy", "/crm/xy"},
		{"/crm", "", "/%63rm/a", "/a"},
	} {
		g := open(t, nil, app(func(m *manifest.Gateway) { m.Routes[0].Strip, m.Routes[0].Rewrite = c.strip, c.rewrite }), nil)
		if d, _ := ask(t, g, "GET", c.path); d.Path != c.want || d.Service != "crm" {
			t.Errorf("%+v: %q to %q", c, d.Path, d.Service)
		}
	}
}

func TestAGuardedPathCannotBeReachedInAnotherSpelling(t *testing.T) {
	g := open(t, nil, app(func(m *manifest.Gateway) {
		m.Auth = map[string]manifest.Auth{"k": {APIKey: &manifest.APIKey{Keys: "keys"}}}
		m.Routes[0].Auth = []string{"k"}
	}), map[string]string{"keys": "a:key"})
	for _, path := range []string{
		"/crm/x", "/crm", "/crm/", "/%63rm/x", "/c%72m", "//crm/x", "/./crm/x", "/web/../crm/x", "/web/%2e%2e/crm/x", `/web\..\crm`,
		"/crm%2Fx", "/crm;x/y", "/crm%00", "/web/..;/crm/x", "/%2e/crm", "crm/x", "/crm%2fx",
	} {
		if d, _ := ask(t, g, "GET", path); d.Reply == nil {
			t.Errorf("%q reaches %s%s without a key", path, d.Service, d.Path)
		}
	}
}

func TestIdentityFromOutsideIsRemovedInEverySpelling(t *testing.T) {
	g := open(t, nil, app(nil), nil)
	d, r := ask(t, g, "GET", "/crm/x", "Atoll-Caller", "x", "atoll_caller", "x", "ATOLL-SUBJECT", "x", "Atoll_Claims", "x", "Atoll-Deadline", "1",
		"X-Forwarded-For", "1.1.1.1", "X_Forwarded_For", "1.1.1.1", "X-Forwarded-Prefix", "/p", "Forwarded", "for=1.1.1.1", "X-Real-Ip", "1.1.1.1",
		"X-Original-Url", "/admin", "X-Kept", "1")
	for name := range r.Header.All() {
		if name != "X-Kept" {
			t.Errorf("%s reaches the service", name)
		}
	}
	if got := upstream(d, "X-Forwarded-For"); got != "192.0.2.1" || d.Remote != "192.0.2.1" {
		t.Errorf("X-Forwarded-For %q, remote %q", got, d.Remote)
	}
	if upstream(d, relay.SubjectHeader) != "" {
		t.Error("a subject without proof")
	}
}

func TestTheClientsAddressIsBelievedOnlyFromTrustedProxies(t *testing.T) {
	for _, c := range []struct{ trusted, xff, want, chain string }{
		{"", "1.1.1.1", "192.0.2.1", "192.0.2.1"},
		{"192.0.2.0/24", "1.1.1.1", "1.1.1.1", "1.1.1.1, 192.0.2.1"},
		{"192.0.2.0/24", "9.9.9.9, 1.1.1.1", "1.1.1.1", "1.1.1.1, 192.0.2.1"},
		{"192.0.2.0/24", "1.1.1.1, 192.0.2.7", "1.1.1.1", "1.1.1.1, 192.0.2.7, 192.0.2.1"},
		{"192.0.2.0/24", "rubbish, 192.0.2.7", "192.0.2.7", "192.0.2.7, 192.0.2.1"},
		{"192.0.2.1", "[2001:db8::1]:99", "2001:db8::1", "2001:db8::1, 192.0.2.1"},
		{"192.0.2.1", "::ffff:1.2.3.4", "1.2.3.4", "1.2.3.4, 192.0.2.1"},
		{"10.0.0.0/8", "1.1.1.1", "192.0.2.1", "192.0.2.1"},
	} {
		g := open(t, nil, app(func(m *manifest.Gateway) {
			if c.trusted != "" {
				m.TrustedProxies = []string{c.trusted}
			}
		}), nil)
		d, _ := ask(t, g, "GET", "/", "X-Forwarded-For", c.xff, "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil")
		if d.Remote != c.want || upstream(d, "X-Forwarded-For") != c.chain {
			t.Errorf("%+v: remote %q, chain %q", c, d.Remote, upstream(d, "X-Forwarded-For"))
		}
		proto, host := "http", "app.example"
		if strings.HasPrefix(c.trusted, "192") {
			proto, host = "https", "evil"
		}
		if upstream(d, "X-Forwarded-Proto") != proto || upstream(d, "X-Forwarded-Host") != host {
			t.Errorf("%+v: %v", c, d.Upstream)
		}
	}
}

func TestRequestsThatNoRouteTakesGetTheirOwnRefusal(t *testing.T) {
	g := open(t, nil, app(func(m *manifest.Gateway) {
		m.Routes = []manifest.Route{{Path: "/a", To: "web", Methods: []string{"get", "POST"}}}
		m.Headers = 500
	}), nil)
	for _, c := range []struct {
		method, path, host string
		status             int
		code               fault.Code
		field              string
	}{
		{"GET", "/a", "h", 0, "", ""},
		{"GET", "/b", "h", 404, fault.CodeRouteNotFound, ""},
		{"PUT", "/a", "h", 405, fault.CodeMethodRefused, "GET, POST"},
		{"GET", "/a//", "h", 400, fault.CodePathRefused, ""},
		{"GET", "/a", "h%6d", 400, fault.CodeRequestRefused, ""},
		{"GET", "/a", "", 400, fault.CodeRequestRefused, ""},
		{"GET", "/" + strings.Repeat("a", 600), "h", 431, fault.CodeHeaderTooLarge, ""},
	} {
		d := g.Decide(t.Context(), &relay.Request{Method: c.method, Authority: c.host, RawPath: c.path, Header: relaytest.Header{}})
		if status, code := refusal(d); status != c.status || code != c.code {
			t.Errorf("%s %.9s: %d %s", c.method, c.path, status, code)
		}
		if c.field != "" && d.Reply.Header[0] != (relay.Field{Name: "Allow", Value: c.field}) {
			t.Errorf("fields %v", d.Reply.Header)
		}
	}
}

func TestQueryConditionsLookAtEveryParameter(t *testing.T) {
	g := open(t, nil, app(func(m *manifest.Gateway) {
		m.Routes = append(m.Routes, manifest.Route{Path: "/**", To: "crm", Query: map[string]string{"v": "2"}})
		m.Headers = 1_000_000
	}), nil)
	long := strings.Repeat("x=1&", 20_000)
	for query, want := range map[string]string{
		"v=2": "crm", "%76=%32": "crm", long + "v=2": "crm", "v=2&v=2": "crm",
		"v=2&v=3": "web", "v=2&" + long + "v=3": "web", "V=2": "web", "xv=2": "web", "v=2;x": "web", "": "web",
	} {
		if d, _ := ask(t, g, "GET", "/p?"+query); d.Service != want || d.Query != query {
			t.Errorf("%.30q goes to %s", query, d.Service)
		}
	}
}

func TestAPIKeysAreTakenPlainAndHashed(t *testing.T) {
	sum := sha256.Sum256([]byte("beta:with,colon"))
	secrets := map[string]string{"keys": "a:alpha\n\n b:sha256:" + hex.EncodeToString(sum[:]) + ", c:gamma"}
	g := open(t, nil, app(func(m *manifest.Gateway) {
		m.Auth = map[string]manifest.Auth{"partner": {APIKey: &manifest.APIKey{Header: "X-Api-Key", Keys: "keys"}}}
		m.Routes[0].Auth = []string{"partner"}
	}), secrets)
	for key, want := range map[string]string{"alpha": "a", "beta:with,colon": "b", "gamma": "c", "": "", "Alpha": "", "a:alpha": "", hex.EncodeToString(sum[:]): ""} {
		d, r := ask(t, g, "GET", "/crm/x", "X-Api-Key", key, "Atoll-Subject", "admin")
		if got := upstream(d, relay.SubjectHeader); got != want || d.Subject != want || (d.Reply == nil) != (want != "") {
			t.Errorf("%q: subject %q", key, got)
		}
		if d.Reply == nil && r.Header.Get("X-Api-Key") != "" {
			t.Error("the key goes on to the service")
		}
	}
	d, _ := ask(t, g, "GET", "/crm/x")
	if status, code := refusal(d); status != 401 || code != fault.CodeAuthMissing || d.Reply.Header[0].Name != "WWW-Authenticate" {
		t.Errorf("without a key: %d %s %v", status, code, d.Reply.Header)
	}
	d, _ = ask(t, g, "GET", "/crm/x", "X-Api-Key", "alpha", "X-Api-Key", "gamma")
	if status, _ := refusal(d); status != 401 {
		t.Error("two keys at once are taken")
	}
}

func TestPreflightsAreAnsweredWithoutProof(t *testing.T) {
	g := open(t, nil, app(func(m *manifest.Gateway) {
		m.CORS = &manifest.CORS{Origins: []string{"https://App.example"}, Credentials: true, Expose: []string{"X-A"}}
		m.Auth = map[string]manifest.Auth{"k": {APIKey: &manifest.APIKey{Keys: "keys"}}}
		m.Routes[0].Auth, m.Routes[0].Methods = []string{"k"}, []string{"PUT"}
	}), map[string]string{"keys": "a:b"})
	d, _ := ask(t, g, "OPTIONS", "/crm/x", "Origin", "https://app.example", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "x-one")
	if status, _ := refusal(d); status != 204 || d.Route != "/crm/**" {
		t.Fatalf("status %d, route %s", status, d.Route)
	}
	h := responseHeader(d, 204, relaytest.Header{})
	if h.Get("Access-Control-Allow-Origin") != "https://app.example" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != "Origin" {
		t.Errorf("header %v", h)
	}
	d, _ = ask(t, g, "OPTIONS", "/crm/x", "Origin", "https://evil.example", "Access-Control-Request-Method", "PUT")
	if status, code := refusal(d); status != 403 || code != fault.CodeOriginRefused {
		t.Errorf("another origin: %d %s", status, code)
	}
	d, _ = ask(t, g, "GET", "/x", "Origin", "https://evil.example")
	h = responseHeader(d, 200, relaytest.Header{"Access-Control-Allow-Origin": {"*"}})
	if h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin may read the answer: %v", h)
	}
}

func TestAPreflightThatNoPolicyAnswersStandsUnderItsOwnRoute(t *testing.T) {
	a := app(func(m *manifest.Gateway) {
		m.Auth = map[string]manifest.Auth{"k": {APIKey: &manifest.APIKey{Keys: "keys"}}}
		m.Routes = []manifest.Route{{Path: "/api/**", To: "web", Methods: []string{"GET"}}, {Path: "/api/**", To: "crm", Auth: []string{"k"}}}
	})
	g := open(t, nil, a, map[string]string{"keys": "a:key"})
	d, _ := ask(t, g, "OPTIONS", "/api/x", "Origin", "https://x", "Access-Control-Request-Method", "GET")
	if status, _ := refusal(d); status != 401 || d.Service != "crm" {
		t.Errorf("%d, service %q", status, d.Service)
	}
}

func TestARefusedOriginSaysOnceThatTheAnswerVaries(t *testing.T) {
	g := open(t, nil, app(func(m *manifest.Gateway) { m.CORS = &manifest.CORS{Origins: []string{"https://a.example"}} }), nil)
	d, _ := ask(t, g, "OPTIONS", "/crm/x", "Origin", "https://b.example", "Access-Control-Request-Method", "GET")
	h := relaytest.Header{}
	for _, f := range d.Reply.Header {
		h.Add(f.Name, f.Value)
	}
	if vary := responseHeader(d, 403, h).Values("Vary"); d.Reply.Status != 403 || len(vary) != 1 || vary[0] != "Origin" {
		t.Errorf("%d, Vary %q", d.Reply.Status, vary)
	}
}

func TestNothingUntrustedPassesAsATrailer(t *testing.T) {
	d, _ := ask(t, open(t, nil, app(nil), nil), "POST", "/crm/x")
	for _, name := range []string{"X-Forwarded-For", "x_real_ip", "Forwarded", "Atoll-Subject"} {
		if d.Untrusted == nil || !d.Untrusted(name) {
			t.Errorf("%s passes", name)
		}
	}
}

func TestSecurityHeadersAreAddedWhereTheServiceSetNone(t *testing.T) {
	g := open(t, nil, app(nil), nil)
	d, _ := ask(t, g, "GET", "/x")
	h := responseHeader(d, 200, relaytest.Header{"X-Frame-Options": {"DENY"}})
	if h.Get("X-Frame-Options") != "DENY" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") == "" || h.Get("Strict-Transport-Security") != "" {
		t.Errorf("header %v", h)
	}
	off := false
	g = open(t, nil, app(func(m *manifest.Gateway) { m.Security = &off }), nil)
	d, _ = ask(t, g, "GET", "/x")
	if h := responseHeader(d, 200, relaytest.Header{}); len(h) != 0 {
		t.Errorf("header %v", h)
	}
}

func limited(limits ...manifest.Limit) func(*manifest.Gateway) {
	return func(m *manifest.Gateway) { m.Routes[0].Limit = limits }
}

func TestALimitLetsThroughItsRateAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, nil, app(limited(manifest.Limit{Count: 10, Per: time.Second, Burst: 20})), nil)
		for i := range 20 {
			d, _ := ask(t, g, "GET", "/crm/x")
			h := responseHeader(d, 200, relaytest.Header{})
			if d.Reply != nil || h.Get("RateLimit-Policy") != `"address";q=20;w=2` || h.Get("RateLimit") != fmt.Sprintf(`"address";r=%d;t=%d`, 19-i, i/10+1) {
				t.Fatalf("request %d: %v, header %v", i, d.Reply, h)
			}
		}
		d, _ := ask(t, g, "GET", "/crm/x")
		if status, code := refusal(d); status != 429 || code != fault.CodeLimitExceeded || d.Reply.Header[0] != (relay.Field{Name: "Retry-After", Value: "1"}) {
			t.Fatalf("beyond the burst: %d %s %v", status, code, d.Reply)
		}
		passed := 0
		for range 1000 { // ten seconds at ten times the rate
			elapse(10 * time.Millisecond)
			if d, _ := ask(t, g, "GET", "/crm/x"); d.Reply == nil {
				passed++
			}
		}
		if passed != 100 {
			t.Errorf("%d passed in 10 s at 10/s", passed)
		}
	})
}

func TestLimitsCountByWhatTheySay(t *testing.T) {
	once := manifest.Limit{Count: 1, Per: time.Hour}
	keys := map[string]string{"keys": "a:1,b:2"}
	for _, c := range []struct {
		by              manifest.LimitBy
		first, second   []string
		firstIP, nextIP string
		pass            bool
	}{
		{manifest.LimitByAddress, nil, nil, "1.1.1.1", "1.1.1.1", false},
		{manifest.LimitByAddress, nil, nil, "1.1.1.1", "1.1.1.2", true},
		{manifest.LimitByAddress, nil, nil, "2001:db8::1", "2001:db8::2", false},
		{manifest.LimitBySubject, []string{"X-Api-Key", "1"}, []string{"X-Api-Key", "2"}, "1.1.1.1", "1.1.1.1", true},
		{manifest.LimitBySubject, []string{"X-Api-Key", "1"}, []string{"X-Api-Key", "1"}, "1.1.1.1", "1.1.1.2", false},
		{manifest.LimitByKey, []string{"X-Api-Key", "1"}, []string{"X-Api-Key", "1"}, "1.1.1.1", "1.1.1.2", false},
		{manifest.LimitByHeader, []string{"X-Tenant", "1"}, []string{"X-Tenant", "2"}, "1.1.1.1", "1.1.1.1", true},
		{manifest.LimitByHeader, []string{"X-Tenant", "1"}, []string{"X-Tenant", "1"}, "1.1.1.1", "1.1.1.2", false},
		{manifest.LimitByRoute, nil, nil, "1.1.1.1", "1.1.1.2", false},
	} {
		l := once
		l.By, l.Header = c.by, "X-Tenant"
		g := open(t, nil, app(func(m *manifest.Gateway) {
			m.TrustedProxies = []string{"192.0.2.1"}
			m.Routes[0].Limit = []manifest.Limit{l}
			if c.by == manifest.LimitBySubject || c.by == manifest.LimitByKey {
				m.Auth = map[string]manifest.Auth{"k": {APIKey: &manifest.APIKey{Keys: "keys"}}}
				m.Routes[0].Auth = []string{"k"}
			}
		}), keys)
		first, _ := ask(t, g, "GET", "/crm/x", append(c.first, "X-Forwarded-For", c.firstIP)...)
		second, _ := ask(t, g, "GET", "/crm/x", append(c.second, "X-Forwarded-For", c.nextIP)...)
		if first.Reply != nil || (second.Reply == nil) != c.pass {
			t.Errorf("%+v: first %v, second %v", c, first.Reply, second.Reply)
		}
	}
}

func TestARefusedRequestCountsAgainstNoLimit(t *testing.T) {
	g := open(t, nil, app(limited(
		manifest.Limit{Count: 2, Per: time.Hour},
		manifest.Limit{Count: 1, Per: time.Hour, By: manifest.LimitByHeader, Header: "X-Tenant"},
	)), nil)
	for i, tenant := range []string{"a", "a", "a", "b", "c"} {
		d, _ := ask(t, g, "GET", "/crm/x", "X-Tenant", tenant)
		if want := i == 0 || i == 3; (d.Reply == nil) != want {
			t.Errorf("request %d: %v", i, d.Reply)
		}
	}
}

func TestCountersSurviveAReloadThatKeepsTheLimit(t *testing.T) {
	one := limited(manifest.Limit{Count: 1, Per: time.Hour})
	g := open(t, nil, app(one), nil)
	pass := func() bool {
		d, _ := ask(t, g, "GET", "/crm/x")
		return d.Reply == nil
	}
	if !pass() || pass() {
		t.Fatal("the limit does not hold")
	}
	if err := apply(t.Context(), g, app(one), nil); err != nil || pass() {
		t.Errorf("a reload forgets what was counted (%v)", err)
	}
	if err := apply(t.Context(), g, app(limited(manifest.Limit{Count: 2, Per: time.Hour})), nil); err != nil || !pass() {
		t.Errorf("another limit is not counted anew (%v)", err)
	}
}

func TestTheTableOfCountersIsBoundedAndForgetsTheIdleFirst(t *testing.T) {
	g := open(t, &gateway.Options{LimitKeys: 16 * 64}, app(limited(manifest.Limit{Count: 4, Per: time.Hour, By: manifest.LimitByHeader, Header: "X-T"})), nil)
	for range 4 {
		ask(t, g, "GET", "/crm/x", "X-T", "busy")
	}
	for i := range 20_000 {
		ask(t, g, "GET", "/crm/x", "X-T", fmt.Sprint(i))
	}
	if d, _ := ask(t, g, "GET", "/crm/x", "X-T", "busy"); d.Reply == nil {
		t.Error("a flood of other keys wipes out what the busy one owes")
	}
}

func TestWhatCannotBeServedChangesNothing(t *testing.T) {
	g := open(t, nil, app(nil), nil)
	zero := time.Duration(0)
	for name, c := range map[string]struct {
		change func(*manifest.Gateway)
		code   fault.Code
	}{
		"unknown service":      {func(m *manifest.Gateway) { m.Routes[0].To = "nobody" }, fault.CodeGatewayRoute},
		"a service of bytes":   {func(m *manifest.Gateway) { m.Routes[0].To = "db" }, fault.CodeGatewayRoute},
		"bad pattern":          {func(m *manifest.Gateway) { m.Routes[0].Path = "/a*" }, fault.CodeGatewayRoute},
		"the same route twice": {func(m *manifest.Gateway) { m.Routes[0].Path = "/**" }, fault.CodeGatewayRoute},
		"unknown auth":         {func(m *manifest.Gateway) { m.Routes[0].Auth = []string{"x"} }, fault.CodeGatewayRoute},
		"a limit of nothing":   {limited(manifest.Limit{Count: 1, Per: zero}), fault.CodeGatewayRoute},
		"bad strip":            {func(m *manifest.Gateway) { m.Routes[0].Strip = "crm" }, fault.CodeGatewayRoute},
		"empty auth":           {func(m *manifest.Gateway) { m.Auth = map[string]manifest.Auth{"x": {}} }, fault.CodeGatewayAuth},
		"missing key file":     {jwtAuth(manifest.JWT{JWKS: "none.json"}), fault.CodeGatewayAuth},
		"keys by plain http":   {jwtAuth(manifest.JWT{JWKS: "http://id.example/keys"}), fault.CodeGatewayAuth},
		"no audience":          {jwtAuth(manifest.JWT{JWKS: "https://127.0.0.1:1/", Issuer: "i"}), fault.CodeGatewayAuth},
		"missing secret": {func(m *manifest.Gateway) {
			m.Auth = map[string]manifest.Auth{"x": {APIKey: &manifest.APIKey{Keys: "none"}}}
		}, fault.CodeGatewaySecret},
		"bad secret": {func(m *manifest.Gateway) {
			m.Auth = map[string]manifest.Auth{"x": {APIKey: &manifest.APIKey{Keys: "bad"}}}
		}, fault.CodeGatewaySecret},
		"bad proxy":           {func(m *manifest.Gateway) { m.TrustedProxies = []string{"x"} }, fault.CodeGatewayProxy},
		"credentials for all": {func(m *manifest.Gateway) { m.CORS = &manifest.CORS{Origins: []string{"*"}, Credentials: true} }, fault.CodeGatewayCORS},
		"missing certificate": {func(m *manifest.Gateway) { m.TLS = &manifest.TLS{Cert: "a", Key: "b"} }, fault.CodeGatewayTLS},
	} {
		err := apply(t.Context(), g, app(c.change), map[string]string{"bad": "x:sha256:12"})
		list, isList := err.(fault.List) //nolint:errorlint // what Apply promises
		if !isList || len(list) == 0 || list[0].Code != c.code || list[0].Remedy == "" {
			t.Errorf("%s: %v", name, err)
		}
		if d, _ := ask(t, g, "GET", "/crm/x"); d.Service != "crm" {
			t.Errorf("%s: the old snapshot is gone", name)
		}
	}
}

func TestAReloadIsSeenWholeByEveryRequest(t *testing.T) {
	// Each snapshot has both routes to one service; a mixture would be seen as two.
	both := func(to string) *manifest.App {
		return app(func(m *manifest.Gateway) {
			m.Routes = []manifest.Route{{Path: "/**", To: to, Tries: len(to), Timeout: new(manifest.Duration)}}
		})
	}
	g := open(t, nil, both("crm"), nil)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				d, _ := ask(t, g, "GET", "/x")
				if d.Reply != nil || d.Tries != len(d.Service) {
					t.Errorf("decision %+v", d)
					return
				}
			}
		})
	}
	other := both("web")
	other.Services[1].Name = "website"
	other.Gateway.Routes[0].To, other.Gateway.Routes[0].Tries = "website", 7
	for i := range 500 {
		a := both("crm")
		if i%2 == 0 {
			a = other
		}
		if err := apply(t.Context(), g, a, nil); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	readers.Wait()
}
