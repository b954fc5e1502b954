// Package shipping keeps stock, reserves it for orders and ships it.
//
// What is on hand is what lies in the shelf; some of it is reserved, the rest is available. A reservation takes all of an
// order's lines or none. It ends as a shipment, which takes the goods off the shelf, or is cancelled, which makes them
// available again.
//
// # Guarantees
//
// A call that returned is on disk. No more is ever reserved than lies in the shelf. An order has one reservation at most, and
// one shipment. The steps of a saga have their effect once, however often and in whatever order they and their undoing come:
// the transaction that makes the effect notes the step too. A reservation that comes after its cancellation is refused.
//
// # Failure
//
// Goods that are short, or that nobody knows, are refused for good (409, 422). A shipment of what is reserved is never refused.
package shipping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Item is a kind of goods.
type Item struct {
	SKU       string `json:"sku"`
	Name      string `json:"name"`
	OnHand    int64  `json:"on_hand"`
	Reserved  int64  `json:"reserved"`
	Available int64  `json:"available"` // on hand and not reserved
}

// Line is a number of one kind of goods.
type Line struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// State is what became of a reservation.
type State string

// The states.
const (
	StateReserved  State = "reserved"
	StateShipped   State = "shipped"
	StateCancelled State = "cancelled"
)

// Reservation is goods that are kept for an order.
type Reservation struct {
	Order string `json:"order"`
	State State  `json:"state"`
	Lines []Line `json:"lines"`
}

// Shipment is a parcel that has left.
type Shipment struct {
	ID        string    `json:"id"`
	Order     string    `json:"order"`
	Lines     []Line    `json:"lines"`
	ShippedAt time.Time `json:"shipped_at"`
}

// Seed is one kind of goods of a stock file.
type Seed struct {
	SKU    string `json:"sku"`
	Name   string `json:"name"`
	OnHand int64  `json:"on_hand"`
}

// Parse reads a stock file.
func Parse(text []byte) ([]Seed, error) {
	var file struct {
		Items []Seed `json:"items"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	var errs []error
	seen := map[string]bool{}
	for i, item := range file.Items {
		switch {
		case item.SKU == "":
			errs = append(errs, fmt.Errorf("item %d has no sku", i+1))
		case seen[item.SKU]:
			errs = append(errs, fmt.Errorf("%s stands there twice", item.SKU))
		case item.OnHand < 0 || item.OnHand > mostQuantity:
			errs = append(errs, fmt.Errorf("%s: on_hand must be from 0 to %d", item.SKU, int64(mostQuantity)))
		}
		seen[item.SKU] = true
	}
	return file.Items, errors.Join(errs...)
}

// The bounds of what is taken.
const (
	mostLines    = 100
	mostQuantity = 1_000_000
	mostText     = 200 // bytes
)

// together adds up the lines of one kind of goods, in the order in which the kinds come first.
func together(lines []Line) []Line {
	at := map[string]int{}
	var out []Line
	for _, l := range lines {
		i, ok := at[l.SKU]
		if !ok {
			i = len(out)
			at[l.SKU] = i
			out = append(out, Line{SKU: l.SKU})
		}
		out[i].Quantity += l.Quantity
	}
	return out
}
