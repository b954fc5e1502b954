package otlp_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/otlp"
)

// stuck is a Receiver whose exports do not end before open is closed.
func stuck(opts otlp.ReceiverOptions) (r *otlp.Receiver, open chan struct{}) {
	open = make(chan struct{})
	take := func(ctx context.Context, _ *telemetry.Batch) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return otlp.NewReceiver(take, &opts), open
}

// start sends a request without a network; the answer comes on the channel.
func start(ctx context.Context, r *otlp.Receiver, body []byte) <-chan *httptest.ResponseRecorder {
	answer := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		q := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/traces", bytes.NewReader(body))
		q.Header.Set("Content-Type", "application/x-protobuf")
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, q)
		answer <- w
	}()
	synctest.Wait()
	return answer
}

func code(t *testing.T, answer <-chan *httptest.ResponseRecorder) int {
	t.Helper()
	select {
	case w := <-answer:
		if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") != "1" {
			t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
		}
		return w.Code
	default:
		return 0
	}
}

func TestExportsWaitForTheirTurnButNotTooManyAndNotTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, open := stuck(otlp.ReceiverOptions{Decoders: 1, Waiting: 2, Patience: 10 * time.Second})
		body := otlp.AppendTraces(nil, someSpans(1))
		ctx, leave := context.WithCancel(t.Context())
		first, second, third := start(t.Context(), r, body), start(t.Context(), r, body), start(ctx, r, body)
		if got := code(t, start(t.Context(), r, body)); got != http.StatusServiceUnavailable {
			t.Errorf("the fourth was answered %d while two wait", got)
		}
		leave()
		synctest.Wait()
		<-third
		time.Sleep(9 * time.Second) //nolint:forbidigo // In a bubble.
		late := start(t.Context(), r, body)
		time.Sleep(2 * time.Second) //nolint:forbidigo // In a bubble.
		synctest.Wait()
		if got := code(t, second); got != http.StatusServiceUnavailable {
			t.Errorf("the second was answered %d after it waited too long", got)
		}
		close(open)
		synctest.Wait()
		if a, b := code(t, first), code(t, late); a != http.StatusOK || b != http.StatusOK {
			t.Errorf("the first and the last were answered %d and %d", a, b)
		}
		if s := r.Stats(); s.Traces.Taken != 2 || s.Traces.Busy != 2 || s.Traces.Gone != 1 || s.InFlight != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

func TestRequestsInFlightTakeOnlySoMuchMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const inFlight = 3 << 20
		r, open := stuck(otlp.ReceiverOptions{
			Limits: otlp.Limits{Request: 1 << 20, Decoded: 1 << 20}, InFlight: inFlight,
		})
		body := otlp.AppendTraces(nil, someSpans(1000))
		var answers []<-chan *httptest.ResponseRecorder
		for range 10 {
			answers = append(answers, start(t.Context(), r, body))
			if n := r.Stats().InFlight; n > inFlight || n < int64(len(body)) {
				t.Errorf("%d bytes are in flight", n)
			}
		}
		refused := 0
		for _, a := range answers {
			if code(t, a) == http.StatusServiceUnavailable {
				refused++
			}
		}
		if refused == 0 || refused == 10 {
			t.Errorf("%d were refused", refused)
		}
		close(open)
		synctest.Wait()
		if s := r.Stats(); s.InFlight != 0 || s.Traces.Taken != int64(10-refused) {
			t.Errorf("counted %+v", s)
		}
	})
}
