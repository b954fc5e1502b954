package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
)

// Two processes that write one log would share the places of subscriptions, and lose events. In a cluster a document says who owns
// the log: its owner renews it, and whoever finds it not renewed for a while takes it over. The document is replaced on condition
// that it is the one seen before (Nats-Expected-Last-Subject-Sequence), so that two cannot take it at once. How long it has not been
// renewed everybody measures by its own clock.

// ownerDoc is the name of the document.
const ownerDoc = "owner"

// terms are those of a lease.
type terms struct {
	renew  time.Duration // how often it is renewed
	expire time.Duration // after how long without it may be taken over
	wait   time.Duration // how long is waited for that
}

func usualTerms() terms {
	return terms{renew: 3 * time.Second, expire: 10 * time.Second, wait: 12 * time.Second}
}

// longGone is how old, by the clocks of this host and of the server, a lease is that is over without being watched.
const longGone = 5 * time.Minute

// errNotOurs refuses to write without a lease.
var errNotOurs = errors.New("the lease of this event log is not ours now")

// ownership is what the document says.
type ownership struct {
	ID   string    `json:"id"`
	Host string    `json:"host"`
	At   time.Time `json:"at"`
}

// lease is the right to write a log. A nil one is that of who needs none. It is safe for concurrent use.
type lease struct {
	l      *Log
	terms  terms
	id     string
	host   string
	onLost func(error)
	log    *slog.Logger
	seq    bus.Offset // of the document; the goroutine's own once it runs

	mu      sync.Mutex
	renewed time.Time // guarded by mu: when the latest renewal that succeeded began
	lost    bool      // guarded by mu

	stop   context.CancelFunc
	ending sync.WaitGroup
}

// takeLease takes the lease of a log, and renews it until giveUp. It waits for one that may have expired.
func takeLease(ctx context.Context, l *Log, o *Options, t terms) (*lease, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	s := &lease{l: l, terms: t, id: nuid.Next(), host: fmt.Sprintf("%s (process %d)", host, os.Getpid()), onLost: o.OnLost, log: o.Logger}
	if s.onLost == nil {
		s.onLost = func(error) {}
	}
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.ending.Go(func() { s.run(running) })
	return s, nil
}

// acquire takes the lease once nobody has it.
func (s *lease) acquire(ctx context.Context) error {
	began := time.Now()
	var seen sighting
	for {
		other, err := s.attempt(ctx, &seen)
		switch late := time.Since(began) > s.terms.wait; {
		case err == nil && other == nil:
			return nil
		case err != nil && late:
			return fmt.Errorf("own the event log: %w", err)
		case late:
			return fault.New(fault.CodeEventsOwned, "the events of %s in this NATS cluster belong to another Atoll, on %s", s.l.app, other.Host).
				Fix("stop that one, or give one of the two another name (line `name` of atoll.yaml)")
		}
		timer := time.NewTimer(s.terms.renew / 6)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// sighting is a document that was seen, and since when it is the same.
type sighting struct {
	seq   bus.Offset
	since time.Time
}

// attempt takes the lease if nobody has it, and returns who has it otherwise. A stream that has just been made may not answer yet.
func (s *lease) attempt(ctx context.Context, seen *sighting) (*ownership, error) {
	other, seq, stored, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	if seq != seen.seq {
		*seen = sighting{seq, time.Now()}
	}
	free := other.ID == "" || other.ID == s.id // that of an attempt whose answer was lost
	if !free && time.Since(seen.since) <= s.terms.expire && time.Since(stored) <= longGone {
		return &other, nil
	}
	s.seq = seq
	if err := s.put(ctx, s.doc()); isOvertaken(err) {
		return &other, nil
	} else if err != nil {
		return nil, err
	}
	return nil, nil //nolint:nilnil // nobody else has it, and that is no error
}

// look asks the leader of the documents who owns the log. Without an owner the ID is empty.
func (s *lease) look(ctx context.Context) (o ownership, seq bus.Offset, stored time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.terms.expire)
	defer cancel()
	request, err := json.Marshal(map[string]string{"last_by_subj": s.l.subject(docs, ownerDoc)})
	if err != nil {
		return o, 0, stored, err
	}
	m, err := s.l.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.l.name(docs), request)
	if err != nil {
		return o, 0, stored, err
	}
	var answer struct {
		Message struct {
			Seq  bus.Offset `json:"seq"`
			Data []byte     `json:"data"`
			Time time.Time  `json:"time"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return o, 0, stored, fmt.Errorf("read answer: %w", err)
	}
	if e := answer.Error; e != nil {
		if e.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return o, 0, stored, nil
		}
		return o, 0, stored, fmt.Errorf("refused by the server: %s (%d)", e.Description, e.Code)
	}
	if len(answer.Message.Data) > 0 {
		err = json.Unmarshal(answer.Message.Data, &o)
	}
	return o, answer.Message.Seq, answer.Message.Time, err
}

func (s *lease) doc() []byte {
	text, err := json.Marshal(ownership{s.id, s.host, time.Now().UTC()})
	if err != nil {
		panic("natsbus: an owner cannot be written: " + err.Error())
	}
	return text
}

// put replaces the document if it is the one seen last.
func (s *lease) put(ctx context.Context, doc []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.terms.renew)
	defer cancel()
	began := time.Now()
	answer, err := s.l.nc.RequestMsgWithContext(ctx, &nats.Msg{
		Subject: s.l.subject(docs, ownerDoc), Data: doc,
		Header: nats.Header{jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(uint64(s.seq), 10)}},
	})
	if err != nil {
		return err
	}
	a, err := readAck(answer)
	if err != nil {
		return err
	}
	s.seq = a.Seq
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewed = began
	return nil
}

// isOvertaken tells whether the document was another than that seen last.
func isOvertaken(err error) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && (refused.code == server.JSStreamWrongLastSequenceErrF || refused.code == server.JSStreamWrongLastSequenceConstantErr)
}

// run renews the lease until ctx ends or somebody else has it.
func (s *lease) run(ctx context.Context) {
	ticker := time.NewTicker(s.terms.renew)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := s.renew(ctx); errors.Is(err, errNotOurs) {
			s.mu.Lock()
			s.lost = true
			s.mu.Unlock()
			s.onLost(err)
			return
		} else if err != nil && ctx.Err() == nil {
			s.log.Warn("lease of the event log not renewed, trying again", "error", err)
		}
	}
}

// renew renews the lease. A renewal that was given up may have been written after all, and is then the one to go on from.
func (s *lease) renew(ctx context.Context) error {
	err := s.put(ctx, s.doc())
	if err == nil || !isOvertaken(err) {
		return err
	}
	other, seq, _, err := s.look(ctx)
	if err != nil {
		return err
	}
	if other.ID != s.id {
		return fmt.Errorf("%w: %s has taken it over", errNotOurs, other.Host)
	}
	s.seq = seq
	return s.put(ctx, s.doc())
}

// check refuses to write without the lease: when somebody else has it, or may have taken it by now.
func (s *lease) check() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost || time.Since(s.renewed) > s.terms.expire {
		return errNotOurs
	}
	return nil
}

// giveUp ends the renewing and gives the lease back, if it can be.
func (s *lease) giveUp(ctx context.Context) {
	if s == nil {
		return
	}
	s.stop()
	s.ending.Wait()
	if s.check() != nil {
		return
	}
	if err := s.put(context.WithoutCancel(ctx), nil); err != nil {
		s.log.Debug("lease of the event log not given back, it expires", "error", err)
	}
}
