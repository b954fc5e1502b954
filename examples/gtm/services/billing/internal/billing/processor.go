package billing

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/atollhq/atoll/sdk"
)

// Processor is how the pretended card processor behaves. A person sets it, and it stays so after a restart.
type Processor string

// The states of the processor.
const (
	ProcessorUp        Processor = "up"        // takes cards, as they are
	ProcessorDown      Processor = "down"      // answers nothing: charges fail with 503
	ProcessorDeclining Processor = "declining" // declines every card: charges fail with 402
)

// Processors are all states of the processor.
func Processors() []Processor { return []Processor{ProcessorUp, ProcessorDown, ProcessorDeclining} }

// Card is what is known of a customer's card: its last four digits, which also say how the processor takes it. Who has none on
// file pays with one that ends in 4242.
type Card struct {
	Customer string `json:"customer"`
	Last4    string `json:"last4"`
	Good     bool   `json:"good"`
}

const goodCard = "4242"

// decline is why the processor declines a card; "" if it takes it.
func decline(last4 string) string {
	switch last4 {
	case "0002":
		return "The card was declined."
	case "9995":
		return "The account behind the card does not hold enough."
	case "0069":
		return "The card has expired."
	}
	return ""
}

// last4 are the last digits of a card's number, which may be written in groups; false for what is no such number.
func last4(number string) (string, bool) {
	digits := strings.NewReplacer(" ", "", "-", "").Replace(number)
	if len(digits) < 12 || len(digits) > 19 || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	return digits[len(digits)-4:], true
}

// authorise asks the processor to take money from a customer's card.
func authorise(ctx context.Context, tx *sql.Tx, customer string) (card string, err error) {
	state, err := processor(ctx, tx)
	if err != nil {
		return "", err
	}
	if state == ProcessorDown {
		return "", sdk.Error(http.StatusServiceUnavailable, "processor-down", "The card processor does not answer.")
	}
	card = goodCard
	err = tx.QueryRowContext(ctx, "SELECT last4 FROM cards WHERE customer = ?", customer).Scan(&card)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("find card: %w", err)
	}
	why := decline(card)
	if state == ProcessorDeclining {
		why = "The card was declined."
	}
	if why != "" {
		return "", sdk.Error(http.StatusPaymentRequired, "card-declined", "%s It ends in %s.", why, card)
	}
	return card, nil
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func processor(ctx context.Context, q querier) (Processor, error) {
	state := ProcessorUp
	err := q.QueryRowContext(ctx, "SELECT state FROM processor").Scan(&state)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("ask the processor: %w", err)
	}
	return state, nil
}

// Processor is how the processor behaves.
func (s *Store) Processor(ctx context.Context) (Processor, error) { return processor(ctx, s.db.Read()) }

// SetProcessor says how the processor behaves from now on.
func (s *Store) SetProcessor(ctx context.Context, state Processor) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO processor (one, state) VALUES (1, ?) ON CONFLICT DO UPDATE SET state = excluded.state", state)
		return wrap("set processor", err)
	})
}

// SetCard notes which card a customer pays with. No more than the last four digits are kept.
func (s *Store) SetCard(ctx context.Context, customer, digits string) (Card, error) {
	err := s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO cards VALUES (?, ?) ON CONFLICT DO UPDATE SET last4 = excluded.last4", customer, digits)
		return wrap("store card", err)
	})
	return Card{Customer: customer, Last4: digits, Good: decline(digits) == ""}, err
}
