package billing

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Month is a month of the calendar in UTC, counted from January of the year 0.
type Month int

// ParseMonth reads a month of the form 2026-10.
func ParseMonth(text string) (Month, error) {
	t, err := time.Parse("2006-01", text)
	if err != nil || t.Year() < 1 {
		return 0, fmt.Errorf("%q is no month such as 2026-10", text)
	}
	return MonthOf(t), nil
}

// MonthOf is the month in which a time lies.
func MonthOf(t time.Time) Month {
	t = t.UTC()
	return Month(t.Year()*12 + int(t.Month()) - 1)
}

// End is the first instant after the month.
func (m Month) End() time.Time {
	next := int(m) + 1
	return time.Date(next/12, time.Month(next%12+1), 1, 0, 0, 0, 0, time.UTC)
}

// String is the form that ParseMonth reads.
func (m Month) String() string { return fmt.Sprintf("%04d-%02d", int(m)/12, int(m)%12+1) }

// after is the end of a term of an interval that begins at t: the same day and time of day of the later month, or its last day
// where that is too short.
func (i Interval) after(t time.Time) time.Time {
	t = t.UTC()
	months := 1
	if i == IntervalYear {
		months = 12
	}
	to := t.AddDate(0, months, 0)
	if to.Day() != t.Day() { // it went over into the next
		to = to.AddDate(0, 0, -to.Day())
	}
	return to
}

// Twelfths is an amount in twelfths of a currency's minor unit, in which the twelfth of a yearly price is a whole number.
type Twelfths int64

// Minor is the amount in whole minor units, rounded to the nearest, halves up. Nothing is calculated with it.
func (t Twelfths) Minor() int64 { return int64((t + 6) / 12) }

// Term is a span of time for which a customer has paid a subscription: from From, up to and without Until.
type Term struct {
	Customer string
	From     time.Time
	Until    time.Time
	Interval Interval
	Price    int64 // of all its units, for one interval
}

// MRR is the term's monthly recurring revenue: its price normalised to a month. A yearly price counts with a twelfth, exactly.
func (t Term) MRR() Twelfths {
	if t.Interval == IntervalYear {
		return Twelfths(t.Price)
	}
	return Twelfths(t.Price) * 12
}

// active tells whether the term runs at the end of the month, that is in its last instant.
func (t Term) active(m Month) bool { return t.From.Before(m.End()) && !t.Until.Before(m.End()) }

// byCustomer is the MRR of each customer at the end of a month: the sum over the terms that are active then. Who has none is
// not in it.
func byCustomer(terms []Term, m Month) map[string]Twelfths {
	of := map[string]Twelfths{}
	for _, t := range terms {
		if t.active(m) && t.Price > 0 {
			of[t.Customer] += t.MRR()
		}
	}
	return of
}

// Movements says how the monthly recurring revenue went from the end of one month to the end of the next:
//
//	End = Start + New + Reactivation + Expansion − Contraction − Churn
//
// Each customer counts once, with the sum of its subscriptions. Who paid nothing at the start and pays at the end is new, or is
// reactivated if it paid at the end of an earlier month; who pays more has expanded, who pays less has contracted, and who pays
// nothing any more has churned. These are the usual definitions of the books on the management of subscription businesses.
type Movements struct {
	Start, New, Reactivation, Expansion, Contraction, Churn, End Twelfths

	Customers int // who pay at the end
}

// Move is how MRR moved during a month.
func Move(terms []Term, m Month) Movements {
	before, now := byCustomer(terms, m-1), byCustomer(terms, m)
	known := map[string]bool{} // who paid at the end of any earlier month
	for _, t := range terms {
		if first := MonthOf(t.From); first < m && t.active(first) && t.Price > 0 {
			known[t.Customer] = true
		}
	}
	mv := Movements{Customers: len(now)}
	for customer, pays := range now {
		mv.End += pays
		if before[customer] > 0 {
			continue
		}
		if known[customer] {
			mv.Reactivation += pays
		} else {
			mv.New += pays
		}
	}
	r := retained(before, now)
	mv.Start, mv.Expansion, mv.Contraction, mv.Churn = r.Start, r.Expansion, r.Contraction, r.Churn
	return mv
}

// Retention is what became of the revenue of the customers who paid at the start, the cohort. It compares what each paid then
// with what it pays at the end, whatever it did in between. Customers who came later do not count.
//
// Net revenue retention is (Start + Expansion − Contraction − Churn) / Start; gross revenue retention leaves the expansion out,
// so that it is at most 100 %. These are the usual definitions of the books on the management of subscription businesses; where
// they differ on churned customers who return within the span, this is the form that counts them as retained.
type Retention struct {
	Start, Expansion, Contraction, Churn Twelfths
}

// Retain is the retention of the customers who paid at the end of the month from, until the end of the month to.
func Retain(terms []Term, from, to Month) Retention {
	return retained(byCustomer(terms, from), byCustomer(terms, to))
}

func retained(before, now map[string]Twelfths) (r Retention) {
	for customer, paid := range before {
		pays := now[customer]
		r.Start += paid
		switch {
		case pays == 0:
			r.Churn += paid
		case pays > paid:
			r.Expansion += pays - paid
		default:
			r.Contraction += paid - pays
		}
	}
	return r
}

// NRR is the net revenue retention; nil if nobody paid at the start.
func (r Retention) NRR() *Percent { return share(r.Start+r.Expansion-r.Contraction-r.Churn, r.Start) }

// GRR is the gross revenue retention; nil if nobody paid at the start.
func (r Retention) GRR() *Percent { return share(r.Start-r.Contraction-r.Churn, r.Start) }

// Percent is a share in hundredths of a percent: 10417 is 104.17 %. As JSON it is the number 104.17.
type Percent int64

// String is the share as people write it, without the sign.
func (p Percent) String() string { return fmt.Sprintf("%d.%02d", int64(p)/100, int64(p)%100) }

// MarshalJSON makes it a number.
func (p Percent) MarshalJSON() ([]byte, error) { return []byte(p.String()), nil }

// share is part / whole, rounded to the nearest hundredth of a percent, halves up. Neither is negative. What no Percent holds is
// the largest.
func share(part, whole Twelfths) *Percent {
	if whole == 0 {
		return nil
	}
	twice := new(big.Int).Mul(big.NewInt(int64(part)), big.NewInt(20_000))
	twice.Add(twice, big.NewInt(int64(whole)))
	quotient := twice.Quo(twice, new(big.Int).Mul(big.NewInt(2), big.NewInt(int64(whole)))) // (2·part·10000 + whole) / (2·whole)
	p := Percent(math.MaxInt64)
	if quotient.IsInt64() {
		p = Percent(quotient.Int64())
	}
	return &p
}

// Figures are the movements in minor units or in twelfths of them.
type Figures struct {
	Start        int64 `json:"start"`
	New          int64 `json:"new"`
	Reactivation int64 `json:"reactivation"`
	Expansion    int64 `json:"expansion"`
	Contraction  int64 `json:"contraction"`
	Churn        int64 `json:"churn"`
	End          int64 `json:"end"`
}

func (m Movements) figures(unit func(Twelfths) int64) Figures {
	return Figures{
		Start: unit(m.Start), New: unit(m.New), Reactivation: unit(m.Reactivation), Expansion: unit(m.Expansion),
		Contraction: unit(m.Contraction), Churn: unit(m.Churn), End: unit(m.End),
	}
}

// Kept is a retention as it is shown.
type Kept struct {
	Start       int64    `json:"start"` // minor units, as the next three
	Expansion   int64    `json:"expansion"`
	Contraction int64    `json:"contraction"`
	Churn       int64    `json:"churn"`
	NRR         *Percent `json:"nrr"` // null: nobody paid at the start
	GRR         *Percent `json:"grr"`
}

func (r Retention) kept() Kept {
	return Kept{r.Start.Minor(), r.Expansion.Minor(), r.Contraction.Minor(), r.Churn.Minor(), r.NRR(), r.GRR()}
}

// Metrics are what recurs in one currency, at the end of a month.
type Metrics struct {
	Currency  string  `json:"currency"`
	Customers int     `json:"customers"` // who pay at the end
	MRR       Figures `json:"mrr"`       // minor units, each rounded by itself
	Exact     Figures `json:"exact"`     // the same in twelfths of the minor unit; these add up
	Month     Kept    `json:"month"`     // of the cohort of one month ago
	Year      Kept    `json:"year"`      // of the cohort of twelve months ago
}

// Measure makes the metrics of a month of the terms of each currency.
func Measure(terms map[string][]Term, m Month) []Metrics {
	out := []Metrics{}
	for currency, of := range terms {
		mv := Move(of, m)
		out = append(out, Metrics{
			Currency: currency, Customers: mv.Customers, MRR: mv.figures(Twelfths.Minor),
			Exact: mv.figures(func(t Twelfths) int64 { return int64(t) }),
			Month: Retain(of, m-1, m).kept(), Year: Retain(of, m-12, m).kept(),
		})
	}
	slices.SortFunc(out, func(a, b Metrics) int { return strings.Compare(a.Currency, b.Currency) })
	return out
}
