package otlp

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/atollhq/atoll/internal/telemetry"
)

// Take takes a batch over. When it returns nil the batch is durable, and its export is acknowledged. A batch is good
// only until Take returns. With *telemetry.Busy the sender is asked to try again later; other errors are logged, and
// the sender is told no more than that it did not work.
type Take func(ctx context.Context, b *telemetry.Batch) error

// ReceiverOptions are what a Receiver can be told. A zero field is the default.
type ReceiverOptions struct {
	Limits Limits
	// InFlight is the bytes at most of all requests that are being read and taken, with what they decode to. What
	// comes beyond is refused with Busy. A request over gRPC, which is read as a whole, is counted as the largest that
	// there may be until it was read; what waits in the windows of HTTP/2 is not counted. The default is 128 MiB.
	InFlight int64
	// Readers is how many requests are read at once over HTTP, and how many over gRPC. Over gRPC there are no more than
	// fit into half of InFlight where each is the largest that there may be. The default is 64.
	Readers int
	// Decoders is how many requests are decoded and taken at once. The default is 16.
	Decoders int
	// Waiting is how many requests wait to be read or to be decoded; what comes beyond is refused with Busy. The
	// default is 256.
	Waiting int
	// Patience is how long one waits at most. The default is 10 s.
	Patience time.Duration
	// ReadTimeout is how long a request may take to arrive. The default is 30 s.
	ReadTimeout time.Duration
	// Connections is how many connections a listener has at once; others wait. The default is 512.
	Connections int
	// Grace is how long requests may go on when a server ends. The default is 5 s.
	Grace time.Duration
	// Log is for the operator; nil for none.
	Log *slog.Logger
	// Now tells the time for what comes without one; nil is time.Now.
	Now func() time.Time
}

func (o *ReceiverOptions) withDefaults() ReceiverOptions {
	var r ReceiverOptions
	if o != nil {
		r = *o
	}
	r.Limits = r.Limits.withDefaults()
	or(&r.InFlight, 128<<20)
	r.InFlight = max(r.InFlight, 2*r.Limits.Request+r.Limits.Decoded) // One must fit.
	or(&r.Readers, 64)
	or(&r.Decoders, 16)
	or(&r.Waiting, 256)
	or(&r.Patience, 10*time.Second)
	or(&r.ReadTimeout, 30*time.Second)
	or(&r.Connections, 512)
	or(&r.Grace, 5*time.Second)
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	return r
}

// Receiver takes exports of OTLP in, over HTTP and over gRPC.
type Receiver struct {
	take     Take
	opts     ReceiverOptions
	readers  gate // over HTTP
	wholes   gate // over gRPC
	turns    gate
	memory   meter
	decoders sync.Pool
	buffers  sync.Pool
	messages mem.BufferPool
	unzip    unzippers
	count    [Metrics + 1]counters
}

// NewReceiver makes a Receiver that hands what comes to take.
func NewReceiver(take Take, opts *ReceiverOptions) *Receiver {
	o := opts.withDefaults()
	r := &Receiver{take: take, opts: o}
	r.readers = newGate(o.Readers, o.Waiting, o.Patience)
	wholes := min(int64(o.Readers), o.InFlight/2/o.Limits.Request) // One at least, since InFlight holds two.
	r.wholes = newGate(int(wholes), o.Waiting, o.Patience)
	r.turns = newGate(o.Decoders, o.Waiting, o.Patience)
	r.memory.limit = o.InFlight
	r.decoders.New = func() any { return NewDecoder(o.Limits, o.Now) }
	r.buffers.New = func() any { return new([]byte) }
	r.messages = newMessagePool()
	r.unzip = newUnzippers(o.Limits.Request)
	return r
}

// form is how a request is written.
type form uint8

const (
	formBinary form = iota
	formJSON
)

// export decodes a request and hands its batch over. held is the memory that its bytes take, to which that of the batch
// is added; the caller gives it back.
func (r *Receiver) export(ctx context.Context, s Signal, f form, body []byte, held *lease) (Partial, error) {
	if err := r.turns.enter(ctx); err != nil {
		return Partial{}, err
	}
	defer r.turns.leave()
	d, _ := r.decoders.Get().(*Decoder)
	d.grant = held.more
	defer func() {
		d.Reset()
		d.grant = nil
		r.decoders.Put(d)
	}()
	decode := d.Decode
	if f == formJSON {
		decode = d.DecodeJSON
		if err := held.more(int64(len(body))); err != nil { // It is written a second time.
			return Partial{}, err
		}
	}
	batch, partial, err := decode(s, body)
	if err != nil {
		return Partial{}, err
	}
	if err := r.hand(ctx, batch); err != nil {
		return Partial{}, err
	}
	c := &r.count[s]
	c.items.Add(items(batch))
	c.bytes.Add(int64(len(body)))
	c.rejected.Add(partial.Rejected)
	c.cut.Add(partial.Cut)
	return partial, nil
}

// hand hands a batch over, unless there is nothing in it.
func (r *Receiver) hand(ctx context.Context, b *telemetry.Batch) error {
	if len(b.Spans)+len(b.Records)+len(b.Metrics) == 0 {
		return nil
	}
	return r.take(ctx, b)
}

func items(b *telemetry.Batch) int64 {
	n := len(b.Spans) + len(b.Records)
	for i := range b.Metrics {
		n += len(b.Metrics[i].Points)
	}
	return int64(n)
}

// outcome is how an export ended, whatever it came over.
type outcome uint8

const (
	taken outcome = iota
	malformed
	tooLarge
	busy
	gone   // its sender does not wait any more
	failed // for a reason that is not the sender's
)

// judge counts how an export ended and logs what the operator should know. text is for the sender.
func (r *Receiver) judge(ctx context.Context, s Signal, err error) (o outcome, text string, after time.Duration) {
	c := &r.count[s]
	var (
		bad   *Malformed
		large *TooLarge
		full  *telemetry.Busy
	)
	switch {
	case err == nil:
		c.taken.Add(1)
		return taken, "", 0
	case errors.As(err, &bad):
		c.malformed.Add(1)
		return malformed, "this is not an export request of " + s.String() + ": " + bad.Error(), 0
	case errors.As(err, &large):
		c.malformed.Add(1)
		return tooLarge, large.Error(), 0
	case errors.As(err, &full):
		c.busy.Add(1)
		return busy, "telemetry cannot keep up at the moment; try again later", max(full.After, time.Second)
	case ctx.Err() != nil:
		c.gone.Add(1)
		return gone, "the export was given up before it was taken", 0
	}
	c.failed.Add(1)
	r.opts.Log.ErrorContext(ctx, "take an export", "signal", s.String(), "error", err)
	return failed, "the export could not be kept; the log of Atoll says why", 0
}

// counters count the exports of one signal.
type counters struct {
	taken, busy, malformed, gone, failed atomic.Int64
	items, bytes, rejected, cut          atomic.Int64
}

// SignalStats are what a Receiver counted of one signal since it was made.
type SignalStats struct {
	Taken     int64 `json:"taken"`     // requests that were taken
	Busy      int64 `json:"busy"`      // refused, to be sent again
	Malformed int64 `json:"malformed"` // refused for what they are
	Gone      int64 `json:"gone"`      // given up by their senders
	Failed    int64 `json:"failed"`    // not taken for an error of ours
	Items     int64 `json:"items"`     // spans, records or points that were taken
	Bytes     int64 `json:"bytes"`     // of the requests that were taken, after decompression
	Rejected  int64 `json:"rejected"`  // spans, records or points that were not taken out of requests that were
	Cut       int64 `json:"cut"`       // texts, attributes, events and links that were cut for their size
}

// ReceiverStats are what a Receiver counted.
type ReceiverStats struct {
	Traces   SignalStats `json:"traces"`
	Logs     SignalStats `json:"logs"`
	Metrics  SignalStats `json:"metrics"`
	InFlight int64       `json:"inFlight"` // bytes at the moment
}

// Stats tells what was counted.
func (r *Receiver) Stats() ReceiverStats {
	read := func(s Signal) SignalStats {
		c := &r.count[s]
		return SignalStats{
			Taken: c.taken.Load(), Busy: c.busy.Load(), Malformed: c.malformed.Load(), Gone: c.gone.Load(),
			Failed: c.failed.Load(), Items: c.items.Load(), Bytes: c.bytes.Load(), Rejected: c.rejected.Load(),
			Cut: c.cut.Load(),
		}
	}
	return ReceiverStats{Traces: read(Traces), Logs: read(Logs), Metrics: read(Metrics), InFlight: r.memory.used.Load()}
}

// reply is an export response in Protocol Buffers. It has the same shape for all signals.
func reply(p Partial) []byte {
	if p.Rejected == 0 {
		return nil
	}
	b, at := openMessage(nil, 1)
	b = appendVarint(b, 1, uint64(p.Rejected))
	return closeMessage(appendText(b, 2, p.Why), at)
}
