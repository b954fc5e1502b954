package gateway

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/relay"
)

// proxies are the networks whose word on the client is believed.
type proxies []netip.Prefix

func parseProxies(list []string) (proxies, fault.List) {
	var p proxies
	var faults fault.List
	for _, s := range list {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			if addr, addrErr := netip.ParseAddr(s); addrErr == nil {
				prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
			}
		}
		if err != nil {
			faults = append(faults, fault.New(fault.CodeGatewayProxy, "trusted_proxies: %q is not a network", s).
				Fix("write an address or a network such as 10.0.0.0/8").Because(err))
			continue
		}
		p = append(p, prefix.Masked())
	}
	return p, faults
}

func (p proxies) trust(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// client is who a request comes from, as far as the gateway believes it.
type client struct {
	addr      netip.Addr
	proto     string // http or https
	host      string // as the client wrote it
	chain     string // X-Forwarded-For for the service
	forwarded string // Forwarded for the service, or ""
}

// clientOf reads the forwarding fields. From a peer that is not trusted they count for nothing. From one that is,
// X-Forwarded-For is read from its end: the first address that is not a trusted proxy's is the client, and what
// stands before it was written by the client and is dropped.
func (p proxies) clientOf(r *relay.Request) client {
	c := client{addr: r.Peer, proto: "http", host: r.Authority, chain: r.Peer.String()}
	if r.TLS {
		c.proto = "https"
	}
	if !p.trust(r.Peer) {
		return c
	}
	if proto := lastToken(r.Header.Values("X-Forwarded-Proto")); proto == "http" || proto == "https" {
		c.proto = proto
	}
	if host := lastToken(r.Header.Values("X-Forwarded-Host")); host != "" {
		if _, ok := CleanHost(host); ok {
			c.host = host
		}
	}
	if f := r.Header.Values("Forwarded"); len(f) > 0 {
		c.forwarded = strings.Join(f, ", ")
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, ok := parseHop(hop)
		if !ok {
			break
		}
		c.addr, c.chain = addr, addr.String()+", "+c.chain
		if !p.trust(addr) {
			break
		}
	}
	return c
}

func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

func lastToken(values []string) string {
	if len(values) == 0 {
		return ""
	}
	v := values[len(values)-1]
	return strings.TrimSpace(v[strings.LastIndexByte(v, ',')+1:])
}

// fields are the forwarding fields for the service.
func (c client) fields(peer netip.Addr) []relay.Field {
	f := []relay.Field{
		{Name: "X-Forwarded-For", Value: c.chain},
		{Name: "X-Forwarded-Proto", Value: c.proto},
		{Name: "X-Forwarded-Host", Value: c.host},
	}
	if c.forwarded != "" {
		f = append(f, relay.Field{Name: "Forwarded", Value: c.forwarded + `, for="` + forwardedNode(peer) + `"`})
	}
	return f
}

func forwardedNode(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// untrusted tells whether a field that came from outside must not reach a service: what Atoll reserves, and what
// speaks of where a request came from, in every spelling.
func untrusted(name string) bool {
	return relay.Reserved(name) || relay.FoldedPrefix(name, "x-forwarded-") ||
		equalFolded(name, "forwarded") || equalFolded(name, "x-real-ip") || equalFolded(name, "true-client-ip") ||
		equalFolded(name, "x-client-ip") || equalFolded(name, "x-original-url") || equalFolded(name, "x-rewrite-url")
}

func equalFolded(name, want string) bool {
	return len(name) == len(want) && relay.FoldedPrefix(name, want)
}
