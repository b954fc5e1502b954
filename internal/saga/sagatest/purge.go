package sagatest

import (
	"fmt"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// over creates an instance that has ended and may go at a time.
func (b *bench) over(id, parent string, purge time.Time) *saga.Change {
	c := b.begin(id)
	c.Row.Phase, c.Row.Wake, c.Row.Ended, c.Row.Purge, c.Row.Parent = saga.Completed, saga.WakeNever, start(), purge, parent
	return c
}

func (b *bench) purge(now, mailBefore time.Time) int {
	b.t.Helper()
	n, err := b.Purge(b.t.Context(), now, mailBefore, 10)
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func purge(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	gone := awaiting(b.over("a", "", start()), "t")
	gone.Create.Idem, gone.Acquire, gone.Records = "k", "lock", []byte(`[1,2]`)
	waits := b.begin("b")
	waits.Acquire = "lock"
	later := b.over("c", "", start().Add(time.Microsecond))
	b.commit(gone, waits, later, &saga.Change{Send: []saga.Signal{{Instance: "a", Event: event(1)}}})
	b.deliver(letter("m1", 2, -time.Second), letter("m2", 3, 0))
	if n := b.purge(start().Add(-time.Microsecond), time.Time{}); n != 0 || b.row("a") == nil {
		t.Errorf("%d went before their time", n)
	}
	if n := b.purge(start(), start()); n != 1 || b.row("a") != nil || b.row("b") == nil || b.row("c") == nil {
		t.Errorf("%d went", n)
	}
	same(t, "signals: the lock is given on", b.waiting(), []string{"b/:granted"})
	if lines, err := b.History(t.Context(), "a"); err != nil || len(lines) > 0 {
		t.Errorf("history is there: %s %v", lines, err)
	}
	same(t, "sent", b.deliver(letter("m3", 4, time.Second)), nil)
	again := awaiting(b.begin("d"), "t")
	again.Create.Idem = "k"
	again.Row.Started = start().Add(-time.Hour)
	out := b.commit(again)
	if out[0].Existing != nil {
		t.Error("the key is still taken")
	}
	same(t, "the oldest mail that is kept", names(out[0].Sent), []string{"d/t:3"})
	if n := b.purge(start(), start()); n != 0 {
		t.Errorf("%d went the second time", n)
	}
}

func purgeChildren(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	b.commit(
		b.over("a", "", start()), b.over("a.s", "a", time.Time{}), b.over("a.s.t", "a.s", time.Time{}),
		b.over("b", "", time.Time{}), b.over("b.s", "b", time.Time{}), b.over("b.t", "b", start()),
	)
	gone := 0
	for {
		n := b.purge(start(), time.Time{})
		if n == 0 {
			break
		}
		gone += n
	}
	if gone != 4 {
		t.Errorf("%d went, want 4", gone)
	}
	rows, err := b.Find(t.Context(), &saga.Query{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "left", ids(rows), []string{"b.s", "b"})
}

func purgeLimit(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	var changes []*saga.Change
	for i := range 25 {
		changes = append(changes, b.over(fmt.Sprintf("%02d", i), "", start().Add(-time.Duration(i)*time.Second)))
	}
	b.commit(changes...)
	for _, want := range []int{10, 10, 5, 0} {
		if n := b.purge(start(), time.Time{}); n != want {
			t.Errorf("%d went, want %d", n, want)
		}
	}
}

func revoked(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	c := b.over("a", "", start())
	b.commit(c)
	c = next(c)
	c.Row.Phase, c.Row.Wake, c.Row.Ended, c.Row.Purge = saga.Compensating, saga.WakeActive, time.Time{}, time.Time{}
	b.commit(c)
	sameRow(t, b.row("a"), c.Row)
	if n := b.purge(start(), time.Time{}); n != 0 {
		t.Errorf("%d went", n)
	}
	rows, err := b.Active(t.Context(), b.shards(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "active", ids(rows), []string{"a"})
}

func reopens(t *testing.T, w *World) {
	t.Helper()
	first := w.Open(t)
	b := &bench{Store: first, t: t, shard: claim(t, first).Owned[0]}
	holder := awaiting(b.begin("a"), "t")
	holder.Create, holder.Acquire, holder.Records = &saga.Origin{Idem: "k", Print: "p"}, "lock", []byte(`[1]`)
	holder.Send = []saga.Signal{{Instance: "a", Event: event(1)}}
	waits := b.begin("b")
	waits.Acquire = "lock"
	b.commit(holder, waits)
	b.deliver(saga.Mail{Channel: "other", Key: "1", ID: "1", At: start(), Event: event(2)})
	if err := b.SavePlan(t.Context(), "h", "order", []byte("plan")); err != nil {
		t.Fatal(err)
	}
	if err := b.Mark(t.Context(), "m", start()); err != nil {
		t.Fatal(err)
	}
	signals := b.waiting()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(t.Context(), []*saga.Change{next(holder)}); err == nil {
		t.Error("a store that is closed takes changes")
	}
	if w.Expire != nil {
		w.Expire(t)
	}

	b = open(t, w)
	sameRow(t, b.row("a"), holder.Row)
	same(t, "signals", b.waiting(), signals)
	same(t, "sent", b.deliver(letter("m1", 3, time.Second)), []string{"a/t:3"})
	again := b.begin("c")
	again.Create.Idem = "k"
	if out := b.commit(again); out[0].Existing == nil || out[0].Print != "p" {
		t.Errorf("the key is forgotten: %+v", out[0])
	}
	holder = next(holder)
	holder.Release, holder.Records = "lock", []byte(`[2]`)
	holder.Await = []saga.Waiter{{Task: "u", Channel: "other", Key: "1"}}
	same(t, "sent", names(b.commit(holder)[0].Sent), []string{"a/u:2", "b/:granted"})
	if lines, err := b.History(t.Context(), "a"); err != nil || fmt.Sprintf("%s", lines) != "[1 2]" {
		t.Errorf("history is %s %v", lines, err)
	}
	if p, err := b.Plan(t.Context(), "h"); err != nil || string(p) != "plan" {
		t.Errorf("the plan is %s %v", p, err)
	}
	if m, err := b.Marks(t.Context()); err != nil || !m["m"].Equal(start()) {
		t.Errorf("marks are %v %v", m, err)
	}
	if n, err := b.Count(t.Context()); err != nil || n["order"][saga.Running] != 2 {
		t.Errorf("counted %v %v", n, err)
	}
}
