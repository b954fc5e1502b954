package sdk

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Outbox publishes events by the service's own transactions: what a transaction adds is published when it has committed,
// and only then. Atoll reads the table atoll_outbox of services whose manifest says `outbox: true`.
type Outbox struct {
	dialect Dialect
	service string
}

// NewOutbox returns the outbox of the service's database.
func NewOutbox(opts *TableOptions) (*Outbox, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Outbox{dialect: o.Dialect, service: o.Getenv("ATOLL_SERVICE")}, nil
}

// Setup makes the tables atoll_outbox and atoll_outbox_refused where they are missing.
func (o *Outbox) Setup(ctx context.Context, db *sql.DB) error {
	if err := o.dialect.setup(ctx, db, "outbox"); err != nil {
		return fmt.Errorf("set up outbox: %w", err)
	}
	return nil
}

// Add adds events, each of which names its Topic, to a transaction of the service. The trace of ctx goes along.
//
// Events of one key are published in the order in which their transactions commit, if each transaction begins to add after
// the one before has committed, as it does when both have to lock the same row first. DataSchema is not kept.
func (o *Outbox) Add(ctx context.Context, tx *sql.Tx, events ...Event) error {
	now := time.Now()
	for i := range events {
		if events[i].Topic == "" {
			return fmt.Errorf("add to outbox: the event %d has no topic", i)
		}
		e := events[i].complete(events[i].Topic, o.service, Traceparent(ctx), now)
		if err := e.checkDataType(); err != nil {
			return fmt.Errorf("add to outbox: %w", err)
		}
		if err := o.add(ctx, tx, &e); err != nil {
			return fmt.Errorf("add to outbox: %w", err)
		}
	}
	return nil
}

func (o *Outbox) add(ctx context.Context, tx *sql.Tx, e *Event) error {
	var text, binary, extensions any
	if utf8.Valid(e.Data) && e.Data != nil {
		text = string(e.Data)
	} else if e.Data != nil {
		binary = e.Data
	}
	if len(e.Extensions) > 0 {
		encoded, err := json.Marshal(e.Extensions)
		if err != nil {
			return err
		}
		extensions = string(encoded)
	}
	_, err := tx.ExecContext(ctx, o.dialect.query(`INSERT INTO atoll_outbox
		(topic, data, data_binary, ordering_key, event_id, type, source, subject, content_type, time, extensions, deliver_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, @, ?, @)`),
		e.Topic, text, binary, orNull(e.Key), e.ID, e.Type, e.Source, orNull(e.Subject), orNull(e.DataType),
		o.dialect.time(e.Time), extensions, o.dialect.time(e.DeliverAt))
	return err
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
