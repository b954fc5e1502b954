// Package billing writes invoices, charges cards, keeps the ledger and the subscriptions, and tells what recurs.
//
// An invoice is open, and then paid or void. Its money goes through a ledger of double entries, whose sum is zero at all
// times. What was paid is booked as revenue: goods at once; a subscription begins a term, or adds one to those that it has, and
// its price stays a liability (deferred revenue), which nothing here earns with time.
//
// The card processor is pretended: see Processor and Card. A real one is called outside of the transaction, with an
// idempotency key of its own.
//
// # Guarantees
//
// A call that returned is on disk. An order has one invoice at most that is not void, and is charged once. The steps of a saga
// have their effect once, however often and in whatever order they and their undoing come: the transaction that makes the
// effect notes the step too. An invoice that comes after it was voided is refused.
//
// # Failure
//
// What is refused for good has a status of 4xx: 402 is a card that was declined. While the processor is down, a charge answers
// 503 and has no effect. The revenue of an invoice that is paid is never refused.
//
// # Money
//
// Amounts are whole numbers of a currency's minor unit (cents), and are never added across currencies.
package billing

import (
	"net/http"
	"time"

	"github.com/atollhq/atoll/sdk"
)

// Kind is what a line of an order sells.
type Kind string

// The kinds.
const (
	KindGoods        Kind = "goods"
	KindSubscription Kind = "subscription"
)

// Interval is how long a subscription is paid for.
type Interval string

// The intervals.
const (
	IntervalMonth Interval = "month"
	IntervalYear  Interval = "year"
)

// Line is one line of an order.
type Line struct {
	SKU       string   `json:"sku"`
	Name      string   `json:"name"`
	Quantity  int64    `json:"quantity"`
	UnitPrice int64    `json:"unit_price"`         // of a subscription, for its interval
	Kind      Kind     `json:"kind"`               //
	Interval  Interval `json:"interval,omitempty"` // of a subscription
	Plan      string   `json:"plan,omitempty"`     // of a subscription
}

// Amount is what the line costs.
func (l Line) Amount() int64 { return l.Quantity * l.UnitPrice }

// InvoiceState is how far an invoice has come.
type InvoiceState string

// The states of an invoice.
const (
	InvoiceOpen InvoiceState = "open"
	InvoicePaid InvoiceState = "paid"
	InvoiceVoid InvoiceState = "void"
)

// Invoice is what a customer owes for an order.
type Invoice struct {
	ID       string       `json:"id"`
	Order    string       `json:"order"`
	Customer string       `json:"customer"`
	Currency string       `json:"currency"`
	Total    int64        `json:"total"`
	State    InvoiceState `json:"state"`
	Booked   bool         `json:"booked"` // its revenue is in the ledger
	Lines    []Line       `json:"lines"`
	IssuedAt time.Time    `json:"issued_at"`
}

// split is what of the total is for goods, and what for subscriptions.
func (i Invoice) split() (goods, subscriptions int64) {
	for _, line := range i.Lines {
		if line.Kind == KindSubscription {
			subscriptions += line.Amount()
		} else {
			goods += line.Amount()
		}
	}
	return goods, subscriptions
}

// Charge is money that was taken from a card.
type Charge struct {
	ID        string    `json:"id"`
	Invoice   string    `json:"invoice"`
	Order     string    `json:"order"`
	Customer  string    `json:"customer"`
	Currency  string    `json:"currency"`
	Amount    int64     `json:"amount"`
	Card      string    `json:"card"` // its last four digits
	ChargedAt time.Time `json:"charged_at"`
}

// The bounds of what is taken. An amount stays below 10^14, so that twelve times those of a thousand such orders fit into 64 bits.
const (
	mostLines  = 100
	mostAmount = 1_000_000_000_000 // of one line
	mostNumber = 1_000_000_000     // of a quantity, and of a price
	mostText   = 200               // bytes
)

// invoicing asks for the invoice of an order.
type invoicing struct {
	Order    string `json:"order"`
	Customer string `json:"customer"`
	Currency string `json:"currency"`
	Lines    []Line `json:"lines"`
}

func refuse(format string, args ...any) error {
	return sdk.Error(http.StatusUnprocessableEntity, "bad-invoice", format, args...)
}

func (in invoicing) validate() error {
	for name, text := range map[string]string{"order": in.Order, "customer": in.Customer} {
		if text == "" || len(text) > mostText {
			return refuse("The %s must be a text of 1 to %d bytes.", name, mostText)
		}
	}
	if !isCurrency(in.Currency) {
		return refuse("The currency must be three capital letters, such as EUR.")
	}
	if len(in.Lines) == 0 || len(in.Lines) > mostLines {
		return refuse("An order has 1 to %d lines, not %d.", mostLines, len(in.Lines))
	}
	plans := map[string]bool{}
	for i, line := range in.Lines {
		if err := line.validate(i + 1); err != nil {
			return err
		}
		if line.Kind == KindSubscription && plans[line.Plan] {
			return refuse("Line %d: the plan %s stands on another line already.", i+1, line.Plan)
		}
		plans[line.Plan] = true
	}
	return nil
}

func (l Line) validate(number int) error {
	switch {
	case l.SKU == "" || len(l.SKU) > mostText || len(l.Name) > mostText || len(l.Plan) > mostText:
		return refuse("Line %d: sku, name and plan are texts of at most %d bytes, and there must be a sku.", number, mostText)
	case l.Quantity < 1 || l.Quantity > mostNumber:
		return refuse("Line %d: the quantity must be from 1 to %d.", number, mostNumber)
	case l.UnitPrice < 0 || l.UnitPrice > mostNumber:
		return refuse("Line %d: the price must be from 0 to %d.", number, mostNumber)
	case l.Amount() > mostAmount:
		return refuse("Line %d: its amount must be at most %d.", number, int64(mostAmount))
	}
	switch l.Kind {
	case KindGoods:
		if l.Interval != "" || l.Plan != "" {
			return refuse("Line %d: goods have neither interval nor plan.", number)
		}
	case KindSubscription:
		if l.Plan == "" || (l.Interval != IntervalMonth && l.Interval != IntervalYear) {
			return refuse("Line %d: a subscription has a plan, and the interval month or year.", number)
		}
	default:
		return refuse("Line %d: the kind must be goods or subscription.", number)
	}
	return nil
}

func isCurrency(s string) bool {
	for _, r := range s {
		if r < 'A' || r > 'Z' {
			return false
		}
	}
	return len(s) == 3
}
