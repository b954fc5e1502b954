package billing_test

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"example.com/gtm/services/billing/internal/billing"
	"pgregory.net/rapid"
)

func day(year, month, day int) time.Time {
	return time.Date(year, time.Month(month), day, 9, 30, 0, 0, time.UTC)
}

func month(text string) billing.Month {
	m, err := billing.ParseMonth(text)
	if err != nil {
		panic(err)
	}
	return m
}

// monthly is a customer who pays so much a month, from the first day of one month up to the first day of another.
func monthly(customer, from, until string, price int64) billing.Term {
	return term(customer, from, until, billing.IntervalMonth, price)
}

func yearly(customer, from, until string, price int64) billing.Term {
	return term(customer, from, until, billing.IntervalYear, price)
}

func term(customer, from, until string, interval billing.Interval, price int64) billing.Term {
	return billing.Term{
		Customer: customer, From: (month(from) - 1).End(), Until: (month(until) - 1).End(), Interval: interval, Price: price,
	}
}

func percent(p *billing.Percent) string {
	if p == nil {
		return "none"
	}
	return p.String()
}

// shown is what the metrics show of terms of one currency, in whole minor units.
func shown(terms []billing.Term, m string) billing.Metrics {
	return billing.Measure(map[string][]billing.Term{"EUR": terms}, month(m))[0]
}

func TestWorkedExamplesOfMovements(t *testing.T) {
	for name, test := range map[string]struct {
		terms []billing.Term
		month string
		want  billing.Figures
	}{
		// 1,200.00 for a year are 100.00 a month; with 50.00 a month: 150.00.
		"a year counts with its twelfth": {
			[]billing.Term{yearly("a", "2026-10", "2027-10", 120_000), monthly("b", "2026-10", "2026-11", 5_000)},
			"2026-10",
			billing.Figures{New: 15_000, End: 15_000},
		},
		// 100.00 for a year are 8.33⅓ a month, shown as 8.33; three of them are 25.00, and not 24.99.
		"thirds are not lost": {
			[]billing.Term{yearly("a", "2026-10", "2027-10", 10_000), yearly("b", "2026-10", "2027-10", 10_000), yearly("c", "2026-10", "2027-10", 10_000)},
			"2026-10",
			billing.Figures{New: 2_500, End: 2_500},
		},
		// At the start a pays 100, b 200, c 300: 600. Then a pays 150 (+50), b 120 (−80), c nothing (−300), d is new with 400:
		// 600 + 400 + 50 − 80 − 300 = 670.
		"every movement at once": {
			[]billing.Term{
				monthly("a", "2026-09", "2026-10", 100), monthly("a", "2026-10", "2026-11", 150),
				monthly("b", "2026-09", "2026-10", 200), monthly("b", "2026-10", "2026-11", 120),
				monthly("c", "2026-09", "2026-10", 300), monthly("d", "2026-10", "2026-11", 400),
			}, "2026-10", billing.Figures{Start: 600, New: 400, Expansion: 50, Contraction: 80, Churn: 300, End: 670},
		},
		// a paid 100 until June and pays 90 again from October; b is new with 10.
		"who comes back is not new": {
			[]billing.Term{
				monthly("a", "2026-05", "2026-07", 100), monthly("a", "2026-10", "2026-11", 90), monthly("b", "2026-10", "2026-11", 10),
			}, "2026-10", billing.Figures{New: 10, Reactivation: 90, End: 100},
		},
		// a takes a second plan of 30 beside its first of 70, and b swaps one of 50 for another of 50.
		"a customer counts with the sum of its plans": {
			[]billing.Term{
				monthly("a", "2026-09", "2026-11", 70), monthly("a", "2026-10", "2026-11", 30),
				monthly("b", "2026-09", "2026-10", 50), monthly("b", "2026-10", "2026-11", 50),
			}, "2026-10", billing.Figures{Start: 120, Expansion: 30, End: 150},
		},
		// A change from 120 a month to 1,200 a year is one from 120 to 100 a month.
		"a cheaper year is a contraction": {
			[]billing.Term{monthly("a", "2026-09", "2026-10", 120), yearly("a", "2026-10", "2027-10", 1_200)},
			"2026-10",
			billing.Figures{Start: 120, Contraction: 20, End: 100},
		},
	} {
		if got := shown(test.terms, test.month).MRR; got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}

func TestWorkedExamplesOfRetention(t *testing.T) {
	for name, test := range map[string]struct {
		terms    []billing.Term
		from, to string
		nrr, grr string
	}{
		// 10,000 at the start, 1,500 more, 500 less, 800 lost: (10,000 + 1,500 − 500 − 800) / 10,000; gross without the 1,500.
		"the classic": {
			[]billing.Term{
				monthly("up", "2025-10", "2026-10", 4_000), monthly("up", "2026-10", "2026-11", 5_500),
				monthly("down", "2025-10", "2026-10", 2_000), monthly("down", "2026-10", "2026-11", 1_500),
				monthly("gone", "2025-10", "2026-09", 800), monthly("same", "2025-10", "2026-11", 3_200),
			}, "2025-10", "2026-10", "102.00", "87.00",
		},
		// a 100 → 130, b 200 (2,400 a year) → 250; c comes with 500 and does not count: 380 / 300.
		"new customers do not count": {
			[]billing.Term{
				monthly("a", "2025-10", "2026-01", 100), monthly("a", "2026-01", "2026-11", 130),
				yearly("b", "2025-10", "2026-10", 2_400), yearly("b", "2026-10", "2027-10", 2_400), monthly("b", "2026-10", "2026-11", 50),
				monthly("c", "2025-11", "2026-11", 500),
			}, "2025-10", "2026-10", "126.67", "100.00",
		},
		// 600 → 150 + 120: 270 / 600, gross (600 − 80 − 300) / 600.
		"of one month": {
			[]billing.Term{
				monthly("a", "2026-09", "2026-10", 100), monthly("a", "2026-10", "2026-11", 150),
				monthly("b", "2026-09", "2026-10", 200), monthly("b", "2026-10", "2026-11", 120),
				monthly("c", "2026-09", "2026-10", 300), monthly("d", "2026-10", "2026-11", 400),
			}, "2026-09", "2026-10", "45.00", "36.67",
		},
		// a left in January and is back in June: at the two ends it pays the same.
		"who comes back is retained": {
			[]billing.Term{monthly("a", "2025-10", "2026-01", 70), monthly("a", "2026-06", "2026-11", 70)}, "2025-10", "2026-10", "100.00", "100.00",
		},
		"all are lost": {
			[]billing.Term{monthly("a", "2025-10", "2026-01", 70)}, "2025-10", "2026-10", "0.00", "0.00",
		},
		"nobody was there": {
			[]billing.Term{monthly("a", "2026-10", "2026-11", 70)}, "2025-10", "2026-10", "none", "none",
		},
	} {
		r := billing.Retain(test.terms, month(test.from), month(test.to))
		if nrr, grr := percent(r.NRR()), percent(r.GRR()); nrr != test.nrr || grr != test.grr {
			t.Errorf("%s: NRR %s, GRR %s of %+v, want %s and %s", name, nrr, grr, r, test.nrr, test.grr)
		}
	}
}

func TestATermCountsInTheMonthsWhoseEndItSees(t *testing.T) {
	october := month("2026-10")
	last := october.End().Add(-time.Nanosecond)
	for name, test := range map[string]struct {
		from, until time.Time
		want        bool
	}{
		"begins in the last instant":         {last, day(2026, 12, 1), true},
		"begins when the month is over":      {october.End(), day(2026, 12, 1), false},
		"ends when the month is over":        {day(2026, 10, 1), october.End(), true},
		"ends before the last instant":       {day(2026, 10, 1), last, false},
		"begins and ends around the month":   {day(2026, 1, 1), day(2027, 1, 1), true},
		"was over before the month had come": {day(2026, 1, 1), day(2026, 9, 30), false},
	} {
		terms := []billing.Term{{Customer: "a", From: test.from, Until: test.until, Interval: billing.IntervalMonth, Price: 7}}
		if got := billing.Move(terms, october).End > 0; got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRoundingIsToTheNearestAndHalvesGoUp(t *testing.T) {
	for twelfths, want := range map[billing.Twelfths]int64{0: 0, 5: 0, 6: 1, 11: 1, 12: 1, 17: 1, 18: 2} {
		if got := twelfths.Minor(); got != want {
			t.Errorf("%d twelfths are shown as %d, want %d", twelfths, got, want)
		}
	}
	for retained, want := range map[int64]string{0: "0.00", 1: "33.33", 2: "66.67", 3: "100.00"} {
		terms := []billing.Term{monthly("a", "2026-09", "2026-10", 3), monthly("a", "2026-10", "2026-11", retained)}
		if got := percent(billing.Retain(terms, month("2026-09"), month("2026-10")).NRR()); got != want {
			t.Errorf("%d of 3: %s, want %s", retained, got, want)
		}
	}
}

func TestAMonthIsReadAndWritten(t *testing.T) {
	for _, text := range []string{"2026-01", "2026-12", "0999-10"} {
		if got := month(text).String(); got != text {
			t.Errorf("%s became %s", text, got)
		}
	}
	if end := month("2026-12").End(); !end.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("December ends at %s", end)
	}
	for _, text := range []string{"", "2026", "2026-13", "2026-00", "2026-1", "26-10", "2026-10-01", "x"} {
		if _, err := billing.ParseMonth(text); err == nil {
			t.Errorf("%q is taken for a month", text)
		}
	}
}

// anyTerms are terms of a few customers around one year, often of the same price.
func anyTerms(t *rapid.T, label string, customers ...string) []billing.Term {
	one := rapid.Custom(func(t *rapid.T) billing.Term {
		from := month("2025-06").End().Add(time.Duration(rapid.IntRange(0, 500*24).Draw(t, "from")) * time.Hour)
		return billing.Term{
			Customer: rapid.SampledFrom(customers).Draw(t, "customer"), From: from,
			Until:    from.Add(time.Duration(rapid.IntRange(1, 500*24).Draw(t, "hours")) * time.Hour),
			Interval: rapid.SampledFrom([]billing.Interval{billing.IntervalMonth, billing.IntervalYear}).Draw(t, "interval"),
			Price:    rapid.Int64Range(0, 50).Draw(t, "price"),
		}
	})
	return rapid.SliceOfN(one, 0, 20).Draw(t, label)
}

// paid is what a customer pays a month at the end of one, added up in fractions, term by term.
func paid(terms []billing.Term, customer string, m billing.Month) *big.Rat {
	sum := new(big.Rat)
	last := m.End().Add(-time.Nanosecond)
	for _, t := range terms {
		if t.Customer != customer || last.Before(t.From) || !last.Before(t.Until) {
			continue
		}
		price := big.NewRat(t.Price, 1)
		if t.Interval == billing.IntervalYear {
			price.Quo(price, big.NewRat(12, 1))
		}
		sum.Add(sum, price)
	}
	return sum
}

func exact(t billing.Twelfths) *big.Rat { return big.NewRat(int64(t), 12) }

func TestMovementsAddUpAndAreWhatAFoolWouldCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		customers := []string{"a", "b", "c", "d"}
		terms := anyTerms(t, "terms", customers...)
		m := month("2025-06") + billing.Month(rapid.IntRange(0, 30).Draw(t, "month"))
		mv := billing.Move(terms, m)
		if mv.End != mv.Start+mv.New+mv.Reactivation+mv.Expansion-mv.Contraction-mv.Churn {
			t.Fatalf("they do not add up: %+v", mv)
		}
		want := map[string]*big.Rat{}
		for _, what := range []string{"start", "new", "reactivation", "expansion", "contraction", "churn", "end"} {
			want[what] = new(big.Rat)
		}
		for _, c := range customers {
			before, now := paid(terms, c, m-1), paid(terms, c, m)
			ever := false
			for i := month("2025-01"); i < m; i++ {
				ever = ever || paid(terms, c, i).Sign() > 0
			}
			change, what := new(big.Rat).Sub(now, before), "expansion"
			switch {
			case before.Sign() == 0 && !ever:
				what = "new"
			case before.Sign() == 0:
				what = "reactivation"
			case now.Sign() == 0:
				what = "churn"
			case change.Sign() < 0:
				what = "contraction"
			}
			want[what].Add(want[what], change.Abs(change))
			want["start"].Add(want["start"], before)
			want["end"].Add(want["end"], now)
		}
		for what, got := range map[string]billing.Twelfths{
			"start": mv.Start, "new": mv.New, "reactivation": mv.Reactivation, "expansion": mv.Expansion,
			"contraction": mv.Contraction, "churn": mv.Churn, "end": mv.End,
		} {
			if exact(got).Cmp(want[what]) != 0 {
				t.Fatalf("%s is %s, want %s", what, exact(got), want[what])
			}
		}
	})
}

func TestRetentionIsWhatTheCohortPaysAndIgnoresWhoCameLater(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		terms := anyTerms(t, "terms", "a", "b", "c")
		from := month("2025-07") + billing.Month(rapid.IntRange(0, 12).Draw(t, "from"))
		to := from + billing.Month(rapid.IntRange(0, 14).Draw(t, "months"))
		r := billing.Retain(terms, from, to)
		start, now := new(big.Rat), new(big.Rat)
		for _, c := range []string{"a", "b", "c"} {
			if p := paid(terms, c, from); p.Sign() > 0 {
				start.Add(start, p)
				now.Add(now, paid(terms, c, to))
			}
		}
		if exact(r.Start).Cmp(start) != 0 || exact(r.Start+r.Expansion-r.Contraction-r.Churn).Cmp(now) != 0 {
			t.Fatalf("got %+v, want %s and then %s", r, start, now)
		}
		var late []billing.Term
		for _, x := range anyTerms(t, "late", "x", "y") {
			if !x.From.Before(from.End()) {
				late = append(late, x)
			}
		}
		if with := billing.Retain(append(late, terms...), from, to); with != r {
			t.Fatalf("with %v it is %+v, without %+v", late, with, r)
		}
		nrr, grr := r.NRR(), r.GRR()
		if (nrr == nil) != (start.Sign() == 0) {
			t.Fatalf("NRR %v of a start of %s", nrr, start)
		}
		if nrr != nil && (*grr > 100_00 || *grr > *nrr) {
			t.Fatalf("GRR %s, NRR %s", grr, nrr)
		}
		if nrr != nil && r.Expansion+r.Contraction+r.Churn == 0 && *nrr != 100_00 {
			t.Fatalf("nothing changed, and NRR is %s", nrr)
		}
		if same := billing.Retain(terms, from, from); same.Start > 0 && (*same.NRR() != 100_00 || *same.GRR() != 100_00) {
			t.Fatalf("of one and the same month NRR is %s", same.NRR())
		}
	})
}

func ExamplePercent() {
	fmt.Println(billing.Percent(10417), billing.Percent(5))
	// Output: 104.17 0.05
}
