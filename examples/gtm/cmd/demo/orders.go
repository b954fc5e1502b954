package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// orders are four orders on their way to cash: one that gets there, two that are undone, and one that a person frees.
type orders struct {
	c     *client
	out   io.Writer
	began time.Time
	atoll []string // the program that frees the parked one; none: the person who looks on does
	tag   string
}

type order struct {
	ID     string `json:"id"`
	Saga   string `json:"saga"`
	State  string `json:"state"`
	Reason string `json:"reason"`
	Total  int64  `json:"total"`
}

func (o order) ended() bool { return o.State == "completed" || o.State == "compensated" }

type line struct {
	SKU       string `json:"sku"`
	Name      string `json:"name"`
	Quantity  int    `json:"quantity"`
	UnitPrice int    `json:"unit_price"`
	Kind      string `json:"kind"`
}

func (d *orders) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%6s  %s\n", time.Since(d.began).Round(100*time.Millisecond), fmt.Sprintf(format, args...))
}

func (d *orders) run(ctx context.Context) error {
	fmt.Fprintln(d.out, "\norders become cash, or leave nothing behind")
	d.tag = strings.ToLower(rand.Text()[:8])
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"an order", d.cash}, {"a card that is declined", d.declined}, {"stock that is short", d.short}, {"a processor that is down", d.parked}} {
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// place places an order of goods.
func (d *orders) place(ctx context.Context, customer string, l line) (o order, err error) {
	l.Kind = "goods"
	return o, d.c.json(ctx, http.MethodPost, "/api/orders", map[string]any{"customer": customer, "currency": "EUR", "lines": []line{l}}, &o)
}

// await waits until an order has come so far.
func (d *orders) await(ctx context.Context, o order, far func(order) bool) (order, error) {
	return await(ctx, func() (now order, err error) {
		return now, d.c.json(ctx, http.MethodGet, "/api/orders/"+o.ID, nil, &now)
	}, far)
}

func (d *orders) cash(ctx context.Context) error {
	o, err := d.place(ctx, "acme-"+d.tag, line{SKU: "edge-box", Name: "Edge box", Quantity: 2, UnitPrice: 49900})
	if err != nil {
		return err
	}
	d.say("an order of two edge boxes  [orders]")
	if o, err = d.await(ctx, o, order.ended); err != nil {
		return err
	}
	var invoices struct{ Invoices []struct{ ID, State string } }
	var shipments struct{ Shipments []struct{ ID string } }
	if err := d.c.json(ctx, http.MethodGet, "/api/billing/invoices?order="+o.ID, nil, &invoices); err != nil {
		return err
	}
	if err := d.c.json(ctx, http.MethodGet, "/api/shipping/shipments?order="+o.ID, nil, &shipments); err != nil {
		return err
	}
	if o.State != "completed" || len(invoices.Invoices) != 1 || len(shipments.Shipments) != 1 {
		return fmt.Errorf("it is %s (%s), with %d invoices and %d shipments", o.State, o.Reason, len(invoices.Invoices), len(shipments.Shipments))
	}
	d.say("  %s: %s is %s, %s is under way  [billing, shipping]", o.State, invoices.Invoices[0].ID, invoices.Invoices[0].State, shipments.Shipments[0].ID)
	return nil
}

func (d *orders) declined(ctx context.Context) error {
	customer := "hooli-" + d.tag
	if err := d.c.json(ctx, http.MethodPut, "/api/billing/cards/"+customer, map[string]string{"number": "4000 0000 0000 0002"}, nil); err != nil {
		return err
	}
	before, err := d.free(ctx, "edge-box")
	if err != nil {
		return err
	}
	return d.undone(ctx, customer, line{SKU: "edge-box", Name: "Edge box", Quantity: 3, UnitPrice: 49900}, before, "three more, by a card that will be declined")
}

func (d *orders) short(ctx context.Context) error {
	before, err := d.free(ctx, "first-edition")
	if err != nil {
		return err
	}
	return d.undone(ctx, "acme-"+d.tag, line{SKU: "first-edition", Name: "First edition", Quantity: 10, UnitPrice: 9900}, before,
		fmt.Sprintf("ten of the first edition, of which %d are there", before))
}

// undone places an order that cannot be kept, and sees that nothing of it is left.
func (d *orders) undone(ctx context.Context, customer string, l line, before int64, what string) error {
	o, err := d.place(ctx, customer, l)
	if err != nil {
		return err
	}
	d.say("%s  [orders]", what)
	if o, err = d.await(ctx, o, order.ended); err != nil {
		return err
	}
	after, err := d.free(ctx, l.SKU)
	if err != nil {
		return err
	}
	if o.State != "compensated" || after != before {
		return fmt.Errorf("it is %s, and %d are free that were %d", o.State, after, before)
	}
	d.say("  %s: %s", o.State, o.Reason)
	d.say("  the goods are free again: %d  [shipping]", after)
	return nil
}

// free is how many of some goods nobody has reserved.
func (d *orders) free(ctx context.Context, sku string) (int64, error) {
	var stock struct {
		Items []struct {
			SKU       string `json:"sku"`
			Available int64  `json:"available"`
		} `json:"items"`
	}
	if err := d.c.json(ctx, http.MethodGet, "/api/shipping/stock", nil, &stock); err != nil {
		return 0, err
	}
	for _, item := range stock.Items {
		if item.SKU == sku {
			return item.Available, nil
		}
	}
	return 0, fmt.Errorf("there are no goods %q", sku)
}

// parked places an order while the card processor is down, and has it freed once that is up.
func (d *orders) parked(ctx context.Context) error {
	if err := d.processor(ctx, "down"); err != nil {
		return err
	}
	up := false
	defer func() {
		if !up {
			_ = d.processor(context.WithoutCancel(ctx), "up") // what went wrong has been said
		}
	}()
	o, err := d.place(ctx, "acme-"+d.tag, line{SKU: "edge-box", Name: "Edge box", Quantity: 1, UnitPrice: 49900})
	if err != nil {
		return err
	}
	d.say("the card processor goes down, and an order comes  [billing, orders]")
	if o, err = d.await(ctx, o, func(o order) bool { return o.State == "parked" || o.ended() }); err != nil {
		return err
	}
	if o.State != "parked" {
		return fmt.Errorf("it is %s: %s", o.State, o.Reason)
	}
	d.say("  parked: %s", o.Reason)
	d.say("  whether the card was charged nobody knows, so it waits for a person")
	if err := d.processor(ctx, "up"); err != nil {
		return err
	}
	up = true
	d.say("the card processor is up again  [billing]")
	if err := d.retry(ctx, o); err != nil {
		return err
	}
	if o, err = d.await(ctx, o, order.ended); err != nil {
		return err
	}
	if o.State != "completed" {
		return fmt.Errorf("it is %s: %s", o.State, o.Reason)
	}
	d.say("  %s: the same call went out by the same key, and charged the card once", o.State)
	return nil
}

func (d *orders) processor(ctx context.Context, state string) error {
	return d.c.json(ctx, http.MethodPut, "/api/billing/processor", map[string]string{"state": state}, nil)
}

// retry frees a parked order, or says how.
func (d *orders) retry(ctx context.Context, o order) error {
	args := []string{"saga", "retry", o.Saga, "--reason", "the processor is up again"}
	if len(d.atoll) == 0 {
		fmt.Fprintf(d.out, "\n        free it in another terminal, in this folder:\n\n          atoll saga show %s\n          atoll saga retry %s\n\n", o.Saga, o.Saga)
		return nil
	}
	out, err := exec.CommandContext(ctx, d.atoll[0], append(d.atoll[1:], args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("atoll saga retry: %w: %s", err, out)
	}
	d.say("  atoll saga retry %s", o.Saga)
	return nil
}
