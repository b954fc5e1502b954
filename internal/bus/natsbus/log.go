package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/atollhq/atoll/internal/bus"
)

// Header fields of JetStream's atomic batches (ADR-50 of NATS) and of its direct get (ADR-31).
const (
	batchID       = "Nats-Batch-Id"
	batchSequence = "Nats-Batch-Sequence"
	batchCommit   = "Nats-Batch-Commit"
	gotSequence   = "Nats-Sequence"
	gotTime       = "Nats-Time-Stamp"
	gotSubject    = "Nats-Subject"
	gotStatus     = "Status"
)

const (
	requestLimit = 10 * time.Second
	fewMessages  = 8 // fewer cost less one by one than as a batch
	docs         = bus.Stream("docs")
)

// Log is a bus.Log in JetStream.
type Log struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	app    string
	close  func()
	events *frames

	mu     sync.Mutex
	queues map[bus.Stream]*queue // guarded by mu
	dir    string                // where the server keeps the streams; "" if that is elsewhere
}

// queue lets one append to a stream go on at a time, as batches are.
type queue struct {
	sync.Mutex
	blocks folder
}

var _ bus.Log = (*Log)(nil)

// Options are settings whose zero values are usable.
type Options struct {
	Replicas int     // copies in a cluster; 0 means 1
	Server   *Server // the server in this process that keeps the log, of which Open then makes sure that it loses no names; or nil
}

// Open returns the log of an application on the server behind nc, and makes the streams that are not there. Close closes nc.
func Open(ctx context.Context, nc *nats.Conn, app string, opts *Options) (*Log, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	replicas := max(1, o.Replicas)
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open event log: %w", err)
	}
	l := &Log{nc: nc, js: js, app: app, close: nc.Close, queues: map[bus.Stream]*queue{}}
	if o.Server != nil {
		l.dir = o.Server.streams()
	}
	for _, stream := range append(bus.Streams(), docs) {
		cfg := jetstream.StreamConfig{
			Name: l.name(stream), Subjects: []string{l.subject(stream, ">")}, Storage: jetstream.FileStorage, Replicas: replicas,
			AllowAtomicPublish: true, AllowDirect: true, Description: "Kept by Atoll for the application " + app,
		}
		if stream == docs {
			cfg.MaxMsgsPerSubject = 1
		}
		if _, err := js.CreateOrUpdateStream(ctx, cfg); err != nil {
			return nil, fmt.Errorf("open event log: stream %s: %w", cfg.Name, err)
		}
	}
	if l.dir != "" {
		if err := syncTree(o.Server.dir); err != nil {
			return nil, fmt.Errorf("open event log: %w", err)
		}
	}
	if l.events, err = openFrames(ctx, l); err != nil {
		return nil, fmt.Errorf("open event log: %w", err)
	}
	return l, nil
}

func (l *Log) name(stream bus.Stream) string { return l.app + "-" + string(stream) }

func (l *Log) subject(stream bus.Stream, rest string) string {
	return "atoll." + l.app + "." + string(stream) + "." + rest
}

// queue is the queue of a stream.
func (l *Log) queue(stream bus.Stream) *queue {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queues[stream] == nil {
		l.queues[stream] = &queue{}
		if l.dir != "" {
			l.queues[stream].blocks.path = filepath.Join(l.dir, l.name(stream), "msgs")
		}
	}
	return l.queues[stream]
}

// Append implements bus.Log.
func (l *Log) Append(ctx context.Context, stream bus.Stream, events []*bus.Event) (bus.Offset, error) {
	if stream == bus.StreamEvents {
		first, err := l.events.append(ctx, events)
		if err != nil {
			return 0, fmt.Errorf("append to %s: %w", stream, err)
		}
		return first, nil
	}
	msgs := make([]*nats.Msg, len(events))
	for i, e := range events {
		msgs[i] = &nats.Msg{Subject: l.subject(stream, e.Topic), Header: header(e), Data: e.Data}
	}
	first, err := l.append(ctx, stream, msgs)
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", stream, err)
	}
	return first, nil
}

func (l *Log) append(ctx context.Context, stream bus.Stream, msgs []*nats.Msg) (bus.Offset, error) {
	queue := l.queue(stream)
	queue.Lock()
	defer queue.Unlock()
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	write := l.appendBatch
	if len(msgs) <= fewMessages {
		write = l.appendSingly
	}
	first, err := write(ctx, msgs)
	if err != nil {
		return 0, err
	}
	return first, queue.blocks.settle()
}

// ack is JetStream's answer to a message or a batch.
type ack struct {
	Seq   bus.Offset `json:"seq"`
	Count int        `json:"count"`
	Error *struct {
		Code        int    `json:"code"`
		Description string `json:"description"`
	} `json:"error"`
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
		return a, fmt.Errorf("refused by the server: %s (%d)", a.Error.Description, a.Error.Code)
	}
	return a, nil
}

// appendSingly sends messages one behind the other and waits for all acknowledgements.
func (l *Log) appendSingly(ctx context.Context, msgs []*nats.Msg) (bus.Offset, error) {
	if len(msgs) == 1 {
		m, err := l.nc.RequestMsgWithContext(ctx, msgs[0])
		if err != nil {
			return 0, err
		}
		a, err := readAck(m)
		return a.Seq, err
	}
	inbox := nats.NewInbox()
	sub, err := l.nc.SubscribeSync(inbox)
	if err != nil {
		return 0, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection's end ends it as well
	for _, m := range msgs {
		m.Reply = inbox
		if err := l.nc.PublishMsg(m); err != nil {
			return 0, err
		}
	}
	var first bus.Offset
	for i := range msgs {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return 0, err
		}
		a, err := readAck(m)
		if err != nil {
			return 0, err
		}
		if i == 0 {
			first = a.Seq
		} else if a.Seq != first+bus.Offset(i) {
			return 0, errors.New("somebody else writes the stream at the same time")
		}
	}
	return first, nil
}

// appendBatch sends messages as one atomic batch.
func (l *Log) appendBatch(ctx context.Context, msgs []*nats.Msg) (bus.Offset, error) {
	id := nuid.Next()
	for i, m := range msgs {
		m.Header[batchID] = []string{id}
		m.Header[batchSequence] = []string{strconv.Itoa(i + 1)}
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

// Read implements bus.Log.
func (l *Log) Read(ctx context.Context, stream bus.Stream, from bus.Offset, limit, maxBytes int) ([]bus.Record, bus.Offset, error) {
	if stream == bus.StreamEvents {
		records, next, err := l.events.read(ctx, from, limit, maxBytes)
		if err != nil {
			return nil, from, fmt.Errorf("read %s: %w", stream, err)
		}
		return records, next, nil
	}
	from = max(1, from)
	var records []bus.Record
	next, err := l.settle(ctx, stream, from, func() (n int, err error) {
		records, err = l.read(ctx, stream, from, limit, maxBytes)
		return len(records), err
	})
	if err != nil {
		return nil, from, fmt.Errorf("read %s: %w", stream, err)
	}
	if len(records) > 0 {
		next = records[len(records)-1].Offset + 1
	}
	return records, next, nil
}

// settle reads until there is something, or certainly nothing, from a message on; then it returns the end of the stream. What a
// server of a cluster answers may be behind what the stream's leader has acknowledged, so that nothing is only believed when
// the leader says so.
func (l *Log) settle(ctx context.Context, stream bus.Stream, from bus.Offset, read func() (n int, err error)) (bus.Offset, error) {
	for tries := 0; ; tries++ {
		n, err := read()
		if n > 0 || err != nil {
			return from, err
		}
		state, err := l.state(ctx, stream)
		if err != nil {
			return from, err
		}
		if end := bus.Offset(state.LastSeq + 1); end <= from {
			return from, nil
		} else if there, err := l.leaderHas(ctx, stream, from); err != nil || !there {
			return end, err
		}
		if tries == maxTries {
			return from, errors.New("what is acknowledged cannot be read yet")
		}
		timer := time.NewTimer(retryRead)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return from, context.Cause(ctx)
		}
	}
}

// How often and after how long servers that are behind are asked again.
const (
	maxTries  = 100
	retryRead = 20 * time.Millisecond
)

// leaderHas asks the leader of a stream whether there is a message from one on.
func (l *Log) leaderHas(ctx context.Context, stream bus.Stream, from bus.Offset) (bool, error) {
	body := fmt.Appendf(nil, `{"seq":%d,"next_by_subj":">"}`, from)
	m, err := l.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+l.name(stream), body)
	if err != nil {
		return false, err
	}
	var answer struct {
		Error *struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return false, fmt.Errorf("read answer: %w", err)
	}
	if answer.Error != nil && answer.Error.Code != http.StatusNotFound {
		return false, fmt.Errorf("refused by the server: %s", m.Data)
	}
	return answer.Error == nil, nil
}

func (l *Log) read(ctx context.Context, stream bus.Stream, from bus.Offset, limit, maxBytes int) ([]bus.Record, error) {
	prefix := l.subject(stream, "")
	var records []bus.Record
	err := l.get(ctx, stream, getRequest{Seq: from, Batch: limit, MaxBytes: maxBytes}, func(m *nats.Msg) error {
		r, err := record(m, prefix)
		if err == nil {
			records = append(records, r)
		}
		return err
	})
	return records, err
}

// record reads a message that direct get has brought.
func record(m *nats.Msg, prefix string) (bus.Record, error) {
	seq, err := strconv.ParseUint(m.Header.Get(gotSequence), 10, 64)
	if err != nil {
		return bus.Record{}, fmt.Errorf("read sequence: %w", err)
	}
	stored, err := time.Parse(time.RFC3339Nano, m.Header.Get(gotTime))
	if err != nil {
		return bus.Record{}, fmt.Errorf("read time: %w", err)
	}
	e, err := event(strings.TrimPrefix(m.Header.Get(gotSubject), prefix), m.Header, m.Data)
	return bus.Record{Offset: bus.Offset(seq), Stored: stored, Event: e}, err
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

// OffsetAt implements bus.Log.
func (l *Log) OffsetAt(ctx context.Context, stream bus.Stream, t time.Time) (bus.Offset, error) {
	if stream == bus.StreamEvents {
		found, err := l.events.at(ctx, t)
		if err != nil {
			return 0, fmt.Errorf("find offset in %s: %w", stream, err)
		}
		return found, nil
	}
	bounds, err := l.Bounds(ctx, stream)
	if err != nil {
		return 0, err
	}
	found := bounds.Next
	err = l.get(ctx, stream, getRequest{StartTime: &t, NextFor: ">", Batch: 1}, func(m *nats.Msg) error {
		r, err := record(m, l.subject(stream, ""))
		found = r.Offset
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("find offset in %s: %w", stream, err)
	}
	return found, nil
}

// Bounds implements bus.Log.
func (l *Log) Bounds(ctx context.Context, stream bus.Stream) (bus.Bounds, error) {
	if stream == bus.StreamEvents {
		b, err := l.events.bounds(ctx)
		if err != nil {
			return b, fmt.Errorf("bounds of %s: %w", stream, err)
		}
		return b, nil
	}
	state, err := l.state(ctx, stream)
	if err != nil {
		return bus.Bounds{}, fmt.Errorf("bounds of %s: %w", stream, err)
	}
	b := bus.Bounds{First: bus.Offset(state.FirstSeq), Next: bus.Offset(state.LastSeq + 1), Records: state.Msgs, Bytes: state.Bytes}
	if state.Msgs == 0 {
		b.First = b.Next
	}
	return b, nil
}

// state asks the server what a stream holds.
func (l *Log) state(ctx context.Context, stream bus.Stream) (jetstream.StreamState, error) {
	s, err := l.js.Stream(ctx, l.name(stream))
	if err != nil {
		return jetstream.StreamState{}, err
	}
	return s.CachedInfo().State, nil
}

// Trim implements bus.Log.
func (l *Log) Trim(ctx context.Context, stream bus.Stream, before bus.Offset) error {
	trim := func() error { return l.purge(ctx, stream, before) }
	if stream == bus.StreamEvents {
		trim = func() error { return l.events.trim(ctx, before) }
	}
	if err := trim(); err != nil {
		return fmt.Errorf("trim %s: %w", stream, err)
	}
	return nil
}

// purge drops the messages before one.
func (l *Log) purge(ctx context.Context, stream bus.Stream, before bus.Offset) error {
	s, err := l.js.Stream(ctx, l.name(stream))
	if err != nil {
		return err
	}
	return s.Purge(ctx, jetstream.WithPurgeSequence(uint64(before)))
}

// Drop implements bus.Log.
func (l *Log) Drop(ctx context.Context, stream bus.Stream, offsets ...bus.Offset) error {
	s, err := l.js.Stream(ctx, l.name(stream))
	if err != nil {
		return fmt.Errorf("drop from %s: %w", stream, err)
	}
	for _, offset := range offsets {
		err := s.DeleteMsg(ctx, uint64(offset))
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return fmt.Errorf("drop from %s: %w", stream, err)
		}
	}
	return nil
}

// Save implements bus.Log. A document that is taken away is kept as an empty one.
func (l *Log) Save(ctx context.Context, all map[string][]byte) error {
	names := slices.Sorted(maps.Keys(all))
	for chunk := range slices.Chunk(names, bus.MaxAppend) {
		msgs := make([]*nats.Msg, len(chunk))
		for i, name := range chunk {
			msgs[i] = &nats.Msg{Subject: l.subject(docs, name), Header: nats.Header{}, Data: all[name]}
		}
		if _, err := l.append(ctx, docs, msgs); err != nil {
			return fmt.Errorf("save documents: %w", err)
		}
	}
	return nil
}

// Load implements bus.Log.
func (l *Log) Load(ctx context.Context, prefix string) (map[string][]byte, error) {
	before := l.subject(docs, "")
	out := map[string][]byte{}
	from := bus.Offset(1)
	for {
		n := 0
		_, err := l.settle(ctx, docs, from, func() (int, error) {
			return n, l.get(ctx, docs, getRequest{Seq: from, Batch: 1000, MaxBytes: maxPayload}, func(m *nats.Msg) error {
				r, err := record(m, before)
				if err != nil {
					return err
				}
				n++
				from = r.Offset + 1
				if name := r.Event.Topic; strings.HasPrefix(name, prefix) {
					out[name] = m.Data
				}
				return nil
			})
		})
		if err != nil {
			return nil, fmt.Errorf("load documents: %w", err)
		}
		if n == 0 {
			maps.DeleteFunc(out, func(_ string, doc []byte) bool { return len(doc) == 0 })
			return out, nil
		}
	}
}

// Close implements bus.Log.
func (l *Log) Close() error {
	l.close()
	return nil
}
