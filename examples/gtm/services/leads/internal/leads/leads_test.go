package leads_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/gtm/services/leads/internal/leads"
	"github.com/atollhq/atoll/sdk"
)

func open(t *testing.T, path string) *leads.Store {
	t.Helper()
	s, err := leads.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func fresh(t *testing.T) *leads.Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "leads.db"))
}

func submission(t *testing.T, email string) leads.Submission {
	t.Helper()
	s, err := leads.Submission{Email: email, FirstName: "Ada", LastName: "Kim", Interest: "demo", Seats: 20}.Normal()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func accept(t *testing.T, s *leads.Store, email string) leads.Accepted {
	t.Helper()
	a, err := s.Accept(t.Context(), 0, []leads.Submission{submission(t, email)})
	if err != nil {
		t.Fatal(err)
	}
	return a[0]
}

// services stands for the four services; each call asks broken first.
type services struct {
	mu     sync.Mutex // guards all
	calls  map[string]int
	broken func(call string, n int) error
	stages chan []leads.StageChange
}

func newServices() *services {
	return &services{
		calls: map[string]int{}, broken: func(string, int) error { return nil }, stages: make(chan []leads.StageChange, 1),
	}
}

func (s *services) called(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[call]++
	return s.broken(call, s.calls[call])
}

func (s *services) Enrich(_ context.Context, lead *leads.Lead) (map[string]leads.Fact, error) {
	kind := `"work"`
	if strings.HasSuffix(lead.Email, "@gmail.com") {
		kind = `"free"`
	}
	facts := map[string]leads.Fact{"email_kind": {Value: json.RawMessage(kind), Source: "test"}}
	return facts, s.called("enrich")
}

func (s *services) Qualify(_ context.Context, _ *leads.Lead, contacts int) (leads.Judgement, error) {
	return leads.Judgement{Verdict: "MQL", Score: 70, Reasons: []string{fmt.Sprint(contacts, " contacts")}}, s.called("qualify")
}

func (s *services) Route(context.Context, *leads.Lead) (leads.Assignment, error) {
	return leads.Assignment{Owner: "emea-1", OwnerName: "EMEA desk 1", Territory: "EMEA", Segment: "small"}, s.called("route")
}

func (s *services) Record(context.Context, *leads.Lead) (leads.Recorded, error) {
	return leads.Recorded{OpportunityID: 7, Stage: "new"}, s.called("record")
}

func (s *services) Changes(ctx context.Context, _ int64) ([]leads.StageChange, error) {
	select {
	case c := <-s.stages:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func start(t *testing.T, s *leads.Store, calls leads.Calls) (stop func()) {
	t.Helper()
	p := leads.NewPipeline(s, calls, slog.New(slog.DiscardHandler), &leads.PipelineOptions{
		Workers: 4, Patience: 5 * time.Second, Backoff: func(int) time.Duration { return time.Millisecond },
	})
	stop = sync.OnceFunc(p.Start(t.Context()))
	t.Cleanup(stop)
	return stop
}

// await waits until a lead is as wanted.
func await(t *testing.T, s *leads.Store, id string, want func(leads.Lead) bool) leads.Lead {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		changed := s.Changed()
		lead, err := s.Get(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if want(lead) {
			return lead
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("lead is still %+v", lead)
		}
	}
}

func done(l leads.Lead) bool { return l.State == leads.StateDone }

func TestOnePersonIsOneLeadHoweverTheAddressIsSpelled(t *testing.T) {
	s := fresh(t)
	for _, spellings := range [][]string{
		{"Ada@Stripe.com", "ada@stripe.com", "ADA+news@stripe.COM"},
		{"a.d.a@gmail.com", "ada@googlemail.com", "ada+x@gmail.com"},
	} {
		first := accept(t, s, spellings[0])
		for _, other := range spellings[1:] {
			if again := accept(t, s, other); again.ID != first.ID || !again.Duplicate {
				t.Errorf("%s is not %s", other, spellings[0])
			}
		}
	}
	if a, b := accept(t, s, "a.b@stripe.com"), accept(t, s, "ab@stripe.com"); a.ID == b.ID {
		t.Error("dots matter elsewhere than at Gmail")
	}
}

func TestWhatAPersonSendsAgainIsKept(t *testing.T) {
	s := fresh(t)
	first := accept(t, s, "ada@stripe.com")
	for _, message := range []string{"please call", "please call", "today"} {
		sub := submission(t, "ada+x@stripe.com")
		sub.Message = message
		if _, err := s.Accept(t.Context(), 0, []leads.Submission{sub}); err != nil {
			t.Fatal(err)
		}
	}
	accept(t, s, "ada@stripe.com") // the same again
	lead, err := s.Get(t.Context(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(lead.Later) != 2 || lead.Later[0].Message != "today" || lead.Later[1].Message != "please call" || lead.Message != "" {
		t.Errorf("kept %+v", lead.Later)
	}
}

func TestTheSamePersonSentManyTimesAtOnceIsOneLead(t *testing.T) {
	s := fresh(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids, news := map[string]bool{}, 0
	for range 50 {
		wg.Go(func() {
			a, err := s.Accept(t.Context(), 0, []leads.Submission{submission(t, "ada@stripe.com")})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[a[0].ID] = true
			if !a[0].Duplicate {
				news++
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 || news != 1 {
		t.Errorf("%d leads, %d of them new", len(ids), news)
	}
}

func TestALeadPassesAllStepsAndKeepsWhatTheyFound(t *testing.T) {
	s := fresh(t)
	start(t, s, newServices())
	lead := await(t, s, accept(t, s, "ada@mail.stripe.com").ID, done)
	if lead.Verdict != "MQL" || lead.Owner != "emea-1" || lead.OpportunityID != 7 || lead.Stage != "new" ||
		lead.Account != "stripe.com" || lead.DoneAt == nil || len(lead.TraceID) != 32 || lead.Text("email_kind") != "work" {
		t.Errorf("got %+v", lead)
	}
}

func TestWhoWritesFromAFreeMailAddressBelongsToNoCompany(t *testing.T) {
	s := fresh(t)
	start(t, s, newServices())
	accept(t, s, "ben@gmail.com")
	lead := await(t, s, accept(t, s, "ada@gmail.com").ID, done)
	if lead.Account != "" || lead.Reasons[0] != "0 contacts" {
		t.Errorf("got %+v", lead)
	}
}

func TestAServiceThatIsAwayDelaysALeadAndLosesNothing(t *testing.T) {
	s, calls := fresh(t), newServices()
	away := sdk.Error(http.StatusServiceUnavailable, "", "away")
	calls.broken = func(_ string, n int) error {
		switch n {
		case 1:
			return errors.New("connection refused")
		case 2:
			return away
		}
		return nil
	}
	start(t, s, calls)
	id := accept(t, s, "ada@stripe.com").ID
	lead := await(t, s, id, done)
	if lead.Trouble != "" || lead.Attempts != 0 {
		t.Errorf("a lead that is done shows old trouble: %+v", lead)
	}
	for _, call := range []string{"enrich", "qualify", "route", "record"} {
		if n := calls.calls[call]; n != 3 {
			t.Errorf("%s was called %d times", call, n)
		}
	}
}

func TestALeadThatIsRefusedForGoodIsStuckWithTheReasonUntilSomebodyRetries(t *testing.T) {
	s, calls := fresh(t), newServices()
	calls.broken = func(call string, n int) error {
		if call == "route" && n == 1 {
			return fmt.Errorf("call routing: %w", sdk.Error(http.StatusUnprocessableEntity, "bad", "The country is odd."))
		}
		return nil
	}
	start(t, s, calls)
	id := accept(t, s, "ada@stripe.com").ID
	lead := await(t, s, id, func(l leads.Lead) bool { return l.Stuck })
	if lead.State != leads.StateQualified || lead.Trouble != "The country is odd." {
		t.Errorf("got %+v", lead)
	}
	if err := s.Retry(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	await(t, s, id, done)
}

func TestARestartGoesOnWhereThePipelineStood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leads.db")
	s, calls := open(t, path), newServices()
	hang := make(chan struct{})
	calls.broken = func(call string, n int) error {
		if call == "route" && n == 1 {
			close(hang)
			return context.Canceled // as if the process had been told to end in the middle
		}
		return nil
	}
	p := leads.NewPipeline(s, calls, slog.New(slog.DiscardHandler), &leads.PipelineOptions{
		Backoff: func(int) time.Duration { return time.Hour },
	})
	ctx, cancel := context.WithCancel(t.Context())
	stop := p.Start(ctx)
	var ids []string
	ids = append(ids, accept(t, s, "ada@stripe.com").ID)
	<-hang
	cancel()
	stop()
	ids = append(ids, accept(t, s, "ben@stripe.com").ID) // accepted, never seen by the pipeline
	if err := s.Retry(t.Context(), ids[0]); err != nil { // a lease or a long backoff would also end by itself
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	start(t, again, calls)
	for _, id := range ids {
		await(t, again, id, done)
	}
	if calls.calls["enrich"] != 2 {
		t.Errorf("enrichment was called %d times for 2 leads: finished steps were repeated", calls.calls["enrich"])
	}
}

func TestWhatAKilledReplicaHadClaimedIsTakenUpByItsSuccessorAtOnce(t *testing.T) {
	s := fresh(t)
	id := accept(t, s, "ada@stripe.com").ID
	claimed, err := s.Claim(t.Context(), "1", 10, time.Hour) // and then it is killed
	if err != nil || len(claimed) != 1 {
		t.Fatalf("%v %v", claimed, err)
	}
	if other, err := s.Claim(t.Context(), "2", 10, time.Hour); err != nil || len(other) != 0 {
		t.Fatalf("another replica got the same lead: %v %v", other, err)
	}
	start(t, s, newServices()) // replica 1 again
	await(t, s, id, done)
}

func TestAStageThatChangesInTheCRMReachesTheLead(t *testing.T) {
	s, calls := fresh(t), newServices()
	start(t, s, calls)
	id := accept(t, s, "ada@stripe.com").ID
	await(t, s, id, done)
	calls.stages <- []leads.StageChange{{Number: 5, Stage: "discovery", Leads: []string{id, "ld_unknown"}}}
	await(t, s, id, func(l leads.Lead) bool { return l.Stage == "discovery" })
	if n, err := s.Followed(t.Context()); err != nil || n != 5 {
		t.Errorf("position %d, %v", n, err)
	}
}

func TestBackoffGrowsAndStaysBounded(t *testing.T) {
	for attempt := 1; attempt < 100; attempt++ {
		d := leads.Backoff(attempt)
		low := min(250*time.Millisecond<<min(attempt-1, 10), 150*time.Second)
		if d < low || d > 2*low {
			t.Errorf("attempt %d waits %s, want %s to %s", attempt, d, low, 2*low)
		}
	}
}

func TestNormalRefusesWhatIsNoLeadAndSaysWhy(t *testing.T) {
	for want, s := range map[string]leads.Submission{
		"email: is missing":                         {},
		"is no email address":                       {Email: "a b@c.example"},
		"has no web domain":                         {Email: "a@localhost"},
		`"Ada <ada@b.example>"`:                     {Email: "Ada <ada@b.example>"},
		"country: \"GERMANY\" is no code":           {Email: "a@b.example", Country: "Germany"},
		"first_name: is longer than 200 characters": {Email: "a@b.example", FirstName: strings.Repeat("é", 201)},
		"last_name: has control characters":         {Email: "a@b.example", LastName: "x\x00y"},
		"company: is not UTF-8":                     {Email: "a@b.example", Company: "\xff"},
		"domain: \"javascript:1\" is no web domain": {Email: "a@b.example", Domain: "javascript:1"},
		"seats: -1":                                 {Email: "a@b.example", Seats: -1},
	} {
		_, err := s.Normal()
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
