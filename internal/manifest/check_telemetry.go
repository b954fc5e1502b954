package manifest

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

// The least and the most of telemetry's settings.
const (
	minTelemetryAge  = Duration(time.Hour)
	minMetricAge     = Duration(3 * time.Hour) // a block of metrics is two hours
	minTelemetrySize = Size(64_000_000)
	minSeries        = 1000
	minScrape        = Duration(time.Second)
	maxScrape        = Duration(time.Hour)
	minTaken         = 100 // a second
	minForwardQueue  = Size(1_000_000)
)

// telemetry checks where telemetry comes from, how it is kept and where it goes.
func (c *checker) telemetry() {
	t, n := &c.app.Telemetry, lookup(c.root, "telemetry")
	c.listens(lookup(n, "otlp", "grpc"), t.OTLP.GRPC, "127.0.0.1:4317")
	c.listens(lookup(n, "otlp", "http"), t.OTLP.HTTP, "127.0.0.1:4318")
	least(c, lookup(n, "keep", "age"), t.Keep.Age, minTelemetryAge)
	least(c, lookup(n, "keep", "size"), t.Keep.Size, minTelemetrySize)
	least(c, lookup(n, "metrics", "age"), t.Metrics.Age, minMetricAge)
	least(c, lookup(n, "metrics", "size"), t.Metrics.Size, minTelemetrySize)
	leastInt(c, lookup(n, "metrics", "series"), t.Metrics.Series, minSeries)
	between(c, lookup(n, "metrics", "every"), t.Metrics.Every, minScrape, maxScrape)
	leastInt(c, lookup(n, "limits", "spans"), t.Limits.Spans, minTaken)
	leastInt(c, lookup(n, "limits", "logs"), t.Limits.Logs, minTaken)
	for i := range t.Forward {
		c.forward(lookup(n, "forward", i), &t.Forward[i])
	}
}

// least refuses a value that is too small. Zero too: a bound of nothing is a slip more often than a wish.
func least[T interface {
	~int64
	String() string
}](c *checker, n *yaml.Node, v, low T,
) {
	if v < low {
		c.add(c.fault(n, fault.CodeBadValue, "%s is too little here", v.String()).Fix("write at least %s", low.String()))
	}
}

func leastInt(c *checker, n *yaml.Node, v, low int) {
	if v < low {
		c.add(c.fault(n, fault.CodeBadValue, "%d is too little here", v).Fix("write at least %d", low))
	}
}

// between refuses a time span that is too short or too long.
func between(c *checker, n *yaml.Node, v, low, high Duration) {
	if v < low || v > high {
		c.add(c.fault(n, fault.CodeBadValue, "%s is not possible here", v).Fix("write a time span from %s to %s", low, high))
	}
}

// listens checks an address to listen on, or off.
func (c *checker) listens(n *yaml.Node, address, such string) {
	host, port, err := net.SplitHostPort(address)
	if address != ListenOff && (err != nil || !validHost(host) || !validPort(port)) {
		c.add(c.fault(n, fault.CodeBadValue, "%q is not an address to listen on", address).Fix("write an address and a port, such as %s, or off", such))
	}
}

// otlpPorts adds the ports that telemetry comes in by to those that are taken.
func (c *checker) otlpPorts(owner map[int]string) {
	otlp := &c.app.Telemetry.OTLP
	c.takes(owner, lookup(c.root, "telemetry", "otlp", "grpc"), "telemetry.otlp.grpc", otlp.GRPC)
	c.takes(owner, lookup(c.root, "telemetry", "otlp", "http"), "telemetry.otlp.http", otlp.HTTP)
}

// takes adds the port of an address, where it names one, to those that are taken.
func (c *checker) takes(owner map[int]string, n *yaml.Node, name, address string) {
	port := portOf(address)
	if port == 0 {
		return
	}
	if first := owner[port]; first != "" {
		c.add(c.fault(n, fault.CodePortTaken, "port %d of %s is taken already, by %s", port, name, first).Fix("give one of the two another port, or write off"))
		return
	}
	owner[port] = name
}

// portOf is the port of an address, or 0.
func portOf(address string) int {
	_, text, err := net.SplitHostPort(address)
	port, bad := strconv.Atoi(text)
	if err != nil || bad != nil {
		return 0
	}
	return port
}

func (c *checker) forward(n *yaml.Node, f *Forward) {
	if f.Endpoint != "" {
		c.httpURL(lookup(n, "endpoint"), f.Endpoint)
	}
	for name := range f.Headers {
		if !headerForm.MatchString(name) {
			c.add(c.fault(keyNode(lookup(n, "headers"), name), fault.CodeBadValue, "%q is not a header", name).Fix("write a name such as X-Tenant"))
		}
	}
	for i, signal := range f.Signals {
		if !slices.Contains(Signals(), signal) {
			c.add(c.fault(lookup(n, "signals", i), fault.CodeBadValue, "%q is not sent", signal).Fix("write one of %s", strings.Join(Signals(), ", ")))
		}
	}
	least(c, lookup(n, "queue"), f.Queue, minForwardQueue)
}

// httpURL refuses what is not the URL of a server.
func (c *checker) httpURL(n *yaml.Node, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		c.add(c.fault(n, fault.CodeBadValue, "this is not the URL of a server").Fix("write https://HOST/PATH"))
	case u.User != nil:
		c.add(c.fault(n, fault.CodeBadValue, "a URL that holds credentials is no place for them").Fix("take them out of the URL and send them as a header or a signature"))
	}
}

// scrape checks the path that a service's metrics are read from.
func (c *checker) scrape(s *Service, n *yaml.Node) {
	at := lookup(n, "metrics")
	switch {
	case s.Metrics == "":
	case !strings.HasPrefix(s.Metrics, "/") || strings.ContainsAny(s.Metrics, " \t\r\n#"):
		c.add(c.fault(at, fault.CodeBadPath, "%q is not a path", s.Metrics).Fix("write a path such as /metrics"))
	case s.Protocol != ProtocolHTTP:
		c.add(c.fault(at, fault.CodeBadValue, "metrics are read by HTTP, and %s speaks %s", s.Name, s.Protocol).
			Fix("take it away, and let the service send its metrics by OTLP: it has the OTEL_* variables"))
	}
}
