package chaos_test

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// bookSaga takes five steps at three services: two side by side, the pivot with an undo for when it stays unknown, and one whose end
// may be told later. What cannot be told in a moment is asked again soon, so that a test has many attempts.
const bookSaga = `saga: book
key: ${input.id}
steps:
  - {step: reserve, do: POST stock/do/reserve, undo: POST stock/undo/reserve, timeout: 1s, retry: {attempts: 4, backoff: 50ms, max_backoff: 200ms}}
  - {step: pack, after: [reserve], do: POST stock/do/pack, undo: POST stock/undo/pack, timeout: 1s, retry: {attempts: 4, backoff: 50ms, max_backoff: 200ms}}
  - {step: invoice, after: [reserve], do: POST money/do/invoice, undo: POST money/undo/invoice, timeout: 1s, retry: {attempts: 4, backoff: 50ms, max_backoff: 200ms}}
  - {step: charge, after: [pack, invoice], pivot: true, do: POST money/do/charge, undo: POST money/undo/charge, timeout: 1s, retry: {attempts: 4, backoff: 50ms, max_backoff: 200ms}}
  - {step: ship, do: {call: POST post/do/ship, refused: [499], async: {timeout: 2s}}, timeout: 1s, retry: {attempts: 10000, backoff: 50ms, max_backoff: 200ms}}
`

// books is an application of a service that starts sagas and three that take their steps.
type books struct{ *app }

// sagaRounds is how often Atoll is killed.
func sagaRounds() int {
	if soak() {
		return 300
	}
	return 8
}

// TestEverySagaHasItsEffectsOnceOrNotAtAllWhenAtollIsKilled kills Atoll at random moments, and single services in between, while
// sagas are started and their steps are taken, refused, undone, fail and hang.
func TestEverySagaHasItsEffectsOnceOrNotAtAllWhenAtollIsKilled(t *testing.T) {
	b := newBooks(t, "")
	p := &play{app: b.app}
	p.killAgainAndAgain(t, sagaRounds())
	b.write(t, "ledgers/quiet", "")
	b.write(t, "ledgers/calm", "")
	b.up(t)
	b.awaitEnds(t)
	b.atoll(t, "down")
	b.audit(t)
}

func newBooks(t *testing.T, store string) *books {
	t.Helper()
	program := filepath.Join(programs.Dir, "sagasvc")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/atollhq/atoll/test/sagasvc").CombinedOutput(); err != nil {
		t.Fatalf("build sagasvc: %v\n%s", err, out)
	}
	dir, err := os.MkdirTemp("", "as") //nolint:usetesting // a short name, for the socket
	if err != nil {
		t.Fatal(err)
	}
	b := &books{app: &app{dir: dir}}
	b.write(t, "atoll.yaml", "app: books\nservices: [starts, stock, money, post]\nsagas: [book.yaml]\n"+store)
	b.write(t, "book.yaml", bookSaga)
	b.write(t, "ledgers/README", "") // so that the folder is there
	for _, name := range []string{"starts", "stock", "money", "post"} {
		more := "database: sqlite\n"
		if name == "starts" {
			more = "sagas: [book]\n"
		}
		b.write(t, name+"/service.yaml", fmt.Sprintf("service: %s\nrun: sagasvc -role %s -dir %s/ledgers\nready: /healthz\nwatch: {off: true}\n%s", name, name, b.dir, more))
	}
	t.Cleanup(func() { b.finish(t) })
	return b
}

// store reads what sagas there are, beside Atoll.
func (b *books) store(t *testing.T) *sql.DB {
	t.Helper()
	return b.open(t, filepath.Join(b.dir, ".atoll", "sagas", "sagas.db"))
}

func (b *books) open(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func count(t *testing.T, db *sql.DB, query string) int {
	t.Helper()
	n := 0
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// awaitEnds waits until every start is answered and every instance has ended, or nothing ends any more.
func (b *books) awaitEnds(t *testing.T) {
	t.Helper()
	const silence = 60 * time.Second
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	db := b.store(t)
	defer db.Close() //nolint:errcheck // nothing is written
	left, since := -1, time.Now()
	for {
		asked, answered := b.starts(t)
		now := count(t, db, "SELECT count(*) FROM instances WHERE phase < 4") + len(asked) - len(answered)
		switch {
		case now == 0:
			return
		case now != left:
			left, since = now, time.Now()
		case time.Since(since) > silence:
			t.Errorf("nothing ended for %v, and %d instances and answers are missing", silence, now)
			return
		}
		<-ticker.C
	}
}

// starts reads which starts were asked for, and which instance each got.
func (b *books) starts(t *testing.T) (asked map[string]bool, answered map[string]string) {
	t.Helper()
	asked, answered = map[string]bool{}, map[string]string{}
	b.lines(t, "starts", func(word, rest string) {
		id, instance, _ := strings.Cut(rest, " ")
		switch word {
		case "P":
			asked[id] = true
		case "A":
			answered[id] = instance
		case "X":
			t.Errorf("the key %s has started a second instance, %s", id, instance)
		}
	})
	return asked, answered
}

// effects is how often each step of each order was taken and undone.
type effects map[string]map[string]int // by order: "reserve do"

// audit holds the books of the services against what the engine says of each instance.
func (b *books) audit(t *testing.T) {
	t.Helper()
	all := effects{}
	for _, service := range []string{"stock", "money", "post"} {
		b.add(t, all, service)
	}
	db := b.store(t)
	defer db.Close() //nolint:errcheck // nothing is written
	rows, err := db.QueryContext(t.Context(), "SELECT id, key, phase FROM instances")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // what it says, Err has said
	instances, ends, wrong := map[string]string{}, map[int]int{}, 0
	for rows.Next() {
		var id, key string
		var phase int
		if err := rows.Scan(&id, &key, &phase); err != nil {
			t.Fatal(err)
		}
		if other := instances[key]; other != "" {
			t.Errorf("order %s has two instances, %s and %s", key, other, id)
		}
		instances[key] = id
		ends[phase]++
		if problem := judge(phase, all[key]); problem != "" && wrong < 20 {
			wrong++
			t.Errorf("instance %s of order %s: %s: %v", id, key, problem, all[key])
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	asked, answered := b.starts(t)
	for key, id := range answered {
		if instances[key] != id {
			t.Errorf("order %s was answered with instance %s, and has %q", key, id, instances[key])
		}
	}
	for key := range all {
		if instances[key] == "" {
			t.Errorf("order %s has effects and no instance", key)
		}
	}
	if ends[4] == 0 || ends[5] == 0 {
		t.Errorf("the ends are too much alike to prove anything: %v", ends)
	}
	t.Logf("%d rounds, %d starts asked for, %d answered, %d completed, %d compensated, %d parked", sagaRounds(), len(asked), len(answered), ends[4], ends[5], ends[3])
}

// judge tells what is wrong with the effects of an instance that has ended.
func judge(phase int, e map[string]int) string {
	steps := []string{"reserve", "pack", "invoice", "charge", "ship"}
	for _, s := range steps {
		did, undid := e[s+" do"], e[s+" undo"]
		switch {
		case did > 1 || undid > 1:
			return s + " has its effect more than once"
		case phase == 4 && (did != 1 || undid != 0):
			return "it is completed, and " + s + " has not its effect"
		case phase == 5 && did != undid:
			return "it is compensated, and " + s + " still has its effect"
		}
	}
	if phase < 4 {
		return fmt.Sprintf("it is stranded in phase %d", phase)
	}
	return ""
}

// add reads the effects in a service's database.
func (b *books) add(t *testing.T, all effects, service string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(b.dir, ".atoll", "data", service, "*.db"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("databases of %s: %v, %v", service, paths, err)
	}
	db := b.open(t, paths[0])
	defer db.Close() //nolint:errcheck // nothing is written
	rows, err := db.QueryContext(t.Context(), "SELECT id, step || ' ' || op, count(*) FROM effects GROUP BY 1, 2")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // what it says, Err has said
	for rows.Next() {
		var id, what string
		var n int
		if err := rows.Scan(&id, &what, &n); err != nil {
			t.Fatal(err)
		}
		if all[id] == nil {
			all[id] = map[string]int{}
		}
		all[id][what] += n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
