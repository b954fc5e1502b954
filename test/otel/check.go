package otel

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/telemetry"
)

// Check tells what of the app's telemetry did not come from a service, which sends this once:
//
//   - a span checkout (server) with the attributes order.id "42", items 3, price 12.5, rush true and tags ["a","b"], an
//     event paid with method "card", and the status error with the text "no stock"
//   - a span charge (client) in it, with a link to the span checkout
//   - a counter orders {order} with 5 for region "north", monotonic
//   - an up-down counter stock with -2
//   - a histogram latency s with the values 0.1, 0.2 and 3 and the bounds 0.5 and 1
//   - a log record of severity 13 (WARN) "stock is low" with item "tea" and left 2, within the span checkout
//
// all of the scope test-otel 1.0.0.
func Check(service string, spans []telemetry.Span, records []telemetry.Record, metrics []telemetry.Metric) []string {
	c := &checker{service: service}
	checkout := c.spans(spans)
	c.records(records, checkout)
	c.metrics(metrics)
	return c.wrong
}

// CheckRows is Check for spans and log records alone.
func CheckRows(service string, spans []telemetry.Span, records []telemetry.Record) []string {
	c := &checker{service: service}
	c.records(records, c.spans(spans))
	return c.wrong
}

type checker struct {
	service string
	wrong   []string
}

func (c *checker) want(ok bool, format string, args ...any) {
	if !ok {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

func (c *checker) origin(what string, r *telemetry.Resource, s *telemetry.Scope) {
	c.want(r != nil && r.Replica == c.service+"-1", "%s is of the resource %+v", what, r)
	c.want(s != nil && s.Name == "test-otel" && s.Version == "1.0.0", "%s is of the scope %+v", what, s)
}

func (c *checker) attrs(what string, attrs []telemetry.Attr, want string) {
	list := make([]string, len(attrs))
	for i, a := range attrs {
		list[i] = a.Key + "=" + a.Value.Text()
	}
	slices.Sort(list)
	got := strings.Join(list, " ")
	c.want(got == want, "%s has the attributes %s, want %s", what, got, want)
}

func (c *checker) spans(spans []telemetry.Span) telemetry.Span {
	by := map[string]telemetry.Span{}
	for _, s := range spans {
		if s.Resource.Service == c.service {
			_, twice := by[s.Name]
			c.want(!twice, "the span %s came twice", s.Name)
			by[s.Name] = s
		}
	}
	a, b := by["checkout"], by["charge"]
	if a.Resource == nil || b.Resource == nil {
		c.want(false, "the spans of %s are %v", c.service, by)
		return a
	}
	c.origin("the span checkout", a.Resource, a.Scope)
	c.want(a.Kind == telemetry.KindServer && b.Kind == telemetry.KindClient, "the spans are %v and %v", a.Kind, b.Kind)
	c.attrs("the span checkout", a.Attrs, `items=3 order.id=42 price=12.5 rush=true tags=["a","b"]`)
	c.want(a.Status == telemetry.StatusError && a.StatusText == "no stock", "checkout ended %v %q", a.Status, a.StatusText)
	c.want(b.Status == telemetry.StatusUnset, "charge ended %v", b.Status)
	c.want(b.TraceID == a.TraceID && b.Parent == a.SpanID && a.Parent.IsZero(), "charge is not in checkout")
	c.want(a.Start > 1_600_000_000_000_000_000 && a.Duration > 0 && a.Duration < 60_000_000_000,
		"checkout began at %d and took %d", a.Start, a.Duration)
	if len(a.Events) == 1 {
		e := a.Events[0]
		c.want(e.Name == "paid" && e.Time >= a.Start && e.Time <= a.Start+a.Duration, "the event is %+v", e)
		c.attrs("the event", e.Attrs, "method=card")
	} else {
		c.want(false, "the events of checkout are %+v", a.Events)
	}
	c.want(len(b.Links) == 1 && b.Links[0].SpanID == a.SpanID && b.Links[0].TraceID == a.TraceID,
		"the links of charge are %+v", b.Links)
	return a
}

func (c *checker) records(records []telemetry.Record, in telemetry.Span) {
	records = slices.DeleteFunc(slices.Clone(records), func(r telemetry.Record) bool { return r.Resource.Service != c.service })
	if len(records) != 1 {
		c.want(false, "the records of %s are %+v", c.service, records)
		return
	}
	r := records[0]
	c.origin("the record", r.Resource, r.Scope)
	c.want(r.Severity == telemetry.SeverityWarn, "the record has the severity %d", r.Severity)
	c.want(r.Body == telemetry.String("stock is low"), "the record says %q", r.Body.Text())
	c.want(r.TraceID == in.TraceID && r.SpanID == in.SpanID, "the record is in the span %v", r.SpanID)
	c.want(r.Time > 1_600_000_000_000_000_000, "the record is of %d", r.Time)
	c.attrs("the record", r.Attrs, "item=tea left=2")
}

func (c *checker) metrics(metrics []telemetry.Metric) {
	by := map[string]telemetry.Metric{}
	for _, m := range metrics {
		if m.Resource.Service == c.service {
			by[m.Name] = m // Metrics are exported again and again; all are alike.
		}
	}
	for _, name := range []string{"orders", "stock", "latency"} {
		m, ok := by[name]
		if !ok || len(m.Points) != 1 {
			c.want(false, "the metric %s is %+v", name, m)
			continue
		}
		c.origin("the metric "+name, m.Resource, m.Scope)
		p := m.Points[0]
		c.want(!m.Delta && p.Time >= p.Start && p.Start > 1_600_000_000_000_000_000, "the metric %s is %+v", name, m)
		switch name {
		case "orders":
			c.want(m.Kind == telemetry.Sum && m.Monotonic && m.Unit == "{order}" && m.Help == "Orders taken.", "%+v", m)
			c.want(p.Value == 5, "orders is %v", p.Value)
			c.attrs("orders", p.Attrs, "region=north")
		case "stock":
			c.want(m.Kind == telemetry.Sum && !m.Monotonic && p.Value == -2, "stock is %+v", m)
		case "latency":
			c.want(m.Kind == telemetry.Histogram && m.Unit == "s" && p.Count == 3 && p.Sum > 3.29 && p.Sum < 3.31 &&
				slices.Equal(p.Bounds, []float64{0.5, 1}) && slices.Equal(p.Buckets, []uint64{2, 0, 1}), "latency is %+v", m)
		}
	}
}
