package orders

import (
	"net/http"
	"regexp"
	"time"

	"github.com/atollhq/atoll/sdk"
)

// State is how far an order has come.
type State string

// The states. Those that a saga can have are its own words.
const (
	StateStarting State = "starting" // taken; whether its saga has started is not known
	StateUnknown  State = "unknown"  // its saga has started and cannot be asked
	StateRefused  State = "refused"  // the saga does not take it

	StateRunning      State = "running"
	StateCompensating State = "compensating"
	StateParked       State = "parked" // waits for a person
	StateCompleted    State = "completed"
	StateCompensated  State = "compensated"
)

// Final tells whether the state stays.
func (s State) Final() bool {
	return s == StateCompleted || s == StateCompensated || s == StateRefused
}

// Kind is what a line sells.
type Kind string

// The kinds.
const (
	KindGoods        Kind = "goods"
	KindSubscription Kind = "subscription"
)

// Line is one line of an order.
type Line struct {
	SKU       string `json:"sku"`
	Name      string `json:"name"`
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unit_price"` // minor units; of a subscription, for its interval
	Kind      Kind   `json:"kind"`
	Interval  string `json:"interval,omitempty"` // of a subscription: month or year
	Plan      string `json:"plan,omitempty"`     // of a subscription
}

// Placing is an order as it is sent.
type Placing struct {
	ID       string `json:"id,omitempty"` // so that it is the same order when it is sent again; default a new one
	Customer string `json:"customer"`
	Currency string `json:"currency"` // ISO 4217
	Lines    []Line `json:"lines"`
}

// Order is an order that was taken.
type Order struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"`
	Currency string    `json:"currency"`
	Lines    []Line    `json:"lines"`
	Total    int64     `json:"total"` // minor units
	PlacedAt time.Time `json:"placed_at"`
	Saga     string    `json:"saga,omitempty"` // the instance, once it is known
	State    State     `json:"state"`
	Reason   string    `json:"reason,omitempty"` // why it is not completed
}

// input is what the saga gets. It is made of what is stored alone, so that it is the same each time that it is started.
type input struct {
	Order    string `json:"order"`
	Customer string `json:"customer"`
	Currency string `json:"currency"`
	Lines    []Line `json:"lines"`
}

func (o Order) input() input { return input{o.ID, o.Customer, o.Currency, o.Lines} }

// The bounds of what is taken.
const (
	mostLines    = 100
	mostQuantity = 1_000_000
	mostPrice    = 1_000_000_000     // minor units
	mostAmount   = 1_000_000_000_000 // of one line
	mostText     = 200               // bytes
)

// patterns of what stands in an order.
type patterns struct{ id, currency *regexp.Regexp }

func newPatterns() patterns {
	return patterns{
		id:       regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`),
		currency: regexp.MustCompile(`^[A-Z]{3}$`),
	}
}

func refuse(format string, args ...any) error {
	return sdk.Error(http.StatusUnprocessableEntity, "bad-order", format, args...)
}

// check tells in the caller's terms what is wrong with an order.
func (x patterns) check(p Placing) error {
	switch {
	case p.ID != "" && !x.id.MatchString(p.ID):
		return refuse("The id is 1 to 64 letters, digits, points, hyphens and underscores, and begins with a letter or digit.")
	case p.Customer == "" || len(p.Customer) > mostText:
		return refuse("The customer is a text of 1 to %d bytes.", mostText)
	case !x.currency.MatchString(p.Currency):
		return refuse("The currency is three capital letters, such as EUR.")
	case len(p.Lines) == 0 || len(p.Lines) > mostLines:
		return refuse("An order has 1 to %d lines, not %d.", mostLines, len(p.Lines))
	}
	plans := map[string]bool{}
	for i, line := range p.Lines {
		if err := line.check(i + 1); err != nil {
			return err
		}
		if line.Kind == KindSubscription && plans[line.Plan] {
			return refuse("Line %d: the plan %s stands on another line already.", i+1, line.Plan)
		}
		plans[line.Plan] = true
	}
	return nil
}

func (l Line) check(number int) error {
	switch {
	case l.SKU == "" || l.Name == "" || len(l.SKU) > mostText || len(l.Name) > mostText || len(l.Plan) > mostText:
		return refuse("Line %d: sku and name are texts of 1 to %d bytes, and so is plan if it is there.", number, mostText)
	case l.Quantity < 1 || l.Quantity > mostQuantity:
		return refuse("Line %d: the quantity is from 1 to %d.", number, mostQuantity)
	case l.UnitPrice < 0 || l.UnitPrice > mostPrice:
		return refuse("Line %d: the price of a unit is from 0 to %d.", number, mostPrice)
	case l.Quantity*l.UnitPrice > mostAmount:
		return refuse("Line %d: its amount is at most %d.", number, int64(mostAmount))
	case l.Kind != KindGoods && l.Kind != KindSubscription:
		return refuse("Line %d: the kind is goods or subscription.", number)
	case l.Kind == KindGoods && (l.Interval != "" || l.Plan != ""):
		return refuse("Line %d: goods have neither interval nor plan.", number)
	case l.Kind == KindSubscription && (l.Plan == "" || (l.Interval != "month" && l.Interval != "year")):
		return refuse("Line %d: a subscription has a plan, and the interval month or year.", number)
	}
	return nil
}

func total(lines []Line) (sum int64) {
	for _, l := range lines {
		sum += l.Quantity * l.UnitPrice
	}
	return sum
}
