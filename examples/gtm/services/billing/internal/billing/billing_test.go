package billing_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/gtm/internal/servicetest"
	"example.com/gtm/services/billing/internal/billing"
)

// desk is a service with a clock that a test moves.
type desk struct {
	*servicetest.Service

	t   *testing.T
	mu  sync.Mutex // guards now
	now time.Time
}

func serve(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, now: day(2026, 10, 5)}
	s, err := billing.Open(t.Context(), filepath.Join(t.TempDir(), "b.db"), &billing.StoreOptions{Now: d.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	d.Service = servicetest.Serve(t, billing.Handler(s), "../../openapi.yaml")
	return d
}

func (d *desk) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *desk) at(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = now
}

type (
	invoicing struct {
		Order    string         `json:"order"`
		Customer string         `json:"customer"`
		Currency string         `json:"currency"`
		Lines    []billing.Line `json:"lines"`
	}
	ordering struct {
		Order string `json:"order"`
	}
	charging struct {
		Invoice string `json:"invoice"`
		Amount  int64  `json:"amount"`
	}
)

func goods(price int64) billing.Line {
	return billing.Line{SKU: "box", Name: "Box", Quantity: 2, UnitPrice: price, Kind: billing.KindGoods}
}

func plan(name string, interval billing.Interval, quantity, price int64) billing.Line {
	return billing.Line{
		SKU: "plan-" + name, Name: name, Quantity: quantity, UnitPrice: price, Kind: billing.KindSubscription, Interval: interval, Plan: name,
	}
}

func order(name, customer string, lines ...billing.Line) invoicing {
	return invoicing{Order: name, Customer: customer, Currency: "EUR", Lines: lines}
}

func is(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

// invoice writes the invoice of an order.
func (d *desk) invoice(o invoicing) (i billing.Invoice) {
	d.t.Helper()
	is(d.t, "invoice of "+o.Order, d.Do("/invoices", o.Order+"/invoice", o, &i), "200")
	return i
}

// sell takes an order from the invoice to the revenue.
func (d *desk) sell(o invoicing) (r billing.Revenue) {
	d.t.Helper()
	i := d.invoice(o)
	is(d.t, "charge of "+o.Order, d.Do("/charges", o.Order+"/charge", charging{i.ID, i.Total}, nil), "200")
	is(d.t, "revenue of "+o.Order, d.Do("/revenue", o.Order+"/revenue", ordering{o.Order}, &r), "200")
	return r
}

// ledger is what stands on the accounts, without those that are empty. It looks at each posting.
func (d *desk) ledger() string {
	d.t.Helper()
	var l struct {
		Entries  []billing.Entry
		Balances []billing.Balance
		Sum      int64
	}
	is(d.t, "ledger", d.Call("GET", "/api/billing/ledger?limit=500", nil, &l), "200")
	sums := map[string]int64{}
	for _, e := range l.Entries {
		sums[fmt.Sprint(e.Posting, e.Currency, e.Order)] += e.Amount
	}
	for posting, sum := range sums {
		if sum != 0 {
			d.t.Errorf("posting %s adds up to %d", posting, sum)
		}
	}
	if l.Sum != 0 {
		d.t.Errorf("the ledger adds up to %d", l.Sum)
	}
	var all []string
	for _, b := range l.Balances {
		if b.Amount != 0 {
			all = append(all, fmt.Sprintf("%s %d", b.Account, b.Amount))
		}
	}
	return strings.Join(all, ", ")
}

func TestMoneyGoesThroughTheLedgerStepByStep(t *testing.T) {
	d := serve(t)
	o := order("a", "acme", goods(500), plan("team", billing.IntervalMonth, 3, 700))
	i := d.invoice(o)
	if i.Total != 3_100 || i.State != billing.InvoiceOpen || i.Order != "a" || len(i.Lines) != 2 {
		t.Errorf("got %+v", i)
	}
	is(t, "invoiced", d.ledger(), "receivable 3100, undelivered -3100")
	var c billing.Charge
	is(t, "charge", d.Do("/charges", "a/charge", charging{i.ID, 3_100}, &c), "200")
	if c.Amount != 3_100 || c.Card != "4242" || c.Invoice != i.ID || c.Customer != "acme" {
		t.Errorf("got %+v", c)
	}
	is(t, "charged", d.ledger(), "cash 3100, undelivered -3100")
	var r billing.Revenue
	is(t, "revenue", d.Do("/revenue", "a/revenue", ordering{"a"}, &r), "200")
	if r.Revenue != 1_000 || r.Deferred != 2_100 || len(r.Subscriptions) != 1 || r.Subscriptions[0].MRR != 2_100 {
		t.Errorf("got %+v", r)
	}
	is(t, "booked", d.ledger(), "cash 3100, deferred -2100, revenue -1000")
}

func TestAStepThatComesAgainHasNoSecondEffect(t *testing.T) {
	d := serve(t)
	o := order("a", "acme", goods(500), plan("team", billing.IntervalYear, 1, 1_200))
	for range 3 {
		first := d.sell(o)
		if again := d.sell(o); again.Invoice != first.Invoice || len(again.Subscriptions) != 1 {
			t.Errorf("got %+v", again)
		}
	}
	var c billing.Charge
	is(t, "charge by another key", d.Do("/charges", "a/charge2", charging{"INV-1", 2_200}, &c), "200")
	is(t, "its id", c.ID, "CHG-1")
	var r billing.Revenue
	is(t, "revenue by another key", d.Do("/revenue", "a/revenue2", ordering{"a"}, &r), "200")
	if r.Revenue != 1_000 || r.Deferred != 1_200 || len(r.Subscriptions) != 1 {
		t.Errorf("got %+v", r)
	}
	is(t, "until", r.Subscriptions[0].Until.String(), day(2027, 10, 5).String())
	is(t, "ledger", d.ledger(), "cash 2200, deferred -1200, revenue -1000")
}

func TestManyCallsOfOneStepAtOnceChargeOnce(t *testing.T) {
	d := serve(t)
	i := d.invoice(order("a", "acme", goods(500)))
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			is(t, "charge", d.Do("/charges", fmt.Sprint("a/charge", n%2), charging{i.ID, i.Total}, nil), "200")
		})
	}
	wg.Wait()
	is(t, "ledger", d.ledger(), "cash 1000, undelivered -1000")
}

func TestACardThatIsDeclinedIsARefusalForGood(t *testing.T) {
	d := serve(t)
	i := d.invoice(order("a", "acme", goods(500)))
	for number, want := range map[string]string{"4000 0000 0000 0002": "402 card-declined", "4000-0000-0000-9995": "402 card-declined", "400000000000-0069": "402 card-declined"} {
		var card billing.Card
		is(t, "card", d.Call("PUT", "/api/billing/cards/acme", map[string]string{"number": number}, &card), "200")
		if card.Good || len(card.Last4) != 4 {
			t.Errorf("got %+v", card)
		}
		is(t, number, d.Do("/charges", number+"/charge", charging{i.ID, i.Total}, nil), want)
	}
	is(t, "a good card", d.Call("PUT", "/api/billing/cards/acme", map[string]string{"number": "5555555555554444"}, nil), "200")
	is(t, "the step that was declined", d.Do("/charges", "4000 0000 0000 0002/charge", charging{i.ID, i.Total}, nil), "402 card-declined")
	is(t, "another", d.Do("/charges", "b/charge", charging{i.ID, i.Total}, nil), "200")
	is(t, "ledger", d.ledger(), "cash 1000, undelivered -1000")
}

func TestAProcessorThatIsDownIsNoRefusal(t *testing.T) {
	d := serve(t)
	i := d.invoice(order("a", "acme", goods(500)))
	set := func(state string) {
		is(t, state, d.Call("PUT", "/api/billing/processor", map[string]string{"state": state}, nil), "200")
	}
	set("down")
	for range 2 {
		is(t, "down", d.Do("/charges", "a/charge", charging{i.ID, i.Total}, nil), "503 processor-down")
	}
	is(t, "ledger", d.ledger(), "receivable 1000, undelivered -1000")
	set("up")
	is(t, "the same step", d.Do("/charges", "a/charge", charging{i.ID, i.Total}, nil), "200")
	set("declining")
	i = d.invoice(order("b", "acme", goods(500)))
	is(t, "declining", d.Do("/charges", "b/charge", charging{i.ID, i.Total}, nil), "402 card-declined")
	is(t, "no state", d.Call("PUT", "/api/billing/processor", map[string]string{"state": "off"}, nil), "400 bad-state")
}

func TestAVoidInvoiceLeavesNothingAndIsNotCharged(t *testing.T) {
	d := serve(t)
	i := d.invoice(order("a", "acme", goods(500)))
	for range 3 {
		var out struct{ Voided bool }
		if is(t, "void", d.Undo("/invoices/void", "a/invoice", ordering{"a"}, &out), "200"); !out.Voided {
			t.Errorf("got %+v", out)
		}
	}
	is(t, "ledger", d.ledger(), "")
	is(t, "charge", d.Do("/charges", "a/charge", charging{i.ID, i.Total}, nil), "409 void")
	is(t, "revenue", d.Do("/revenue", "a/revenue", ordering{"a"}, nil), "409 not-paid")
	again := order("a", "acme", goods(500))
	is(t, "invoice for another saga of the order", d.Do("/invoices", "a2/invoice", again, nil), "200")
	is(t, "ledger", d.ledger(), "receivable 1000, undelivered -1000")
}

func TestAnUndoingWithoutItsStepIsDoneAndBarsTheStep(t *testing.T) {
	d := serve(t)
	is(t, "undo", d.Undo("/invoices/void", "a/invoice", ordering{"a"}, nil), "200")
	is(t, "late", d.Do("/invoices", "a/invoice", order("a", "acme", goods(500)), nil), "409 step-too-late")
	is(t, "undo again", d.Undo("/invoices/void", "a/invoice", ordering{"a"}, nil), "200")
	is(t, "ledger", d.ledger(), "")
}

func TestWhatIsPaidIsNotMadeVoid(t *testing.T) {
	d := serve(t)
	d.sell(order("a", "acme", goods(500)))
	is(t, "void", d.Undo("/invoices/void", "a/invoice", ordering{"a"}, nil), "409 paid")
	is(t, "ledger", d.ledger(), "cash 1000, revenue -1000")
}

func TestWhatCannotBeInvoicedIsRefused(t *testing.T) {
	d := serve(t)
	d.invoice(order("taken", "acme", goods(1)))
	bad := func(change func(*billing.Line)) invoicing {
		line := plan("team", billing.IntervalMonth, 1, 100)
		change(&line)
		return order("b", "acme", line)
	}
	dollars := order("b", "acme", goods(1))
	dollars.Currency = "$"
	for name, in := range map[string]invoicing{
		"no lines":       order("b", "acme"),
		"no order":       order("", "acme", goods(1)),
		"no customer":    order("b", "", goods(1)),
		"no currency":    dollars,
		"for nothing":    order("b", "acme", goods(0)),
		"a plan twice":   order("b", "acme", plan("x", billing.IntervalMonth, 1, 1), plan("x", billing.IntervalYear, 1, 1)),
		"no sku":         bad(func(l *billing.Line) { l.SKU = "" }),
		"no quantity":    bad(func(l *billing.Line) { l.Quantity = 0 }),
		"negative price": bad(func(l *billing.Line) { l.UnitPrice = -1 }),
		"too much":       bad(func(l *billing.Line) { l.Quantity, l.UnitPrice = 1_000_000_000, 1_001 }),
		"no plan":        bad(func(l *billing.Line) { l.Plan = "" }),
		"no interval":    bad(func(l *billing.Line) { l.Interval = "week" }),
		"no kind":        bad(func(l *billing.Line) { l.Kind = "" }),
		"goods by month": bad(func(l *billing.Line) { l.Kind = billing.KindGoods }),
	} {
		is(t, name, d.Do("/invoices", name+"/invoice", in, nil), "422 bad-invoice")
	}
	is(t, "taken", d.Do("/invoices", "other/invoice", order("taken", "acme", goods(1)), nil), "409 invoiced-already")
	is(t, "no key", d.Call("POST", "/invoices", order("b", "acme", goods(1)), nil), "400 step-key-missing")
	is(t, "ledger", d.ledger(), "receivable 2, undelivered -2")
}

func TestAChargeThatDoesNotFitItsInvoiceIsRefused(t *testing.T) {
	d := serve(t)
	i := d.invoice(order("a", "acme", goods(500)))
	is(t, "another amount", d.Do("/charges", "1/charge", charging{i.ID, 999}, nil), "409 other-amount")
	is(t, "no invoice", d.Do("/charges", "2/charge", charging{"INV-9", 999}, nil), "404 unknown-invoice")
	is(t, "revenue before payment", d.Do("/revenue", "3/revenue", ordering{"a"}, nil), "409 not-paid")
	is(t, "revenue of nothing", d.Do("/revenue", "4/revenue", ordering{"x"}, nil), "409 not-paid")
}

func TestAPlanThatIsOrderedAgainGoesOnWhereItEnds(t *testing.T) {
	d := serve(t)
	d.at(day(2027, 1, 31))
	first := d.sell(order("a", "acme", plan("team", billing.IntervalMonth, 1, 100))).Subscriptions[0]
	is(t, "the last day of a short month", first.Until.String(), day(2027, 2, 28).String())
	d.at(day(2027, 2, 10))
	second := d.sell(order("b", "acme", plan("team", billing.IntervalYear, 2, 1_200))).Subscriptions[0]
	is(t, "until", second.Until.String(), day(2028, 2, 28).String())
	if second.ID != first.ID || second.Quantity != 1 || !second.Since.Equal(first.Since) || !second.Active {
		t.Errorf("got %+v, before %+v", second, first)
	}
	shown := func() (s billing.Subscription) {
		var page struct{ Subscriptions []billing.Subscription }
		is(t, "subscriptions", d.Call("GET", "/api/billing/subscriptions?customer=acme", nil, &page), "200")
		if len(page.Subscriptions) != 1 {
			t.Fatalf("got %+v", page)
		}
		return page.Subscriptions[0]
	}
	d.at(day(2027, 3, 1))
	if s := shown(); s.Quantity != 2 || s.Price != 2_400 || s.MRR != 200 || !s.Active {
		t.Errorf("in its second term it is %+v", s)
	}
	d.at(day(2028, 2, 28))
	if s := shown(); s.Active || s.Quantity != 2 {
		t.Errorf("at its end it is %+v", s)
	}
	if other := d.sell(order("c", "globe", plan("team", billing.IntervalMonth, 1, 100))).Subscriptions[0]; other.ID == first.ID {
		t.Error("two customers share a subscription")
	}
}

type measured struct {
	Month      string
	Currencies []struct {
		Currency    string
		Customers   int
		MRR, Exact  billing.Figures
		Month, Year struct {
			Start, Expansion, Contraction, Churn int64
			NRR, GRR                             *float64
		}
	}
}

func TestMetricsFollowFromWhatWasSold(t *testing.T) {
	d := serve(t)
	d.at(day(2025, 10, 20))
	d.sell(order("1", "acme", plan("team", billing.IntervalYear, 1, 10_000)))
	d.sell(order("2", "globe", plan("team", billing.IntervalMonth, 1, 1_000), goods(99_999)))
	d.at(day(2026, 10, 19))
	d.sell(order("3", "acme", plan("team", billing.IntervalYear, 2, 10_000)))
	d.sell(order("4", "newco", plan("team", billing.IntervalMonth, 1, 7_777)))
	dollars := order("5", "acme", plan("team", billing.IntervalMonth, 1, 1))
	dollars.Currency = "USD"
	d.sell(dollars)

	var m measured
	is(t, "metrics", d.Call("GET", "/api/billing/metrics?month=2026-10", nil, &m), "200")
	if m.Month != "2026-10" || len(m.Currencies) != 2 || m.Currencies[1].Currency != "USD" || m.Currencies[1].MRR.End != 1 {
		t.Fatalf("got %+v", m)
	}
	eur := m.Currencies[0]
	// acme pays 833⅓ and then twice that; newco is new; globe left in November 2025.
	if want := (billing.Figures{Start: 833, New: 7_777, Expansion: 833, End: 9_444}); eur.MRR != want {
		t.Errorf("got %+v, want %+v", eur.MRR, want)
	}
	if want := (billing.Figures{Start: 10_000, New: 93_324, Expansion: 10_000, End: 113_324}); eur.Exact != want {
		t.Errorf("got %+v, want %+v", eur.Exact, want)
	}
	// of a year ago: 22,000 twelfths, of which acme is 10,000 and has 20,000 now: 20/22, and without what is more 10/22
	if y := eur.Year; eur.Customers != 2 || y.NRR == nil || *y.NRR != 90.91 || *y.GRR != 45.45 || y.Churn != 1_000 || *eur.Month.NRR != 200 {
		t.Errorf("got %+v", eur)
	}
	is(t, "the month before", d.Call("GET", "/api/billing/metrics?month=2025-10", nil, &m), "200")
	if first := m.Currencies[0]; first.MRR.New != 1_833 || first.Month.NRR != nil || first.Year.NRR != nil {
		t.Errorf("got %+v", first)
	}
}

func TestTheContractIsTrue(t *testing.T) {
	d := serve(t)
	for i := range 3 {
		d.sell(order(fmt.Sprint("o", i), fmt.Sprint("c", i), goods(100), plan("team", billing.IntervalMonth, 1, 100)))
	}
	is(t, "void", d.Undo("/invoices/void", "x/invoice", ordering{"x"}, nil), "200")
	var m measured
	is(t, "metrics", d.Call("GET", "/api/billing/metrics", nil, &m), "200")
	is(t, "the month that runs", m.Month, "2026-10")
	is(t, "no month", d.Call("GET", "/api/billing/metrics?month=10", nil, nil), "400 bad-month")
	var p struct{ State string }
	is(t, "processor", d.Call("GET", "/api/billing/processor", nil, &p), "200")
	is(t, "at first", p.State, "up")
	is(t, "processor", d.Call("PUT", "/api/billing/processor", map[string]string{"state": "up"}, nil), "200")
	is(t, "card", d.Call("PUT", "/api/billing/cards/acme", map[string]string{"number": "4242424242424242"}, nil), "200")
	is(t, "no card", d.Call("PUT", "/api/billing/cards/acme", map[string]string{"number": "4242"}, nil), "400 bad-card")
	for _, name := range []string{"invoices", "subscriptions", "ledger"} {
		var page struct {
			Invoices      []billing.Invoice
			Subscriptions []billing.Subscription
			Entries       []billing.Entry
			Next          string
		}
		seen := map[string]bool{}
		for cursor := ""; ; cursor = "&cursor=" + page.Next {
			page.Next = ""
			is(t, name, d.Call("GET", "/api/billing/"+name+"?limit=2"+cursor, nil, &page), "200")
			for _, i := range page.Invoices {
				seen[i.ID] = true
			}
			for _, s := range page.Subscriptions {
				seen[fmt.Sprint(s.ID)] = true
			}
			for _, e := range page.Entries {
				seen[fmt.Sprint(e.ID)] = true
			}
			if page.Next == "" {
				break
			}
		}
		if want := map[string]int{"invoices": 3, "subscriptions": 3, "ledger": 21}[name]; len(seen) != want {
			t.Errorf("%s: the pages have %d, want %d", name, len(seen), want)
		}
		is(t, name, d.Call("GET", "/api/billing/"+name+"?cursor=x", nil, nil), "400 bad-cursor")
		is(t, name, d.Call("GET", "/api/billing/"+name+"?limit=x", nil, nil), "400 bad-number")
	}
	is(t, "ledger", d.ledger(), "cash 900, deferred -300, revenue -600")
	d.AllSeen()
}
