// Package sagatest is the conformance suite of saga.Store: what every driver does.
package sagatest

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/saga"
)

// World is a place where sagas are kept, and nothing yet.
type World struct {
	Open   func(t *testing.T) saga.Store // opens what is kept there; for one engine
	Keeps  bool                          // what is kept outlives a Close
	Expire func(t *testing.T)            // ends the leases of all engines; nil where a store serves one engine
}

// Driver is a driver under test. It is called once for each test.
type Driver func(t *testing.T) *World

// Run runs the whole suite.
func Run(t *testing.T, driver Driver) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, w *World)
	}{
		{"ARowComesBackAsItWas", rowComesBack},
		{"AnyTextIsTaken", anyText},
		{"ARowIsChangedOnlyFromTheRevisionBefore", revisions},
		{"ABatchIsKeptWholeOrNotAtAll", wholeBatch},
		{"AKeyMakesOneInstance", keys},
		{"AKeyTwiceInABatchMakesOneInstance", keysInBatch},
		{"AChildOfNobodyIsLeftOut", orphans},
		{"TheDefinitionsThatAreRunAreKnown", hashes},
		{"ALockGoesFromOneToTheNextInTheOrderOfAsking", locks},
		{"WhoWaitsForALockMayGiveUp", locksGivenUp},
		{"MailComesToThoseThatWait", mailLater},
		{"MailThatCameBeforeIsNotLost", mailBefore},
		{"WhoWaitsNoLongerGetsNoMail", mailForgotten},
		{"MailIsKeptOnce", mailOnce},
		{"ASignalIsThereUntilItIsTaken", signals},
		{"ASignalForNobodyIsLeftOut", signalsForNobody},
		{"InstancesAreHandedOutWhenTheyAreDue", due},
		{"ActiveInstancesAreHandedOutByID", active},
		{"FindFindsByEachField", find},
		{"FindGoesPageByPage", findPages},
		{"HistoryIsInOrderHoweverLong", history},
		{"CountCountsBySagaAndPhase", count},
		{"APlanIsKeptByItsHash", plans},
		{"AMarkNeverGoesBack", marks},
		{"PurgeTakesWhatBelongsToAnInstance", purge},
		{"PurgeTakesChildrenWithTheirParent", purgeChildren},
		{"PurgeKeepsToItsLimit", purgeLimit},
		{"AnEndedInstanceMayGoOn", revoked},
		{"ManyChangesFitOneBatch", manyChanges},
		{"CommitsSideBySideGiveALockToOne", sideBySide},
		{"TheStoreDoesWhatADumbOneDoes", model},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, driver(t)) })
	}
	t.Run("AllIsThereAfterReopening", func(t *testing.T) {
		w := driver(t)
		if !w.Keeps {
			t.Skip("this driver keeps nothing")
		}
		reopens(t, w)
	})
	runShared(t, driver)
}

// bench is an open store, and a shard that it may write to.
type bench struct {
	saga.Store
	t     *testing.T
	shard int
}

func open(t *testing.T, w *World) *bench {
	t.Helper()
	b := &bench{Store: w.Open(t), t: t}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	b.shard = claim(t, b.Store).Owned[0]
	return b
}

func claim(t *testing.T, s saga.Store) saga.Claim {
	t.Helper()
	c, err := s.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Owned) == 0 {
		t.Fatal("the engine owns nothing")
	}
	return c
}

func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 123000, time.UTC) }

// begin is the change that creates an instance.
func (b *bench) begin(id string) *saga.Change {
	return &saga.Change{
		Row: &saga.Row{
			ID: id, Saga: "order", Hash: "h", Phase: saga.Running, Shard: b.shard, Started: start(), Rev: 1, State: []byte(`{"id":"` + id + `"}`),
		},
		Create: &saga.Origin{},
	}
}

// next is the change after the one that was made last.
func next(c *saga.Change) *saga.Change {
	row := *c.Row
	row.Rev++
	return &saga.Change{Row: &row}
}

// commit makes changes that must succeed.
func (b *bench) commit(changes ...*saga.Change) []saga.Outcome {
	b.t.Helper()
	out, err := b.Commit(b.t.Context(), changes)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(out) != len(changes) {
		b.t.Fatalf("%d outcomes of %d changes", len(out), len(changes))
	}
	return out
}

// made creates an instance.
func (b *bench) made(id string) *saga.Change {
	b.t.Helper()
	c := b.begin(id)
	b.commit(c)
	return c
}

func (b *bench) row(id string) *saga.Row {
	b.t.Helper()
	r, err := b.Row(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// waiting are the signals that nobody has taken, as "instance/task:event".
func (b *bench) waiting() []string {
	b.t.Helper()
	got, err := b.Signals(b.t.Context(), b.shards(), 0, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	return names(got)
}

func (b *bench) shards() []int { return claim(b.t, b.Store).Owned }

func names(signals []saga.Signal) []string {
	var out []string
	for _, s := range signals {
		out = append(out, nameOf(s))
	}
	return out
}

func nameOf(s saga.Signal) string {
	var e struct {
		Kind string
		N    any
	}
	if err := json.Unmarshal(s.Event, &e); err != nil {
		return s.Instance + "/" + s.Task + ":" + err.Error()
	}
	if e.Kind != "" {
		return s.Instance + "/" + s.Task + ":" + e.Kind
	}
	return fmt.Sprintf("%s/%s:%v", s.Instance, s.Task, e.N)
}

// event is what a signal or mail carries in these tests.
func event(n int) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"N":%d}`, n)) }

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got [%s], want [%s]", what, strings.Join(got, " "), strings.Join(want, " "))
	}
}

func ids(rows []saga.Row) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r.ID)
	}
	return out
}

// sameRow compares rows with their states.
func sameRow(t *testing.T, got, want *saga.Row) {
	t.Helper()
	if got == nil {
		t.Errorf("%s is not there", want.ID)
		return
	}
	if plain(got) != plain(want) {
		t.Errorf("got  %+v\nwant %+v", plain(got), plain(want))
	}
}

// plain is a row that can be compared.
func plain(r *saga.Row) string {
	c := *r
	c.State = nil
	for _, at := range []*time.Time{&c.Started, &c.Ended, &c.Purge} {
		*at = at.UTC()
	}
	return fmt.Sprintf("%+v %d bytes %.40s %08x", c, len(r.State), r.State, crc32.ChecksumIEEE(r.State))
}

func mustFence(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, saga.ErrFenced) {
		t.Errorf("got error %v, want one that says that it is fenced", err)
	}
}
