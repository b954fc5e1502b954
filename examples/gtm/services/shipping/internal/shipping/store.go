package shipping

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
type Store struct{ db *lite.DB }

func migrations() []string {
	return []string{`
	CREATE TABLE stock (
		sku      TEXT PRIMARY KEY,
		name     TEXT NOT NULL,
		on_hand  INTEGER NOT NULL,
		reserved INTEGER NOT NULL DEFAULT 0,
		CHECK (reserved >= 0 AND reserved <= on_hand)
	) WITHOUT ROWID;
	CREATE TABLE reservations (
		id       INTEGER PRIMARY KEY,
		order_id TEXT NOT NULL,
		state    TEXT NOT NULL,
		lines    TEXT NOT NULL, -- JSON
		at       INTEGER NOT NULL -- milliseconds
	);
	CREATE UNIQUE INDEX one_reservation ON reservations (order_id) WHERE state <> 'cancelled';
	CREATE TABLE shipments (
		id       INTEGER PRIMARY KEY AUTOINCREMENT,
		order_id TEXT NOT NULL UNIQUE,
		lines    TEXT NOT NULL,
		at       INTEGER NOT NULL
	)`}
}

// Open opens the file at path. Goods of the stock file that the database does not know are put into the shelf; what it knows
// stays as it is.
func Open(ctx context.Context, path string, stock []Seed) (*Store, error) {
	db, err := lite.Open(ctx, path, migrations(), &lite.Options{Sagas: true})
	if err != nil {
		return nil, err
	}
	err = db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, item := range stock {
			_, err := tx.ExecContext(ctx, `INSERT INTO stock (sku, name, on_hand) VALUES (?, ?, ?)
				ON CONFLICT (sku) DO NOTHING`, item.SKU, item.Name, item.OnHand)
			if err != nil {
				return fmt.Errorf("fill the shelf with %s: %w", item.SKU, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Store{db: db}, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ping tells whether the store can work.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// reserve keeps all lines of an order, or refuses.
func (s *Store) reserve(ctx context.Context, tx *sql.Tx, in reserving) (Reservation, error) {
	if err := in.validate(); err != nil {
		return Reservation{}, err
	}
	_, before, err := findReservation(ctx, tx, in.Order)
	if err == nil {
		return Reservation{}, sdk.Error(http.StatusConflict, "reserved-already", "The goods of order %s are %s already.", in.Order, before.State)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return Reservation{}, err
	}
	r := Reservation{Order: in.Order, State: StateReserved, Lines: together(in.Lines)}
	for _, line := range r.Lines {
		if err := keep(ctx, tx, line); err != nil {
			return Reservation{}, err
		}
	}
	lines, err := json.Marshal(r.Lines)
	if err != nil {
		return Reservation{}, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO reservations (order_id, state, lines, at) VALUES (?, ?, ?, ?)",
		r.Order, r.State, string(lines), time.Now().UnixMilli())
	if err != nil {
		return Reservation{}, fmt.Errorf("store reservation: %w", err)
	}
	return r, nil
}

func keep(ctx context.Context, tx *sql.Tx, line Line) error {
	var available int64
	err := tx.QueryRowContext(ctx, "SELECT on_hand - reserved FROM stock WHERE sku = ?", line.SKU).Scan(&available)
	if errors.Is(err, sql.ErrNoRows) {
		return sdk.Error(http.StatusUnprocessableEntity, "unknown-sku", "There are no goods %q.", line.SKU)
	}
	if err != nil {
		return fmt.Errorf("look into the shelf: %w", err)
	}
	if available < line.Quantity {
		return sdk.Error(http.StatusConflict, "out-of-stock", "%d of %s are wanted and %d are there.", line.Quantity, line.SKU, available)
	}
	return move(ctx, tx, line.SKU, 0, line.Quantity)
}

// move changes what is on hand and what is reserved of it.
func move(ctx context.Context, tx *sql.Tx, sku string, onHand, reserved int64) error {
	_, err := tx.ExecContext(ctx, "UPDATE stock SET on_hand = on_hand + ?, reserved = reserved + ? WHERE sku = ?", onHand, reserved, sku)
	if err != nil {
		return fmt.Errorf("change stock of %s: %w", sku, err)
	}
	return nil
}

// cancel makes what is reserved for an order available again. An order that has nothing reserved has nothing to cancel.
func (s *Store) cancel(ctx context.Context, tx *sql.Tx, in ordering) (cancelled, error) {
	id, r, err := findReservation(ctx, tx, in.Order)
	if errors.Is(err, sql.ErrNoRows) {
		return cancelled{Order: in.Order}, nil
	}
	if err != nil {
		return cancelled{}, err
	}
	if r.State == StateShipped {
		return cancelled{}, sdk.Error(http.StatusConflict, "shipped", "The goods of order %s are on their way.", in.Order)
	}
	for _, line := range r.Lines {
		if err := move(ctx, tx, line.SKU, 0, -line.Quantity); err != nil {
			return cancelled{}, err
		}
	}
	if err := setState(ctx, tx, id, StateCancelled); err != nil {
		return cancelled{}, err
	}
	return cancelled{Order: in.Order, Cancelled: true}, nil
}

// ship makes a shipment of what is reserved for an order. Who asks for it again gets the one that there is.
func (s *Store) ship(ctx context.Context, tx *sql.Tx, in ordering) (Shipment, error) {
	id, r, err := findReservation(ctx, tx, in.Order)
	if errors.Is(err, sql.ErrNoRows) {
		return Shipment{}, sdk.Error(http.StatusConflict, "not-reserved", "Nothing is reserved for order %s.", in.Order)
	}
	if err != nil {
		return Shipment{}, err
	}
	if r.State == StateShipped {
		return findShipment(ctx, tx, in.Order)
	}
	for _, line := range r.Lines {
		if err := move(ctx, tx, line.SKU, -line.Quantity, -line.Quantity); err != nil {
			return Shipment{}, err
		}
	}
	if err := setState(ctx, tx, id, StateShipped); err != nil {
		return Shipment{}, err
	}
	lines, err := json.Marshal(r.Lines)
	if err != nil {
		return Shipment{}, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO shipments (order_id, lines, at) VALUES (?, ?, ?)",
		in.Order, string(lines), time.Now().UnixMilli())
	if err != nil {
		return Shipment{}, fmt.Errorf("store shipment: %w", err)
	}
	return findShipment(ctx, tx, in.Order)
}

func setState(ctx context.Context, tx *sql.Tx, id int64, state State) error {
	if _, err := tx.ExecContext(ctx, "UPDATE reservations SET state = ? WHERE id = ?", state, id); err != nil {
		return fmt.Errorf("store state: %w", err)
	}
	return nil
}

// findReservation is the reservation of an order that is not cancelled, or sql.ErrNoRows.
func findReservation(ctx context.Context, tx *sql.Tx, order string) (id int64, r Reservation, err error) {
	r.Order = order
	var lines string
	err = tx.QueryRowContext(ctx, "SELECT id, state, lines FROM reservations WHERE order_id = ? AND state <> 'cancelled'", order).
		Scan(&id, &r.State, &lines)
	if err != nil {
		return 0, Reservation{}, fmt.Errorf("find reservation: %w", err)
	}
	return id, r, json.Unmarshal([]byte(lines), &r.Lines)
}

func findShipment(ctx context.Context, tx *sql.Tx, order string) (Shipment, error) {
	s, err := scanShipment(tx.QueryRowContext(ctx, selectShipments+" WHERE order_id = ?", order))
	if err != nil {
		return Shipment{}, fmt.Errorf("find shipment: %w", err)
	}
	return s, nil
}

// Count notes how much of some goods was counted in the shelf. It is not less than what is reserved.
func (s *Store) Count(ctx context.Context, sku string, onHand int64) (item Item, err error) {
	err = s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if item, err = scanItem(tx.QueryRowContext(ctx, selectStock+" WHERE sku = ?", sku)); err != nil {
			return err
		}
		if onHand < item.Reserved {
			return sdk.Error(http.StatusConflict, "reserved", "%d of %s are reserved.", item.Reserved, sku)
		}
		if err := move(ctx, tx, sku, onHand-item.OnHand, 0); err != nil {
			return err
		}
		item, err = scanItem(tx.QueryRowContext(ctx, selectStock+" WHERE sku = ?", sku))
		return err
	})
	return item, err
}
