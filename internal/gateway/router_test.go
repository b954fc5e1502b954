package gateway_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/gateway"
	"github.com/atollhq/atoll/internal/relay/relaytest"
)

func router(tb testing.TB, entries ...*gateway.Entry) *gateway.Router {
	tb.Helper()
	for i, e := range entries {
		e.Index = i
	}
	r, faults := gateway.NewRouter(entries)
	for e, err := range faults {
		tb.Fatalf("%+v: %v", e, err)
	}
	return r
}

func TestTheMostSpecificRouteWins(t *testing.T) {
	r := router(t,
		&gateway.Entry{Path: "/**"},
		&gateway.Entry{Path: "/api/**"},
		&gateway.Entry{Path: "/api/*"},
		&gateway.Entry{Path: "/api/leads"},
		&gateway.Entry{Path: "/api/*/items"},
		&gateway.Entry{Path: "/api/leads/**"},
		&gateway.Entry{Path: "/api/", Methods: []string{"POST"}},
		&gateway.Entry{Host: "*.example.com", Path: "/api/**"},
		&gateway.Entry{Host: "*.a.example.com", Path: "/**"},
		&gateway.Entry{Host: "shop.example.com", Path: "/only"},
		&gateway.Entry{Path: "/v", Header: map[string]string{"X-Beta": "1"}},
		&gateway.Entry{Path: "/v", Header: map[string]string{"X-Beta": "*"}, Query: map[string]string{"q": "1"}},
		&gateway.Entry{Path: "/v"},
		&gateway.Entry{Path: "/caf%C3%A9"},
		&gateway.Entry{Path: "/deep/*/x/**"},
	)
	for _, c := range []struct{ host, path, query, beta, want string }{
		{"h", "/", "", "", "/**"},
		{"h", "/api", "", "", "/api/**"},
		{"h", "/api/x", "", "", "/api/*"},
		{"h", "/api/leads", "", "", "/api/leads"},
		{"h", "/api/leads/", "", "", "/api/leads/**"},
		{"h", "/api/leads/items", "", "", "/api/leads/**"},
		{"h", "/api/x/items", "", "", "/api/*/items"},
		{"h", "/api/x/other", "", "", "/api/**"},
		{"h", "/api/", "", "", "/api/**"}, // a GET
		{"h", "/apix", "", "", "/**"},
		{"h", "/API/leads", "", "", "/**"},
		{"a.example.com", "/api/leads", "", "", "*.example.com/api/**"},
		{"b.a.example.com", "/api/leads", "", "", "*.a.example.com/**"},
		{"example.com", "/api/leads", "", "", "/api/leads"},
		{"shop.example.com", "/only", "", "", "shop.example.com/only"},
		{"shop.example.com", "/api/x", "", "", "*.example.com/api/**"},
		{"shop.example.com", "/other", "", "", "/**"},
		{"h", "/v", "q=1", "1", "/v 2"},
		{"h", "/v", "q=2", "1", "/v 1"},
		{"h", "/v", "", "", "/v 0"},
		{"h", "/v", "q=1&q=2", "", "/v 0"},
		{"h", "/café", "", "", "/caf%C3%A9"},
		{"h", "/deep/1/x", "", "", "/deep/*/x/**"},
		{"h", "/deep//x", "", "", "/**"},
	} {
		h := relaytest.Header{}
		if c.beta != "" {
			h.Set("X-Beta", c.beta)
		}
		a := r.Find(&gateway.Question{Method: "GET", Host: c.host, Path: c.path, Query: c.query, Header: h})
		got := ""
		if a.Entry != nil {
			got = a.Entry.Host + a.Entry.Path
			if a.Entry.Path == "/v" {
				got += fmt.Sprint(" ", len(a.Entry.Header)+len(a.Entry.Query))
			}
		}
		if got != c.want {
			t.Errorf("%s%s?%s goes to %q, want %q", c.host, c.path, c.query, got, c.want)
		}
	}
}

func TestAMethodThatNoRouteTakesIsAllowedForOthers(t *testing.T) {
	r := router(t,
		&gateway.Entry{Path: "/a", Methods: []string{"GET"}},
		&gateway.Entry{Path: "/a", Methods: []string{"PUT", "POST"}},
		&gateway.Entry{Path: "/b/**", Methods: []string{"DELETE"}},
		&gateway.Entry{Host: "x", Path: "/b/c", Methods: []string{"POST"}},
	)
	for _, c := range []struct {
		method, host, path string
		found              bool
		allow              int
	}{
		{"GET", "h", "/a", true, 0},
		{"HEAD", "h", "/a", true, 0},
		{"POST", "h", "/a", true, 0},
		{"DELETE", "h", "/a", false, 3},
		{"DELETE", "x", "/b/c", true, 0},
		{"GET", "x", "/b/c", false, 2},
		{"GET", "h", "/none", false, 0},
	} {
		a := r.Find(&gateway.Question{Method: c.method, Host: c.host, Path: c.path, Header: relaytest.Header{}})
		if (a.Entry != nil) != c.found || len(a.Allow) != c.allow {
			t.Errorf("%s %s%s: %+v", c.method, c.host, c.path, a)
		}
	}
}

func TestPatternsThatNoRequestMatchesAreRefused(t *testing.T) {
	for _, e := range []*gateway.Entry{
		{Path: ""},
		{Path: "a"},
		{Path: "/a*"},
		{Path: "/**/a"},
		{Path: "/a//b"},
		{Path: "//**"},
		{Path: "/a/../b"},
		{Path: "/a%2Fb"},
		{Path: "/a;b"},
		{Path: "/a%"},
		{Path: "/a", Host: "*"},
		{Path: "/a", Host: "a b"},
		{Path: "/a", Host: "*.*.x"},
	} {
		if _, faults := gateway.NewRouter([]*gateway.Entry{e}); len(faults) != 1 {
			t.Errorf("%+v is taken", e)
		}
	}
	twice := []*gateway.Entry{{Path: "/a/*", Methods: []string{"GET", "POST"}}, {Path: "/a/*", Methods: []string{"GET"}, Index: 1}}
	if _, faults := gateway.NewRouter(twice); faults[twice[1]] == nil || len(faults) != 1 {
		t.Errorf("a route that can never match is taken: %v", faults)
	}
}

// matchSlow is the oracle: every route in turn, and the best of those that match by the rule of the documentation.
func matchSlow(entries []*gateway.Entry, q *gateway.Question) *gateway.Entry {
	var best *gateway.Entry
	var bestRank []int
	for _, e := range entries {
		rank, ok := rankOf(e, q)
		if ok && (best == nil || slices.Compare(rank, bestRank) > 0) {
			best, bestRank = e, rank
		}
	}
	return best
}

// rankOf is a route's place in the order, as numbers of which the first that differs decides; the larger wins.
func rankOf(e *gateway.Entry, q *gateway.Question) ([]int, bool) {
	host := 0
	switch suffix, wild := strings.CutPrefix(e.Host, "*"); {
	case e.Host == q.Host:
		host = 1000
	case e.Host == "":
	case wild && strings.HasSuffix(q.Host, suffix):
		host = len(suffix)
	default:
		return nil, false
	}
	rank := []int{host}
	want, got := strings.Split(e.Path[1:], "/"), strings.Split(q.Path[1:], "/")
	for i, w := range want {
		switch {
		case w == "**":
			rank = append(rank, 1)
			got = got[:i]
		case i >= len(got):
			return nil, false
		case w == "*" && got[i] != "":
			rank = append(rank, 2)
		case w == got[i]:
			rank = append(rank, 3)
		default:
			return nil, false
		}
		if w == "**" {
			want = want[:i]
			break
		}
	}
	if len(want) != len(got) || len(e.Methods) > 0 && !slices.Contains(e.Methods, q.Method) {
		return nil, false
	}
	for len(rank) < 8 {
		rank = append(rank, cmp.Compare(rank[len(rank)-1], 1)) // the end comes before **
		break
	}
	conditions := min(len(e.Methods), 1)
	for name, v := range e.Query {
		if q.Query != name+"="+v {
			return nil, false
		}
		conditions++
	}
	return append(rank, 10+conditions, -e.Index), true
}

func TestTheTreeFindsWhatAListWould(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	for range 300 {
		var entries []*gateway.Entry
		for i := range 1 + random.IntN(30) {
			e := &gateway.Entry{Index: i, Host: pick("", "", "a.b", "*.b", "*.a.b")}
			for range random.IntN(4) {
				e.Path += "/" + pick("a", "b", "*")
			}
			e.Path += pick("", "/**", "/x")
			if e.Path == "" {
				e.Path = "/"
			}
			if pick("", "m") == "m" {
				e.Methods = []string{pick("GET", "POST")}
			}
			if pick("", "", "q") == "q" {
				e.Query = map[string]string{"q": pick("1", "2")}
			}
			if _, faults := gateway.NewRouter(append(slices.Clone(entries), e)); len(faults) == 0 {
				entries = append(entries, e)
			}
		}
		r := router(t, entries...)
		for range 100 {
			q := &gateway.Question{Method: pick("GET", "POST"), Host: pick("a.b", "b", "c.a.b", "z"), Query: pick("", "q=1", "q=2"), Header: relaytest.Header{}}
			for range 1 + random.IntN(4) {
				q.Path += "/" + pick("a", "b", "x", "c")
			}
			q.Path += pick("", "", "/")
			got, want := r.Find(q).Entry, matchSlow(entries, q)
			if got != want {
				t.Fatalf("seed %d: %+v goes to %+v, the list says %+v", seed, q, got, want)
			}
		}
	}
}

func manyRoutes(n int) []*gateway.Entry {
	entries := []*gateway.Entry{{Path: "/**", Index: 0}}
	for i := 1; i < n; i++ {
		entries = append(entries, &gateway.Entry{Path: fmt.Sprintf("/team-%d/service-%d/*/items/**", i%100, i), Index: i})
	}
	return entries
}

func TestTenThousandRoutesTakeNoMoreStepsThanTen(t *testing.T) {
	steps := func(n int) int {
		r := router(t, manyRoutes(n)...)
		a := r.Find(&gateway.Question{Method: "GET", Host: "h", Path: "/team-7/service-7/42/items/5/6", Header: relaytest.Header{}})
		if a.Entry == nil || a.Entry.Index != 7 {
			t.Fatalf("found %+v", a.Entry)
		}
		return a.Steps
	}
	if ten, many := steps(10), steps(10_000); many > ten {
		t.Errorf("%d steps among ten routes, %d among ten thousand", ten, many)
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := router(b, manyRoutes(n)...)
			q := &gateway.Question{Method: "GET", Host: "h", Path: "/team-7/service-7/42/items/5/6", Header: relaytest.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				r.Find(q)
			}
		})
	}
}

func FuzzRoutePattern(f *testing.F) {
	for _, s := range []string{"/", "/**", "/a/*/b", "/a/**", "/caf%C3%A9", "/a%2F", "/*a", "//", "/%2e"} {
		f.Add(s, "/a/b/c")
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		r, faults := gateway.NewRouter([]*gateway.Entry{{Path: pattern}})
		if len(faults) > 0 || !strings.HasPrefix(path, "/") {
			return
		}
		r.Find(&gateway.Question{Method: "GET", Host: "h", Path: path, Header: relaytest.Header{}})
	})
}

func TestHostsAreComparedInOneForm(t *testing.T) {
	for in, want := range map[string]string{
		"Example.COM": "example.com", "example.com:8080": "example.com", "example.com.": "example.com", "[::1]:80": "[::1]",
		"127.0.0.1:1": "127.0.0.1", "exa%6dple.com": "", "a b": "", "": "", "a:b": "", "a/b": "", "[::1": "", "user@host": "", "a:1:2": "",
	} {
		if got, ok := gateway.CleanHost(in); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", in, got, ok)
		}
	}
}
