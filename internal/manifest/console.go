package manifest

import (
	"net"
	"net/netip"
	"slices"

	"github.com/atollhq/atoll/internal/fault"
)

// StandardConsole is where the console is unless the manifest says otherwise.
const StandardConsole = "127.0.0.1:8900"

// Console is the web console.
type Console struct {
	Listen string `key:"listen" default:"127.0.0.1:8900" doc:"Loopback address and port of the web console, or off; port 0 takes a free one, and so does the standard one where it is taken. A change holds from the next start on."`
}

// Wants tells whether something of an App but the console listens on the port of an address.
func (a *App) Wants(address string) bool {
	port := portOf(address)
	return slices.ContainsFunc([]string{a.Gateway.Listen, a.Telemetry.OTLP.GRPC, a.Telemetry.OTLP.HTTP}, func(one string) bool { return portOf(one) == port }) ||
		slices.ContainsFunc(a.Services, func(s *Service) bool { return s.Port == port })
}

// console checks where the console listens: what it sends is not encrypted, so on this machine alone.
func (c *checker) console() {
	n, listen := lookup(c.root, "console", "listen"), c.app.Console.Listen
	c.listens(n, listen, StandardConsole)
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return
	}
	if addr, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !addr.IsLoopback()) {
		c.add(c.fault(n, fault.CodeBadValue, "the console cannot listen on %s: it is for this machine alone", listen).
			Fix("write %s, and reach it from elsewhere through a tunnel such as ssh -L", StandardConsole))
	}
}
