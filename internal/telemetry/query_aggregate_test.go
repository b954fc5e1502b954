package telemetry_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

func mustParse(t *testing.T, text string, s telemetry.Signal) *telemetry.Query {
	t.Helper()
	q, err := telemetry.ParseQuery(text, s)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func span(at, took int64, service string, attrs ...telemetry.Attr) telemetry.Row {
	return telemetry.Row{Span: &telemetry.Span{Resource: &telemetry.Resource{Service: service}, Start: at, Duration: took, Attrs: attrs}}
}

func show(t *telemetry.Table) string {
	var b strings.Builder
	b.WriteString(strings.Join(t.Columns, " "))
	for _, row := range t.Rows {
		b.WriteString("\n")
		for i, v := range row {
			if i > 0 {
				b.WriteString(" ")
			}
			if v == (telemetry.Value{}) {
				b.WriteString("-")
			}
			b.WriteString(v.Text())
		}
	}
	return b.String()
}

func tell(t *testing.T, text string, s telemetry.Signal, r telemetry.Range, rows []telemetry.Row) string {
	t.Helper()
	q := mustParse(t, text, s)
	a := telemetry.NewAggregator(s, q.Tell, r)
	for _, row := range rows {
		if q.Match(row) {
			if err := a.Add(row); err != nil {
				t.Fatal(err)
			}
		}
	}
	return show(a.Table(q.Sort, q.Limit))
}

func TestTablesSayWhatTheRowsHold(t *testing.T) {
	n := func(v telemetry.Value) telemetry.Attr { return telemetry.Attr{Key: "n", Value: v} }
	sec := int64(time.Second)
	rows := []telemetry.Row{
		span(0, 10, "a", n(telemetry.Int(3))), span(sec, 20, "a", n(telemetry.Int(4))), span(61*sec, 30, "a", n(telemetry.String("x"))),
		span(62*sec, 40, "b", n(telemetry.Float(0.5))), span(63*sec, 50, ""),
	}
	minutes := telemetry.Range{From: time.Unix(0, 0), To: time.Unix(100, 0)}
	for text, want := range map[string]string{
		"| count()":                                             "count\n5",
		"x | count(), max(n), sum(n)":                           "count max(n) sum(n)\n0 - -",
		"x | count() by service":                                "service count",
		"| count() by service":                                  "service count\na 3\n- 1\nb 1",
		"| count(n), sum(n) by service":                         "service count(n) sum(n)\na 3 7\nb 1 0.5\n- 0 -",
		"| rate(), rate(n)":                                     "rate rate(n)\n0.05 0.04",
		"| avg(n), min(n), max(n) as m":                         "avg(n) min(n) m\n2.5 0.5 4",
		"| p50(duration), p99(duration)":                        "p50(duration) p99(duration)\n30.125 50",
		"| distinct(n), distinct(service), distinct(y)":         "distinct(n) distinct(service) distinct(y)\n4 2 0",
		"| count() by service | sort service desc":              "service count\nb 1\na 3\n- 1",
		"| count() by service | limit 1":                        "service count\na 3",
		"| count() by service every 1m":                         "time service count\n0 a 2\n60000000000 - 1\n60000000000 a 1\n60000000000 b 1",
		"| count() by service every 1m | limit 1":               "time service count\n0 a 2\n60000000000 a 1",
		"| rate() every 1m":                                     "time rate\n0 0.03333333333333333\n60000000000 0.075",
		"| max(duration) by service | sort max(duration) desc ": "service max(duration)\n- 50\nb 40\na 30",
	} {
		if got := tell(t, text, telemetry.Spans, minutes, rows); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
	if got, want := tell(t, "| rate()", telemetry.Spans, telemetry.Range{}, rows[:2]), "rate\n2"; got != want {
		t.Errorf("without a range: got %s, want %s", got, want)
	}
	if got, want := tell(t, "| count() every 1s", telemetry.Spans, telemetry.Range{}, []telemetry.Row{span(-1, 1, "a"), span(-1e9, 1, "a")}), "time count\n-1000000000 2"; got != want {
		t.Errorf("before 1970: got %s, want %s", got, want)
	}
	logs := []telemetry.Row{
		{Record: &telemetry.Record{Severity: 17}}, {Record: &telemetry.Record{Severity: 14}}, {Record: &telemetry.Record{Severity: 13}},
	}
	if got, want := tell(t, "| count() by level | sort level", telemetry.Logs, telemetry.Range{}, logs), "level count\nwarn 2\nerror 1"; got != want {
		t.Errorf("levels: got %s, want %s", got, want)
	}
}

func TestMergedPartsTellTheSameAsTheWhole(t *testing.T) {
	text := "| count(), rate(), sum(n), avg(n), min(n), max(n), p90(n), distinct(n) by service every 1s | sort time, service"
	q := mustParse(t, text, telemetry.Spans)
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.Custom(func(t *rapid.T) telemetry.Row {
			v := rapid.OneOf(rapid.Map(rapid.Int64Range(-50, 1e9), telemetry.Int), rapid.SampledFrom([]telemetry.Value{
				telemetry.Float(0.5), telemetry.Float(-8), telemetry.Float(1), telemetry.String("x"), telemetry.Int(math.MaxInt64), telemetry.Float(math.Inf(1)),
			})).Draw(t, "n")
			return span(rapid.Int64Range(-3e9, 3e9).Draw(t, "at"), 1, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "service"), telemetry.Attr{Key: "n", Value: v})
		})
		rows := rapid.SliceOfN(gen, 0, 30).Draw(t, "rows")
		whole := telemetry.NewAggregator(telemetry.Spans, q.Tell, telemetry.Range{})
		parts := []*telemetry.Aggregator{
			telemetry.NewAggregator(telemetry.Spans, q.Tell, telemetry.Range{}),
			telemetry.NewAggregator(telemetry.Spans, q.Tell, telemetry.Range{}),
		}
		for i, r := range rows {
			if whole.Add(r) != nil || parts[i%2].Add(r) != nil {
				t.Fatal("refused")
			}
		}
		if err := parts[0].Merge(parts[1]); err != nil {
			t.Fatal(err)
		}
		a, b := whole.Table(q.Sort, 0), parts[0].Table(q.Sort, 0)
		if len(a.Rows) != len(b.Rows) {
			t.Fatalf("%s\n\n%s", show(a), show(b))
		}
		for i := range a.Rows {
			for j := range a.Rows[i] {
				x, ok := a.Rows[i][j].Number()
				y, _ := b.Rows[i][j].Number()
				if a.Rows[i][j] != b.Rows[i][j] && (!ok || math.Abs(x-y) > 1e-9*math.Abs(x)) {
					t.Fatalf("%s\n\n%s", show(a), show(b))
				}
			}
		}
	})
}

func TestQuantilesAreWithinOnePercent(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() float64{
		"log normal": func() float64 { return math.Exp(rnd.NormFloat64()*3 + 15) },
		"both signs": func() float64 { return rnd.NormFloat64() * 1000 },
		"tiny":       func() float64 { return rnd.Float64() * 1e-9 },
	} {
		q := mustParse(t, "| quantile(0,n), quantile(0.01,n), p50(n), p90(n), p99(n), quantile(1,n)", telemetry.Spans)
		a := telemetry.NewAggregator(telemetry.Spans, q.Tell, telemetry.Range{})
		g, err := a.Group(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		all := make([]float64, 20_001)
		for i := range all {
			all[i] = draw()
			for f := range q.Tell.Funcs {
				g.Add(f, telemetry.Float(all[i]))
			}
		}
		slices.Sort(all)
		row := a.Table(nil, 0).Rows[0]
		for i, f := range q.Tell.Funcs {
			want := all[max(int(math.Ceil(f.Q*float64(len(all))))-1, 0)]
			if got, _ := row[i].Number(); math.Abs(got-want) > 0.01*math.Abs(want) {
				t.Errorf("%s, %s: got %g, want %g", name, f.As, got, want)
			}
		}
	}
}

func TestDistinctIsExactForFewAndNearForMany(t *testing.T) {
	q := mustParse(t, "| distinct(n)", telemetry.Spans)
	for _, n := range []int{1, 10_000, 10_001, 60_000, 300_000} {
		a := telemetry.NewAggregator(telemetry.Spans, q.Tell, telemetry.Range{})
		g, err := a.Group(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			g.Add(0, telemetry.String(fmt.Sprint("user-", i)))
			g.Add(0, telemetry.String(fmt.Sprint("user-", i/2)))
		}
		got, _ := a.Table(nil, 0).Rows[0][0].Number()
		if n <= 10_000 && got != float64(n) || math.Abs(got-float64(n)) > 0.03*float64(n) {
			t.Errorf("%d: got %g", n, got)
		}
	}
}

func TestAnAggregationIsBounded(t *testing.T) {
	for text, at := range map[string]int64{"| count() by duration": 0, "| count() every 1ms": int64(time.Millisecond), "| p50(n), distinct(n) by name": 0} {
		q := mustParse(t, text, telemetry.Spans)
		a := telemetry.NewAggregator(telemetry.Spans, q.Tell, telemetry.Range{})
		var err error
		for i := int64(0); err == nil && i < 2*telemetry.MaxGroups; i++ {
			r := span(at*i, i, "a", telemetry.Attr{Key: "n", Value: telemetry.Float(math.Exp2(float64(i % 300)))})
			r.Span.Name = fmt.Sprint(i / 300)
			err = a.Add(r)
		}
		if strings.Contains(text, "name") {
			for i := 0; err == nil && i < 3000; i++ { // groups as large as they become
				g, fail := a.Group(0, []telemetry.Value{telemetry.Int(int64(i))})
				if err = fail; err == nil {
					for n := range 2000 {
						g.Add(0, telemetry.Float(math.Exp2(float64(n-1000))))
					}
				}
			}
		}
		if fault.CodeOf(err) != fault.CodeQueryTooBroad {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestSortingIsATotalOrder(t *testing.T) {
	values := []telemetry.Value{
		{},
		telemetry.Bool(false), telemetry.Bool(true), telemetry.Float(math.NaN()), telemetry.Int(-1), telemetry.Float(0.5), telemetry.Int(1),
		telemetry.String(""), telemetry.String("a"), telemetry.JSON("[]"),
	}
	for i, a := range values {
		for j, b := range values {
			if got := telemetry.CompareOrder(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%d %d: %d", i, j, got)
			}
		}
	}
}
