package orders_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/gtm/internal/servicetest"
	"example.com/gtm/services/orders/internal/orders"
	"github.com/atollhq/atoll/sdk"
)

// sagas stands in for SAGAS_URL: it keeps instances, and a test moves them.
type sagas struct {
	url string

	mu       sync.Mutex // guards what follows
	inputs   map[string]string
	states   map[string]string
	starts   int
	away     bool              // it does what it is asked, and its answer is lost
	bars     *sdk.Problem      // of cancels
	canceled map[string]string // by what reason
	began    func(key string)  // is called at each start, if not nil
}

func serveSagas(t *testing.T) *sagas {
	t.Helper()
	s := &sagas{inputs: map[string]string{}, states: map[string]string{}, canceled: map[string]string{}}
	mux := http.NewServeMux()
	mux.Handle("POST /s/order-to-cash", sdk.Handler(s.start))
	mux.Handle("GET /s/order-to-cash/{id}", sdk.Handler(s.get))
	mux.Handle("POST /s/order-to-cash/{id}/cancel", sdk.Handler(s.cancel))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	s.url = srv.URL + "/s"
	return s
}

// lose makes sagas do what they are asked, and lose the answers. The context ends with the first start of which that is so.
func (s *sagas) lose(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	s.do(func() { s.away, s.began = true, func(string) { cancel() } })
	return ctx
}

// do runs fn while nobody else does anything.
func (s *sagas) do(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *sagas) start(w http.ResponseWriter, r *http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts++
	var in bytes.Buffer
	if _, err := in.ReadFrom(r.Body); err != nil {
		return err
	}
	key := r.Header.Get("Idempotency-Key")
	if s.began != nil {
		s.began(key)
	}
	if before, ok := s.inputs[key]; ok && before != in.String() {
		return sdk.Error(http.StatusConflict, "idempotency-conflict", "Another input.")
	} else if !ok {
		s.inputs[key], s.states["i-"+key] = in.String(), "running"
	}
	return s.answer(w, http.StatusAccepted, "i-"+key)
}

func (s *sagas) get(w http.ResponseWriter, r *http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answer(w, http.StatusOK, r.PathValue("id"))
}

func (s *sagas) cancel(w http.ResponseWriter, r *http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bars != nil {
		return s.bars
	}
	var in struct{ Reason string }
	if err := sdk.DecodeJSON(r, &in, 1000); err != nil {
		return err
	}
	id := r.PathValue("id")
	s.canceled[id], s.states[id] = in.Reason, "compensating"
	return s.answer(w, http.StatusOK, id)
}

func (s *sagas) answer(w http.ResponseWriter, status int, id string) error {
	if s.away {
		panic(http.ErrAbortHandler)
	}
	state, ok := s.states[id]
	if !ok {
		return sdk.Error(http.StatusNotFound, "saga-instance-unknown", "There is none.")
	}
	out := map[string]any{"id": id, "saga": "order-to-cash", "version": "0123456789ab", "state": state, "started": "2026-11-28T10:00:00Z"}
	if state == "compensated" || state == "parked" {
		out["error"] = map[string]string{"step": "charge", "text": "No money."}
	}
	return sdk.WriteJSON(w, status, out)
}

func client(t *testing.T, s *sagas) *sdk.Sagas {
	t.Helper()
	c, err := sdk.NewSagas(&sdk.SagasOptions{Getenv: func(name string) string { return map[string]string{"SAGAS_URL": s.url}[name] }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// book is one in the file at path; hasty gives up at once where it would wait for sagas that are away.
func book(t *testing.T, s *sagas, path string, hasty bool) *orders.Book {
	t.Helper()
	opts := &orders.Options{Patience: time.Hour}
	if hasty {
		opts.Patience = time.Nanosecond
	}
	b, err := orders.Open(t.Context(), path, client(t, s), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func open(t *testing.T, s *sagas, path string) *orders.Book {
	t.Helper()
	return book(t, s, path, false)
}

// serve is a service, and the same one as it is for who does not get an answer about sagas.
func serve(t *testing.T, s *sagas) (d, deaf *servicetest.Service) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "o.db")
	return servicetest.Serve(t, book(t, s, path, false).Handler(), "../../openapi.yaml"),
		servicetest.Serve(t, book(t, s, path, true).Handler(), "../../openapi.yaml")
}

func order(id string) orders.Placing {
	return orders.Placing{ID: id, Customer: "acme", Currency: "EUR", Lines: []orders.Line{
		{SKU: "box", Name: "Box", Quantity: 2, UnitPrice: 500, Kind: orders.KindGoods},
		{SKU: "plan-team", Name: "Team", Quantity: 3, UnitPrice: 700, Kind: orders.KindSubscription, Interval: "month", Plan: "team"},
	}}
}

func is(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func TestAnOrderStartsItsSagaWithAllThatItSays(t *testing.T) {
	s := serveSagas(t)
	d, _ := serve(t, s)
	var o orders.Order
	is(t, "place", d.Call("POST", "/api/orders", order("o-1"), &o), "201")
	if o.ID != "o-1" || o.State != orders.StateRunning || o.Saga != "i-o-1" || o.Total != 3_100 || o.PlacedAt.IsZero() {
		t.Errorf("got %+v", o)
	}
	const want = `{"order":"o-1","customer":"acme","currency":"EUR","lines":[` +
		`{"sku":"box","name":"Box","quantity":2,"unit_price":500,"kind":"goods"},` +
		`{"sku":"plan-team","name":"Team","quantity":3,"unit_price":700,"kind":"subscription","interval":"month","plan":"team"}]}`
	s.do(func() { is(t, "input", strings.TrimSpace(s.inputs["o-1"]), want) })
	other := order("")
	is(t, "without id", d.Call("POST", "/api/orders", other, &o), "201")
	if len(o.ID) < 20 || o.Saga != "i-"+o.ID {
		t.Errorf("got %+v", o)
	}
}

func TestAnOrderThatIsSentAgainIsTheSame(t *testing.T) {
	s := serveSagas(t)
	d, _ := serve(t, s)
	var o, again orders.Order
	is(t, "place", d.Call("POST", "/api/orders", order("o-1"), &o), "201")
	s.do(func() { s.states["i-o-1"] = "completed" })
	is(t, "place again", d.Call("POST", "/api/orders", order("o-1"), &again), "200")
	if again.State != orders.StateCompleted || !again.PlacedAt.Equal(o.PlacedAt) {
		t.Errorf("got %+v", again)
	}
	for name, change := range map[string]func(*orders.Placing){
		"customer": func(p *orders.Placing) { p.Customer = "globe" },
		"currency": func(p *orders.Placing) { p.Currency = "USD" },
		"lines":    func(p *orders.Placing) { p.Lines[0].Quantity = 9 },
	} {
		p := order("o-1")
		change(&p)
		is(t, "another "+name, d.Call("POST", "/api/orders", p, nil), "409 other-order")
	}
	s.do(func() {
		if s.starts != 1 || len(s.inputs) != 1 {
			t.Errorf("%d starts of %d sagas", s.starts, len(s.inputs))
		}
	})
}

func TestAnOrderWhoseStartWasNotHeardOfIsStartedAgainAfterARestart(t *testing.T) {
	s := serveSagas(t)
	path := filepath.Join(t.TempDir(), "o.db")
	b := open(t, s, path)
	for i := range 3 {
		o, isNew, err := b.Place(s.lose(t), order(fmt.Sprint("o-", i)))
		if err != nil || !isNew || o.State != orders.StateStarting || o.Saga != "" {
			t.Errorf("got %+v %v", o, err)
		}
	}
	if err := b.StartAll(s.lose(t)); err == nil {
		t.Error("an answer that was lost is no error")
	}
	if err := b.Close(); err != nil { // as after a crash: nothing but the file is left
		t.Fatal(err)
	}
	s.do(func() { s.away, s.began = false, nil })
	b = open(t, s, path)
	if err := b.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		o, err := b.Find(t.Context(), fmt.Sprint("o-", i))
		if err != nil || o.State != orders.StateRunning || o.Saga != fmt.Sprint("i-o-", i) {
			t.Errorf("got %+v %v", o, err)
		}
	}
	s.do(func() {
		if len(s.inputs) != 3 {
			t.Errorf("%d sagas of 3 orders", len(s.inputs))
		}
		s.starts = 0
	})
	if err := b.StartAll(t.Context()); err != nil {
		t.Error(err)
	}
	s.do(func() {
		if s.starts != 0 {
			t.Errorf("%d starts of what is started", s.starts)
		}
	})
}

func TestTheStarterStartsAtOnceWhatWaitsAndEndsWithItsContext(t *testing.T) {
	s := serveSagas(t)
	b := open(t, s, filepath.Join(t.TempDir(), "o.db"))
	if _, _, err := b.Place(s.lose(t), order("o-1")); err != nil {
		t.Fatal(err)
	}
	started := make(chan string, 1)
	s.do(func() {
		s.away = false
		s.began = func(key string) { started <- key }
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Starts(ctx)
	}()
	is(t, "started", <-started, "o-1")
	cancel()
	<-ended
}

// refusing are sagas that refuse starts, until they do not.
type refusing struct {
	orders.Sagas

	problem *sdk.Problem
	starts  int
}

func (r *refusing) Start(ctx context.Context, name string, input any, opts *sdk.StartOptions) (*sdk.SagaInstance, error) {
	r.starts++
	if r.problem != nil {
		return nil, fmt.Errorf("start saga %s: %w", name, r.problem)
	}
	return r.Sagas.Start(ctx, name, input, opts)
}

func TestWhatTheSagaRefusesForGoodIsNotTriedAgain(t *testing.T) {
	for status, final := range map[int]bool{422: true, 409: true, 400: true, 403: false, 404: false, 429: false, 503: false} {
		s := &refusing{Sagas: client(t, serveSagas(t)), problem: sdk.Error(status, "saga-x", "No.")}
		b, err := orders.Open(t.Context(), filepath.Join(t.TempDir(), "o.db"), s, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		o, _, err := b.Place(t.Context(), order("o-1"))
		if err != nil || (o.State == orders.StateRefused) != final || (final && o.Reason != "No.") {
			t.Errorf("%d: got %+v %v", status, o, err)
		}
		s.problem = nil
		if err := b.StartAll(t.Context()); err != nil {
			t.Error(err)
		}
		want, starts := orders.StateRunning, 2
		if final {
			want, starts = orders.StateRefused, 1
		}
		if s.starts != starts {
			t.Errorf("%d: %d starts, want %d", status, s.starts, starts)
		}
		if o, err = b.Find(t.Context(), "o-1"); err != nil || o.State != want {
			t.Errorf("%d: later it is %s %v, want %s", status, o.State, err, want)
		}
	}
}

func TestTheStateIsThatOfTheSagaAndHowItEndedIsKept(t *testing.T) {
	s := serveSagas(t)
	d, deaf := serve(t, s)
	for _, id := range []string{"o-1", "o-2"} {
		is(t, "place", d.Call("POST", "/api/orders", order(id), nil), "201")
	}
	var o orders.Order
	for _, state := range []string{"running", "parked", "compensating", "compensated"} {
		s.do(func() { s.states["i-o-1"] = state })
		is(t, "get", d.Call("GET", "/api/orders/o-1", nil, &o), "200")
		is(t, "state", string(o.State), state)
	}
	is(t, "reason", o.Reason, "charge: No money.")
	s.do(func() { clear(s.states) }) // forgotten, some time after their end
	is(t, "get", d.Call("GET", "/api/orders/o-1", nil, &o), "200")
	is(t, "how it ended", string(o.State)+" "+o.Reason, "compensated charge: No money.")
	o = orders.Order{}
	is(t, "get", d.Call("GET", "/api/orders/o-2", nil, &o), "200")
	is(t, "forgotten", string(o.State), "unknown")
	o = orders.Order{}
	is(t, "get", deaf.Call("GET", "/api/orders/o-2", nil, &o), "200")
	is(t, "no answer", string(o.State), "unknown")
	is(t, "no such order", d.Call("GET", "/api/orders/o-3", nil, nil), "404 unknown-order")
}

func TestAnOrderIsCancelledByItsSaga(t *testing.T) {
	s := serveSagas(t)
	d, _ := serve(t, s)
	why := map[string]string{"reason": "changed my mind"}
	var o orders.Order
	is(t, "place", d.Call("POST", "/api/orders", order("o-1"), nil), "201")
	s.do(func() { s.bars = sdk.Error(http.StatusConflict, "saga-past-pivot", "Too late.") })
	is(t, "too late", d.Call("POST", "/api/orders/o-1/cancel", why, nil), "409 not-cancelled")
	s.do(func() { s.bars = nil })
	is(t, "cancel", d.Call("POST", "/api/orders/o-1/cancel", why, &o), "200")
	is(t, "state", string(o.State), "compensating")
	s.do(func() { is(t, "reason", s.canceled["i-o-1"], "changed my mind") })
	s.do(func() { s.states["i-o-1"] = "compensated" })
	is(t, "get", d.Call("GET", "/api/orders/o-1", nil, nil), "200")
	is(t, "it has ended", d.Call("POST", "/api/orders/o-1/cancel", why, nil), "409 ended")
	is(t, "no reason", d.Call("POST", "/api/orders/o-1/cancel", map[string]string{}, nil), "400 bad-reason")
	is(t, "no such order", d.Call("POST", "/api/orders/o-9/cancel", why, nil), "404 unknown-order")
}

func TestAnOrderIsCancelledAlthoughItsStartWasNotHeardOf(t *testing.T) {
	s := serveSagas(t)
	d, deaf := serve(t, s)
	why := map[string]string{"reason": "changed my mind"}
	is(t, "place", deaf.Call("POST", "/api/orders", order("o-1"), nil), "201")
	is(t, "no answer", deaf.Call("POST", "/api/orders/o-1/cancel", why, nil), "503 sagas-away")
	is(t, "cancel", d.Call("POST", "/api/orders/o-1/cancel", why, nil), "200")
	s.do(func() { is(t, "state", s.states["i-o-1"], "compensating") })
}

func TestWhatIsNoOrderIsRefused(t *testing.T) {
	s := serveSagas(t)
	d, _ := serve(t, s)
	for name, change := range map[string]func(*orders.Placing){
		"id with a slash":     func(p *orders.Placing) { p.ID = "a/b" },
		"id too long":         func(p *orders.Placing) { p.ID = strings.Repeat("x", 65) },
		"no customer":         func(p *orders.Placing) { p.Customer = "" },
		"no currency":         func(p *orders.Placing) { p.Currency = "eur" },
		"no lines":            func(p *orders.Placing) { p.Lines = nil },
		"too many lines":      func(p *orders.Placing) { p.Lines = make([]orders.Line, 101) },
		"no sku":              func(p *orders.Placing) { p.Lines[0].SKU = "" },
		"no name":             func(p *orders.Placing) { p.Lines[0].Name = "" },
		"no quantity":         func(p *orders.Placing) { p.Lines[0].Quantity = 0 },
		"negative price":      func(p *orders.Placing) { p.Lines[0].UnitPrice = -1 },
		"too much":            func(p *orders.Placing) { p.Lines[0].Quantity, p.Lines[0].UnitPrice = 1_000_000, 1_000_001 },
		"no kind":             func(p *orders.Placing) { p.Lines[0].Kind = "" },
		"goods with a plan":   func(p *orders.Placing) { p.Lines[0].Plan = "x" },
		"goods by month":      func(p *orders.Placing) { p.Lines[0].Interval = "month" },
		"no plan":             func(p *orders.Placing) { p.Lines[1].Plan = "" },
		"no interval":         func(p *orders.Placing) { p.Lines[1].Interval = "" },
		"interval of a week":  func(p *orders.Placing) { p.Lines[1].Interval = "week" },
		"one plan, two lines": func(p *orders.Placing) { p.Lines = append(p.Lines, p.Lines[1]) },
	} {
		p := order("o-1")
		change(&p)
		is(t, name, d.Call("POST", "/api/orders", p, nil), "422 bad-order")
	}
	is(t, "another field", d.Call("POST", "/api/orders", json.RawMessage(`{"who":1}`), nil), "400 unknown-field")
	s.do(func() {
		if s.starts != 0 {
			t.Errorf("%d sagas of what is no order", s.starts)
		}
	})
}

func TestTheContractIsTrue(t *testing.T) {
	s := serveSagas(t)
	d, _ := serve(t, s)
	for i := range 5 {
		is(t, "place", d.Call("POST", "/api/orders", order(fmt.Sprint("o-", i)), nil), "201")
	}
	s.do(func() { s.states["i-o-3"] = "completed" })
	var got []string
	var page struct {
		Orders []orders.Order
		Next   string
	}
	for cursor := ""; ; cursor = "&cursor=" + page.Next {
		page.Next, page.Orders = "", nil
		is(t, "list", d.Call("GET", "/api/orders?limit=2"+cursor, nil, &page), "200")
		for _, o := range page.Orders {
			got = append(got, fmt.Sprint(o.ID, " ", o.State))
		}
		if page.Next == "" {
			break
		}
	}
	is(t, "orders", strings.Join(got, ", "), "o-4 running, o-3 completed, o-2 running, o-1 running, o-0 running")
	is(t, "no cursor", d.Call("GET", "/api/orders?cursor=x", nil, nil), "400 bad-number")
	is(t, "no limit", d.Call("GET", "/api/orders?limit=0", nil, nil), "400 bad-number")
	is(t, "get", d.Call("GET", "/api/orders/o-1", nil, nil), "200")
	is(t, "cancel", d.Call("POST", "/api/orders/o-1/cancel", map[string]string{"reason": "x"}, nil), "200")
	d.AllSeen()
}
