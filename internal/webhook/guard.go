package webhook

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/atollhq/atoll/internal/fault"
)

// guard says which addresses may be connected to. It is never changed.
//
// The ranges are those of the IANA registries of special-purpose addresses (RFC 6890 and its updates). Of IPv6 only global
// unicast is public; an address that leads to an IPv4 address must be good for that one too.
type guard struct {
	allow    []netip.Prefix // whatever else is said
	never    []netip.Prefix // where clouds answer questions about the machine: not to be had by allowing what is private
	private  []netip.Prefix // an endpoint may allow these
	reserved []netip.Prefix // nobody's
	public   netip.Prefix   // of IPv6
}

func newGuard(allow []netip.Prefix) *guard {
	return &guard{
		allow: slices.Clone(allow),
		never: prefixes(
			"169.254.0.0/16",     // link-local, RFC 3927; metadata of most clouds
			"fe80::/10",          // link-local, RFC 4291
			"fd00:ec2::/32",      // metadata of Amazon
			"100.100.100.200/32", // metadata of Alibaba
			"168.63.129.16/32",   // what Azure answers a machine from; public by its number
		),
		private: prefixes(
			"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
			"100.64.0.0/10", // shared with a provider's NAT, RFC 6598
			"127.0.0.0/8",   // loopback, RFC 1122
			"::1/128",       // loopback, RFC 4291
			"fc00::/7",      // unique local, RFC 4193
		),
		reserved: prefixes(
			"0.0.0.0/8",       // this network, RFC 791
			"192.0.0.0/24",    // IETF protocol assignments, RFC 6890
			"192.0.2.0/24",    // documentation, RFC 5737
			"198.51.100.0/24", // documentation, RFC 5737
			"203.0.113.0/24",  // documentation, RFC 5737
			"192.88.99.0/24",  // relays of 6to4, RFC 7526
			"198.18.0.0/15",   // benchmarks, RFC 2544
			"224.0.0.0/4",     // multicast, RFC 5771
			"240.0.0.0/4",     // reserved, and broadcast, RFC 1112
			"2001::/23",       // IETF protocol assignments, Teredo among them, RFC 2928
			"2001:db8::/32",   // documentation, RFC 3849
			"3fff::/20",       // documentation, RFC 9637
		),
		public: netip.MustParsePrefix("2000::/3"), // RFC 4291
	}
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, text := range list {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

// check refuses an address with a *fault.Error, if it is not public, nor private where that is allowed.
func (g *guard) check(addr netip.Addr, private bool) error {
	addr = translated(addr.WithZone("").Unmap()) // no prefix contains an address with a zone
	if in(g.allow, addr) {
		return nil
	}
	if err := g.judge(addr, private); err != nil {
		return err
	}
	if inner, ok := tunnelled(addr); ok {
		return g.judge(inner, private)
	}
	return nil
}

// judge is check for an address that stands for no other.
func (g *guard) judge(addr netip.Addr, private bool) error {
	switch {
	case in(g.never, addr), in(g.reserved, addr):
	case in(g.private, addr):
		if private {
			return nil
		}
		return fault.New(fault.CodeWebhookAddress, "%s is a private address, to which webhooks do not go", addr).
			Fix("give an address that is reachable from everywhere; to send within a network of yours, allow private addresses for this endpoint")
	case addr.Is4(), g.public.Contains(addr):
		return nil
	}
	return fault.New(fault.CodeWebhookAddress, "%s is no address that webhooks go to", addr).
		Fix("give an address that is reachable from everywhere")
}

func in(list []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// translated is the IPv4 address that a NAT64 translates an IPv6 address of the well-known prefix to (RFC 6052), else the
// address itself.
func translated(addr netip.Addr) netip.Addr {
	b := addr.As16()
	if binary.BigEndian.Uint64(b[:8]) == 0x0064ff9b<<32 && binary.BigEndian.Uint32(b[8:12]) == 0 {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}

// tunnelled returns the IPv4 address of the router or host that what is sent to an IPv6 address may be wrapped for.
func tunnelled(addr netip.Addr) (netip.Addr, bool) {
	b := addr.As16()
	switch {
	case !addr.Is6():
	case b[0] == 0x20 && b[1] == 0x02: // 6to4, RFC 3056
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case binary.BigEndian.Uint32(b[8:12])&^0x02000000 == 0x00005efe: // ISATAP, RFC 5214
		return netip.AddrFrom4([4]byte(b[12:])), true
	}
	return netip.Addr{}, false
}
