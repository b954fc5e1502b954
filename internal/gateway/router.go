package gateway

import (
	"cmp"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
)

// Router finds the most specific route for a request, in a tree of hosts and path segments: what a lookup costs
// depends on the length of the path, not on the number of routes. It is immutable once built.
//
// The rule: an exact host comes before *.host (a longer one before a shorter), that before no host; under one host
// the path decides segment by segment from the left, a literal before *, that before **; of routes with the same
// host and path the one with more conditions comes first (each header and each query parameter is one, methods
// together are one), then the one that was declared first. Where a route's conditions do not hold, the next in this
// order is asked.
type Router struct {
	exact    map[string]*node
	wildcard map[string]*node // by what follows "*."
	any      *node
}

// node is a place in the tree of path segments.
type node struct {
	literal map[string]*node
	star    *node
	here    []*Entry // routes that end here, more conditions first
	rest    []*Entry // routes that end here with **
}

// Entry is one route in the router.
type Entry struct {
	Host, Path    string // as patterns
	Methods       []string
	Header, Query map[string]string
	Index         int // place in the manifest
}

// Question is what a router is asked.
type Question struct {
	Method string
	Host   string // lower case, without port
	Path   string // decoded, clean
	Query  string // raw
	Header relay.Header
}

// Answer is what a router found.
type Answer struct {
	Entry *Entry   // nil if there is none
	Allow []string // methods that other routes with this path would take, if there is no Entry
	Steps int      // nodes that were looked at
}

// NewRouter builds a router. It returns a fault for each pattern that is none and each route that can never match.
func NewRouter(entries []*Entry) (*Router, map[*Entry]*fault.Error) {
	r := &Router{exact: map[string]*node{}, wildcard: map[string]*node{}, any: &node{}}
	faults := map[*Entry]*fault.Error{}
	for _, e := range entries {
		if err := r.add(e); err != nil {
			faults[e] = err
		}
	}
	return r, faults
}

func (r *Router) add(e *Entry) *fault.Error {
	segments, rest, err := parsePattern(e.Path)
	if err != nil {
		return err
	}
	n, err := r.root(e.Host)
	if err != nil {
		return err
	}
	for _, s := range segments {
		n = n.child(s)
	}
	list := &n.here
	if rest {
		list = &n.rest
	}
	for _, other := range *list {
		if shadows(other, e) {
			return fault.New(fault.CodeGatewayRoute, "route %s can never match: another route has the same conditions", e.pattern()).
				Fix("take one of the two away, or give one of them a condition that the other has not")
		}
	}
	*list = append(*list, e)
	slices.SortStableFunc(*list, func(a, b *Entry) int {
		return cmp.Or(cmp.Compare(b.conditions(), a.conditions()), cmp.Compare(a.Index, b.Index))
	})
	return nil
}

// shadows tells whether every request that b takes is taken by a, which comes first.
func shadows(a, b *Entry) bool {
	if !equalMaps(a.Header, b.Header) || !equalMaps(a.Query, b.Query) || (len(a.Methods) == 0) != (len(b.Methods) == 0) {
		return false
	}
	return !slices.ContainsFunc(b.Methods, func(m string) bool { return !slices.Contains(a.Methods, m) })
}

func equalMaps(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

func (r *Router) root(host string) (*node, *fault.Error) {
	if host == "" {
		return r.any, nil
	}
	table := r.exact
	suffix, wild := strings.CutPrefix(host, "*.")
	if wild {
		table = r.wildcard
	}
	name, ok := CleanHost(suffix)
	if !ok || strings.Contains(name, "*") {
		return nil, fault.New(fault.CodeGatewayRoute, "host %q is not a name", host).
			Fix("write a name such as api.example.com, or *.example.com")
	}
	if table[name] == nil {
		table[name] = &node{}
	}
	return table[name], nil
}

// parsePattern reads a path pattern into its segments; "*" stands for one that may be anything.
func parsePattern(pattern string) (segments []string, rest bool, err *fault.Error) {
	bad := func(why string) *fault.Error {
		return fault.New(fault.CodeGatewayRoute, "path %q of a route is refused: %s", pattern, why).
			Fix("write a path such as /orders, /orders/* or /orders/**")
	}
	if !strings.HasPrefix(pattern, "/") {
		return nil, false, bad("it does not begin with /")
	}
	path := pattern[1:]
	if path == "**" {
		return nil, true, nil
	}
	path, rest = strings.CutSuffix(path, "/**")
	for s := range strings.SplitSeq(path, "/") {
		switch {
		case s == "*":
			segments = append(segments, "*")
			continue
		case strings.Contains(s, "*"):
			return nil, false, bad("* stands for a whole segment, ** for the rest at the end")
		}
		clean, cleanErr := relay.CleanPath("/" + s)
		if cleanErr != nil {
			return nil, false, bad("no request can have it")
		}
		segments = append(segments, "="+clean.Decoded[1:])
	}
	if len(segments) > 1 && slices.Contains(segments[:len(segments)-1], "=") || rest && slices.Contains(segments, "=") {
		return nil, false, bad("it holds an empty segment")
	}
	return segments, rest, nil
}

func (n *node) child(segment string) *node {
	if segment == "*" {
		if n.star == nil {
			n.star = &node{}
		}
		return n.star
	}
	name := segment[1:]
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	if n.literal[name] == nil {
		n.literal[name] = &node{}
	}
	return n.literal[name]
}

// Find answers a question.
func (r *Router) Find(q *Question) Answer {
	a := Answer{}
	if n := r.exact[q.Host]; n != nil && n.find(q, q.Path[1:], &a) {
		return a
	}
	if len(r.wildcard) > 0 {
		for _, below, ok := strings.Cut(q.Host, "."); ok; _, below, ok = strings.Cut(below, ".") {
			a.Steps++
			if n := r.wildcard[below]; n != nil && n.find(q, q.Path[1:], &a) {
				return a
			}
		}
	}
	r.any.find(q, q.Path[1:], &a)
	return a
}

// find looks for the rest of a path, from the most specific on.
func (n *node) find(q *Question, path string, a *Answer) bool {
	a.Steps++
	segment, after, more := strings.Cut(path, "/")
	if child := n.literal[segment]; child != nil && child.step(q, after, more, a) {
		return true
	}
	if n.star != nil && segment != "" && n.star.step(q, after, more, a) {
		return true
	}
	return first(n.rest, q, a)
}

// step goes on behind a segment that matched.
func (n *node) step(q *Question, after string, more bool, a *Answer) bool {
	if more {
		return n.find(q, after, a)
	}
	a.Steps++
	return first(n.here, q, a) || first(n.rest, q, a)
}

// first takes the first entry whose conditions hold.
func first(list []*Entry, q *Question, a *Answer) bool {
	for _, e := range list {
		switch {
		case !e.holds(q):
		case !e.takes(q.Method):
			a.Allow = append(a.Allow, e.Methods...)
		default:
			a.Entry, a.Allow = e, nil
			return true
		}
	}
	return false
}

func (e *Entry) conditions() int { return len(e.Header) + len(e.Query) + min(len(e.Methods), 1) }

func (e *Entry) pattern() string { return e.Host + e.Path }

// takes tells whether the route takes a method. What takes GET takes HEAD.
func (e *Entry) takes(method string) bool {
	return len(e.Methods) == 0 || slices.Contains(e.Methods, method) ||
		method == "HEAD" && slices.Contains(e.Methods, "GET")
}

// holds tells whether the header and query conditions hold. A name that comes more than once must have the value
// each time, since the service may read any of them.
func (e *Entry) holds(q *Question) bool {
	for name, want := range e.Header {
		values := q.Header.Values(name)
		if len(values) == 0 || want != "*" && slices.ContainsFunc(values, func(v string) bool { return v != want }) {
			return false
		}
	}
	for name, want := range e.Query {
		if !queryHolds(q.Query, name, want) {
			return false
		}
	}
	return true
}
