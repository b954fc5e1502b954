package shipping

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	selectStock     = "SELECT sku, name, on_hand, reserved, on_hand - reserved FROM stock"
	selectShipments = "SELECT id, order_id, lines, at FROM shipments"
)

// row is what one row is scanned from.
type row interface{ Scan(to ...any) error }

func scanItem(from row) (i Item, err error) {
	err = from.Scan(&i.SKU, &i.Name, &i.OnHand, &i.Reserved, &i.Available)
	return i, err
}

func scanShipment(from row) (Shipment, error) {
	var s Shipment
	var id, at int64
	var lines string
	if err := from.Scan(&id, &s.Order, &lines, &at); err != nil {
		return Shipment{}, err
	}
	s.ID, s.ShippedAt = shipmentID(id), time.UnixMilli(at).UTC()
	return s, json.Unmarshal([]byte(lines), &s.Lines)
}

const shipmentPrefix = "SHP-"

func shipmentID(n int64) string { return shipmentPrefix + strconv.FormatInt(n, 10) }

// shipmentNumber is the number in a shipment's id; false if that is none.
func shipmentNumber(id string) (int64, bool) {
	digits, ok := strings.CutPrefix(id, shipmentPrefix)
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, ok && err == nil && n > 0
}

// Stock is all goods, in the order of their SKUs.
func (s *Store) Stock(ctx context.Context) ([]Item, error) {
	rows, err := s.db.Read().QueryContext(ctx, selectStock+" ORDER BY sku")
	if err != nil {
		return nil, fmt.Errorf("list stock: %w", err)
	}
	defer func() { _ = rows.Close() }()
	items := []Item{}
	for rows.Next() {
		item, err := scanItem(rows)
		if err != nil {
			return nil, fmt.Errorf("list stock: %w", err)
		}
		items = append(items, item)
	}
	return items, rows.Err()
}

// Filter chooses shipments.
type Filter struct {
	Order  string // if not ""
	Before int64  // the number of the oldest of the page before; 0: from the newest
	Limit  int
}

// Shipments lists shipments, the newest first.
func (s *Store) Shipments(ctx context.Context, f Filter) (found []Shipment, more bool, err error) {
	rows, err := s.db.Read().QueryContext(ctx, selectShipments+
		" WHERE (?1 = '' OR order_id = ?1) AND (?2 = 0 OR id < ?2) ORDER BY id DESC LIMIT ?3", f.Order, f.Before, f.Limit+1)
	if err != nil {
		return nil, false, fmt.Errorf("list shipments: %w", err)
	}
	defer func() { _ = rows.Close() }()
	found = []Shipment{}
	for rows.Next() {
		s, err := scanShipment(rows)
		if err != nil {
			return nil, false, fmt.Errorf("list shipments: %w", err)
		}
		found = append(found, s)
	}
	if len(found) > f.Limit {
		found, more = found[:f.Limit], true
	}
	return found, more, rows.Err()
}
