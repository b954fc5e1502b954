package sagatest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/saga"
)

// model does what chance wants, to the store and to an oracle, and compares what comes of it.
func model(t *testing.T, w *World) {
	t.Helper()
	first := w.Open(t)
	m := &machine{outer: t, w: w, Store: first}
	m.shard = claim(t, first).Owned[0]
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		if os.Getenv("ATOLL_SOAK") == "" && rapid.IntRange(0, 9).Draw(rt, "in short, one in ten is enough") > 0 {
			return
		}
		round++ // each run has names of its own, and its own oracle
		m.begin(rt, fmt.Sprint("r", round, "-"))
		rt.Repeat(map[string]func(*rapid.T){
			"Commit": m.commit, "Commit2": m.commit, "Commit3": m.commit, "Send": m.send, "Deliver": m.deliver, "Take": m.take, "Purge": m.purge, "Remember": m.remember,
			"Reopen": m.reopen, "": m.check,
		})
	})
}

// machine is the store under test beside its oracle.
type machine struct {
	saga.Store
	outer  *testing.T
	w      *World
	shard  int
	prefix string // of all names
	o      *oracle
	n      int           // of events
	held   []saga.Signal // in the store, as of the last check
}

func (m *machine) begin(t *rapid.T, prefix string) {
	rows, err := m.Find(t.Context(), &saga.Query{Limit: 1000}) // of the run before
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		r.Rev, r.Purge, r.State = r.Rev+1, start(), []byte(`{}`)
		if _, err := m.Commit(t.Context(), []*saga.Change{{Row: &r}}); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n > 0; {
		if n, err = m.Purge(t.Context(), start(), start().Add(time.Hour), 1000); err != nil {
			t.Fatal(err)
		}
	}
	m.prefix, m.o, m.held = prefix, newOracle(), nil
}

func (m *machine) id(t *rapid.T) string {
	return m.prefix + rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "1.a", "1.a.b", "2.a"}).Draw(t, "id")
}

func moment(t *rapid.T, name string) time.Time {
	return start().Add(time.Duration(rapid.IntRange(0, 5).Draw(t, name)) * time.Second)
}

// next is an event that no other is like.
func (m *machine) next() []byte {
	m.n++
	return event(m.n)
}

// change makes up a change. Most fit what is there.
func (m *machine) change(t *rapid.T, trial *oracle) *saga.Change {
	id := m.id(t)
	c := &saga.Change{Row: &saga.Row{ID: id, Shard: m.shard, Rev: 1}}
	r := c.Row
	if k := trial.find(id); k != nil && rapid.IntRange(0, 9).Draw(t, "again") > 0 {
		*r = k.row
		r.Rev++
		if rapid.IntRange(0, 29).Draw(t, "wrong") == 0 {
			r.Rev += int64(rapid.SampledFrom([]int{-1, 1}).Draw(t, "by"))
		}
	} else {
		r.Saga = m.prefix + rapid.SampledFrom([]string{"order", "refund"}).Draw(t, "saga")
		r.Key = rapid.SampledFrom([]string{"", m.prefix + "k"}).Draw(t, "key")
		r.Started = moment(t, "started")
		idems := []string{"", "i1", "i2"}
		if parent, _, child := cutLast(id); child {
			r.Parent, idems = parent, []string{""} // nobody asks for a child by a key
		}
		c.Create = &saga.Origin{Idem: rapid.SampledFrom(idems).Draw(t, "idem"), Print: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "print")}
	}
	m.state(t, r)
	if rapid.Bool().Draw(t, "recorded") {
		c.Records = fmt.Appendf(nil, `[%d,"%s"]`, m.n, strings.Repeat("h", rapid.SampledFrom([]int{0, 100, 1500, 5000}).Draw(t, "record")))
	}
	m.extras(t, c)
	return c
}

func cutLast(id string) (string, string, bool) {
	i := strings.LastIndexByte(id, '.')
	if i < 0 {
		return "", id, false
	}
	return id[:i], id[i+1:], true
}

func (m *machine) state(t *rapid.T, r *saga.Row) {
	r.State = fmt.Appendf(nil, `{"n":"%s"}`, strings.Repeat("s", rapid.SampledFrom([]int{1, 900, 5000}).Draw(t, "state")))
	if rapid.Bool().Draw(t, "calm") && r.Phase != "" {
		return
	}
	r.Hash = rapid.SampledFrom([]string{"h1", "h2"}).Draw(t, "hash")
	r.Phase = rapid.SampledFrom(saga.Phases()).Draw(t, "phase")
	r.Step = rapid.SampledFrom([]string{"", "charge", "ship"}).Draw(t, "step")
	r.Error = rapid.SampledFrom([]string{"", "Answered 500", "ÄRGER"}).Draw(t, "error")
	r.Wake = rapid.SampledFrom([]saga.Wake{saga.WakeActive, 1, 2, 3, saga.WakeNever}).Draw(t, "wake")
	r.Ended, r.Purge = time.Time{}, time.Time{}
	if r.Phase.Ended() {
		r.Ended = moment(t, "ended")
		if rapid.Bool().Draw(t, "goes") {
			r.Purge = moment(t, "purge")
		}
	}
}

func (m *machine) extras(t *rapid.T, c *saga.Change) {
	lock := rapid.SampledFrom([]string{"", "", "l1", "l2"})
	task := rapid.SampledFrom([]string{"t", "u"})
	add := func(s string) string {
		if s == "" {
			return ""
		}
		return m.prefix + s
	}
	c.Acquire, c.Release = add(lock.Draw(t, "acquire")), add(lock.Draw(t, "release"))
	if rapid.IntRange(0, 3).Draw(t, "forgets") == 0 {
		c.Forget = []string{task.Draw(t, "forget")}
	}
	if rapid.IntRange(0, 2).Draw(t, "awaits") == 0 {
		c.Await = []saga.Waiter{{Task: task.Draw(t, "await"), Channel: "c", Key: m.prefix + rapid.SampledFrom([]string{"x", "y"}).Draw(t, "for")}}
	}
	if rapid.IntRange(0, 3).Draw(t, "sends") == 0 {
		c.Send = []saga.Signal{{Instance: m.id(t), Task: task.Draw(t, "of"), Event: m.next()}}
	}
}

func (m *machine) commit(t *rapid.T) {
	trial := m.o.clone()
	var changes []*saga.Change
	versions := map[string]bool{} // of rows, before and after each change
	for _, k := range trial.rows {
		versions[plain(&k.row)] = true
	}
	for range rapid.IntRange(1, 5).Draw(t, "changes") {
		c := m.change(t, trial)
		changes = append(changes, c)
		trial.apply(c)
		versions[plain(c.Row)] = true
	}
	want, fenced := m.o.commit(changes)
	got, err := m.Commit(t.Context(), changes)
	if fenced {
		if !errors.Is(err, saga.ErrFenced) {
			t.Fatalf("got error %v, want one that says that it is fenced", err)
		}
		if err := m.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		g, w := got[i], want[i]
		if g.Granted != w.Granted || g.Orphan != w.Orphan || g.Print != w.Print || (g.Existing == nil) != (w.Existing == nil) {
			t.Fatalf("outcome %d of %d: got %+v, want %+v", i, len(want), g, w)
		}
		if g.Existing != nil && (g.Existing.ID != w.Existing.ID || !versions[plain(g.Existing)]) {
			t.Fatalf("existing: got %s, want %s", plain(g.Existing), plain(w.Existing))
		}
		sameSignals(t, "sent", g.Sent, w.Sent)
	}
}

// sameSignals compares signals, but for their order and ids.
func sameSignals(t *rapid.T, what string, got, want []saga.Signal) {
	g, w := names(got), names(want)
	slices.Sort(g)
	slices.Sort(w)
	if !slices.Equal(g, w) {
		t.Fatalf("%s: got %v, want %v", what, g, w)
	}
}

func (m *machine) send(t *rapid.T) {
	list := []saga.Signal{{Instance: m.id(t), Task: "s", Event: m.next()}, {Instance: m.id(t), Event: m.next()}}
	got, err := m.Send(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	sameSignals(t, "sent", got, m.o.send(list))
}

func (m *machine) deliver(t *rapid.T) {
	var mail []saga.Mail
	for range rapid.IntRange(1, 3).Draw(t, "letters") {
		n := rapid.IntRange(0, 8).Draw(t, "letter")
		mail = append(mail, saga.Mail{
			Channel: "c", Key: m.prefix + rapid.SampledFrom([]string{"x", "y"}).Draw(t, "to"), ID: fmt.Sprint(n), Event: m.next(),
			At: start().Add(time.Duration(n) * time.Second), // so that none is as old as another
		})
	}
	got, err := m.Deliver(t.Context(), mail)
	if err != nil {
		t.Fatal(err)
	}
	sameSignals(t, "delivered", got, m.o.deliver(mail))
}

// take takes one of the signals that are kept.
func (m *machine) take(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip("there is none")
	}
	s := rapid.SampledFrom(m.held).Draw(t, "signal")
	if _, err := m.Commit(t.Context(), []*saga.Change{{Taken: []int64{s.ID}}}); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(m.o.signals, func(x saga.Signal) bool { return nameOf(x) == nameOf(s) })
	m.o.signals = slices.Delete(m.o.signals, i, i+1)
}

func (m *machine) purge(t *rapid.T) {
	now, before := moment(t, "now"), moment(t, "before").Add(-time.Second)
	want := m.o.purge(now, before)
	got := 0
	for {
		n, err := m.Purge(t.Context(), now, before, 100)
		if err != nil {
			t.Fatal(err)
		}
		got += n
		if n == 0 {
			break
		}
	}
	if got != want {
		t.Fatalf("%d went, want %d", got, want)
	}
}

func (m *machine) remember(t *rapid.T) {
	name, at := m.prefix+"mark", moment(t, "mark")
	if err := m.Mark(t.Context(), name, at); err != nil {
		t.Fatal(err)
	}
	if at.After(m.o.marks[name]) {
		m.o.marks[name] = at
	}
	marks, err := m.Marks(t.Context())
	if err != nil || !marks[name].Equal(m.o.marks[name]) {
		t.Fatalf("marked %s, want %s: %v", marks[name], m.o.marks[name], err)
	}
	hash := m.prefix + rapid.SampledFrom([]string{"h1", "h2"}).Draw(t, "hash")
	source := fmt.Sprint("source ", m.n)
	if err := m.SavePlan(t.Context(), hash, "order", []byte(source)); err != nil {
		t.Fatal(err)
	}
	if m.o.plans[hash] == "" {
		m.o.plans[hash] = source
	}
	if p, err := m.Plan(t.Context(), hash); err != nil || string(p) != m.o.plans[hash] {
		t.Fatalf("the plan is %s, want %s: %v", p, m.o.plans[hash], err)
	}
}

func (m *machine) reopen(t *rapid.T) {
	if !m.w.Keeps || rapid.IntRange(0, 3).Draw(t, "really") > 0 {
		t.Skip("it stays open")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if m.w.Expire != nil {
		m.w.Expire(m.outer)
	}
	m.Store = m.w.Open(m.outer)
	if !slices.Contains(claim(m.outer, m.Store).Owned, m.shard) {
		t.Fatal("the shard was lost")
	}
}

// check compares all that can be asked.
func (m *machine) check(t *rapid.T) {
	ctx := t.Context()
	shards := []int{m.shard}
	var err error
	if m.held, err = m.Signals(ctx, shards, 0, 1000); err != nil {
		t.Fatal(err)
	}
	sameSignals(t, "kept", m.held, m.o.signals)
	for _, k := range m.o.rows {
		r, err := m.Row(ctx, k.row.ID)
		if err != nil || r == nil || plain(r) != plain(&k.row) {
			t.Fatalf("got %+v, want %s: %v", r, plain(&k.row), err)
		}
	}
	q := &saga.Query{Limit: rapid.IntRange(1, 8).Draw(t, "limit")}
	if rapid.Bool().Draw(t, "by what it is") {
		q.Saga = rapid.SampledFrom([]string{"", m.prefix + "order"}).Draw(t, "by saga")
		q.Key = rapid.SampledFrom([]string{"", m.prefix + "k"}).Draw(t, "by key")
		q.Parent = rapid.SampledFrom([]string{"", "", m.prefix + "1"}).Draw(t, "by parent")
	} else {
		q.Phases = rapid.SliceOfN(rapid.SampledFrom(saga.Phases()), 0, 3).Draw(t, "by phase")
		q.Step = rapid.SampledFrom([]string{"", "charge"}).Draw(t, "by step")
		q.Error = rapid.SampledFrom([]string{"", "answered", "ärg"}).Draw(t, "by error")
	}
	if rapid.Bool().Draw(t, "by time") {
		q.From, q.To = moment(t, "from"), moment(t, "to")
	}
	q.Before = rapid.SampledFrom([]string{"", m.prefix + "3"}).Draw(t, "before")
	rows, err := m.Find(ctx, q)
	sameRows(t, fmt.Sprintf("found by %+v", q), rows, m.o.search(q), err)
	after, limit := saga.Wake(rapid.IntRange(0, 2).Draw(t, "after")), rapid.IntRange(1, 8).Draw(t, "due")
	rows, err = m.Due(ctx, shards, after, 3, limit)
	sameRows(t, "due", rows, m.o.due(after, 3, limit), err)
	rows, err = m.Active(ctx, shards, "", 8)
	sameRows(t, "active", rows, m.o.due(-1, 0, 8), err)
	m.checkMore(t)
}

func (m *machine) checkMore(t *rapid.T) {
	counted, err := m.Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]int{}
	for name, phases := range counted {
		for p, n := range phases {
			by[name+" "+string(p)] = n
		}
	}
	if got, want := fmt.Sprint(by), m.o.count(); got != want {
		t.Fatalf("counted %s, want %s", got, want)
	}
	id := m.id(t)
	lines, err := m.History(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	if k := m.o.find(id); k != nil {
		want = k.lines
	}
	var got []string
	for _, l := range lines {
		got = append(got, string(l))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("history of %s: got %.200s, want %.200s", id, got, want)
	}
}

func sameRows(t *rapid.T, what string, got, want []saga.Row, err error) {
	if err != nil {
		t.Fatal(err)
	}
	var g, w []string
	for i := range got {
		g = append(g, plain(&got[i]))
	}
	for i := range want {
		w = append(w, plain(&want[i]))
	}
	if !slices.Equal(g, w) {
		t.Fatalf("%s:\ngot  %.500s\nwant %.500s", what, g, w)
	}
}
