package chaos_test

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/natsbus"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/test/internal/rig"
)

// play is an application of publishers and consumers, each of which keeps a ledger.
type play struct {
	*app
	publishers, consumers []string
}

// eventRounds is how often Atoll is killed.
func eventRounds() int {
	if soak() {
		return 200
	}
	return 8
}

// TestNoAcknowledgedEventIsLostWhenAtollIsKilled kills Atoll at random moments, and single services in between, while
// publishers and consumers write down what they were told and what they told.
func TestNoAcknowledgedEventIsLostWhenAtollIsKilled(t *testing.T) {
	p := eventsApp(t, map[string]string{"single": "", "batch": "", "nats": ""}, "takes", "slow", "crashes", "stalls", "fails", "refuses")
	p.killAgainAndAgain(t, eventRounds())
	book := p.finale(t)
	for _, problem := range append(book.problems(), book.buried(p.dead(t))...) {
		t.Error(problem)
	}
	t.Logf("%d rounds, %d events acknowledged, %d deliveries taken, %d of them again", eventRounds(), len(book.acked), book.taken, book.again)
}

// killAgainAndAgain starts the application and kills Atoll, so many times.
func (p *play) killAgainAndAgain(t *testing.T, rounds int) {
	t.Helper()
	for round := range rounds {
		pid := p.up(t)
		moment := time.After(time.Duration(200+rand.IntN(1000)) * time.Millisecond)
		for range rand.IntN(3) {
			<-time.After(time.Duration(50+rand.IntN(200)) * time.Millisecond)
			p.killOneService(t)
		}
		<-moment
		family, err := rig.Family(pid)
		if err != nil {
			t.Fatal(err)
		}
		// Stopped first, others have the time to note what it told them last.
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatalf("round %d: Atoll has ended by itself: %v", round, err)
		}
		<-time.After(time.Duration(rand.IntN(40)) * time.Millisecond)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await(t, 10*time.Second, "all have ended", func() bool {
			return !slices.ContainsFunc(family, rig.Process.Alive)
		})
	}
}

// finale lets the application run until nothing is on its way any more, and returns what the ledgers say.
func (p *play) finale(t *testing.T) *accounts {
	t.Helper()
	p.write(t, "ledgers/quiet", "")
	p.write(t, "ledgers/calm", "")
	p.up(t)
	p.awaitQuiet(t)
	p.atoll(t, "down")
	return p.read(t)
}

// awaitQuiet waits until every event was acknowledged, and taken or refused by everybody, or nothing comes any more: what is missing
// then is missing for good.
func (p *play) awaitQuiet(t *testing.T) {
	t.Helper()
	const silence = 30 * time.Second
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	missing, since := 0, time.Now()
	for {
		book := p.read(t)
		now := len(book.missing()) + len(book.published) - len(book.acked) // the latter are published again
		switch {
		case now == 0:
			return
		case now != missing:
			missing, since = now, time.Now()
		case time.Since(since) > silence:
			t.Logf("nothing came for %v, and %d answers and deliveries are missing", silence, missing)
			return
		}
		<-ticker.C
	}
}

// eventsApp writes an application of publishers, with what their manifests say besides, and consumers.
func eventsApp(t *testing.T, publishers map[string]string, consumers ...string) *play {
	t.Helper()
	program := filepath.Join(programs.Dir, "eventsvc")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/atollhq/atoll/test/eventsvc").CombinedOutput(); err != nil {
		t.Fatalf("build eventsvc: %v\n%s", err, out)
	}
	dir, err := os.MkdirTemp("", "ae") //nolint:usetesting // a short name, for the socket
	if err != nil {
		t.Fatal(err)
	}
	p := &play{app: &app{dir: dir}, publishers: slices.Sorted(maps.Keys(publishers)), consumers: consumers}
	p.write(t, "atoll.yaml", fmt.Sprintf("app: events\nservices: [%s]\n", strings.Join(slices.Concat(p.publishers, consumers), ", ")))
	p.write(t, "ledgers/README", "")
	for _, name := range p.publishers {
		p.actor(t, name, "publishes: [order.placed]\n"+publishers[name])
	}
	for _, name := range consumers {
		p.actor(t, name, "subscribes:\n  order.placed: {to: /events, attempts: 1000, backoff: 20ms, max_backoff: 200ms, timeout: 1s}\n")
	}
	t.Cleanup(func() { p.finish(t) })
	return p
}

// actor writes the manifest of a service.
func (p *play) actor(t *testing.T, name, more string) {
	t.Helper()
	p.write(t, name+"/service.yaml", fmt.Sprintf("service: %s\nrun: eventsvc -role %s -dir %s/ledgers\nready: /healthz\nwatch: {off: true}\n%s", name, name, p.dir, more))
}

// up starts Atoll and returns its pid.
func (a *app) up(t *testing.T) int {
	t.Helper()
	a.atoll(t, "up", "-d", "--no-watch")
	run, err := rig.ReadRun(platform.StateDir(a.dir, ""))
	if err != nil {
		t.Fatal(err)
	}
	a.pid = run.PID
	return run.PID
}

func (a *app) killOneService(t *testing.T) {
	t.Helper()
	services, err := rig.Services(a.dir)
	if err != nil || len(services) == 0 {
		t.Fatalf("no services: %v", err)
	}
	if err := services[rand.IntN(len(services))].Kill(); err != nil {
		t.Fatal(err)
	}
}

// dead lists what the log holds of dead letters, by subscriber, when Atoll does not run.
func (a *app) dead(t *testing.T) map[string][]string {
	t.Helper()
	s, err := natsbus.StartServer(t.Context(), &natsbus.ServerOptions{Dir: filepath.Join(platform.StateDir(a.dir, ""), "events")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	log, err := natsbus.Open(t.Context(), nc, "events", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // nothing is written
	b, err := bus.Open(t.Context(), log, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context()) //nolint:errcheck // nothing is written
	dead := map[string][]string{}
	for from := bus.Offset(1); ; {
		letters, next, err := b.DeadLetters(t.Context(), "", from, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(letters) == 0 {
			return dead
		}
		for _, l := range letters {
			service, _, _ := strings.Cut(l.Subscription, "/")
			dead[service] = append(dead[service], l.Event.ID)
		}
		from = next
	}
}

// accounts is what all ledgers say.
type accounts struct {
	consumers        []string
	published, acked map[string]bool
	accepted         map[string][]string // by consumer, in order
	refused          map[string]map[string]bool
	taken, again     int
}

func (p *play) read(t *testing.T) *accounts {
	t.Helper()
	b := &accounts{consumers: p.consumers, published: map[string]bool{}, acked: map[string]bool{}, accepted: map[string][]string{}, refused: map[string]map[string]bool{}}
	for _, name := range p.publishers {
		p.lines(t, name, func(word, id string) {
			b.published[id] = b.published[id] || word == "P"
			b.acked[id] = b.acked[id] || word == "A"
			if !b.acked[id] {
				delete(b.acked, id)
			}
		})
	}
	for _, name := range p.consumers {
		b.refused[name] = map[string]bool{}
		p.lines(t, name, func(word, id string) {
			if word == "R" {
				b.refused[name][id] = true
			} else {
				b.accepted[name] = append(b.accepted[name], id)
			}
		})
	}
	return b
}

// lines reads the whole lines of a ledger.
func (a *app) lines(t *testing.T, name string, line func(word, id string)) {
	t.Helper()
	f, err := os.Open(filepath.Join(a.dir, "ledgers", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		if word, id, whole := strings.Cut(in.Text(), " "); whole {
			line(word, id)
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
}

// missing is what was acknowledged, and not taken by everybody.
func (b *accounts) missing() []string {
	var missing []string
	for _, name := range b.consumers {
		has := map[string]bool{}
		for _, id := range b.accepted[name] {
			has[id] = true
		}
		for id := range b.acked {
			if !has[id] && !b.refused[name][id] {
				missing = append(missing, name+" never took "+id+", which was acknowledged")
			}
		}
	}
	return missing
}

// problems is everything else that was not promised so.
func (b *accounts) problems() []string {
	problems := b.missing()
	for _, name := range b.consumers {
		seen, latest := map[string]bool{}, map[string]int{}
		for _, id := range b.accepted[name] {
			b.taken++
			if !b.published[id] {
				problems = append(problems, fmt.Sprintf("%s took %q, which nobody has published", name, id))
			}
			if seen[id] {
				b.again++
				continue
			}
			seen[id] = true
			key, number, _ := strings.Cut(id, "/")
			n, _ := strconv.Atoi(number) // of what was published it is a number
			if n <= latest[key] {
				problems = append(problems, fmt.Sprintf("%s took %s behind number %d", name, id, latest[key]))
			}
			latest[key] = n
		}
	}
	return problems[:min(len(problems), 20)]
}

// buried holds the dead letters against what was refused.
func (b *accounts) buried(dead map[string][]string) []string {
	var problems []string
	for _, name := range b.consumers {
		kept := map[string]bool{}
		for _, id := range dead[name] {
			kept[id] = true
			if !b.refused[name][id] {
				problems = append(problems, fmt.Sprintf("%s is a dead letter of %s, which did not refuse it", id, name))
			}
		}
		for id := range b.refused[name] {
			if !kept[id] && b.acked[id] {
				problems = append(problems, fmt.Sprintf("%s was refused by %s and is no dead letter", id, name))
			}
		}
	}
	return problems[:min(len(problems), 20)]
}
