package engines_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/atollhq/atoll/internal/manifest"
)

// book is the saga of test/chaos, without the step whose end is told later.
func book(t *testing.T) []byte {
	t.Helper()
	retry := manifest.SagaRetry{Attempts: 4, Backoff: manifest.Duration(50 * time.Millisecond), MaxBackoff: manifest.Duration(200 * time.Millisecond)}
	step := func(name, service string, after ...string) manifest.SagaStep {
		return manifest.SagaStep{
			Name: name, After: &after, Retry: retry, Timeout: manifest.Duration(time.Second),
			Do: &manifest.SagaCall{Call: "POST " + service + "/do/" + name}, Undo: &manifest.SagaUndo{Call: "POST " + service + "/undo/" + name},
		}
	}
	def := &manifest.Saga{Name: "book", Key: "${input.id}", Steps: []manifest.SagaStep{
		step("reserve", "stock"), step("pack", "stock", "reserve"), step("invoice", "money", "reserve"), step("charge", "money", "pack", "invoice"), step("ship", "post", "charge"),
	}}
	def.Steps[0].After = &[]string{}
	def.Steps[3].Pivot = true
	def.Steps[4].Undo, def.Steps[4].Retry.Attempts = nil, 10_000
	text, err := def.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func rounds() int {
	if os.Getenv("ATOLL_SOAK") != "" { // make soak
		return 60
	}
	return 5
}

// TestEnginesThatAreStoppedCutOffAndKilledShareSagasWithoutDoingAnythingTwice lets three engines share a database. One after the other
// is stopped past its lease and goes on, cut off from the database, or killed, while the same keys are started at all of them.
func TestEnginesThatAreStoppedCutOffAndKilledShareSagasWithoutDoingAnythingTwice(t *testing.T) {
	f := newFleet(t, book(t))
	h := &history{}
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for client := range 6 {
		clients.Go(func() { f.drive(ctx, h, client) })
	}
	for round := range rounds() {
		f.trouble(round)
	}
	stop()
	clients.Wait()
	if err := os.WriteFile(filepath.Join(f.dir, "calm"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f.awaitEnds()
	f.audit(h)
	h.check(t)
}

// trouble does something to an engine.
func (f *fleet) trouble(round int) {
	f.t.Helper()
	i := rand.IntN(engines)
	<-time.After(time.Duration(300+rand.IntN(700)) * time.Millisecond)
	switch round % 4 {
	case 0, 1: // past its lease
		f.engine(i).signal(f.t, syscall.SIGSTOP)
		<-time.After(3*time.Second + time.Duration(rand.IntN(1500))*time.Millisecond)
		f.engine(i).signal(f.t, syscall.SIGCONT)
	case 2:
		f.wires[i].set(true)
		<-time.After(3*time.Second + time.Duration(rand.IntN(1500))*time.Millisecond)
		f.wires[i].drop()
		f.wires[i].set(false)
	case 3:
		f.engine(i).kill()
		<-time.After(time.Duration(rand.IntN(3000)) * time.Millisecond)
		f.start(i)
	}
}

// drive starts instances, each key at several engines and now and then with another input.
func (f *fleet) drive(ctx context.Context, h *history, client int) {
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("%d-%d", client/2, n) // two clients share their keys
		input := fmt.Sprintf(`{"id":"%s"}`, key)
		if rand.IntN(10) == 0 {
			input = fmt.Sprintf(`{"id":"%s","again":true}`, key)
		}
		for try := 0; try < 4 && ctx.Err() == nil; try++ {
			called := time.Now().UnixNano()
			status, id := f.ask(ctx, rand.IntN(engines), key, input)
			h.add(client, key, input, called, status, id)
			if status == 200 || status == 409 {
				break
			}
		}
		<-time.After(20 * time.Millisecond)
	}
}

// history is what clients have asked and were answered.
type history struct {
	mu  sync.Mutex
	ops []porcupine.Operation // guarded by mu
	ids map[string]string     // guarded by mu: by key
}

type question struct{ key, input string }

type answer struct {
	status int
	id     string
}

func (h *history) add(client int, key, input string, called int64, status int, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	op := porcupine.Operation{ClientId: client, Input: question{key, input}, Output: answer{status, id}, Call: called, Return: time.Now().UnixNano()}
	if status != 200 && status != 409 { // it may have happened, now or later
		op.Return = 1<<63 - 1
		op.ClientId = 1000 + len(h.ops)
	}
	h.ops = append(h.ops, op)
	if status == 200 {
		if h.ids == nil {
			h.ids = map[string]string{}
		}
		h.ids[key] = id
	}
}

// kept is what one key has started.
type kept struct{ input, id string }

// model is a store of keys, of which each starts one instance.
func model() porcupine.Model {
	return porcupine.Model{
		Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
			by := map[string][]porcupine.Operation{}
			for _, op := range ops {
				key := op.Input.(question).key
				by[key] = append(by[key], op)
			}
			var out [][]porcupine.Operation
			for _, list := range by {
				out = append(out, list)
			}
			return out
		},
		Init: func() any { return kept{} },
		Step: func(state, in, out any) (bool, any) {
			s, q, a := state.(kept), in.(question), out.(answer)
			fresh := s == kept{}
			switch {
			case a.status == 200 && fresh:
				return true, kept{q.input, a.id}
			case a.status == 200: // an id that nobody was told yet is unknown
				return s.input == q.input && (s.id == a.id || s.id == "?"), kept{s.input, a.id}
			case a.status == 409:
				return !fresh && s.input != q.input, s
			case fresh: // nobody knows: it happened now
				return true, kept{q.input, "?"}
			}
			return true, s
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%v -> %v", in, out) },
	}
}

// check tells whether the answers are those of a store in which each key starts one instance, at one moment. One that nobody was
// told of may as well never have happened, which the model allows by letting it happen at the end of time.
func (h *history) check(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	known := 0
	for _, op := range h.ops {
		if op.Output.(answer).status == 200 {
			known++
		}
	}
	if result := porcupine.CheckOperationsTimeout(model(), h.ops, 2*time.Minute); result != porcupine.Ok {
		t.Errorf("the history of %d starts is not that of a store in which each key starts one instance: %v", len(h.ops), result)
	}
	t.Logf("%d rounds, %d starts asked for, %d answered with an instance, %d keys", rounds(), len(h.ops), known, len(h.ids))
}

// awaitEnds waits until all instances have ended, or none ends any more.
func (f *fleet) awaitEnds() {
	f.t.Helper()
	left, since := -1, time.Now()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		now := 0
		if err := f.db.DB.QueryRowContext(f.t.Context(), "SELECT count(*) FROM atoll_sagas.instances WHERE phase < 4").Scan(&now); err != nil {
			f.t.Fatal(err)
		}
		switch {
		case now == 0:
			return
		case now != left:
			left, since = now, time.Now()
		case time.Since(since) > 45*time.Second:
			f.t.Errorf("nothing ended for 45 s, and %d instances are under way", now)
			return
		}
		<-ticker.C
	}
}

// audit holds the books of the services against the engines'.
func (f *fleet) audit(h *history) {
	f.t.Helper()
	effects := map[string]map[string]int{}
	for _, service := range []string{"stock", "money", "post"} {
		f.read(effects, service)
	}
	rows, err := f.db.DB.QueryContext(f.t.Context(), "SELECT id, key, phase FROM atoll_sagas.instances")
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // what it says, Err has said
	ends, of := map[int]int{}, map[string]string{}
	for rows.Next() {
		var id, key string
		var phase int
		if err := rows.Scan(&id, &key, &phase); err != nil {
			f.t.Fatal(err)
		}
		if other := of[key]; other != "" {
			f.t.Errorf("order %s has two instances, %s and %s", key, other, id)
		}
		of[key] = id
		ends[phase]++
		f.judge(id, phase, effects[key])
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
	for key, id := range h.ids {
		if of[key] != id {
			f.t.Errorf("key %s was answered with %s, and has %q", key, id, of[key])
		}
	}
	for key := range effects {
		if of[key] == "" {
			f.t.Errorf("order %s has effects and no instance", key)
		}
	}
	fenced := f.fenced()
	if fenced == 0 {
		f.t.Error("no engine was ever fenced off: nothing is proved")
	}
	f.t.Logf("%d completed, %d compensated, %d parked; %d commits were fenced off", ends[4], ends[5], ends[3], fenced)
}

func (f *fleet) judge(id string, phase int, e map[string]int) {
	f.t.Helper()
	for _, s := range []string{"reserve", "pack", "invoice", "charge", "ship"} {
		did, undid := e[s+" do"], e[s+" undo"]
		if did > 1 || undid > 1 || phase == 4 && (did != 1 || undid != 0) || phase == 5 && did != undid || phase < 4 {
			f.t.Errorf("instance %s in phase %d: %s was done %d times and undone %d times", id, phase, s, did, undid)
		}
	}
}

// fenced counts the commits that came too late.
func (f *fleet) fenced() int {
	f.t.Helper()
	n := 0
	for i := range engines {
		text, err := os.ReadFile(f.log(i))
		if err != nil {
			f.t.Fatal(err)
		}
		if strings.Contains(string(text), "DATA RACE") {
			f.t.Errorf("engine %d: %s", i, text[:min(len(text), 5000)])
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "another engine has taken over") {
				n++
			}
		}
	}
	return n
}

func (f *fleet) read(all map[string]map[string]int, service string) {
	f.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(f.dir, service+".db")+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // nothing is written
	rows, err := db.QueryContext(f.t.Context(), "SELECT id, step || ' ' || op, count(*) FROM effects GROUP BY 1, 2")
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // what it says, Err has said
	for rows.Next() {
		var id, what string
		var n int
		if err := rows.Scan(&id, &what, &n); err != nil {
			f.t.Fatal(err)
		}
		if all[id] == nil {
			all[id] = map[string]int{}
		}
		all[id][what] += n
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
}
