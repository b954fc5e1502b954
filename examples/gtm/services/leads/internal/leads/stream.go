package leads

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/atollhq/atoll/sdk"
)

// Bounds of the streams of events.
const (
	mostStreams  = 500                    // at once, in one replica
	mostEvents   = 200                    // at once, in one stream
	calm         = 100 * time.Millisecond // at least, between two looks; changes of one lead within it are one event
	otherReplica = time.Second            // how late the changes of another replica may be seen
	heartbeat    = 15 * time.Second
)

// events is a stream of server-sent events: "lead", with the lead as it is now, for each that changed after the
// number in Last-Event-ID or in the parameter "after"; without either, from now on. There is no queue: who reads
// slowly gets the latest state of each lead, later.
func (h *handler) events(w http.ResponseWriter, r *http.Request) error {
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
	default:
		p := sdk.Error(http.StatusServiceUnavailable, "too-many-streams", "Too many pages are open. Try again later.")
		p.RetryAfter = 5 * time.Second
		return p
	}
	after, err := h.position(r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	s := &stream{w: w, out: http.NewResponseController(w)}
	s.send("retry: 1000\n\n")
	h.stream(r.Context(), s, after)
	return nil
}

func (h *handler) position(r *http.Request) (int64, error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("after")
	}
	if text == "" {
		return h.store.Last(r.Context())
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, sdk.Error(http.StatusBadRequest, "bad-number", "The position %.20q is no number.", text)
	}
	return n, nil
}

// stream sends changes until the client is gone or the service stops.
func (h *handler) stream(ctx context.Context, s *stream, after int64) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for s.err == nil {
		changed := h.store.Changed() // before the look, so that nothing falls between
		found, err := h.store.ChangedAfter(ctx, after, mostEvents)
		if err != nil {
			return // the client comes back with its position
		}
		for _, lead := range found {
			s.lead(lead)
			after = lead.Number
		}
		s.flush()
		if len(found) == 0 {
			select {
			case <-changed:
			case <-time.After(otherReplica):
			case <-beat.C:
				s.send(": still here\n\n")
			case <-ctx.Done():
				return
			case <-sdk.Stopping(ctx):
				return
			}
		}
		select {
		case <-time.After(calm):
		case <-ctx.Done():
			return
		}
	}
}

// stream writes events until writing fails.
type stream struct {
	w   http.ResponseWriter
	out *http.ResponseController
	err error
}

func (s *stream) lead(lead Lead) {
	data, err := json.Marshal(lead) // one line: JSON escapes line breaks
	if err != nil {
		s.err = err
		return
	}
	s.write(fmt.Sprintf("id: %d\nevent: lead\ndata: %s\n\n", lead.Number, data))
}

func (s *stream) send(text string) { s.write(text); s.flush() }

func (s *stream) write(text string) {
	if s.err == nil {
		// A client that takes nothing for this long is gone.
		_ = s.out.SetWriteDeadline(time.Now().Add(heartbeat)) // not every writer has deadlines
		_, s.err = s.w.Write([]byte(text))
	}
}

func (s *stream) flush() {
	if s.err == nil {
		s.err = s.out.Flush()
	}
}
