package natsbus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
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
	docs         = bus.Stream("docs")
)

// Log is a bus.Log in JetStream.
type Log struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	app    string
	room   int    // bytes that one event may take
	lease  *lease // nil for the server in this process, which no other uses
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
	Replicas int          // copies in a cluster; 0 means 1
	Server   *Server      // the server in this process that keeps the log, of which Open then makes sure that it loses no names; or nil
	Logger   *slog.Logger // for operators; nil discards
	// OnLost is told that another process has taken over a log in a cluster; from then on nothing is written. It must not block,
	// nor close the log.
	OnLost func(error)
}

// Open returns the log of an application on the server behind nc, and makes the streams that are not there. In a cluster it owns the
// log until Close: where another process does, Open waits a moment for it to end, and then returns a *fault.Error. Close closes nc.
func Open(ctx context.Context, nc *nats.Conn, app string, opts *Options) (*Log, error) {
	return open(ctx, nc, app, opts, usualTerms())
}

func open(ctx context.Context, nc *nats.Conn, app string, opts *Options, t terms) (*Log, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open event log: %w", err)
	}
	l := &Log{nc: nc, js: js, app: app, close: nc.Close, queues: map[bus.Stream]*queue{}}
	if l.room, err = roomOf(nc, o.Logger); err != nil {
		return nil, err
	}
	if err := l.prepare(ctx, &o, t); err != nil {
		l.lease.giveUp(ctx)
		if _, ok := errors.AsType[*fault.Error](err); ok {
			return nil, err
		}
		return nil, fmt.Errorf("open event log: %w", err)
	}
	return l, nil
}

// prepare makes the streams, takes the lease, and finds where the events end.
func (l *Log) prepare(ctx context.Context, o *Options, t terms) (err error) {
	if err := l.makeStream(ctx, docs, o.Replicas); err != nil {
		return err
	}
	if o.Server == nil {
		if l.lease, err = takeLease(ctx, l, o, t); err != nil {
			return err
		}
	}
	for _, stream := range bus.Streams() {
		if err := l.makeStream(ctx, stream, o.Replicas); err != nil {
			return err
		}
	}
	if o.Server != nil {
		if l.dir = o.Server.streams(); l.dir != "" {
			if err := syncTree(o.Server.dir); err != nil {
				return err
			}
		}
	}
	l.events, err = openFrames(ctx, l)
	return err
}

// makeStream makes a stream, or brings the one that is there to what is wanted.
func (l *Log) makeStream(ctx context.Context, stream bus.Stream, replicas int) error {
	cfg := jetstream.StreamConfig{
		Name: l.name(stream), Subjects: []string{l.subject(stream, ">")}, Storage: jetstream.FileStorage, Replicas: max(1, replicas),
		AllowAtomicPublish: true, AllowDirect: true, Description: "Kept by Atoll for the application " + l.app,
	}
	if stream == docs {
		cfg.MaxMsgsPerSubject = 1
	}
	if _, err := l.js.CreateOrUpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("stream %s: %w", cfg.Name, err)
	}
	return nil
}

func (l *Log) name(stream bus.Stream) string { return l.app + "-" + string(stream) }

func (l *Log) subject(stream bus.Stream, rest string) string {
	return "atoll." + l.app + "." + string(stream) + "." + rest
}

const (
	messageRoom = 1 << 10  // bytes of a message beside the texts and the data of the event in it
	leastRoom   = 64 << 10 // bytes that one event may take in any log
)

// roomOf is how many bytes one event may take at a server.
func roomOf(nc *nats.Conn, log *slog.Logger) (int, error) {
	room := int(nc.MaxPayload()) - bus.CircumstancesRoom - messageRoom
	if room < leastRoom {
		return 0, fault.New(fault.CodeEventsUnreachable, "the NATS cluster takes messages of %d bytes at most, which is too few for events", nc.MaxPayload()).
			Fix("set max_payload of the cluster to 2MB, which lets events be as large as Atoll takes them")
	}
	if room < bus.MaxEvent {
		log.Warn("the NATS cluster takes smaller events than Atoll does: raise its max_payload", "max_payload", nc.MaxPayload(),
			"largest_event", room, "wanted", bus.MaxEvent+bus.CircumstancesRoom+messageRoom)
	}
	return room, nil
}

// MaxRecord implements bus.Log.
func (l *Log) MaxRecord() int { return l.room }

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
	if err := l.lease.check(); err != nil {
		return 0, fmt.Errorf("append to %s: %w", stream, err)
	}
	if stream == bus.StreamEvents {
		first, err := l.events.append(ctx, events)
		if err != nil {
			return 0, fmt.Errorf("append to %s: %w", stream, err)
		}
		return first, nil
	}
	msgs := make([]*nats.Msg, len(events))
	for i, e := range events { // each a message of its own, since they are dropped one by one
		frame := appendFrame(make([]byte, 0, frameSize(e)+frameOverhead), 0, []*bus.Event{e})
		msgs[i] = &nats.Msg{Subject: l.subject(stream, e.Topic), Data: frame}
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
	var first bus.Offset
	var err error
	if len(msgs) == 1 {
		first, err = l.appendOne(ctx, msgs[0])
	} else {
		first, err = l.appendBatch(ctx, msgs)
	}
	if err != nil {
		return 0, err
	}
	return first, queue.blocks.settle()
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
		offset, _, err := stamp(m)
		found = offset
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
	if err := l.lease.check(); err != nil {
		return fmt.Errorf("trim %s: %w", stream, err)
	}
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

// Save implements bus.Log. A document that is taken away is kept as an empty one.
func (l *Log) Save(ctx context.Context, all map[string][]byte) error {
	if err := l.lease.check(); err != nil {
		return fmt.Errorf("save documents: %w", err)
	}
	names := slices.Sorted(maps.Keys(all))
	for chunk := range slices.Chunk(names, bus.MaxAppend) {
		msgs := make([]*nats.Msg, len(chunk))
		for i, name := range chunk {
			msgs[i] = &nats.Msg{Subject: l.subject(docs, name), Data: all[name]}
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
				offset, _, err := stamp(m)
				if err != nil {
					return err
				}
				n++
				from = offset + 1
				if name := strings.TrimPrefix(m.Header.Get(gotSubject), before); name != ownerDoc && strings.HasPrefix(name, prefix) {
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
	l.lease.giveUp(context.Background())
	l.close()
	return nil
}
