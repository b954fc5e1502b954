package billing

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

// Store is the database. It is safe for concurrent use.
type Store struct {
	db  *lite.DB
	now func() time.Time
}

func migrations() []string {
	return []string{`
	CREATE TABLE invoices (
		id       INTEGER PRIMARY KEY AUTOINCREMENT,
		order_id TEXT NOT NULL,
		customer TEXT NOT NULL,
		currency TEXT NOT NULL,
		total    INTEGER NOT NULL, -- minor units, as all amounts
		state    TEXT NOT NULL,
		booked   INTEGER NOT NULL DEFAULT 0,
		lines    TEXT NOT NULL, -- JSON
		at       INTEGER NOT NULL -- milliseconds, as all times
	);
	CREATE UNIQUE INDEX one_invoice ON invoices (order_id) WHERE state <> 'void';
	CREATE INDEX invoices_customer ON invoices (customer);
	CREATE TABLE charges (
		id       INTEGER PRIMARY KEY AUTOINCREMENT,
		invoice  INTEGER NOT NULL UNIQUE REFERENCES invoices,
		card     TEXT NOT NULL,
		at       INTEGER NOT NULL
	);
	CREATE TABLE cards (
		customer TEXT PRIMARY KEY,
		last4    TEXT NOT NULL
	) WITHOUT ROWID;
	CREATE TABLE processor (
		one   INTEGER PRIMARY KEY CHECK (one = 1),
		state TEXT NOT NULL
	);
	CREATE TABLE entries (
		id       INTEGER PRIMARY KEY AUTOINCREMENT,
		posting  INTEGER NOT NULL,
		order_id TEXT NOT NULL,
		text     TEXT NOT NULL,
		account  TEXT NOT NULL,
		currency TEXT NOT NULL,
		amount   INTEGER NOT NULL,
		at       INTEGER NOT NULL
	);
	CREATE INDEX entries_order ON entries (order_id);
	CREATE INDEX entries_posting ON entries (posting);
	CREATE TABLE subscriptions (
		id       INTEGER PRIMARY KEY AUTOINCREMENT,
		customer TEXT NOT NULL,
		currency TEXT NOT NULL,
		plan     TEXT NOT NULL,
		UNIQUE (customer, currency, plan)
	);
	CREATE TABLE terms ( -- a span for which a subscription is paid
		id           INTEGER PRIMARY KEY AUTOINCREMENT,
		subscription INTEGER NOT NULL REFERENCES subscriptions,
		order_id     TEXT NOT NULL,
		quantity     INTEGER NOT NULL,
		price        INTEGER NOT NULL, -- of all units, for one interval
		interval     TEXT NOT NULL,
		starts       INTEGER NOT NULL,
		ends         INTEGER NOT NULL
	);
	CREATE INDEX terms_subscription ON terms (subscription, starts);
	CREATE INDEX terms_order ON terms (order_id)`}
}

// StoreOptions are options of Open. The zero value is good.
type StoreOptions struct {
	Now func() time.Time // default time.Now
}

// Open opens the file at path.
func Open(ctx context.Context, path string, opts *StoreOptions) (*Store, error) {
	db, err := lite.Open(ctx, path, migrations(), &lite.Options{Sagas: true})
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, now: time.Now}
	if opts != nil && opts.Now != nil {
		s.now = opts.Now
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ping tells whether the store can work.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// invoice writes the invoice of an order.
func (s *Store) invoice(ctx context.Context, tx *sql.Tx, in invoicing) (Invoice, error) {
	if err := in.validate(); err != nil {
		return Invoice{}, err
	}
	before, err := invoiceOf(ctx, tx, in.Order)
	if err == nil {
		return Invoice{}, sdk.Error(http.StatusConflict, "invoiced-already", "Order %s has the invoice %s.", in.Order, before.ID)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return Invoice{}, err
	}
	var total int64
	for _, line := range in.Lines {
		total += line.Amount()
	}
	if total == 0 {
		return Invoice{}, refuse("Order %s costs nothing, so there is no invoice.", in.Order)
	}
	lines, err := json.Marshal(in.Lines)
	if err != nil {
		return Invoice{}, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO invoices (order_id, customer, currency, total, state, lines, at)
		VALUES (?, ?, ?, ?, ?, ?, ?)`, in.Order, in.Customer, in.Currency, total, InvoiceOpen, string(lines), s.now().UnixMilli())
	if err != nil {
		return Invoice{}, wrap("store invoice", err)
	}
	i, err := invoiceOf(ctx, tx, in.Order)
	if err != nil {
		return Invoice{}, err
	}
	return i, s.post(ctx, tx, invoiced(i))
}

// void makes the invoice of an order void. An order without invoice has none to make void; one that is paid cannot be.
func (s *Store) void(ctx context.Context, tx *sql.Tx, in ordering) (voiding, error) {
	i, err := invoiceOf(ctx, tx, in.Order)
	if errors.Is(err, sql.ErrNoRows) {
		return voiding{Order: in.Order}, nil
	}
	if err != nil {
		return voiding{}, err
	}
	if i.State == InvoicePaid {
		return voiding{}, sdk.Error(http.StatusConflict, "paid", "The invoice %s is paid.", i.ID)
	}
	if err := setInvoice(ctx, tx, i, InvoiceVoid); err != nil {
		return voiding{}, err
	}
	return voiding{Order: in.Order, Voided: true}, s.post(ctx, tx, voided(i))
}

// charge takes the total of an invoice from the customer's card. Who asks for it again gets the charge that there is.
func (s *Store) charge(ctx context.Context, tx *sql.Tx, in charging) (Charge, error) {
	i, err := findInvoice(ctx, tx, in.Invoice)
	if errors.Is(err, sql.ErrNoRows) {
		return Charge{}, sdk.Error(http.StatusNotFound, "unknown-invoice", "There is no invoice %q.", in.Invoice)
	}
	if err != nil {
		return Charge{}, err
	}
	switch {
	case in.Amount != i.Total:
		return Charge{}, sdk.Error(http.StatusConflict, "other-amount", "The invoice %s is about %d, not %d.", i.ID, i.Total, in.Amount)
	case i.State == InvoiceVoid:
		return Charge{}, sdk.Error(http.StatusConflict, "void", "The invoice %s is void.", i.ID)
	case i.State == InvoicePaid:
		return chargeOf(ctx, tx, i)
	}
	card, err := authorise(ctx, tx, i.Customer)
	if err != nil {
		return Charge{}, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO charges (invoice, card, at) VALUES (?, ?, ?)", i.number(), card, s.now().UnixMilli())
	if err != nil {
		return Charge{}, wrap("store charge", err)
	}
	if err := setInvoice(ctx, tx, i, InvoicePaid); err != nil {
		return Charge{}, err
	}
	if err := s.post(ctx, tx, paid(i)); err != nil {
		return Charge{}, err
	}
	return chargeOf(ctx, tx, i)
}

// revenue books what was paid for an order, and begins the subscriptions in it or adds a term to them. Who asks for it again
// gets what was booked.
func (s *Store) revenue(ctx context.Context, tx *sql.Tx, in ordering) (Revenue, error) {
	i, err := invoiceOf(ctx, tx, in.Order)
	if errors.Is(err, sql.ErrNoRows) {
		return Revenue{}, sdk.Error(http.StatusConflict, "not-paid", "Order %s has no invoice.", in.Order)
	}
	if err != nil {
		return Revenue{}, err
	}
	if i.State != InvoicePaid {
		return Revenue{}, sdk.Error(http.StatusConflict, "not-paid", "The invoice %s is not paid.", i.ID)
	}
	if !i.Booked {
		if err := s.book(ctx, tx, i); err != nil {
			return Revenue{}, err
		}
	}
	out := Revenue{Order: i.Order, Invoice: i.ID, Currency: i.Currency}
	out.Revenue, out.Deferred = i.split()
	out.Subscriptions, err = s.subscriptionsOf(ctx, tx, i.Order)
	return out, err
}

func (s *Store) book(ctx context.Context, tx *sql.Tx, i Invoice) error {
	for _, line := range i.Lines {
		if line.Kind != KindSubscription {
			continue
		}
		if err := s.subscribe(ctx, tx, i, line); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "UPDATE invoices SET booked = 1 WHERE id = ?", i.number()); err != nil {
		return wrap("store invoice", err)
	}
	return s.post(ctx, tx, delivered(i))
}

// subscribe gives a subscription a term. It begins when the last one ends, or now.
func (s *Store) subscribe(ctx context.Context, tx *sql.Tx, i Invoice, line Line) error {
	var id, last int64
	err := tx.QueryRowContext(ctx, `INSERT INTO subscriptions (customer, currency, plan) VALUES (?, ?, ?)
		ON CONFLICT (customer, currency, plan) DO UPDATE SET plan = plan RETURNING id`, i.Customer, i.Currency, line.Plan).Scan(&id)
	if err != nil {
		return wrap("store subscription", err)
	}
	err = tx.QueryRowContext(ctx, "SELECT coalesce(max(ends), 0) FROM terms WHERE subscription = ?", id).Scan(&last)
	if err != nil {
		return wrap("find term", err)
	}
	starts := time.UnixMilli(max(last, s.now().UnixMilli()))
	_, err = tx.ExecContext(ctx, `INSERT INTO terms (subscription, order_id, quantity, price, interval, starts, ends)
		VALUES (?, ?, ?, ?, ?, ?, ?)`, id, i.Order, line.Quantity, line.Amount(), line.Interval,
		starts.UnixMilli(), line.Interval.after(starts).UnixMilli())
	return wrap("store term", err)
}

func setInvoice(ctx context.Context, tx *sql.Tx, i Invoice, state InvoiceState) error {
	_, err := tx.ExecContext(ctx, "UPDATE invoices SET state = ? WHERE id = ?", state, i.number())
	return wrap("store invoice", err)
}

// wrap names the operation of an error.
func wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", operation, err)
}
