package billing

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	prefixInvoice = "INV-"
	prefixCharge  = "CHG-"

	selectInvoice = "SELECT id, order_id, customer, currency, total, state, booked, lines, at FROM invoices"
)

// number is the number in the invoice's id.
func (i Invoice) number() int64 {
	n, _ := numberOf(prefixInvoice, i.ID)
	return n
}

// numberOf is the number in an id; false if that is none.
func numberOf(prefix, id string) (int64, bool) {
	digits, ok := strings.CutPrefix(id, prefix)
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, ok && err == nil && n > 0
}

// row is what one row is scanned from.
type row interface{ Scan(to ...any) error }

func scanInvoice(from row) (Invoice, error) {
	var i Invoice
	var id, at int64
	var lines string
	if err := from.Scan(&id, &i.Order, &i.Customer, &i.Currency, &i.Total, &i.State, &i.Booked, &lines, &at); err != nil {
		return Invoice{}, wrap("find invoice", err)
	}
	i.ID, i.IssuedAt = fmt.Sprint(prefixInvoice, id), time.UnixMilli(at).UTC()
	return i, json.Unmarshal([]byte(lines), &i.Lines)
}

// invoiceOf is the invoice of an order that is not void, or sql.ErrNoRows.
func invoiceOf(ctx context.Context, tx *sql.Tx, order string) (Invoice, error) {
	return scanInvoice(tx.QueryRowContext(ctx, selectInvoice+" WHERE order_id = ? AND state <> 'void'", order))
}

// findInvoice is the invoice of an id, or sql.ErrNoRows.
func findInvoice(ctx context.Context, tx *sql.Tx, id string) (Invoice, error) {
	n, _ := numberOf(prefixInvoice, id)
	return scanInvoice(tx.QueryRowContext(ctx, selectInvoice+" WHERE id = ?", n))
}

func chargeOf(ctx context.Context, tx *sql.Tx, i Invoice) (Charge, error) {
	c := Charge{Invoice: i.ID, Order: i.Order, Customer: i.Customer, Currency: i.Currency, Amount: i.Total}
	var id, at int64
	err := tx.QueryRowContext(ctx, "SELECT id, card, at FROM charges WHERE invoice = ?", i.number()).Scan(&id, &c.Card, &at)
	c.ID, c.ChargedAt = fmt.Sprint(prefixCharge, id), time.UnixMilli(at).UTC()
	return c, wrap("find charge", err)
}

// Filter chooses what is listed, the newest first.
type Filter struct {
	Customer string // if not ""
	Order    string // if not ""
	Before   int64  // the number of the oldest of the page before; 0: from the newest
	Limit    int
}

// list is a page of what a statement selects. The statement has ?1 for Customer, ?2 for Order, ?3 for Before and ?4 for Limit.
func list[T any](ctx context.Context, db *sql.DB, statement string, f Filter, scan func(row) (T, error)) (found []T, more bool, err error) {
	rows, err := db.QueryContext(ctx, statement, f.Customer, f.Order, f.Before, f.Limit+1)
	if err != nil {
		return nil, false, wrap("list", err)
	}
	defer func() { _ = rows.Close() }()
	found = []T{}
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, false, wrap("list", err)
		}
		found = append(found, one)
	}
	if len(found) > f.Limit {
		found, more = found[:f.Limit], true
	}
	return found, more, wrap("list", rows.Err())
}

// Invoices lists invoices.
func (s *Store) Invoices(ctx context.Context, f Filter) ([]Invoice, bool, error) {
	return list(ctx, s.db.Read(), selectInvoice+` WHERE (?1 = '' OR customer = ?1) AND (?2 = '' OR order_id = ?2)
		AND (?3 = 0 OR id < ?3) ORDER BY id DESC LIMIT ?4`, f, scanInvoice)
}

// Entries lists the ledger.
func (s *Store) Entries(ctx context.Context, f Filter) ([]Entry, bool, error) {
	return list(ctx, s.db.Read(), `SELECT id, posting, order_id, text, account, currency, amount, at FROM entries
		WHERE (?2 = '' OR order_id = ?2) AND (?3 = 0 OR id < ?3) ORDER BY id DESC LIMIT ?4`, f,
		func(from row) (e Entry, err error) {
			var at int64
			err = from.Scan(&e.ID, &e.Posting, &e.Order, &e.Text, &e.Account, &e.Currency, &e.Amount, &at)
			e.At = time.UnixMilli(at).UTC()
			return e, err
		})
}

// Balances are what stands on the accounts. Those of one currency add up to zero.
func (s *Store) Balances(ctx context.Context) ([]Balance, error) {
	found, _, err := list(ctx, s.db.Read(), `SELECT account, currency, sum(amount) FROM entries
		GROUP BY currency, account ORDER BY currency, account LIMIT ?4`,
		Filter{Limit: 10_000}, func(from row) (b Balance, err error) {
			return b, from.Scan(&b.Account, &b.Currency, &b.Amount)
		})
	return found, err
}

// Subscription is what a customer has of a plan.
type Subscription struct {
	ID       int64     `json:"id"`
	Customer string    `json:"customer"`
	Currency string    `json:"currency"`
	Plan     string    `json:"plan"`
	Active   bool      `json:"active"`   // now
	Quantity int64     `json:"quantity"` // of the term that runs, or ran last
	Price    int64     `json:"price"`    // of all units, for one interval
	Interval Interval  `json:"interval"` //
	MRR      int64     `json:"mrr"`      // of that term, in minor units, rounded
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"` // the end of the last term that is paid
}

// Revenue is what was booked for an order.
type Revenue struct {
	Order         string         `json:"order"`
	Invoice       string         `json:"invoice"`
	Currency      string         `json:"currency"`
	Revenue       int64          `json:"revenue"`  // goods
	Deferred      int64          `json:"deferred"` // subscriptions
	Subscriptions []Subscription `json:"subscriptions"`
}

// selectSubscription joins a subscription with the term that runs at the time %[1]d, or the one before, or the first.
const selectSubscription = `SELECT s.id, s.customer, s.currency, s.plan, t.starts <= %[1]d AND t.ends > %[1]d, t.quantity, t.price, t.interval,
		(SELECT min(starts) FROM terms WHERE subscription = s.id), (SELECT max(ends) FROM terms WHERE subscription = s.id)
	FROM subscriptions s JOIN terms t ON t.id = (SELECT id FROM terms WHERE subscription = s.id
		ORDER BY CASE WHEN starts <= %[1]d THEN -starts ELSE starts END LIMIT 1)`

func scanSubscription(from row) (s Subscription, err error) {
	var since, until int64
	err = from.Scan(&s.ID, &s.Customer, &s.Currency, &s.Plan, &s.Active, &s.Quantity, &s.Price, &s.Interval, &since, &until)
	s.MRR = Term{Interval: s.Interval, Price: s.Price}.MRR().Minor()
	s.Since, s.Until = time.UnixMilli(since).UTC(), time.UnixMilli(until).UTC()
	return s, err
}

// Subscriptions lists subscriptions.
func (s *Store) Subscriptions(ctx context.Context, f Filter) ([]Subscription, bool, error) {
	return list(ctx, s.db.Read(), fmt.Sprintf(selectSubscription, s.now().UnixMilli())+`
		WHERE (?1 = '' OR s.customer = ?1) AND (?3 = 0 OR s.id < ?3) ORDER BY s.id DESC LIMIT ?4`, f, scanSubscription)
}

func (s *Store) subscriptionsOf(ctx context.Context, tx *sql.Tx, order string) ([]Subscription, error) {
	rows, err := tx.QueryContext(ctx, fmt.Sprintf(selectSubscription, s.now().UnixMilli())+`
		WHERE s.id IN (SELECT subscription FROM terms WHERE order_id = ?) ORDER BY s.id`, order)
	if err != nil {
		return nil, wrap("find subscriptions", err)
	}
	defer func() { _ = rows.Close() }()
	found := []Subscription{}
	for rows.Next() {
		one, err := scanSubscription(rows)
		if err != nil {
			return nil, wrap("find subscriptions", err)
		}
		found = append(found, one)
	}
	return found, wrap("find subscriptions", rows.Err())
}

// Metrics are what recurs at the end of a month, for each currency. Of a month that is not over they tell what is paid for now.
func (s *Store) Metrics(ctx context.Context, m Month) ([]Metrics, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT s.currency, s.customer, t.starts, t.ends, t.interval, t.price
		FROM terms t JOIN subscriptions s ON s.id = t.subscription WHERE t.starts < ?`, m.End().UnixMilli())
	if err != nil {
		return nil, wrap("find terms", err)
	}
	defer func() { _ = rows.Close() }()
	terms := map[string][]Term{}
	for rows.Next() {
		var currency string
		var from, until int64
		var t Term
		if err := rows.Scan(&currency, &t.Customer, &from, &until, &t.Interval, &t.Price); err != nil {
			return nil, wrap("find terms", err)
		}
		t.From, t.Until = time.UnixMilli(from), time.UnixMilli(until)
		terms[currency] = append(terms[currency], t)
	}
	if err := rows.Err(); err != nil {
		return nil, wrap("find terms", err)
	}
	return Measure(terms, m), nil
}
