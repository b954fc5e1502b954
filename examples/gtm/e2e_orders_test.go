package gtm_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
)

// The orders of the test: some have a card that is declined, some want what is short, some are subscriptions alone.
const (
	ordersPlaced = 300
	firstEdition = 3 // of which there are so many
)

type orderLine struct {
	SKU       string `json:"sku"`
	Name      string `json:"name"`
	Quantity  int    `json:"quantity"`
	UnitPrice int64  `json:"unit_price"`
	Kind      string `json:"kind"`
	Interval  string `json:"interval,omitempty"`
	Plan      string `json:"plan,omitempty"`
}

type placedOrder struct {
	ID       string      `json:"id"`
	Customer string      `json:"customer"`
	Currency string      `json:"currency"`
	Lines    []orderLine `json:"lines"`
	State    string      `json:"state,omitempty"`
	Total    int64       `json:"total,omitempty"`
}

func (o *placedOrder) goods(sku string) (n int) {
	for _, l := range o.Lines {
		if l.Kind == "goods" && (sku == "" || l.SKU == sku) {
			n += l.Quantity
		}
	}
	return n
}

// orderOf is the nth order of the test.
func orderOf(n int) *placedOrder {
	o := &placedOrder{ID: fmt.Sprintf("o-%03d", n), Customer: fmt.Sprintf("customer-%d", n%20), Currency: "EUR"}
	box := orderLine{SKU: "edge-box", Name: "Edge box", Quantity: 1 + n%3, UnitPrice: 49900, Kind: "goods"}
	plan := orderLine{SKU: "plan-team", Name: "Team", Quantity: 2, UnitPrice: 12000, Kind: "subscription", Interval: "month", Plan: "team"}
	switch n % 10 {
	case 3:
		o.Customer = "declined"
		o.Lines = []orderLine{box}
	case 5:
		o.Lines = []orderLine{{SKU: "first-edition", Name: "First edition", Quantity: 1, UnitPrice: 9900, Kind: "goods"}, box}
	case 7:
		o.Lines = []orderLine{plan}
	default:
		o.Lines = []orderLine{box, plan}
	}
	return o
}

// send sends JSON until it is answered below 500: a service that was killed is back soon, and a second order of one id is the first.
func (a *app) send(method, path string, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		a.t.Error(err)
		return
	}
	taken := a.soon(func() bool {
		req, err := http.NewRequestWithContext(a.t.Context(), method, a.gateway+path, bytes.NewReader(text))
		if err != nil {
			return false
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := a.client.Do(req)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		if resp.StatusCode >= 400 && resp.StatusCode < 500 {
			a.t.Errorf("%s %s: %s", method, path, resp.Status)
		}
		return resp.StatusCode < 500
	})
	if !taken {
		a.t.Errorf("%s %s is not taken", method, path)
	}
}

func TestEveryOrderBecomesCashOrLeavesNothingAlthoughServicesAreKilled(t *testing.T) {
	a := up(t)
	a.send(http.MethodPut, "/api/billing/cards/declined", map[string]string{"number": "4000 0000 0000 0002"})
	work := make(chan int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for n := range work {
				a.send(http.MethodPost, "/api/orders", orderOf(n))
			}
		})
	}
	victims := []string{"billing", "shipping", "orders", "billing", "shipping", "billing", "orders"}
	for n := range ordersPlaced {
		work <- n
		if every := ordersPlaced / (len(victims) + 1); n > 0 && n%every == 0 && n/every <= len(victims) {
			a.kill(victims[n/every-1])
		}
	}
	close(work)
	workers.Wait()
	a.booksAgree(a.endedOrders())
}

// freeParked does what a person would. A charge that had no answer and was declined when it was tried again was not made, since billing
// keeps its answers: it is cancelled. Others are tried again.
func (a *app) freeParked() {
	for _, args := range [][]string{
		{"cancel", "--error", "declined", "--reason", "by the same key it was declined"}, {"retry", "--step", "charge", "--reason", "billing is back"},
	} {
		args = append([]string{"saga", args[0], "--saga", "order-to-cash", "--state", "parked", "--yes"}, args[1:]...)
		out, err := a.command(a.t.Context(), args...).CombinedOutput()
		a.t.Logf("atoll %v: %v %s", args, err, out)
	}
}

// endedOrders are the orders, once the saga of each has ended. Those that are parked, since a service was away in the middle of a
// charge, are freed.
func (a *app) endedOrders() []placedOrder {
	a.t.Helper()
	orders := make([]placedOrder, ordersPlaced)
	left := map[int]bool{}
	for n := range orders {
		left[n] = true
	}
	a.until(func() bool {
		parked := false
		for n := range left {
			o := placedOrder{}
			if a.get("/api/orders/"+url.PathEscape(orderOf(n).ID), &o) != nil {
				continue
			}
			parked = parked || o.State == "parked"
			if o.State == "completed" || o.State == "compensated" {
				orders[n] = o
				delete(left, n)
			}
		}
		if parked {
			a.freeParked()
		}
		return len(left) == 0
	}, "not all orders have ended")
	return orders
}

// booksAgree holds the books of orders, billing and shipping against each other.
func (a *app) booksAgree(orders []placedOrder) {
	a.t.Helper()
	var money int64
	completed, withGoods, boxes, first := 0, 0, 0, 0
	for n := range orders {
		o := &orders[n]
		if declined := o.Customer == "declined"; o.State != "completed" {
			if !declined && o.goods("first-edition") == 0 {
				a.t.Errorf("order %s is %s, and nothing was wrong with it", o.ID, o.State)
			}
			continue
		} else if declined {
			a.t.Errorf("order %s is completed, and its card was declined", o.ID)
		}
		completed++
		money += o.Total
		boxes, first = boxes+o.goods("edge-box"), first+o.goods("first-edition")
		if o.goods("") > 0 {
			withGoods++
		}
	}
	a.t.Logf("%d of %d orders are completed: %d, %d boxes", completed, len(orders), money, boxes)
	a.sameMoney(completed, money)
	a.sameGoods(withGoods, boxes, first)
}

// sameMoney checks that what was completed was invoiced, paid and booked once, and nothing else was.
func (a *app) sameMoney(completed int, money int64) {
	a.t.Helper()
	states, unbooked := map[string]int{}, 0
	a.pages("/api/billing/invoices?limit=500", func(page []byte) {
		var p struct {
			Invoices []struct {
				State  string
				Booked bool
			}
		}
		if err := json.Unmarshal(page, &p); err != nil {
			a.t.Fatal(err)
		}
		for _, i := range p.Invoices {
			states[i.State]++
			if i.State == "paid" && !i.Booked {
				unbooked++
			}
		}
	})
	if states["paid"] != completed || states["open"] != 0 || unbooked != 0 {
		a.t.Errorf("%d orders are completed, and of the invoices are %v, %d not booked", completed, states, unbooked)
	}
	var ledger struct {
		Sum      int64
		Balances []struct {
			Account string
			Amount  int64
		}
	}
	if err := a.get("/api/billing/ledger", &ledger); err != nil {
		a.t.Fatal(err)
	}
	balance := map[string]int64{}
	for _, b := range ledger.Balances {
		balance[b.Account] = b.Amount
	}
	if ledger.Sum != 0 || balance["cash"] != money || balance["receivable"] != 0 || balance["undelivered"] != 0 || balance["revenue"]+balance["deferred"] != -money {
		a.t.Errorf("orders are worth %d, and the ledger has %v (sum %d)", money, balance, ledger.Sum)
	}
}

// sameGoods checks that what was completed was shipped once, and that nothing else is missing or reserved.
func (a *app) sameGoods(withGoods, boxes, first int) {
	a.t.Helper()
	shipments := map[string]int{}
	shipped := map[string]int{}
	a.pages("/api/shipping/shipments?limit=500", func(page []byte) {
		var p struct{ Shipments []placedOrderShipment }
		if err := json.Unmarshal(page, &p); err != nil {
			a.t.Fatal(err)
		}
		for _, s := range p.Shipments {
			shipments[s.Order]++
			for _, l := range s.Lines {
				shipped[l.SKU] += l.Quantity
			}
		}
	})
	for order, n := range shipments {
		if n != 1 {
			a.t.Errorf("order %s was shipped %d times", order, n)
		}
	}
	if len(shipments) != withGoods || shipped["edge-box"] != boxes || shipped["first-edition"] != first || first != firstEdition {
		a.t.Errorf("%d orders with %d boxes and %d first editions are completed, %d with %v were shipped", withGoods, boxes, first, len(shipments), shipped)
	}
	var stock struct {
		Items []struct {
			SKU      string
			OnHand   int `json:"on_hand"`
			Reserved int
		}
	}
	if err := a.get("/api/shipping/stock", &stock); err != nil {
		a.t.Fatal(err)
	}
	for _, item := range stock.Items {
		want, ok := map[string]int{"edge-box": 100_000 - boxes, "first-edition": firstEdition - first}[item.SKU]
		if item.Reserved != 0 || ok && item.OnHand != want {
			a.t.Errorf("of %s there are %d, %d reserved; there should be %d", item.SKU, item.OnHand, item.Reserved, want)
		}
	}
}

type placedOrderShipment struct {
	Order string
	Lines []orderLine
}

// pages reads all pages of a list.
func (a *app) pages(path string, read func(page []byte)) {
	a.t.Helper()
	for cursor := ""; ; {
		var page json.RawMessage
		if err := a.get(path+"&cursor="+cursor, &page); err != nil {
			a.t.Fatal(err)
		}
		read(page)
		var next struct{ Next string }
		if err := json.Unmarshal(page, &next); err != nil {
			a.t.Fatal(err)
		}
		if cursor = next.Next; cursor == "" {
			return
		}
	}
}
