package orders

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

const (
	rest   = 2 * time.Second // between two tries to start what is not started
	atOnce = 8               // sagas that are asked for a list
)

// Options of Open. The zero value is good.
type Options struct {
	// Patience is how long an answer about a saga, or about those of a list, may take; default 3 s.
	Patience time.Duration

	// Logger takes what is no error to who ordered; default nobody.
	Logger *slog.Logger
}

// Book holds the orders. It is safe for concurrent use.
type Book struct {
	db       *lite.DB
	sagas    Sagas
	patterns patterns
	patience time.Duration
	log      *slog.Logger
}

func migrations() []string {
	return []string{`
	CREATE TABLE orders (
		number   INTEGER PRIMARY KEY AUTOINCREMENT,
		id       TEXT NOT NULL UNIQUE,
		customer TEXT NOT NULL,
		currency TEXT NOT NULL,
		lines    TEXT NOT NULL, -- JSON
		at       INTEGER NOT NULL, -- milliseconds
		saga     TEXT NOT NULL DEFAULT '', -- the instance; '': its start is not known
		outcome  TEXT NOT NULL DEFAULT '', -- how it ended; '': it has not, as far as is known
		reason   TEXT NOT NULL DEFAULT ''
	);
	CREATE INDEX orders_starting ON orders (number) WHERE saga = '' AND outcome = ''`}
}

// Open opens the book in the file at path.
func Open(ctx context.Context, path string, sagas Sagas, opts *Options) (*Book, error) {
	b := &Book{sagas: sagas, patterns: newPatterns(), patience: 3 * time.Second, log: slog.New(slog.DiscardHandler)}
	if opts != nil && opts.Patience > 0 {
		b.patience = opts.Patience
	}
	if opts != nil && opts.Logger != nil {
		b.log = opts.Logger
	}
	var err error
	b.db, err = lite.Open(ctx, path, migrations(), nil)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Close closes the file.
func (b *Book) Close() error { return b.db.Close() }

// Ping tells whether the book can work.
func (b *Book) Ping(ctx context.Context) error { return b.db.Ping(ctx) }

// Place takes an order and starts its saga. When it returns, the order is on disk; that the saga could not be started is no
// error, for Starts will. An order that was placed before under the same id is returned as it stands, and is not new.
func (b *Book) Place(ctx context.Context, p Placing) (o Order, isNew bool, err error) {
	if err := b.patterns.check(p); err != nil {
		return Order{}, false, err
	}
	if p.ID == "" {
		p.ID = strings.ToLower(rand.Text())
	}
	if o, isNew, err = b.store(ctx, p); err != nil {
		return Order{}, false, err
	}
	if o.Saga != "" || o.State.Final() {
		b.look(ctx, &o)
		return o, isNew, nil
	}
	if err := b.start(ctx, &o); err != nil {
		b.log.WarnContext(ctx, "order is taken, its saga is not started yet", slog.String("order", o.ID), slog.Any("error", err))
	}
	return o, isNew, nil
}

func (b *Book) store(ctx context.Context, p Placing) (o Order, isNew bool, err error) {
	lines, err := json.Marshal(p.Lines)
	if err != nil {
		return Order{}, false, err
	}
	err = b.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO orders (id, customer, currency, lines, at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (id) DO NOTHING`, p.ID, p.Customer, p.Currency, string(lines), time.Now().UnixMilli())
		if err != nil {
			return fmt.Errorf("store order: %w", err)
		}
		n, err := done.RowsAffected()
		if err != nil {
			return fmt.Errorf("store order: %w", err)
		}
		isNew = n == 1
		_, o, err = scan(tx.QueryRowContext(ctx, selectOrder+" WHERE id = ?", p.ID))
		return err
	})
	if err == nil && (o.Customer != p.Customer || o.Currency != p.Currency || !reflect.DeepEqual(o.Lines, p.Lines)) {
		return Order{}, false, sdk.Error(http.StatusConflict, "other-order", "There is another order %s.", p.ID)
	}
	return o, isNew, err
}

// start starts the saga of an order, and notes what it heard. The error says that it heard nothing of use.
func (b *Book) start(ctx context.Context, o *Order) error {
	asking, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	instance, err := b.sagas.Start(asking, saga, o.input(), &sdk.StartOptions{Key: o.ID})
	if why, yes := refused(err); yes {
		return b.end(ctx, o, StateRefused, why)
	}
	if err != nil {
		return fmt.Errorf("start saga of order %s: %w", o.ID, err)
	}
	err = b.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE orders SET saga = ? WHERE id = ?", instance.ID, o.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("note saga of order %s: %w", o.ID, err)
	}
	o.Saga = instance.ID
	return b.show(ctx, o, instance)
}

// show makes the instance's state that of the order, and keeps it if it stays.
func (b *Book) show(ctx context.Context, o *Order, i *sdk.SagaInstance) error {
	state, why := State(i.State), ""
	if i.Error != nil {
		why = i.Error.Error()
	}
	if i.HasEnded() {
		return b.end(ctx, o, state, why)
	}
	o.State, o.Reason = state, why
	return nil
}

// end keeps how an order ended.
func (b *Book) end(ctx context.Context, o *Order, state State, why string) error {
	o.State, o.Reason = state, why
	return b.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE orders SET outcome = ?, reason = ? WHERE id = ?", state, why, o.ID)
		if err != nil {
			return fmt.Errorf("note end of order %s: %w", o.ID, err)
		}
		return nil
	})
}

// look asks the saga of an order that has not ended how far it is. If that cannot be had, the state is unknown.
func (b *Book) look(ctx context.Context, o *Order) {
	if o.Saga == "" || o.State.Final() {
		return
	}
	asking, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	instance, err := b.sagas.Get(asking, saga, o.Saga)
	if err == nil {
		err = b.show(ctx, o, instance)
	}
	if err != nil {
		b.log.WarnContext(ctx, "state of an order is not known", slog.String("order", o.ID), slog.Any("error", err))
	}
}

// Find is an order with the state of its saga, or sql.ErrNoRows.
func (b *Book) Find(ctx context.Context, id string) (Order, error) {
	o, err := b.find(ctx, id)
	if err != nil {
		return Order{}, err
	}
	b.look(ctx, &o)
	return o, nil
}

func (b *Book) find(ctx context.Context, id string) (Order, error) {
	_, o, err := scan(b.db.Read().QueryRowContext(ctx, selectOrder+" WHERE id = ?", id))
	return o, err
}

// Cancel cancels the saga of an order, which undoes what it has done. What the saga says to that stands in the order, or is the
// error.
func (b *Book) Cancel(ctx context.Context, id, reason string) (Order, error) {
	o, err := b.find(ctx, id)
	if err != nil {
		return Order{}, err
	}
	if o.Saga == "" && !o.State.Final() {
		if err := b.start(ctx, &o); err != nil { // it may have been started, so it is cancelled as one that was
			return Order{}, away(err)
		}
	}
	if o.State.Final() {
		return Order{}, sdk.Error(http.StatusConflict, "ended", "The order %s is %s.", id, o.State)
	}
	asking, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	instance, err := b.sagas.Cancel(asking, saga, o.Saga, reason)
	if p, ok := errors.AsType[*sdk.Problem](err); ok && sdk.Refusal(p.Status) {
		return Order{}, sdk.Error(http.StatusConflict, "not-cancelled", "%s", p.Detail)
	}
	if err != nil {
		return Order{}, away(err)
	}
	return o, b.show(ctx, &o, instance)
}

// away is the problem of who wants something of sagas that do not answer.
func away(err error) error {
	p := sdk.Error(http.StatusServiceUnavailable, "sagas-away", "Sagas cannot be reached.")
	p.RetryAfter = rest
	return fmt.Errorf("%w: %w", p, err)
}

// Starts starts what is not started, at once and then from time to time, until ctx ends. Orders that an earlier run of this
// program has taken are among them.
func (b *Book) Starts(ctx context.Context) {
	pause := time.NewTicker(rest)
	defer pause.Stop()
	for {
		if err := b.StartAll(ctx); err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "orders wait for their sagas", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

// StartAll starts what is not started, the oldest first, up to the first one of which it hears nothing.
func (b *Book) StartAll(ctx context.Context) error {
	for after := int64(0); ; {
		waiting, last, err := b.starting(ctx, after)
		if err != nil || len(waiting) == 0 {
			return err
		}
		for _, o := range waiting {
			if err := b.start(ctx, &o); err != nil {
				return err
			}
		}
		after = last
	}
}

// lookAll asks for the sagas of many orders.
func (b *Book) lookAll(ctx context.Context, orders []Order) {
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	var asking sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i := range orders {
		free <- struct{}{}
		asking.Go(func() {
			b.look(ctx, &orders[i])
			<-free
		})
	}
	asking.Wait()
}
