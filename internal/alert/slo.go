package alert

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// SLO is an objective for the requests of a service.
//
// Its alerts are those of multiple windows and multiple burn rates of Google's Site Reliability Workbook, chapter 5, "Alerting on SLOs"
// (https://sre.google/workbook/alerting-on-slos/), technique 6 with the recommended parameters. The error budget is 1 - Objective. The burn rate
// over some time is the share of bad requests in it divided by the budget: at burn rate 1 the budget lasts exactly for Window. To use up
// the share s of the budget within the time t takes the burn rate
//
//	factor = s * Window / t
//
// An alert fires when the burn rate is above the factor both over t and over t/12; the second lets it end soon after the trouble has ended.
// For a window of 720h that is
//
//	severity  t    t/12  share of the budget  factor
//	critical  1h   5m     2 %                 14.4
//	critical  6h   30m    5 %                  6
//	warning   24h  2h    10 %                  3
//	warning   72h  6h    10 %                  1
//
// For other windows the times are the same parts of it (1/720, 1/120, 1/30 and 1/10), so that the factors stay.
//
// Two things are not in the workbook's table. With little traffic one bad request would be an alert; so at least MinBad requests must have been bad
// over t. And since a burn rate cannot be above 1/budget, an objective below 93 % could never burn 14.4 times too fast; the factor is
// therefore at most 0.9/budget, which 90 % of bad requests are.
type SLO struct {
	Service   string
	Objective float64       // share of the requests that must be good, above 0 and below 1
	Latency   time.Duration // how long a good request may take; 0 for any time
	Window    time.Duration
}

// MinBad is how many requests must have been bad over the longer window.
const MinBad = 5

// Burn is one of the pairs of windows of an objective.
type Burn struct {
	Severity Severity
	Share    float64 // of the budget, that is used up within Long at Factor
	Long     time.Duration
	Short    time.Duration
	Factor   float64
}

// Budget is the share of the requests that may be bad.
func (s *SLO) Budget() float64 { return 1 - s.Objective }

// Burns are the pairs of windows, the shortest first.
func (s *SLO) Burns() []Burn {
	out := make([]Burn, 0, 4)
	for _, b := range []struct {
		severity Severity
		share    float64
		part     time.Duration // of the window
	}{{Critical, 0.02, 720}, {Critical, 0.05, 120}, {Warning, 0.10, 30}, {Warning, 0.10, 10}} {
		long := s.Window / b.part
		out = append(out, Burn{
			Severity: b.severity, Share: b.share, Long: long.Round(time.Second), Short: (long / 12).Round(time.Second),
			Factor: min(b.share*float64(b.part), 0.9/s.Budget()),
		})
	}
	return out
}

// rate is how many times faster than the objective allows the budget is used up; false without requests.
func (s *SLO) rate(r Requests) (float64, bool) {
	if !(r.All > 0) { // NaN too
		return 0, false
	}
	return r.Bad / r.All / s.Budget(), true
}

// verdict is what one pair of windows says.
type verdict struct {
	burn  Burn
	long  Requests
	rate  float64 // over Long
	wrong bool
	near  float64 // how near it is to its factor; above 1 is beyond
}

// judge compares what happened in the two windows of a burn; false without requests in the longer one.
func (s *SLO) judge(b Burn, long, short Requests) (verdict, bool) {
	rate, ok := s.rate(long)
	if !ok {
		return verdict{}, false
	}
	recent, _ := s.rate(short) // no requests: nothing is wrong just now
	near := min(rate, recent) / b.Factor
	return verdict{burn: b, long: long, rate: rate, near: near, wrong: near > 1 && long.Bad >= MinBad}, true
}

// observe asks for all windows, and makes one observation for each severity of which something is known.
func (r *Rule) observeSLO(ctx context.Context, ev Evaluator, at time.Time) ([]observation, error) {
	s, known := r.SLO, map[time.Duration]Requests{}
	ask := func(window time.Duration) (Requests, error) {
		if n, ok := known[window]; ok {
			return n, nil
		}
		n, err := ev.Requests(ctx, s, window, at)
		known[window] = n
		return n, err
	}
	best := map[Severity]verdict{}
	for _, b := range s.Burns() {
		long, err := ask(b.Long)
		if err != nil {
			return nil, err
		}
		short, err := ask(b.Short)
		if err != nil {
			return nil, err
		}
		v, ok := s.judge(b, long, short)
		if old, had := best[b.Severity]; ok && (!had || v.wrong && !old.wrong || v.wrong == old.wrong && v.near > old.near) {
			best[b.Severity] = v
		}
	}
	var out []observation
	for _, severity := range []Severity{Critical, Warning} {
		if v, ok := best[severity]; ok {
			out = append(out, observation{
				labels: r.labels(Labels{LabelService: s.Service}, severity), severity: severity, value: v.rate, wrong: v.wrong, note: s.note(v),
			})
		}
	}
	return out, nil
}

func (s *SLO) summary() string {
	text := "{{service}} uses up its error budget {{value}}: " + FormatValue(s.Objective, UnitShare) + " of its requests shall be good"
	if s.Latency > 0 {
		text += ", within " + s.Latency.String()
	}
	return text
}

// note says what the value comes of.
func (s *SLO) note(v verdict) string {
	text := fmt.Sprintf("%.0f of %.0f requests of %s were bad", v.long.Bad, v.long.All, span(v.burn.Long))
	if v.wrong {
		text += ", at this rate the budget of " + span(s.Window) + " is gone in " + span(time.Duration(float64(s.Window)/v.rate).Round(time.Minute))
	}
	return text
}

// span is a time span without the units that are zero: 1h, not 1h0m0s.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Bad is the question, in PromQL, that counts the bad requests in a window. bounds are the upper bounds of the histogram
// of durations, ascending, without the last, which is +Inf: a latency counts as the next bound above it, since nothing is known between two bounds.
func (s *SLO) Bad(window time.Duration, bounds []float64) string {
	selector := metricRequests + "_count{service=" + strconv.Quote(s.Service) + `,http_response_status_code=~"5.."}`
	failed := "(sum(increase(" + selector + "[" + seconds(window) + "])) or vector(0))"
	at := s.bound(bounds)
	if s.Latency <= 0 || at < 0 {
		return failed
	}
	fast := metricRequests + "_bucket{service=" + strconv.Quote(s.Service) + `,http_response_status_code!~"5..",le=~"` + leForm(bounds[at]) + `"}`
	return s.All(window) + " - (sum(increase(" + fast + "[" + seconds(window) + "])) or vector(0))"
}

// All counts all requests.
func (s *SLO) All(window time.Duration) string {
	return "sum(increase(" + metricRequests + "_count{service=" + strconv.Quote(s.Service) + "}[" + seconds(window) + "]))"
}

// seconds is a window as PromQL has it.
func seconds(window time.Duration) string { return strconv.Itoa(int(window.Seconds())) + "s" }

// bound is the index of the smallest bound that is no less than the latency, or -1: then every request that ends is fast enough for all that is known.
func (s *SLO) bound(bounds []float64) int {
	for i, b := range bounds {
		if b >= s.Latency.Seconds()-1e-9 {
			return i
		}
	}
	return -1
}

// leForm matches a bound as Prometheus writes it: 1 may be written 1.0.
func leForm(bound float64) string {
	text := strconv.FormatFloat(bound, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
		return strings.Replace(text, ".0", `(\\.0)?`, 1)
	}
	return strings.Replace(text, ".", `\\.`, 1)
}
