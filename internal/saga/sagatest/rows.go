package sagatest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

func rowComesBack(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	r := &saga.Row{
		ID: "01-ü/\"'%", Saga: "order-to-cash", Hash: "abc", Key: "customer 7 €", Phase: saga.Running, Wake: saga.WakeAt(start()), Shard: b.shard,
		Started: start(), Rev: 1, State: []byte(`{"x":"` + strings.Repeat("y", 20_000) + `"}`),
	}
	c := &saga.Change{Row: r, Create: &saga.Origin{Idem: "k", Print: "p"}, Records: []byte(`[{"n":1},{"n":2}]`)}
	b.commit(c)
	sameRow(t, b.row(r.ID), r)
	child := b.begin("02")
	child.Row.Parent = r.ID
	b.commit(child)
	sameRow(t, b.row("02"), child.Row)
	c = next(c)
	r = c.Row
	r.Hash, r.Phase, r.Step, r.Error, r.Wake = "def", saga.Compensated, "charge.3", "answered 402: no\x01 money ü", saga.WakeNever
	r.Ended, r.Purge, r.State = start().Add(time.Minute), start().Add(time.Hour), []byte(`{}`)
	b.commit(c)
	sameRow(t, b.row(r.ID), r)
	if got := b.row("03"); got != nil {
		t.Errorf("there is %+v", got)
	}
}

// anyText: a store may keep a text altered that it cannot keep, but does not fail by it, since an error may hold anything.
func anyText(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	const odd = "a\x00b\xffc"
	one, two := b.begin("1"), b.begin("2")
	one.Row.Error, one.Row.Step, one.Row.Key, one.Create.Idem, one.Acquire = odd, odd, odd, odd, odd
	one.Await = []saga.Waiter{{Task: odd, Channel: odd, Key: odd}}
	one.Send = []saga.Signal{{Instance: "1", Task: odd, Event: event(1)}}
	two.Acquire = odd
	if out := b.commit(one, two); !out[0].Granted || out[1].Granted {
		t.Errorf("granted %v and %v", out[0].Granted, out[1].Granted)
	}
	again := b.begin("3")
	again.Create.Idem = odd
	if out := b.commit(again); out[0].Existing == nil {
		t.Error("the key has made two instances")
	}
	if sent, err := b.Deliver(t.Context(), []saga.Mail{{Channel: odd, Key: odd, ID: odd, At: start(), Event: event(2)}}); err != nil || len(sent) != 1 {
		t.Errorf("sent %v: %v", names(sent), err)
	}
	rows, err := b.Find(t.Context(), &saga.Query{Key: odd, Step: odd, Error: odd, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "found", ids(rows), []string{"1"})
	one = next(one)
	one.Release, one.Forget = odd, []string{odd}
	if out := b.commit(one); len(out[0].Sent) != 1 {
		t.Errorf("sent %v", names(out[0].Sent))
	}
}

func revisions(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	one := b.made("1")
	for _, rev := range []int64{0, 1, 3, 4} {
		c := next(one)
		c.Row.Rev = rev
		_, err := b.Commit(t.Context(), []*saga.Change{c})
		mustFence(t, err)
	}
	_, err := b.Commit(t.Context(), []*saga.Change{next(b.begin("none"))})
	mustFence(t, err)
	late := b.begin("late")
	late.Row.Rev = 2
	_, err = b.Commit(t.Context(), []*saga.Change{late})
	mustFence(t, err)
	sameRow(t, b.row("1"), one.Row)
	if err := b.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	two := next(one)
	three := next(two)
	three.Row.State = []byte(`{"three":true}`)
	b.commit(two, three)
	sameRow(t, b.row("1"), three.Row)
}

func wholeBatch(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	one := b.made("1")
	b.commit(&saga.Change{Send: []saga.Signal{{Instance: "1", Event: event(1)}}})
	held, err := b.Signals(t.Context(), b.shards(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	wrong := next(b.begin("none"))
	good := next(one)
	good.Records, good.Acquire, good.Taken = []byte(`[{"n":1}]`), "l", []int64{held[0].ID}
	good.Send = []saga.Signal{{Instance: "1", Event: event(2)}}
	good.Await = []saga.Waiter{{Task: "t", Channel: "c", Key: "k"}}
	keyed := b.begin("2")
	keyed.Create.Idem = "k"
	_, err = b.Commit(t.Context(), []*saga.Change{keyed, good, wrong})
	mustFence(t, err)
	if err := b.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	sameRow(t, b.row("1"), one.Row)
	if b.row("2") != nil {
		t.Error("a part of the batch is there")
	}
	same(t, "signals", b.waiting(), []string{"1/:1"})
	if sent, err := b.Deliver(t.Context(), []saga.Mail{{Channel: "c", Key: "k", ID: "1", At: start(), Event: event(3)}}); err != nil || len(sent) > 0 {
		t.Errorf("a waiter of the batch is there: %v %v", names(sent), err)
	}
	lines, err := b.History(t.Context(), "1")
	if err != nil || len(lines) > 0 {
		t.Errorf("history of the batch is there: %s %v", lines, err)
	}
	keyed = b.begin("3")
	keyed.Create.Idem, keyed.Acquire = "k", "l"
	if out := b.commit(keyed); out[0].Existing != nil || !out[0].Granted {
		t.Errorf("a key or lock of the batch is there: %+v", out[0])
	}
}

func keys(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	first := b.begin("1")
	first.Create = &saga.Origin{Idem: "k", Print: "print"}
	if out := b.commit(first); out[0].Existing != nil {
		t.Errorf("it exists: %+v", out[0].Existing)
	}
	changed := next(first)
	changed.Row.State, changed.Row.Phase = []byte(`{"changed":1}`), saga.Parked
	b.commit(changed)
	again := b.begin("2")
	again.Create = &saga.Origin{Idem: "k", Print: "other"}
	again.Records, again.Acquire, again.Send = []byte(`[1]`), "l", []saga.Signal{{Instance: "1", Event: event(1)}}
	out := b.commit(again)
	if out[0].Existing == nil {
		t.Fatal("the key has made two instances")
	}
	sameRow(t, out[0].Existing, changed.Row)
	if out[0].Print != "print" || out[0].Granted || out[0].Sent != nil {
		t.Errorf("outcome %+v", out[0])
	}
	if b.row("2") != nil || len(b.waiting()) > 0 {
		t.Error("what was to be left out is there")
	}
	other, bare1, bare2 := b.begin("3"), b.begin("4"), b.begin("5")
	other.Row.Saga, other.Create.Idem = "another", "k"
	for i, o := range b.commit(other, bare1, bare2) {
		if o.Existing != nil {
			t.Errorf("%d exists: %+v", i, o.Existing)
		}
	}
	sameID := b.begin("1")
	if out := b.commit(sameID); out[0].Existing == nil || out[0].Existing.ID != "1" || out[0].Print != "print" {
		t.Errorf("outcome of a second instance with the id: %+v", out[0])
	}
}

func keysInBatch(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	first, second, third := b.begin("1"), b.begin("2"), b.begin("3")
	first.Create = &saga.Origin{Idem: "k", Print: "print"}
	second.Create = &saga.Origin{Idem: "k", Print: "other"}
	out := b.commit(first, next(first), second, third)
	if out[2].Existing == nil || out[2].Existing.ID != "1" || out[2].Print != "print" {
		t.Errorf("outcome %+v", out[2])
	}
	if out[0].Existing != nil || out[3].Existing != nil || b.row("2") != nil || b.row("3") == nil {
		t.Error("the wrong ones are there")
	}
}

// wokenAt creates instances that wake when they are told to.
func (b *bench) wokenAt(wakes map[string]saga.Wake) {
	b.t.Helper()
	for id, wake := range wakes {
		c := b.begin(id)
		c.Row.Wake = wake
		b.commit(c)
	}
}

func due(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	b.wokenAt(map[string]saga.Wake{"a": 5, "b": 3, "c": saga.WakeActive, "d": 9, "e": saga.WakeNever, "f": 3})
	ask := func(after, until saga.Wake, limit int) []string {
		rows, err := b.Due(t.Context(), b.shards(), after, until, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if len(r.State) == 0 {
				t.Errorf("%s has no state", r.ID)
			}
		}
		return ids(rows)
	}
	same(t, "all", ask(saga.WakeActive, saga.WakeNever-1, 10), []string{"b", "f", "a", "d"})
	same(t, "until 5", ask(0, 5, 10), []string{"b", "f", "a"})
	same(t, "after 3", ask(3, 9, 10), []string{"a", "d"})
	same(t, "two", ask(0, 9, 2), []string{"b", "f"})
	same(t, "before all", ask(0, 2, 10), nil)
	if rows, err := b.Due(t.Context(), []int{b.shard + 1000}, 0, 9, 10); err != nil || len(rows) > 0 {
		t.Errorf("of another shard: %v %v", ids(rows), err)
	}
	c := next(b.begin("b"))
	c.Row.Wake = 20
	b.commit(c)
	same(t, "after a change", ask(0, 20, 10), []string{"f", "a", "d", "b"})
}

func active(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	b.wokenAt(map[string]saga.Wake{"a": 0, "b": 3, "c": 0, "d": 0, "e": saga.WakeNever})
	ask := func(after string, limit int) []string {
		rows, err := b.Active(t.Context(), b.shards(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		return ids(rows)
	}
	same(t, "all", ask("", 10), []string{"a", "c", "d"})
	same(t, "first page", ask("", 2), []string{"a", "c"})
	same(t, "second page", ask("c", 2), []string{"d"})
	c := next(b.begin("c"))
	c.Row.Wake, c.Row.Phase = saga.WakeNever, saga.Completed
	b.commit(c)
	same(t, "after one has ended", ask("", 10), []string{"a", "d"})
}

func find(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	for i, r := range []saga.Row{
		{ID: "1", Saga: "order", Key: "k1", Phase: saga.Running},
		{ID: "2", Saga: "refund", Key: "k1", Phase: saga.Completed, Parent: "1"},
		{ID: "3", Saga: "order", Key: "K1", Phase: saga.Parked, Step: "charge", Error: "Answered 500: ÄRGER"},
		{ID: "4", Saga: "order", Phase: saga.Compensated, Step: "charge.2", Error: "100% _no_ money"},
		{ID: "5", Saga: "order", Key: "k2", Phase: saga.Compensating, Step: "charge", Error: "answered 502"},
	} {
		c := b.begin(r.ID)
		r.Shard, r.Started, r.Rev, r.State = b.shard, start().Add(time.Duration(i)*time.Second), 1, []byte(`{}`)
		c.Row = &r
		b.commit(c)
	}
	for _, c := range []struct {
		q    saga.Query
		want string
	}{
		{saga.Query{}, "5 4 3 2 1"},
		{saga.Query{Saga: "order"}, "5 4 3 1"},
		{saga.Query{Key: "k1"}, "2 1"},
		{saga.Query{Phases: []saga.Phase{saga.Running, saga.Parked}}, "3 1"},
		{saga.Query{Phases: []saga.Phase{saga.Completed, saga.Compensating}}, "5 2"},
		{saga.Query{Step: "charge"}, "5 3"},
		{saga.Query{Error: "answered"}, "5 3"},
		{saga.Query{Error: "ärGER"}, "3"},
		{saga.Query{Error: "% _NO_"}, "4"},
		{saga.Query{Error: "nothing"}, ""},
		{saga.Query{Parent: "1"}, "2"},
		{saga.Query{From: start().Add(2 * time.Second)}, "5 4 3"},
		{saga.Query{To: start().Add(2 * time.Second)}, "2 1"},
		{saga.Query{From: start().Add(time.Second), To: start().Add(3 * time.Second)}, "3 2"},
		{saga.Query{Before: "3"}, "2 1"},
		{saga.Query{Saga: "order", Phases: []saga.Phase{saga.Compensating}, Step: "charge", Error: "50", Key: "k2"}, "5"},
	} {
		c.q.Limit = 10
		rows, err := b.Find(t.Context(), &c.q)
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("%+v", c.q), ids(rows), strings.Fields(c.want))
		for _, r := range rows {
			if len(r.State) > 0 {
				t.Errorf("%s comes with its state", r.ID)
			}
			want := b.row(r.ID)
			want.State = nil
			sameRow(t, &r, want)
		}
	}
}

func findPages(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	var changes []*saga.Change
	for i := range 25 {
		c := b.begin(fmt.Sprintf("%02d", i))
		if i%2 == 0 {
			c.Row.Error = "Oops"
		}
		changes = append(changes, c)
	}
	b.commit(changes...)
	for _, text := range []string{"", "oop"} {
		var all []string
		q := &saga.Query{Saga: "order", Error: text, Limit: 4}
		for {
			rows, err := b.Find(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) > q.Limit {
				t.Fatalf("%d rows, where at most %d were asked for", len(rows), q.Limit)
			}
			if len(rows) == 0 {
				break
			}
			all = append(all, ids(rows)...)
			q.Before = all[len(all)-1]
		}
		var want []string
		for i := 24; i >= 0; i-- {
			if text == "" || i%2 == 0 {
				want = append(want, fmt.Sprintf("%02d", i))
			}
		}
		same(t, "pages with error "+text, all, want)
	}
}

func history(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	var want []string
	other := b.begin("other")
	c := b.begin("1")
	for i := range 60 {
		var lines []json.RawMessage
		for j := range i % 4 {
			line := fmt.Sprintf(`{"n":"%d.%d","x":"%s"}`, i, j, strings.Repeat("ü", i*10%300))
			want = append(want, line)
			lines = append(lines, json.RawMessage(line))
		}
		c.Records = nil
		if lines != nil {
			text, err := json.Marshal(lines)
			if err != nil {
				t.Fatal(err)
			}
			c.Records = text
		}
		c.Row.State = []byte(`{"s":"` + strings.Repeat("s", i*97%5000) + `"}`)
		other.Records = []byte(`[{"other":true}]`)
		b.commit(c, other)
		c, other = next(c), next(other)
	}
	lines, err := b.History(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range lines {
		got = append(got, string(line))
	}
	same(t, "history", got, want)
	if lines, err := b.History(t.Context(), "none"); err != nil || len(lines) > 0 {
		t.Errorf("history of nobody: %s %v", lines, err)
	}
}

func count(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	counted := func(want map[string]map[saga.Phase]int) {
		t.Helper()
		got, err := b.Count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	counted(map[string]map[saga.Phase]int{})
	one, two, three := b.begin("1"), b.begin("2"), b.begin("3")
	three.Row.Saga = "refund"
	b.commit(one, two, three)
	counted(map[string]map[saga.Phase]int{"order": {saga.Running: 2}, "refund": {saga.Running: 1}})
	one, three = next(one), next(three)
	one.Row.Phase, three.Row.Phase, three.Row.Purge = saga.Parked, saga.Completed, start()
	b.commit(one, three)
	counted(map[string]map[saga.Phase]int{"order": {saga.Running: 1, saga.Parked: 1}, "refund": {saga.Completed: 1}})
	if _, err := b.Purge(t.Context(), start(), time.Time{}, 10); err != nil {
		t.Fatal(err)
	}
	counted(map[string]map[saga.Phase]int{"order": {saga.Running: 1, saga.Parked: 1}})
}

func plans(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	if p, err := b.Plan(t.Context(), "h1"); err != nil || p != nil {
		t.Errorf("there is %s %v", p, err)
	}
	for _, source := range []string{"one", "two"} {
		if err := b.SavePlan(t.Context(), "h1", "order", []byte(source)); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := b.Plan(t.Context(), "h1"); err != nil || string(p) != "one" {
		t.Errorf("the plan is %s %v", p, err)
	}
}

func marks(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	for _, after := range []time.Duration{2, 1, 3, 3, 0} {
		if err := b.Mark(t.Context(), "nightly", start().Add(after*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Mark(t.Context(), "hourly", start()); err != nil {
		t.Fatal(err)
	}
	got, err := b.Marks(t.Context())
	if err != nil || len(got) != 2 || !got["nightly"].Equal(start().Add(3*time.Second)) || !got["hourly"].Equal(start()) {
		t.Errorf("marks are %v %v", got, err)
	}
}

func manyChanges(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	var changes []*saga.Change
	var want []string
	for i := range 700 {
		c := b.begin(fmt.Sprintf("%04d", i))
		c.Records, c.Create.Idem, c.Acquire = []byte(`[1]`), c.Row.ID, fmt.Sprint("lock", i%10)
		c.Send = []saga.Signal{{Instance: "0000", Event: event(i)}}
		want = append(want, fmt.Sprintf("0000/:%d", i))
		changes = append(changes, c)
	}
	for i, o := range b.commit(changes...) {
		if o.Granted != (i < 10) || len(o.Sent) != 1 {
			t.Errorf("outcome %d: %+v", i, o)
		}
	}
	same(t, "signals", b.waiting(), want)
	rows, err := b.Find(t.Context(), &saga.Query{Limit: 1000})
	if err != nil || len(rows) != 700 || !slices.IsSortedFunc(rows, func(x, y saga.Row) int { return strings.Compare(y.ID, x.ID) }) {
		t.Errorf("%d rows: %v", len(rows), err)
	}
}

func orphans(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	first, again, child := b.begin("1"), b.begin("2"), b.begin("2.n")
	first.Create, again.Create = &saga.Origin{Idem: "k"}, &saga.Origin{Idem: "k"}
	child.Row.Parent = "2"
	b.commit(first)
	out := b.commit(again, child)
	if out[0].Existing == nil || !out[1].Orphan || b.row("2.n") != nil {
		t.Errorf("a child of an instance that was left out: %+v, %+v", out, b.row("2.n"))
	}
	last := b.begin("3")
	last.Row.Parent = "3.x"
	if out := b.commit(last); !out[0].Orphan || b.row("3") != nil {
		t.Errorf("a child of an instance that there never was: %+v", out)
	}
}

func hashes(t *testing.T, w *World) {
	t.Helper()
	b := open(t, w)
	one, two := b.begin("1"), b.begin("2")
	one.Row.Hash, two.Row.Hash = "run still", "run no more"
	b.commit(one, two)
	two = next(two)
	two.Row.Phase, two.Row.Wake, two.Row.Ended = saga.Completed, saga.WakeNever, start()
	b.commit(two)
	got, err := b.Hashes(t.Context())
	if err != nil || !slices.Contains(got, "run still") || slices.Contains(got, "run no more") {
		t.Errorf("the definitions that are run are %v, %v", got, err)
	}
}
