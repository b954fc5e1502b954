package tracking_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/gtm/internal/contracttest"
	"example.com/gtm/internal/eventtest"
	"example.com/gtm/services/tracking/internal/tracking"
)

// noon is when the tests happen.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func shipped(t *testing.T) tracking.Rules {
	t.Helper()
	text, err := os.ReadFile("../../rules.json")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := tracking.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// site is a store in a file, with what it published.
type site struct {
	*tracking.Store
	t    *testing.T
	path string
}

func open(t *testing.T, path string) *site {
	t.Helper()
	s, err := tracking.Open(t.Context(), path, shipped(t), &tracking.StoreOptions{Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &site{s, t, path}
}

func fresh(t *testing.T) *site {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "t.db"))
}

func (s *site) take(batch ...tracking.Event) tracking.Taken {
	s.t.Helper()
	taken, err := s.Take(s.t.Context(), batch)
	if err != nil {
		s.t.Fatal(err)
	}
	return taken
}

func (s *site) signals() (signals []tracking.Signal) {
	s.t.Helper()
	for _, e := range eventtest.Outbox(s.t, s.path) {
		eventtest.Conforms(s.t, "../../events/signal.detected.json", e.Data)
		var signal tracking.Signal
		if err := json.Unmarshal(e.Data, &signal); err != nil {
			s.t.Fatal(err)
		}
		signals = append(signals, signal)
	}
	return signals
}

// view is a page view some time before noon.
func view(id, path string, before time.Duration) tracking.Event {
	return tracking.Event{ID: id, Visitor: "v1", Kind: tracking.Page, Path: path, At: noon.Add(-before)}
}

func views(path string, before ...time.Duration) (events []tracking.Event) {
	for i, b := range before {
		events = append(events, view(fmt.Sprint(path, i, b), path, b))
	}
	return events
}

func TestThreeLooksAtThePricesWithinHalfAnHourAreASignal(t *testing.T) {
	for name, test := range map[string]struct {
		events []tracking.Event
		want   int
	}{
		"three":            {views("/pricing", 25*time.Minute, 10*time.Minute, time.Minute), 1},
		"below":            {views("/pricing/teams", 3*time.Minute, 2*time.Minute, time.Minute), 1},
		"two":              {views("/pricing", 2*time.Minute, time.Minute), 0},
		"too far apart":    {views("/pricing", 31*time.Minute, 10*time.Minute, time.Minute), 0},
		"another page":     {views("/pricing-history", 3*time.Minute, 2*time.Minute, time.Minute), 0},
		"the edge is open": {views("/pricing", 30*time.Minute, 10*time.Minute, 0), 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			for _, e := range test.events {
				s.take(e)
			}
			if got := s.signals(); len(got) != test.want {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestAWindowTellsOnceAndTheNextOneTellsAgain(t *testing.T) {
	s := fresh(t)
	s.take(views("/pricing", 100*time.Minute, 99*time.Minute, 98*time.Minute, 97*time.Minute, 96*time.Minute, 80*time.Minute)...)
	if got := s.signals(); len(got) != 1 {
		t.Fatalf("one window told %d times", len(got))
	}
	s.take(views("/pricing", 50*time.Minute, 40*time.Minute, 30*time.Minute)...)
	if got := s.signals(); len(got) != 2 || !got[1].From.Equal(noon.Add(-50*time.Minute)) {
		t.Fatalf("got %+v", got)
	}
}

func TestARestartForgetsNoEventAndTellsNothingTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	for i, e := range views("/pricing", 5*time.Minute, 4*time.Minute, 3*time.Minute, 2*time.Minute, time.Minute) {
		s := open(t, path)
		s.take(e)
		if want, got := min(max(i-1, 0), 1), len(s.signals()); got != want {
			t.Errorf("after event %d: %d signals", i, got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnEventThatIsSentAgainCountsOnce(t *testing.T) {
	s := fresh(t)
	for range 5 {
		s.take(view("a", "/pricing", time.Minute), view("b", "/pricing", time.Minute), view("b", "/pricing", time.Minute))
	}
	if got := s.signals(); len(got) != 0 {
		t.Errorf("two events are a signal: %+v", got)
	}
	if taken := s.take(view("a", "/pricing", time.Minute), view("c", "/docs", time.Minute)); taken.Accepted != 1 || taken.Duplicates != 1 {
		t.Errorf("got %+v", taken)
	}
}

func TestInWhateverOrderEventsComeWindowsTellAndNeverOverlap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 40 {
		s := fresh(t)
		var events []tracking.Event
		cluster := 5 * time.Hour // three views that suffice whatever else there is, in a crowd of others
		for i := range 3 {
			events = append(events, view(fmt.Sprint("c", i), "/pricing", cluster+time.Duration(i)*time.Minute))
		}
		for i := range r.IntN(40) {
			events = append(events, view(fmt.Sprint("x", i), "/pricing", cluster+time.Duration(r.IntN(240)-120)*time.Minute))
		}
		r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for batch := range slices.Chunk(events, 1+r.IntN(4)) {
			s.take(batch...)
		}
		got := s.signals()
		if len(got) == 0 {
			t.Fatalf("three views within three minutes told nothing: %+v", events)
		}
		slices.SortFunc(got, func(a, b tracking.Signal) int { return a.From.Compare(b.From) })
		for i := 1; i < len(got); i++ {
			if got[i].From.Before(got[i-1].From.Add(30 * time.Minute)) {
				t.Fatalf("windows overlap: %+v and %+v", got[i-1], got[i])
			}
		}
	}
}

func TestAClockThatIsWrongIsCorrectedByWhenTheEventWasSent(t *testing.T) {
	s := fresh(t)
	for i, skew := range []time.Duration{0, 5 * time.Hour, -200 * 24 * time.Hour} { // three tabs, three clocks
		e := view(fmt.Sprint(i), "/pricing", time.Duration(i)*time.Minute)
		e.At, e.SentAt = e.At.Add(skew), noon.Add(skew)
		s.take(e)
	}
	got := s.signals()
	if len(got) != 1 || !got[0].From.Equal(noon.Add(-2*time.Minute)) || !got[0].At.Equal(noon) {
		t.Errorf("got %+v", got)
	}
}

func TestWhatHappensInTheFutureHappensNowAndWhatIsTooOldIsRefused(t *testing.T) {
	s := fresh(t)
	taken := s.take(view("f", "/x", -48*time.Hour), view("o", "/x", tracking.Retention+time.Hour), view("p", "/pricing", 0))
	if taken.Accepted != 2 || len(taken.Rejected) != 1 || taken.Rejected[0].Index != 1 || !strings.Contains(taken.Rejected[0].Reason, "30 days") {
		t.Errorf("got %+v", taken)
	}
	future := views("/pricing", -24*time.Hour, -48*time.Hour) // else three windows, each with one
	s.take(future...)
	if got := s.signals(); len(got) != 1 || !got[0].At.Equal(noon) {
		t.Errorf("got %+v", got)
	}
}

func TestPeopleOfOneCompanyCountTogetherOnceTheCompanyIsKnown(t *testing.T) {
	s := fresh(t)
	demo, docs := view("1", "/demo", 3*time.Hour), view("2", "/docs/start", time.Hour)
	demo.Company = "Stripe.com"
	s.take(demo)
	docs.Visitor = "v2"
	s.take(docs) // of nobody's company: no signal
	if got := s.signals(); len(got) != 0 {
		t.Fatalf("got %+v", got)
	}
	hello := view("3", "/", time.Hour)
	hello.Visitor, hello.Company = "v2", "stripe.com"
	later := view("4", "/docs", time.Minute) // does not say the company, which is known by now
	later.Visitor = "v2"
	s.take(hello, later)
	got := s.signals()
	if len(got) != 1 || got[0].Rule != "evaluation" || got[0].Subject != "stripe.com" || got[0].Company != "stripe.com" {
		t.Errorf("got %+v", got)
	}
}

func TestPointsAddUpToASignal(t *testing.T) {
	s := fresh(t)
	click := tracking.Event{ID: "c", Visitor: "v1", Kind: tracking.Click, Path: "/", Target: "contact-sales", Company: "stripe.com", At: noon}
	s.take(click) // 15
	s.take(views("/pricing", 100*time.Hour, 50*time.Hour)...)
	if got := s.signals(); len(got) != 0 {
		t.Fatalf("25 points are %+v", got)
	}
	s.take(view("p", "/pricing", 20*time.Hour))
	if got := s.signals(); len(got) != 1 || got[0].Rule != "engaged" || got[0].Score != 30 {
		t.Errorf("got %+v", got)
	}
}

func TestRulesThatMakeNoSenseAreRefusedByName(t *testing.T) {
	const head = `{"rules":[{"name":"x","text":"x","by":"visitor","within":"1h"`
	for text, want := range map[string]string{
		head + `}]}`: "one of all and score",
		head + `,"all":[{"when":{"kind":"page","path":"/"},"times":0}]}]}`:                    `"times"`,
		head + `,"all":[{"when":{"kind":"look","path":"/"},"times":1}]}]}`:                    `"when"`,
		head + `,"score":{"at_least":1,"points":[{"when":{"kind":"page","path":"/"}}]}}]}`:    `"points"`,
		`{"rules":[{"name":"x","text":"x","by":"planet","within":"1h"}]}`:                     `"by" is "planet"`,
		`{"rules":[{"name":"x","text":"x","by":"visitor","within":"9000h"}]}`:                 `"within"`,
		`{"rules":[{"name":"x","text":"x","by":"visitor","within":"1h","wihtin":"1h"}]}`:      "wihtin",
		`{"rules":[{"name":"x","text":"x","by":"visitor","within":"soon","all":[{}]}]}`:       "soon",
		`{"rules":[{"name":"","text":"x","by":"visitor","within":"1h","all":[{"times":1}]}]}`: "name and text",
	} {
		if _, err := tracking.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestTheContractIsTrue(t *testing.T) {
	srv := httptest.NewServer(tracking.Handler(fresh(t).Store))
	t.Cleanup(srv.Close)
	c := contracttest.Load(t, "../../openapi.yaml")
	one := `{"id":"%d","visitor":"v","kind":"page","path":"/","at":"2026-11-22T11:00:00Z"}`
	many := "[" + strings.Repeat(fmt.Sprintf(one, 1)+",", 1000) + fmt.Sprintf(one, 2) + "]"
	for _, test := range []struct {
		media, body string
		status      int
		answer      string
	}{
		{"application/json", "[" + fmt.Sprintf(one, 1) + "," + fmt.Sprintf(one, 2) + "]", 202, `"accepted":2`},
		{"application/x-ndjson", fmt.Sprintf(one, 3) + "\n" + fmt.Sprintf(one, 3) + "\n", 202, `"accepted":1,"duplicates":1`},
		{"text/plain; charset=UTF-8", "[" + fmt.Sprintf(one, 4) + "]", 202, `"accepted":1`},
		{"application/json", `[{"id":"9","visitor":"v","kind":"page","path":"x","at":"2026-11-22T11:00:00Z"}]`, 202, `"index":0`},
		{"application/json", `[]`, 202, `"accepted":0`},
		{"application/json", `[{"id":`, 400, "index 0"},
		{"application/json", `[` + fmt.Sprintf(one, 1), 400, "index 1"},
		{"application/json", `[{"at":"yesterday"}]`, 400, "index 0"},
		{"application/json", ``, 400, ""},
		{"image/png", `[]`, 415, ""},
		{"application/json", many, 413, "1000 events"},
		{"application/json", "[" + strings.Repeat(" ", 2<<20), 413, "bytes"},
	} {
		resp, err := c.Client().Post(srv.URL+"/track", test.media, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		if body := readAll(t, resp); resp.StatusCode != test.status || !strings.Contains(body, test.answer) {
			t.Errorf("%.60s: %s %s, want %d %s", test.body, resp.Status, body, test.status, test.answer)
		}
	}
	c.AllSeen()
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
