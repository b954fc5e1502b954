package metric_test

import (
	"math"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/metric"
)

func TestNamesAndLabelsAreThoseOfPrometheus(t *testing.T) {
	s := open(t, nil)
	res := &telemetry.Resource{Service: "orders", Replica: "orders-1"}
	at := noon.UnixNano()
	dropped := add(t, s,
		telemetry.Metric{Resource: res, Name: "http.server.active_requests", Unit: "{request}", Kind: telemetry.Sum, Points: []telemetry.Point{{
			Time: at, Value: 3, Attrs: []telemetry.Attr{
				str("http.request.method", "GET"), str("service", "mine"), str("9lives", "yes"), str("__name__", "evil"),
				str("a_b", "2"), str("a.b", "1"), str("empty", ""),
				{Key: "n", Value: telemetry.Int(7)},
			},
		}}},
		telemetry.Metric{Resource: res, Name: "process.cpu.time", Unit: "s", Kind: telemetry.Sum, Monotonic: true, Points: []telemetry.Point{{Time: at, Value: 1.5}}},
		telemetry.Metric{Resource: res, Name: "jvm.memory.used", Unit: "By", Kind: telemetry.Gauge, Points: []telemetry.Point{{Time: at, Value: 10}}},
		telemetry.Metric{Resource: res, Name: "cpu.utilization", Unit: "1", Kind: telemetry.Gauge, Points: []telemetry.Point{{Time: at, Value: 0.5}}},
	)
	if dropped != 0 {
		t.Errorf("%d dropped", dropped)
	}
	expect(t, s, `{__name__=~".+"}`,
		"__name__=cpu_utilization_ratio replica=orders-1 service=orders 0.5",
		"__name__=http_server_active_requests a_b=1;2 exported_name__=evil exported_service=mine http_request_method=GET key_9lives=yes n=7 replica=orders-1 service=orders 3",
		"__name__=jvm_memory_used_bytes replica=orders-1 service=orders 10",
		"__name__=process_cpu_time_seconds_total replica=orders-1 service=orders 1.5",
	)
}

func TestHistogramsBecomeBucketsThatAddUp(t *testing.T) {
	s := open(t, nil)
	add(t, s, telemetry.Metric{
		Resource: &telemetry.Resource{Service: "orders"}, Name: "latency", Unit: "s", Kind: telemetry.Histogram,
		Points: []telemetry.Point{{
			Time: noon.UnixNano(), Count: 10, Sum: 12.5, Bounds: []float64{0.5, 1, 2.5}, Buckets: []uint64{1, 2, 3, 4},
		}},
	})
	expect(t, s, `{__name__=~"latency.*"}`,
		"__name__=latency_seconds_bucket le=+Inf service=orders 10",
		"__name__=latency_seconds_bucket le=0.5 service=orders 1",
		"__name__=latency_seconds_bucket le=1.0 service=orders 3",
		"__name__=latency_seconds_bucket le=2.5 service=orders 6",
		"__name__=latency_seconds_count service=orders 10",
		"__name__=latency_seconds_sum service=orders 12.5",
	)
}

func TestSummariesBecomeQuantiles(t *testing.T) {
	s := open(t, nil)
	add(t, s, telemetry.Metric{
		Resource: &telemetry.Resource{Service: "orders"}, Name: "wait", Unit: "ms", Kind: telemetry.SummaryMetric,
		Points: []telemetry.Point{{Time: noon.UnixNano(), Count: 4, Sum: 8, Quantiles: []telemetry.Quantile{{Q: 0.5, Value: 2}, {Q: 1, Value: 3}}}},
	})
	expect(t, s, `{__name__=~"wait.*"}`,
		"__name__=wait_milliseconds quantile=0.5 service=orders 2",
		"__name__=wait_milliseconds quantile=1.0 service=orders 3",
		"__name__=wait_milliseconds_count service=orders 4",
		"__name__=wait_milliseconds_sum service=orders 8",
	)
}

func exponential(scale int32, offset int32, counts ...uint64) telemetry.Point {
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	return telemetry.Point{
		Time: noon.UnixNano(), Count: total, Sum: 30, Scale: scale,
		Positive: telemetry.ExponentialBuckets{Offset: offset, Counts: counts},
	}
}

// At scale 0 the base is 2: bucket 0 is (1, 2], bucket 1 (2, 4], bucket 2 (4, 8], bucket 3 (8, 16].
func TestExponentialHistogramsKeepTheirBuckets(t *testing.T) {
	for name, tt := range map[string]struct {
		point telemetry.Point
		query string
		want  string
	}{
		"below 2":             {exponential(0, 0, 4, 0, 0, 6), `histogram_fraction(1, 2, h) * 10`, "service=orders 4"},
		"above a gap":         {exponential(0, 0, 4, 0, 0, 6), `histogram_fraction(8, 16, h) * 10`, "service=orders 6"},
		"in the gap":          {exponential(0, 0, 4, 0, 0, 6), `histogram_fraction(2, 8, h) * 10`, "service=orders 0"},
		"all of them":         {exponential(0, 0, 4, 0, 0, 6), `histogram_count(h)`, "service=orders 10"},
		"their sum":           {exponential(0, 0, 4, 0, 0, 6), `histogram_sum(h)`, "service=orders 30"},
		"below one":           {exponential(0, -2, 5, 1), `histogram_fraction(0.25, 0.5, h) * 6`, "service=orders 5"},
		"finer than scale 8":  {exponential(9, -2, 1, 2, 3, 4), `histogram_count(h)`, "service=orders 10"},
		"its merged buckets":  {exponential(9, -2, 1, 2, 3, 4), `histogram_fraction(0.5, 1, h) * 10`, "service=orders 3"},
		"other merged bucket": {exponential(9, -2, 1, 2, 3, 4), `histogram_fraction(1, 2, h) * 10`, "service=orders 7"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, nil)
			if n := add(t, s, telemetry.Metric{
				Resource: &telemetry.Resource{Service: "orders"}, Name: "h", Kind: telemetry.ExponentialHistogram,
				Points: []telemetry.Point{tt.point},
			}); n != 0 {
				t.Fatalf("%d dropped", n)
			}
			expect(t, s, tt.query, tt.want)
		})
	}
}

func TestDeltasAddUpAndCountOnce(t *testing.T) {
	s := open(t, nil)
	point := func(second int, p telemetry.Point) []telemetry.Point {
		p.Time = noon.Add(time.Duration(second) * time.Second).UnixNano()
		return []telemetry.Point{p}
	}
	res := &telemetry.Resource{Service: "orders"}
	send := func(second int) int {
		exp := exponential(0, 0, 1, 2)
		return add(t, s,
			telemetry.Metric{Resource: res, Name: "jobs", Kind: telemetry.Sum, Monotonic: true, Delta: true, Points: point(second, telemetry.Point{Value: 5})},
			telemetry.Metric{Resource: res, Name: "took", Kind: telemetry.Histogram, Delta: true, Points: point(second, telemetry.Point{
				Count: 3, Sum: 2, Bounds: []float64{1}, Buckets: []uint64{2, 1},
			})},
			telemetry.Metric{Resource: res, Name: "exp", Kind: telemetry.ExponentialHistogram, Delta: true, Points: point(second, exp)},
		)
	}
	if n := send(-20) + send(-10); n != 0 {
		t.Errorf("%d dropped", n)
	}
	if n := send(-10); n != 3 {
		t.Errorf("an export that was sent twice: %d dropped, want 3", n)
	}
	expect(t, s, `jobs_total`, "__name__=jobs_total service=orders 10")
	expect(t, s, `took_bucket`, "__name__=took_bucket le=+Inf service=orders 6", "__name__=took_bucket le=1.0 service=orders 4")
	expect(t, s, `took_sum`, "__name__=took_sum service=orders 4")
	expect(t, s, `histogram_count(exp)`, "service=orders 6")
	expect(t, s, `histogram_fraction(2, 4, exp) * 6`, "service=orders 4")
}

func TestADeltaFromTheFutureIsDroppedAloneAndItsSeriesGoesOn(t *testing.T) {
	s := open(t, nil)
	res := &telemetry.Resource{Service: "orders"}
	send := func(at time.Time) int {
		exp := exponential(0, 0, 1, 2)
		exp.Time = at.UnixNano()
		return add(t, s,
			telemetry.Metric{Resource: res, Name: "jobs", Kind: telemetry.Sum, Monotonic: true, Delta: true, Points: []telemetry.Point{
				{Time: at.UnixNano(), Value: 5},
			}},
			telemetry.Metric{Resource: res, Name: "took", Kind: telemetry.Histogram, Delta: true, Points: []telemetry.Point{
				{Time: at.UnixNano(), Count: 3, Sum: 2, Bounds: []float64{1}, Buckets: []uint64{2, 1}},
			}},
			telemetry.Metric{Resource: res, Name: "exp", Kind: telemetry.ExponentialHistogram, Delta: true, Points: []telemetry.Point{exp}},
		)
	}
	if n := send(noon.AddDate(70, 0, 0)); n != 3 {
		t.Errorf("of three points of the future %d were dropped", n)
	}
	if n := send(noon.Add(-10*time.Second)) + send(noon); n != 0 {
		t.Errorf("of those that follow %d were dropped", n)
	}
	if got := s.Stats().Services["orders"].Dropped; len(got) != 1 || got[metric.CauseAhead] != 3 {
		t.Errorf("counted %v", got)
	}
	expect(t, s, `jobs_total`, "__name__=jobs_total service=orders 10")
	expect(t, s, `took_count`, "__name__=took_count service=orders 6")
	expect(t, s, `histogram_count(exp)`, "service=orders 6")
}

func TestWhatIsKnownOfAMetricIsKeptOnlyWithItsPoints(t *testing.T) {
	s := open(t, nil)
	long := gauge("orders", strings.Repeat("n", 1<<20), noon, 1)
	none := gauge("orders", "none", noon, 1)
	none.Points = nil
	add(t, s, long, none, gauge("orders", "fine", noon, 1))
	answer := httptest.NewRecorder()
	s.Handler(&metric.APIOptions{}).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/metadata", nil))
	if got := answer.Body.String(); len(got) > 200 || !strings.Contains(got, `{"fine":[`) {
		t.Errorf("known are %.200s", got)
	}
}

func TestDeltasWithoutRoomAreDroppedUntilOthersAreSilent(t *testing.T) {
	now := noon
	s := open(t, &metric.Options{MaxDeltas: 1, Now: func() time.Time { return now }})
	send := func(name string) int {
		m := gauge("orders", name, now, 1)
		m.Kind, m.Delta, m.Monotonic = telemetry.Sum, true, true
		return add(t, s, m)
	}
	if n := send("first"); n != 0 {
		t.Errorf("first: %d dropped", n)
	}
	if n := send("second"); n != 1 {
		t.Errorf("second: %d dropped, want 1", n)
	}
	if n := s.Stats().Services["orders"].Dropped[metric.CauseDeltas]; n != 1 {
		t.Errorf("counted %d, want 1", n)
	}
	now = now.Add(2 * time.Hour)
	if n := send("second"); n != 0 {
		t.Errorf("second, when the first is silent: %d dropped", n)
	}
}

func TestStalePointEndsItsSeries(t *testing.T) {
	s := open(t, nil)
	m := gauge("orders", "up", noon.Add(-2*time.Second), 1)
	h := telemetry.Metric{Resource: m.Resource, Name: "h", Kind: telemetry.ExponentialHistogram, Points: []telemetry.Point{exponential(0, 0, 1)}}
	h.Points[0].Time = m.Points[0].Time
	add(t, s, m, h)
	for _, x := range []*telemetry.Metric{&m, &h} {
		x.Points[0].Time = noon.Add(-time.Second).UnixNano()
		x.Points[0].Stale = true
	}
	add(t, s, m, h)
	expect(t, s, `{__name__=~".+"}`)
	if got := instantAt(t, s, "up", noon.Add(-2*time.Second)); len(got) != 1 {
		t.Errorf("before: %q", got)
	}
}

func TestWhatCannotBeIsDroppedByCause(t *testing.T) {
	res := &telemetry.Resource{Service: "orders"}
	at := noon.UnixNano()
	histogram := func(p telemetry.Point) telemetry.Metric {
		p.Time = at
		return telemetry.Metric{Resource: res, Name: "h", Kind: telemetry.Histogram, Points: []telemetry.Point{p}}
	}
	many := make([]telemetry.Attr, 41)
	for i := range many {
		many[i] = str("k"+string(rune('a'+i/26))+string(rune('a'+i%26)), "v")
	}
	exp := func(p telemetry.Point) telemetry.Metric {
		return telemetry.Metric{Resource: res, Name: "e", Kind: telemetry.ExponentialHistogram, Points: []telemetry.Point{p}}
	}
	lying := exponential(0, 0, 1, 2)
	lying.Count = 1
	around := func(zero float64) telemetry.Point {
		p := exponential(0, 0, 1, 2)
		p.ZeroThreshold = zero
		return p
	}
	for name, tt := range map[string]struct {
		m    telemetry.Metric
		want metric.Cause
	}{
		"years ahead":            {gauge("orders", "g", noon.AddDate(70, 0, 0), 1), metric.CauseAhead},
		"in 1970":                {gauge("orders", "g", time.Unix(1, 0), 1), metric.CauseOld},
		"a label of a kilobyte":  {gauge("orders", "g", noon, 1, str("k", string(make([]byte, 1025)))), metric.CauseLabels},
		"41 labels":              {gauge("orders", "g", noon, 1, many...), metric.CauseLabels},
		"no name":                {gauge("orders", "", noon, 1), metric.CauseLabels},
		"a name of underscores":  {gauge("orders", "...", noon, 1), metric.CauseLabels},
		"a key without a name":   {gauge("orders", "g", noon, 1, str("", "v")), metric.CauseLabels},
		"too few buckets":        {histogram(telemetry.Point{Bounds: []float64{1, 2}, Buckets: []uint64{1, 1}}), metric.CauseInvalid},
		"bounds that fall":       {histogram(telemetry.Point{Bounds: []float64{2, 1}, Buckets: []uint64{1, 1, 1}}), metric.CauseInvalid},
		"a count that lies":      {exp(lying), metric.CauseInvalid},
		"a scale that is not":    {exp(exponential(30, 0, 1)), metric.CauseInvalid},
		"an offset at the end":   {exp(exponential(0, 2147483647, 1, 1)), metric.CauseInvalid},
		"more buckets than meet": {exp(exponential(0, 0, make([]uint64, 1001)...)), metric.CauseInvalid},
		"nothing around zero":    {exp(around(math.NaN())), metric.CauseInvalid},
		"all around zero":        {exp(around(math.Inf(1))), metric.CauseInvalid},
		"less than zero":         {exp(around(-1)), metric.CauseInvalid},
		"no kind":                {telemetry.Metric{Resource: res, Name: "n", Points: []telemetry.Point{{Time: at}}}, metric.CauseInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, nil)
			if n := add(t, s, tt.m); n != 1 {
				t.Errorf("%d dropped, want 1", n)
			}
			if got := s.Stats().Services["orders"].Dropped; len(got) != 1 || got[tt.want] != 1 {
				t.Errorf("counted %v, want one for %s", got, tt.want)
			}
			if n := add(t, s, gauge("orders", "fine", noon, 1)); n != 0 {
				t.Error("what follows is dropped too")
			}
		})
	}
}

func TestSamplesOfASkewedClockAreTakenWithinTheWindow(t *testing.T) {
	s := open(t, nil)
	if n := add(t, s, gauge("orders", "g", noon, 3), gauge("orders", "g", noon.Add(-9*time.Minute), 1)); n != 0 {
		t.Errorf("within the window: %d dropped", n)
	}
	if n := add(t, s, gauge("orders", "g", noon.Add(-11*time.Minute), 1)); n != 1 {
		t.Errorf("beyond the window: %d dropped, want 1", n)
	}
	if n := add(t, s, gauge("orders", "g", noon, 4)); n != 1 {
		t.Errorf("another value for the same time: %d dropped, want 1", n)
	}
	dropped := s.Stats().Services["orders"].Dropped
	if dropped[metric.CauseOld] != 1 || dropped[metric.CauseTwice] != 1 {
		t.Errorf("counted %v", dropped)
	}
	if got := instantAt(t, s, "g", noon.Add(-8*time.Minute)); !slices.Equal(got, []string{"__name__=g service=orders 1"}) {
		t.Errorf("got %q", got)
	}
}
