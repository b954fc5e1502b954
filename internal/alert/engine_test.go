package alert_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/alert/memory"
	"github.com/atollhq/atoll/internal/fault"
)

// pass lets time pass, of a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

// world answers questions and is told.
type world struct {
	mu      sync.Mutex
	values  map[string][]alert.Sample // by rule
	failing map[string]error          // by rule
	asked   map[string]int            // by rule
	busy    int
	most    int
	slow    time.Duration
	changes []alert.Change

	store  alert.Store
	config alert.Config
}

func newWorld() *world {
	w := &world{values: map[string][]alert.Sample{}, failing: map[string]error{}, asked: map[string]int{}, store: &memory.Store{}}
	w.config = alert.Config{Evaluator: w, Tell: func(c alert.Change) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes = append(w.changes, c)
	}}
	return w
}

func (w *world) set(rule string, samples ...alert.Sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.values[rule] = samples
}

func (w *world) fail(rule string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing[rule] = err
}

func (w *world) Evaluate(ctx context.Context, r *alert.Rule, _ time.Time) ([]alert.Sample, error) {
	w.mu.Lock()
	w.asked[r.Name]++
	w.busy++
	w.most = max(w.most, w.busy)
	samples, err, slow := w.values[r.Name], w.failing[r.Name], w.slow
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy--
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(slow):
	}
	return samples, err
}

func (w *world) Requests(context.Context, *alert.SLO, time.Duration, time.Time) (alert.Requests, error) {
	return alert.Requests{}, nil
}

// kinds are the changes so far.
func (w *world) kinds() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, c := range w.changes {
		out = append(out, strings.TrimSpace(string(c.Kind)+" "+c.Rule+c.Subject))
	}
	return strings.Join(out, ", ")
}

// listener is somebody who is told.
type listener struct {
	mu    sync.Mutex
	heard []*alert.Notification
	times []time.Time
	err   error
	tries int
}

func (l *listener) Notify(_ context.Context, n *alert.Notification) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
	if l.err != nil {
		return l.err
	}
	l.heard, l.times = append(l.heard, n), append(l.times, time.Now())
	return nil
}

func (l *listener) fails(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *listener) tried() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tries
}

func (l *listener) nth(i int) *alert.Notification {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard[i]
}

// said is what was heard, as "after group: +alert -alert".
func (l *listener) said(begin time.Time) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []string{}
	for i, n := range l.heard {
		text := l.times[i].Sub(begin).Round(time.Second).String() + " " + n.Group.String() + ":"
		for _, a := range n.Alerts {
			sign := map[alert.Phase]string{alert.Firing: "+", alert.Resolved: "-"}[a.Phase]
			text += " " + sign + a.Labels["service"] + a.Labels["n"]
		}
		out = append(out, text)
	}
	return out
}

func rule(name string) *alert.Rule {
	return &alert.Rule{
		Name: name, Source: alert.SourceMetrics, Query: "q", Compare: alert.Above, Threshold: 10, Every: 10 * time.Second, Severity: alert.Critical,
		Policy:  alert.Policy{Keep: time.Minute, Stale: 5 * time.Minute, Retain: 15 * time.Minute},
		Summary: "{{service}} has {{value}}",
	}
}

func sample(service string, value float64) alert.Sample {
	return alert.Sample{Labels: alert.Labels{"service": service}, Value: value}
}

func settings(l *listener, rules ...*alert.Rule) alert.Settings {
	return alert.Settings{
		Rules: rules, Group: []string{"alert"}, Timing: alert.Timing{Wait: 30 * time.Second, Interval: 5 * time.Minute, Repeat: 4 * time.Hour},
		Receivers: []alert.Receiver{{Name: "ops", Notifier: l}},
	}
}

// life is one life of an engine.
type life struct {
	*alert.Engine
	end func()
}

func (w *world) begin(t *testing.T, s alert.Settings) life {
	t.Helper()
	w.config.Store = w.store
	e, err := alert.Open(t.Context(), w.config)
	if err != nil {
		t.Fatal(err)
	}
	e.Apply(s)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	return life{Engine: e, end: func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}}
}

func expect(t *testing.T, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestAnAlertIsToldOfOnceInItsGroupAndAgainWhenItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), &listener{}
		start := time.Now()
		w.set("hot", sample("a", 20), sample("b", 5))
		e := w.begin(t, settings(l, rule("hot")))
		defer e.end()
		pass(20 * time.Second) // asked at least once
		w.set("hot", sample("a", 20), sample("b", 30))
		pass(2 * time.Minute)
		if said := l.said(start); len(said) != 1 || !strings.HasSuffix(said[0], "alert=hot: +a +b") {
			t.Errorf("within the wait of the group: %v", said)
		}
		w.set("hot", sample("a", 1), sample("b", 30), sample("c", 40))
		pass(5 * time.Minute)
		if said := l.said(start); len(said) != 2 || !strings.HasSuffix(said[1], ": +b +c -a") {
			t.Errorf("after its interval: %v", said)
		}
		pass(3 * time.Hour)
		if said := l.said(start); len(said) != 2 {
			t.Errorf("told again without news: %v", said)
		}
		pass(65 * time.Minute)
		if said := l.said(start); len(said) != 3 || !strings.HasSuffix(said[2], ": +b +c") {
			t.Errorf("after the time to repeat: %v", said)
		}
		w.set("hot")
		pass(12 * time.Minute)
		if said := l.said(start); len(said) != 4 || !strings.HasSuffix(said[3], ": -b -c") {
			t.Errorf("after there was no data: %v", said)
		}
		for _, r := range e.Receivers() {
			if r.Groups != 0 {
				t.Errorf("the group is kept: %+v", r)
			}
		}
		list := e.History(0)
		if len(list) != 6 || list[0].Kind != alert.EventResolved || list[0].Reason != alert.ReasonNoData || list[5].Summary != "a has 20" {
			t.Errorf("the history is %+v", list)
		}
	})
}

func TestARestartForgetsNothingThatFiresAndTellsNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), &listener{}
		start := time.Now()
		w.set("hot", sample("a", 20))
		e := w.begin(t, settings(l, rule("hot")))
		pass(time.Minute)
		e.end()
		if len(l.said(start)) != 1 {
			t.Fatal(l.said(start))
		}
		for range 3 {
			pass(2 * time.Minute)
			w.fail("hot", errors.New("the store is not open yet"))
			e = w.begin(t, settings(l, rule("hot")))
			pass(30 * time.Second)
			if list := e.Alerts(); len(list) != 1 || list[0].Phase != alert.Firing || list[0].Summary != "a has 20" {
				t.Errorf("after the restart there is %+v", list)
			}
			w.fail("hot", nil)
			pass(10 * time.Minute)
			e.end()
		}
		if said := l.said(start); len(said) != 1 {
			t.Errorf("told again: %v", said)
		}
		e = w.begin(t, settings(l, rule("hot")))
		defer e.end()
		w.set("hot", sample("a", 0))
		pass(10 * time.Minute)
		if said := l.said(start); len(said) != 2 || !strings.HasSuffix(said[1], ": -a") {
			t.Errorf("that it is over is not told: %v", said)
		}
	})
}

func TestAQuestionThatCannotBeAnsweredIsShownAndResolvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), &listener{}
		w.set("hot", sample("a", 20))
		e := w.begin(t, settings(l, rule("hot")))
		defer e.end()
		pass(time.Minute)
		w.fail("hot", fault.New(fault.CodeBadValue, "no such function").Fix("x"))
		pass(time.Hour)
		if r := e.Rules()[0]; r.Error != "no such function" || r.Firing != 1 || r.Since.IsZero() {
			t.Errorf("the rule is %+v", r)
		}
		w.fail("hot", errors.New("secret inside"))
		pass(time.Minute)
		if r := e.Rules()[0]; strings.Contains(r.Error, "secret") {
			t.Errorf("a user sees %q", r.Error)
		}
		w.fail("hot", nil)
		pass(time.Minute)
		expect(t, w.kinds(), "firing hot, rule-failing hot, rule-answered hot")
	})
}

func TestASilenceKeepsAlertsFromBeingToldAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), &listener{}
		start := time.Now()
		e := w.begin(t, settings(l, rule("hot")))
		m, err := alert.ParseMatcher(`service=~"a|x"`)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Silence(t.Context(), alert.Silence{Matchers: []alert.Matcher{m}, Until: time.Now().Add(time.Hour), By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		w.set("hot", sample("a", 20), sample("b", 20))
		pass(2 * time.Minute)
		if said := l.said(start); len(said) != 1 || !strings.HasSuffix(said[0], ": +b") {
			t.Errorf("told %v", said)
		}
		if list := e.Alerts(); len(list) != 2 || len(list[0].Silenced)+len(list[1].Silenced) != 1 {
			t.Errorf("there is %+v", list)
		}
		e.end() // a restart keeps the silence
		e = w.begin(t, settings(l, rule("hot")))
		pass(50 * time.Minute)
		if said := l.said(start); len(said) != 1 {
			t.Errorf("told %v", said)
		}
		pass(20 * time.Minute) // it is over
		if said := l.said(start); len(said) != 2 || !strings.HasSuffix(said[1], ": +a +b") {
			t.Errorf("after its end: %v", said)
		}
		s2, err := e.Silence(t.Context(), alert.Silence{Matchers: []alert.Matcher{m}, Until: time.Now().Add(time.Hour), By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		w.set("hot", sample("b", 20), sample("a", 1))
		pass(20 * time.Minute)
		if said := l.said(start); len(said) != 2 {
			t.Errorf("one that is resolved in silence is told of: %v", said)
		}
		if _, err := e.EndSilence(t.Context(), s2.ID); err != nil {
			t.Error(err)
		}
		if _, err := e.EndSilence(t.Context(), "nope"); fault.CodeOf(err) != fault.CodeSilenceUnknown {
			t.Error(err)
		}
		e.end()
		pass(6 * 24 * time.Hour)
		e = w.begin(t, settings(l, rule("hot")))
		defer e.end()
		pass(time.Minute)
		if list := e.Silences(); len(list) != 0 {
			t.Errorf("silences are kept: %v", list)
		}
	})
}

func TestSilencesThatWouldSilenceEverythingAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		e := w.begin(t, settings(&listener{}))
		defer e.end()
		now := time.Now()
		ok := func() alert.Silence {
			return alert.Silence{Matchers: []alert.Matcher{{Label: "service", Op: "=", Value: "a"}}, Until: now.Add(time.Hour), By: "ann"}
		}
		for name, spoil := range map[string]func(*alert.Silence){
			"no matcher":  func(s *alert.Silence) { s.Matchers = nil },
			"anything":    func(s *alert.Silence) { s.Matchers = []alert.Matcher{{Label: "service", Op: "=~", Value: ".*"}} },
			"not":         func(s *alert.Silence) { s.Matchers[0].Op = "!=" },
			"no op":       func(s *alert.Silence) { s.Matchers[0].Op = "" },
			"no form":     func(s *alert.Silence) { s.Matchers[0] = alert.Matcher{Label: "a", Op: "=~", Value: "("} },
			"past":        func(s *alert.Silence) { s.Until = now },
			"for ever":    func(s *alert.Silence) { s.Until = now.Add(91 * 24 * time.Hour) },
			"nobody":      func(s *alert.Silence) { s.By = "" },
			"long":        func(s *alert.Silence) { s.Comment = strings.Repeat("x", 1001) },
			"many":        func(s *alert.Silence) { s.Matchers = make([]alert.Matcher, 21) },
			"empty value": func(s *alert.Silence) { s.Matchers[0].Value = "" },
		} {
			s := ok()
			spoil(&s)
			if _, err := e.Silence(t.Context(), s); fault.CodeOf(err) != fault.CodeSilenceInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := e.Silence(t.Context(), ok()); err != nil {
			t.Error(err)
		}
	})
}

func TestAReceiverThatFailsIsTriedAgainAndHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l, other := newWorld(), &listener{err: errors.New("refused")}, &listener{}
		start := time.Now()
		s := settings(l, rule("hot"), rule("cold"))
		s.Receivers = append(s.Receivers, alert.Receiver{Name: "pager", Severity: alert.Critical, Notifier: other}, alert.Receiver{Name: "mail", Severity: alert.Warning, Notifier: &listener{err: errors.New("never asked")}})
		w.set("hot", sample("a", 20))
		e := w.begin(t, s)
		defer e.end()
		pass(time.Hour)
		if said := other.said(start); len(said) != 1 {
			t.Errorf("the other heard %v", said)
		}
		// 1, 2, 4 … 256, 300 s and so on, each halved at most.
		tries := l.tried()
		if tries < 15 || tries > 40 {
			t.Errorf("it was tried %d times in an hour", tries)
		}
		if r := e.Receivers()[1]; r.Name != "ops" || r.Fails != tries || r.Error == "" || r.Next.Before(time.Now()) {
			t.Errorf("the receiver is %+v", r)
		}
		w.set("hot", sample("a", 0)) // by now it is over: there is nothing to tell
		pass(30 * time.Minute)
		l.fails(nil)
		pass(10 * time.Minute)
		if said := l.said(start); len(said) != 0 {
			t.Errorf("it is told of what is long over: %v", said)
		}
		w.set("hot", sample("b", 20))
		pass(10 * time.Minute)
		if said := l.said(start); len(said) != 1 || !strings.HasSuffix(said[0], "+b") {
			t.Errorf("it heard %v", said)
		}
		expect(t, w.kinds(), "firing hot, tell-failing ops, resolved hot, firing hot, told-again ops")
	})
}

func TestARuleWithTooManyAlertsKeepsThoseThatItHasAndCountsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), &listener{}
		many := func(from, to int, value float64) (out []alert.Sample) {
			for i := from; i < to; i++ {
				out = append(out, alert.Sample{Labels: alert.Labels{"n": fmt.Sprint(i)}, Value: value})
			}
			return out
		}
		w.set("hot", many(0, 600, 20)...)
		e := w.begin(t, settings(l, rule("hot")))
		defer e.end()
		pass(20 * time.Second)
		w.set("hot", append(many(600, 1600, 20), many(0, 600, 20)...)...)
		pass(2 * time.Minute)
		if r := e.Rules()[0]; r.Firing != alert.MaxAlerts || r.Dropped != 600 {
			t.Errorf("it has %d alerts and dropped %d", r.Firing, r.Dropped)
		}
		kept := map[string]bool{}
		for _, a := range e.Alerts() {
			kept[a.Labels["n"]] = true
		}
		for i := range 600 {
			if !kept[fmt.Sprint(i)] {
				t.Fatalf("alert %d has lost its place", i)
			}
		}
		if n := l.nth(0); len(n.Alerts) != 100 || n.Truncated == 0 {
			t.Errorf("a notification holds %d alerts and leaves out %d", len(n.Alerts), n.Truncated)
		}
		if len(e.History(0)) != alert.MaxHistory || len(e.History(7)) != 7 {
			t.Errorf("the history holds %d", len(e.History(0)))
		}
	})
}

func TestQuestionsAreBoundedInNumberAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.slow = time.Hour // cut off after 10 s
		var rules []*alert.Rule
		for i := range 20 {
			rules = append(rules, rule(fmt.Sprintf("r%d", i)))
		}
		e := w.begin(t, settings(&listener{}, rules...))
		defer e.end()
		pass(10 * time.Minute)
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.most != 4 {
			t.Errorf("%d questions were asked at once", w.most)
		}
		for _, r := range e.Rules() {
			// 4 at once, each cut off after 10 s: 20 rules take 50 s a round.
			if n := w.asked[r.Rule.Name]; n < 10 || n > 13 || r.Took != 10*time.Second || r.Error != "there was no answer in time" {
				t.Errorf("%s was asked %d times, took %s: %s", r.Rule.Name, n, r.Took, r.Error)
			}
		}
	})
}

func TestAReloadKeepsWhatFiresAndEndsWhatHasNoRuleAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), &listener{}
		start := time.Now()
		w.set("hot", sample("a", 20))
		w.set("cold", sample("a", 20))
		e := w.begin(t, settings(l, rule("hot"), rule("cold")))
		defer e.end()
		pass(time.Minute)
		changed := rule("hot")
		changed.Query, changed.Summary = "another", "now {{value}}"
		late := &listener{}
		s := settings(l, changed)
		s.Receivers = append(s.Receivers, alert.Receiver{Name: "late", Notifier: late})
		e.Apply(s)
		pass(10 * time.Minute)
		said := l.said(start)
		if len(said) != 3 || !strings.HasSuffix(said[2], "alert=cold: -a") {
			t.Errorf("told %v", said)
		}
		if said := late.said(start); len(said) != 1 || !strings.HasSuffix(said[0], "alert=hot: +a") {
			t.Errorf("a new receiver heard %v", said)
		}
		if list := e.Alerts(); len(list) != 2 || list[0].Summary != "now 20" || list[1].Phase != alert.Resolved {
			t.Errorf("there is %+v", list)
		}
		pass(time.Hour)
		if list := e.Alerts(); len(list) != 1 {
			t.Errorf("there is %+v", list)
		}
		expect(t, w.kinds()[strings.Index(w.kinds(), "resolved"):], "resolved cold")
	})
}

func TestARuleIsTestedWithoutAnyEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := newWorld(), &listener{}
		w.set("hot", sample("a", 20), sample("b", 3))
		e := w.begin(t, settings(l, rule("hot")))
		e.end()
		before := len(e.Alerts())
		r, list, err := e.Test(t.Context(), "hot")
		if err != nil || r.Name != "hot" || len(list) != 2 || !list[0].Wrong || list[1].Wrong || list[0].Summary != "a has 20" || list[0].Labels["alert"] != "hot" {
			t.Errorf("it answers %+v (%v)", list, err)
		}
		if len(e.Alerts()) != before {
			t.Error("a test has made an alert")
		}
		if _, _, err := e.Test(t.Context(), "nope"); fault.CodeOf(err) != fault.CodeAlertUnknown {
			t.Error(err)
		}
	})
}

// broken is a store that fails.
type broken struct {
	memory.Store
	mu  sync.Mutex
	err error
}

func (b *broken) fails(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *broken) Save(ctx context.Context, s *alert.Snapshot) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	return b.Store.Save(ctx, s)
}

func TestStateThatCannotBeKeptIsSaidAndStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l, b := newWorld(), &listener{}, &broken{err: errors.New("disk full")}
		w.store = b
		start := time.Now()
		w.set("hot", sample("a", 20))
		e := w.begin(t, settings(l, rule("hot")))
		pass(2 * time.Minute)
		if said := l.said(start); len(said) != 1 {
			t.Errorf("told %v", said)
		}
		b.fails(nil)
		pass(time.Minute)
		if kinds := w.kinds(); strings.Count(kinds, "state-failing") != 1 || strings.Count(kinds, "state-kept") != 1 {
			t.Errorf("said %s", kinds)
		}
		e.end()
		if kept, err := b.Load(t.Context()); err != nil || len(kept.Alerts) != 1 || len(kept.Groups["ops"]) != 1 {
			t.Errorf("kept %+v (%v)", kept, err)
		}
	})
}
