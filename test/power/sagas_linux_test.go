package power_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/saga"
	"github.com/atollhq/atoll/internal/saga/sqlitesaga"
	"github.com/atollhq/atoll/test/internal/powerfs"
)

// sagas is a disk with the file of sagas, and all that was committed to it.
type sagas struct {
	chance *rand.Rand
	disk   *powerfs.Disk
	lies   bool

	acked    map[string]int64 // revisions that were acknowledged, by id
	pending  map[string]int64 // those of the commit that the cut has met: all of them are there, or none
	purged   map[string]bool  // asked to be removed, and perhaps gone
	signals  map[int64]string // acknowledged and not taken: the instance
	taking   []int64          // those that the commit that the cut has met takes
	problems []string
	loss     powerfs.Loss
	commits  int
}

func newSagas(names powerfs.Names, seed uint64) *sagas {
	return &sagas{
		chance: rand.New(rand.NewPCG(seed, seed)), disk: powerfs.New(names), //nolint:gosec // chance that can be repeated
		acked: map[string]int64{}, pending: map[string]int64{}, purged: map[string]bool{}, signals: map[int64]string{},
	}
}

func (w *sagas) problem(format string, args ...any) {
	if len(w.problems) < 10 {
		w.problems = append(w.problems, fmt.Sprintf(format, args...))
	}
}

// stateOf and lineOf are what an instance has at a revision. Each can be told from what is torn.
func stateOf(id string, rev int64) []byte {
	size := int(crc32.ChecksumIEEE(fmt.Appendf(nil, "%s/%d", id, rev)) % 6000)
	return fmt.Appendf(nil, `{"id":"%s","rev":%d,"x":"%s"}`, id, rev, strings.Repeat(fmt.Sprint(rev%10), size))
}

func lineOf(id string, rev int64) string {
	return fmt.Sprintf(`{"id":"%s","rev":%d,"x":"%s"}`, id, rev, strings.Repeat("h", int(rev*37%700)))
}

// change makes the next change of an instance.
func (w *sagas) change(id string, rev int64) *saga.Change {
	c := &saga.Change{
		Row: &saga.Row{
			ID: id, Saga: "order", Phase: saga.Running, Started: time.Unix(1_800_000_000, 0), Rev: rev, State: stateOf(id, rev),
		},
		Records: []byte("[" + lineOf(id, rev) + "]"), Send: []saga.Signal{{Instance: id, Event: []byte(`{}`)}},
	}
	if rev == 1 {
		c.Create = &saga.Origin{Idem: "key of " + id}
	}
	if w.chance.IntN(12) == 0 {
		c.Row.Phase, c.Row.Wake, c.Row.Purge = saga.Completed, saga.WakeNever, c.Row.Started
	}
	return c
}

// commit commits changes of some instances, old and new, until the power goes.
func (w *sagas) commit(ctx context.Context, s *sqlitesaga.Store) {
	for {
		var changes []*saga.Change
		clear(w.pending)
		w.taking = nil
		for range [...]int{1, 1, 4, 20, 60}[w.chance.IntN(5)] {
			id := fmt.Sprintf("i%d", len(w.acked)+len(w.pending))
			if old := slices.Sorted(maps.Keys(w.acked)); len(old) > 0 && w.chance.IntN(5) > 0 {
				id = old[w.chance.IntN(len(old))]
			}
			if w.pending[id] > 0 || w.purged[id] {
				continue
			}
			w.pending[id] = w.acked[id] + 1
			c := w.change(id, w.pending[id])
			for sig, instance := range w.signals {
				if instance == id {
					c.Taken = append(c.Taken, sig)
				}
			}
			w.taking = append(w.taking, c.Taken...)
			changes = append(changes, c)
		}
		out, err := s.Commit(ctx, changes)
		if err != nil {
			if !errors.Is(err, saga.ErrBroken) || !errors.Is(s.Reset(ctx), saga.ErrBroken) {
				w.problem("without power a commit ends with %v, and a reset does not refuse", err)
			}
			return
		}
		w.acknowledged(changes, out)
		if w.chance.IntN(10) == 0 && !w.purge(ctx, s) {
			return
		}
	}
}

func (w *sagas) acknowledged(changes []*saga.Change, out []saga.Outcome) {
	w.commits++
	for i, c := range changes {
		if out[i].Existing != nil || len(out[i].Sent) != 1 {
			w.problem("%s at %d: outcome %+v", c.Row.ID, c.Row.Rev, out[i])
		}
		for _, id := range c.Taken {
			delete(w.signals, id)
		}
		for _, sig := range out[i].Sent {
			w.signals[sig.ID] = c.Row.ID
		}
		w.acked[c.Row.ID] = c.Row.Rev
		if !c.Row.Purge.IsZero() {
			w.purged[c.Row.ID] = true
		}
	}
	clear(w.pending)
	w.taking = nil
}

// purge removes what may go, and tells whether the power is still on.
func (w *sagas) purge(ctx context.Context, s *sqlitesaga.Store) bool {
	_, err := s.Purge(ctx, time.Unix(1_800_000_000, 0), time.Time{}, 10)
	return err == nil
}

// check holds what is there after a cut against what was promised, and takes it for acknowledged.
func (w *sagas) check(ctx context.Context, s *sqlitesaga.Store) error {
	arrived := 0
	for _, id := range slices.Sorted(maps.Keys(w.pending)) {
		row, err := s.Row(ctx, id)
		if err != nil {
			return err
		}
		if row != nil && row.Rev == w.pending[id] {
			arrived++
			w.acked[id] = row.Rev
			if !row.Purge.IsZero() {
				w.purged[id] = true
			}
		}
	}
	if arrived != 0 && arrived != len(w.pending) {
		w.problem("of a commit of %d changes %d are there", len(w.pending), arrived)
	}
	for _, id := range slices.Sorted(maps.Keys(w.acked)) {
		if err := w.checkInstance(ctx, s, id); err != nil {
			return err
		}
	}
	return w.checkSignals(ctx, s, arrived > 0)
}

func (w *sagas) checkInstance(ctx context.Context, s *sqlitesaga.Store, id string) error {
	row, err := s.Row(ctx, id)
	if err != nil {
		return err
	}
	lines, err := s.History(ctx, id)
	if err != nil {
		return err
	}
	rev := w.acked[id]
	switch {
	case row == nil && w.purged[id]:
		if len(lines) > 0 {
			w.problem("%s is gone, and its history is not", id)
		}
		return nil
	case row == nil:
		w.problem("%s was acknowledged and is lost", id)
		return nil
	case row.Rev != rev:
		w.problem("%s was acknowledged at %d and is lost: it is at %d", id, rev, row.Rev)
		return nil
	case string(row.State) != string(stateOf(id, rev)):
		w.problem("the state of %s is not whole", id)
	}
	for i, line := range lines {
		if string(line) != lineOf(id, int64(i)+1) {
			w.problem("line %d of %s is not whole", i, id)
		}
	}
	if int64(len(lines)) != rev {
		w.problem("%s is at %d, and %d lines tell of it", id, rev, len(lines))
	}
	return nil
}

// checkSignals finds signals that are lost, or that were taken and are back.
func (w *sagas) checkSignals(ctx context.Context, s *sqlitesaga.Store, arrived bool) error {
	there, err := s.Signals(ctx, []int{0}, 0, 1_000_000)
	if err != nil {
		return err
	}
	if arrived {
		for _, id := range w.taking {
			delete(w.signals, id)
		}
	}
	kept := map[int64]string{}
	for _, sig := range there {
		if w.signals[sig.ID] == "" && w.pending[sig.Instance] == 0 {
			w.problem("signal %d of %s was taken and is back", sig.ID, sig.Instance)
		}
		kept[sig.ID] = sig.Instance
	}
	for id, instance := range w.signals {
		if kept[id] == "" && !w.purged[instance] {
			w.problem("signal %d of %s was acknowledged and is lost", id, instance)
		}
	}
	w.signals = kept
	clear(w.pending)
	w.taking = nil
	return nil
}

// mount shows the disk, but for the index of the log, which SQLite maps into memory: a fault of a page there would wait for this
// process itself to read it, while the process may wait for that thread. It is made anew after a cut anyway, and so lies elsewhere.
func (w *sagas) mount(t *testing.T, dir string) func() error {
	t.Helper()
	unmount, err := w.disk.Mount(dir)
	if err != nil {
		t.Skipf("the power cannot be cut here: %v", err)
	}
	at, elsewhere := filepath.Join(dir, "sagas.db-shm"), filepath.Join(t.TempDir(), "shm")
	for _, path := range []string{at, elsewhere} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount(elsewhere, at, "", unix.MS_BIND, ""); err != nil {
		_ = unmount()
		t.Skipf("a file cannot be put in the place of another here: %v", err)
	}
	file, err := unix.Open(at, unix.O_PATH|unix.O_CLOEXEC, 0) // its name cannot be looked up without power
	if err != nil {
		t.Fatal(err)
	}
	return func() error {
		return errors.Join(unix.Unmount(fmt.Sprintf("/proc/self/fd/%d", file), unix.MNT_DETACH), unix.Close(file), unmount())
	}
}

// read reads beside the commits, so that the log cannot always be brought into the file whole.
func (w *sagas) read(ctx context.Context, s *sqlitesaga.Store) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		_, _ = s.Find(ctx, &saga.Query{Limit: 5}) // without power it can only fail
		select {
		case <-w.disk.Gone():
			return
		case <-tick.C:
		}
	}
}

// round runs from one start to a cut, and leaves the disk as it is found thereafter.
func (w *sagas) round(t *testing.T, dir string, cut bool) {
	t.Helper()
	unmount := w.mount(t, dir)
	s, err := sqlitesaga.Open(t.Context(), filepath.Join(dir, "sagas.db"), &sqlitesaga.Options{Checkpoint: 200_000})
	if err == nil {
		err = w.check(t.Context(), s)
	}
	switch {
	case err != nil:
		w.problem("it does not start, so all is lost: %v", err)
	case cut:
		if w.lies {
			w.disk.Lie()
		}
		w.disk.CutAfter(20 + w.chance.IntN(800))
		var reading sync.WaitGroup
		reading.Go(func() { w.read(t.Context(), s) })
		w.commit(t.Context(), s)
		w.disk.Cut()
		reading.Wait()
	}
	w.disk.Cut()
	if s != nil {
		_ = s.Close() // without power it can only fail
	}
	if err := unmount(); err != nil {
		t.Fatal(err)
	}
	if w.chance.IntN(4) == 0 { // it was only killed
		w.disk.Revive()
		return
	}
	var loss powerfs.Loss
	w.disk, loss = w.disk.After(w.chance)
	w.loss.Writes += loss.Writes
	w.loss.Torn += loss.Torn
	w.loss.Names += loss.Names
	w.loss.Kept += loss.Kept
}

// runSagas cuts the power of disks again and again and returns what was found wrong.
func runSagas(t *testing.T, names powerfs.Names, seed uint64, lies bool) []string {
	t.Helper()
	w := newSagas(names, seed)
	w.lies = lies
	dir := t.TempDir()
	for n := range cuts + 1 {
		w.round(t, dir, n < cuts)
		if len(w.problems) > 0 {
			return append(w.problems, fmt.Sprintf("(seed %d, cut %d)", seed, n))
		}
	}
	t.Logf("seed %d: %d commits of %d sagas acknowledged, lost were %+v", seed, w.commits, len(w.acked), w.loss)
	return w.problems
}

func TestNoCommitOfASagaIsLostWhenThePowerIsCut(t *testing.T) {
	for _, kind := range []struct {
		name  string
		names powerfs.Names
	}{{"journalled", powerfs.Journaled}, {"strict", powerfs.Strict}} {
		t.Run(kind.name, func(t *testing.T) {
			first := firstSeed(t)
			for seed := range disks() {
				for _, p := range runSagas(t, kind.names, first+seed, false) {
					t.Error(p)
				}
			}
		})
	}
}

func TestADiskThatDoesNotSyncSagasIsFoundOut(t *testing.T) {
	found := runSagas(t, powerfs.Journaled, firstSeed(t), true)
	if !slices.ContainsFunc(found, func(p string) bool { return strings.Contains(p, "lost") }) {
		t.Errorf("this test could not find a loss; it found %q", found)
	}
}
