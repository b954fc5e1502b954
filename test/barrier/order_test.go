package barrier_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/sdk"
	"github.com/atollhq/atoll/test/databases"
)

// branchPlan is what calls come of a branch, in whatever order.
type branchPlan struct {
	name  string
	ops   []string
	does  end // how its dos end
	after int // what must stand at the end
}

// plans lists branches of every kind.
func plans(n int) []branchPlan {
	var out []branchPlan
	for i := range n {
		name := fmt.Sprintf("i%d/reserve", i)
		out = append(out,
			branchPlan{name + ".1", []string{"do", "do", "do"}, ok, 1},
			branchPlan{name + ".2", []string{"do", "do", "undo", "undo"}, ok, 0},
			branchPlan{name + ".3", []string{"undo", "undo", "do"}, ok, 0},
			branchPlan{name + ".4", []string{"do", "do", "do", "undo"}, refuses, 0},
			branchPlan{name + ".5", []string{"do", "do/alt1", "do/alt2", "do", "do/alt1"}, ok, 1},
			branchPlan{name + ".6", []string{"do", "do/alt1", "undo", "undo/alt1", "undo"}, ok, 0})
	}
	return out
}

func TestSixteenWorkersInAnyOrderMakeEachEffectOnce(t *testing.T) {
	onEach(t, func(t *testing.T, db *databases.Database, b *sdk.Barrier) {
		t.Helper()
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		does := map[string]end{}
		var keys []string
		all := plans(12)
		for _, p := range all {
			does[p.name] = p.does
			for _, op := range p.ops {
				keys = append(keys, p.name+"/"+op)
			}
		}
		// Calls of one branch come near each other, so that they meet, in an order of their own.
		for i := 0; i < len(keys); i += 40 {
			part := keys[i:min(i+40, len(keys))]
			random.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		}
		next := func(key string, run int) end {
			if run%7 == 0 {
				return fails // now and then, after the effect
			}
			if branch, err := sdk.StepBranch(key); err == nil && !strings.Contains(key, "/undo") {
				return does[branch]
			}
			return ok
		}
		other := databases.Open(t, db.Kind, db.URL) // another replica
		replicas := []*step{{entry: b, db: db.DB, next: next}, {entry: b, db: other, next: next}}
		answers := work(t, keys, func(worker int, key string) answer { return call(replicas[worker%2], key) })
		for key, got := range answers {
			for _, a := range got {
				if a.status != got[0].status || a.status != http.StatusConflict && a != got[0] {
					t.Errorf("%s got %+v, and %+v", key, got[0], a)
				}
			}
		}
		for _, p := range all {
			if sum, rows := balance(t, db.DB, p.name); sum != p.after || rows > 2-p.after {
				t.Errorf("of %s (%v) the ledger has %d in %d rows, want %d", p.name, p.ops, sum, rows, p.after)
			}
		}
	})
}

// work lets 16 workers make calls, each until it is answered, and returns the answers by key.
func work(t *testing.T, keys []string, call func(worker int, key string) answer) map[string][]answer {
	t.Helper()
	queue := make(chan string, len(keys))
	for _, key := range keys {
		queue <- key
	}
	close(queue)
	var mu sync.Mutex
	answers, failed := map[string][]answer{}, 0
	var group sync.WaitGroup
	for worker := range 16 {
		group.Go(func() {
			for key := range queue {
				a := call(worker, key)
				for try := 0; a.status == http.StatusInternalServerError && try < 100; try++ {
					a = call(worker, key)
					mu.Lock()
					failed++
					mu.Unlock()
				}
				mu.Lock()
				answers[key] = append(answers[key], a)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	t.Logf("%d calls, %d more after a failure", len(keys), failed)
	return answers
}

// oracle says what a branch must answer, as simply as it can be said.
type oracle struct {
	kept      map[string]answer // by operation
	standing  bool              // the step's effect stands
	undone    bool
	supplants bool // an alternative came, so that the do is too late
}

// runs tells whether a call has its effect, or what it is answered.
func (o *oracle) runs(op string) (bool, answer) {
	if kept, is := o.kept[op]; is {
		return false, kept
	}
	nothing, conflict := answer{http.StatusOK, "null"}, answer{status: http.StatusConflict}
	if strings.HasPrefix(op, "undo") {
		return o.standing, nothing
	}
	return !o.undone && !o.standing && (op != "do" || !o.supplants), conflict
}

func (o *oracle) note(op string, ran bool, how end, got answer) {
	undo := strings.HasPrefix(op, "undo")
	if ran && (how == fails || undo && how != ok) {
		return
	}
	o.supplants = o.supplants || strings.HasPrefix(op, "do/")
	if ran {
		o.kept[op] = got
		o.standing = how == ok && !undo
	}
	o.undone = o.undone || undo
}

func TestWhateverTheOrderABranchAnswersAsTheOracleSays(t *testing.T) {
	db := servers.Fresh(t, databases.SQLite)
	b := setUp(t, db)
	var how end
	s := &step{entry: b, db: db.DB, next: func(string, int) end { return how }}
	branches := 0
	rapid.Check(t, func(rt *rapid.T) {
		branches++
		branch := fmt.Sprintf("i%d/reserve", branches)
		o := &oracle{kept: map[string]answer{}}
		for range rapid.IntRange(1, 12).Draw(rt, "calls") {
			op := rapid.SampledFrom([]string{"do", "undo", "do/alt1", "do/alt2", "undo/alt1"}).Draw(rt, "op")
			how = rapid.SampledFrom([]end{ok, ok, refuses, fails, spoils}).Draw(rt, "end")
			before := s.runs
			wantRun, want := o.runs(op)
			got := call(s, branch+"/"+op)
			ran := s.runs > before
			if ran != wantRun {
				rt.Fatalf("%s ran: %t, want %t", op, ran, wantRun)
			}
			if !ran && (got.status != want.status || want.body != "" && got != want) {
				rt.Fatalf("%s got %+v, want %+v", op, got, want)
			}
			status := map[end]int{ok: http.StatusOK, refuses: http.StatusUnprocessableEntity, fails: http.StatusInternalServerError, spoils: http.StatusConflict}[how]
			if ran && got.status != status {
				rt.Fatalf("%s got %+v", op, got)
			}
			o.note(op, ran, how, got)
			sum, _ := balance(t, db.DB, branch)
			if (sum == 1) != o.standing || sum < 0 || sum > 1 {
				rt.Fatalf("after %s the ledger has %d", op, sum)
			}
		}
	})
}
