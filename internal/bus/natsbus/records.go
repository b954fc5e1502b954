package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/atollhq/atoll/internal/bus"
)

// ack is JetStream's answer to a message or a batch.
type ack struct {
	Seq   bus.Offset          `json:"seq"`
	Count int                 `json:"count"`
	Error *jetstream.APIError `json:"error"`
}

// refusal is an error that the server has answered.
type refusal struct {
	code        server.ErrorIdentifier
	description string
}

// Error implements error.
func (r *refusal) Error() string {
	return fmt.Sprintf("refused by the server: %s (%d)", r.description, r.code)
}

func readAck(m *nats.Msg) (ack, error) {
	var a ack
	if status := m.Header.Get(gotStatus); status != "" {
		return a, fmt.Errorf("nobody keeps the stream (%s)", status)
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return a, fmt.Errorf("read acknowledgement: %w", err)
	}
	if a.Error != nil {
		return a, &refusal{server.ErrorIdentifier(a.Error.ErrorCode), a.Error.Description}
	}
	return a, nil
}

// appendOne sends a message and waits for its acknowledgement.
func (l *Log) appendOne(ctx context.Context, m *nats.Msg) (bus.Offset, error) {
	answer, err := l.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return 0, err
	}
	a, err := readAck(answer)
	return a.Seq, err
}

// appendBatch sends messages as one atomic batch.
func (l *Log) appendBatch(ctx context.Context, msgs []*nats.Msg) (bus.Offset, error) {
	id := nuid.Next()
	for i, m := range msgs {
		m.Header = nats.Header{batchID: {id}, batchSequence: {strconv.Itoa(i + 1)}}
		if i < len(msgs)-1 {
			if err := l.nc.PublishMsg(m); err != nil {
				return 0, err
			}
		}
	}
	last := msgs[len(msgs)-1]
	last.Header[batchCommit] = []string{"1"}
	m, err := l.nc.RequestMsgWithContext(ctx, last)
	if err != nil {
		return 0, err
	}
	a, err := readAck(m)
	if err != nil {
		return 0, err
	}
	if a.Count != len(msgs) {
		return 0, fmt.Errorf("of a batch of %d, %d were taken", len(msgs), a.Count)
	}
	return a.Seq - bus.Offset(len(msgs)) + 1, nil
}

// read reads records. One that cannot be read ends those before it, and is an error where it is the first.
func (l *Log) read(ctx context.Context, stream bus.Stream, from bus.Offset, limit, maxBytes int) ([]bus.Record, error) {
	var records []bus.Record
	err := l.get(ctx, stream, getRequest{Seq: from, Batch: limit, MaxBytes: maxBytes}, func(m *nats.Msg) error {
		r, err := record(m)
		if err == nil {
			records = append(records, r)
		}
		return err
	})
	if _, bad := errors.AsType[*bus.RecordError](err); bad && len(records) > 0 {
		err = nil
	}
	return records, err
}

// record reads a message of one event that direct get has brought.
func record(m *nats.Msg) (bus.Record, error) {
	offset, stored, err := stamp(m)
	if err != nil {
		return bus.Record{}, err
	}
	_, events, err := readFrame(m.Data)
	if err == nil && len(events) != 1 {
		err = fmt.Errorf("%w: it holds %d events", errFrame, len(events))
	}
	if err != nil {
		return bus.Record{}, &bus.RecordError{Offset: offset, Err: err}
	}
	return bus.Record{Offset: offset, Stored: stored, Event: events[0]}, nil
}

// stamp reads where and when the server has stored a message that direct get has brought.
func stamp(m *nats.Msg) (bus.Offset, time.Time, error) {
	seq, err := strconv.ParseUint(m.Header.Get(gotSequence), 10, 64)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read sequence: %w", err)
	}
	stored, err := time.Parse(time.RFC3339Nano, m.Header.Get(gotTime))
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read time: %w", err)
	}
	return bus.Offset(seq), stored, nil
}

// getRequest is a request of direct get.
type getRequest struct {
	Seq       bus.Offset `json:"seq,omitempty"`
	Batch     int        `json:"batch"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
}

// get asks for messages and hands each to take.
func (l *Log) get(ctx context.Context, stream bus.Stream, req getRequest, take func(*nats.Msg) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	inbox := nats.NewInbox()
	sub, err := l.nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection's end ends it as well
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	if err := l.nc.PublishRequest("$JS.API.DIRECT.GET."+l.name(stream), inbox, body); err != nil {
		return err
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		switch status := m.Header.Get(gotStatus); status {
		case "":
			if err := take(m); err != nil {
				return err
			}
		case "204", "404": // the end of the batch; nothing from there on
			return nil
		default:
			return fmt.Errorf("refused by the server: %s %s", status, m.Header.Get("Description"))
		}
	}
}

// Drop implements bus.Log. The requests go out one behind the other, before the first is answered.
func (l *Log) Drop(ctx context.Context, stream bus.Stream, offsets ...bus.Offset) error {
	if err := l.lease.check(); err != nil {
		return fmt.Errorf("drop from %s: %w", stream, err)
	}
	for chunk := range slices.Chunk(offsets, bus.MaxAppend) {
		if err := l.drop(ctx, stream, chunk); err != nil {
			return fmt.Errorf("drop from %s: %w", stream, err)
		}
	}
	return nil
}

func (l *Log) drop(ctx context.Context, stream bus.Stream, offsets []bus.Offset) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	inbox := nats.NewInbox()
	sub, err := l.nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection's end ends it as well
	for _, offset := range offsets {
		request := fmt.Appendf(nil, `{"seq":%d,"no_erase":true}`, offset) // what is deleted need not be overwritten
		if err := l.nc.PublishRequest("$JS.API.STREAM.MSG.DELETE."+l.name(stream), inbox, request); err != nil {
			return err
		}
	}
	for range offsets {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		if err := dropped(m); err != nil {
			return err
		}
	}
	return nil
}

// dropped reads the answer to a request that deletes. It is no error that the message is gone already.
func dropped(m *nats.Msg) error {
	var answer struct {
		Success bool                `json:"success"`
		Error   *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	e := answer.Error
	if e == nil || server.ErrorIdentifier(e.ErrorCode) == server.JSSequenceNotFoundErrF {
		return nil
	}
	switch e.Description {
	case server.ErrStoreMsgNotFound.Error(), server.ErrStoreEOF.Error(): // what it says as well of those that are not there
		return nil
	}
	return fmt.Errorf("refused by the server: %s (%d)", e.Description, e.Code)
}
