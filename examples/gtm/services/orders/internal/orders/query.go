package orders

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

const selectOrder = "SELECT number, id, customer, currency, lines, at, saga, outcome, reason FROM orders"

// row is what one row is scanned from.
type row interface{ Scan(to ...any) error }

func scan(from row) (number int64, o Order, err error) {
	var lines string
	var at int64
	if err := from.Scan(&number, &o.ID, &o.Customer, &o.Currency, &lines, &at, &o.Saga, &o.State, &o.Reason); err != nil {
		return 0, Order{}, fmt.Errorf("find order: %w", err)
	}
	o.PlacedAt = time.UnixMilli(at).UTC()
	switch {
	case o.State != "":
	case o.Saga == "":
		o.State = StateStarting
	default:
		o.State = StateUnknown // as long as nobody has looked
	}
	if err := json.Unmarshal([]byte(lines), &o.Lines); err != nil {
		return 0, Order{}, fmt.Errorf("find order: %w", err)
	}
	o.Total = total(o.Lines)
	return number, o, nil
}

// starting are some orders after the one of a number whose start is not known, the oldest first, and the number of the last.
func (b *Book) starting(ctx context.Context, after int64) (found []Order, last int64, err error) {
	rows, err := b.db.Read().QueryContext(ctx, selectOrder+" WHERE saga = '' AND outcome = '' AND number > ? ORDER BY number LIMIT 100", after)
	if err != nil {
		return nil, 0, fmt.Errorf("find orders: %w", err)
	}
	return collect(rows)
}

// List lists orders, the newest first, each with the state of its saga. A page begins before the order of the number before, or
// with the newest if that is 0; next is the number for the page after, or 0.
func (b *Book) List(ctx context.Context, before int64, limit int) (found []Order, next int64, err error) {
	rows, err := b.db.Read().QueryContext(ctx, selectOrder+" WHERE ?1 = 0 OR number < ?1 ORDER BY number DESC LIMIT ?2", before, limit)
	if err != nil {
		return nil, 0, fmt.Errorf("list orders: %w", err)
	}
	if found, next, err = collect(rows); err != nil {
		return nil, 0, err
	}
	if len(found) < limit || next == 1 {
		next = 0
	}
	b.lookAll(ctx, found)
	return found, next, nil
}

func collect(rows *sql.Rows) (found []Order, last int64, err error) {
	defer func() { _ = rows.Close() }()
	found = []Order{}
	for rows.Next() {
		number, o, err := scan(rows)
		if err != nil {
			return nil, 0, err
		}
		found, last = append(found, o), number
	}
	return found, last, rows.Err()
}
