package gtm_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// app is the application as `atoll up` runs it, as a copy of its own.
type app struct {
	t       *testing.T
	atoll   string // the program
	copy    string
	gateway string
	client  *http.Client
}

// up builds Atoll and starts the application. The environment variable ATOLL names a program to use instead.
func up(t *testing.T) *app {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs all services: run without -short, as make test does")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed, which make test would do: apt-get install nodejs")
	}
	a := &app{t: t, atoll: os.Getenv("ATOLL"), client: &http.Client{}}
	if a.atoll == "" {
		a.atoll = filepath.Join(t.TempDir(), "atoll")
		build := exec.CommandContext(t.Context(), "go", "build", "-C", "../..", "-o", a.atoll, "./cmd/atoll")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build atoll: %v\n%s", err, out)
		}
	}
	cmd := exec.CommandContext(t.Context(), a.atoll, "up", "--isolated", "--no-watch", "-d")
	cmd.Env = append(os.Environ(), "OUTREACH_DAY=200ms")
	out, err := cmd.CombinedOutput()
	if m := regexp.MustCompile(`copy +(\w+)`).FindSubmatch(out); m != nil {
		a.copy = string(m[1])
		t.Cleanup(a.down)
	}
	if m := regexp.MustCompile(`gateway +(http://\S+)`).FindSubmatch(out); m != nil {
		a.gateway = string(m[1])
	}
	if err != nil || a.copy == "" || a.gateway == "" {
		t.Fatalf("atoll up: %v\n%s", err, out)
	}
	return a
}

// down ends the application; what a test that failed needs is shown before.
func (a *app) down() {
	if a.t.Failed() {
		out, _ := a.command(context.Background(), "logs", "-n", "60").CombinedOutput()
		a.t.Logf("%s", out)
		a.showParked()
	}
	if out, err := a.command(context.Background(), "down", "--remove").CombinedOutput(); err != nil {
		a.t.Errorf("atoll down: %v\n%s", err, out)
	}
}

// showParked shows what waits for a person.
func (a *app) showParked() {
	out, _ := a.command(context.Background(), "saga", "ls", "--state", "parked", "--format", "json").Output()
	for line := range bytes.Lines(out) {
		var instance struct{ ID string }
		if json.Unmarshal(line, &instance) == nil {
			text, _ := a.command(context.Background(), "saga", "show", instance.ID).CombinedOutput()
			a.t.Logf("%s", text)
		}
	}
}

func (a *app) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, a.atoll, append([]string{"--copy", a.copy}, args...)...)
}

// kill ends the replica of a service as a crash would, once it is ready. Atoll starts it again.
func (a *app) kill(service string) {
	a.t.Helper()
	pid := 0
	a.until(func() bool {
		pid = a.pid(service)
		return pid != 0
	}, "%s does not become ready, so it cannot be killed", service)
	process, err := os.FindProcess(pid)
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		a.t.Error(err)
	}
}

// pid is the process of the replica of a service that is ready, or 0.
func (a *app) pid(service string) int {
	a.t.Helper()
	out, err := a.command(a.t.Context(), "ps", "--format", "json").Output()
	if err != nil {
		a.t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var replica struct {
			Service string
			State   string
			PID     int
		}
		if err := json.Unmarshal(lines.Bytes(), &replica); err != nil {
			a.t.Fatal(err)
		}
		if replica.Service == service && replica.State == "ready" {
			return replica.PID
		}
	}
	return 0
}

func (a *app) get(path string, out any) error {
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.gateway+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, out)
}

func TestEveryLeadOfTheDemoIsProcessedOnceAlthoughServicesAreKilled(t *testing.T) {
	a := up(t)
	var out bytes.Buffer
	demo := exec.CommandContext(t.Context(), "go", "run", "./cmd/demo", "-wait", "2m", "-atoll", a.atoll+" --copy "+a.copy, a.gateway)
	demo.Stdout, demo.Stderr = &out, &out
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	for i, service := range []string{"leads", "crm", "enrichment", "routing", "qualification", "outreach", "sink", "mailbox"} {
		a.await((i + 1) * 130) // in the middle of the work
		a.kill(service)
	}
	if err := demo.Wait(); err != nil {
		t.Fatalf("demo: %v\n%s", err, &out)
	}
	t.Log(out.String())
	a.accountsFor()
}

// await waits until so many leads of the first import are done.
func (a *app) await(n int) {
	a.t.Helper()
	a.until(func() bool {
		var batch struct{ Done int }
		return a.get("/api/leads/imports/1", &batch) == nil && batch.Done >= n
	}, "not so many leads are done: %d", n)
}

func (a *app) until(yes func() bool, format string, args ...any) {
	a.t.Helper()
	if !a.soon(yes) {
		a.t.Fatalf(format, args...)
	}
}

// soon tells whether something comes true within a minute.
func (a *app) soon(yes func() bool) bool {
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for !yes() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// accountsFor holds the books of the services against each other: as many assignments as leads for sales, and one mail of
// each step for each of them, no more.
func (a *app) accountsFor() {
	a.t.Helper()
	var team struct{ Owners []struct{ Leads int } }
	if err := a.get("/api/routing/owners", &team); err != nil {
		a.t.Fatal(err)
	}
	assigned := 0
	for _, o := range team.Owners {
		assigned += o.Leads
	}
	forSales := a.count("verdict=MQL") + a.count("verdict=MQA")
	if assigned != forSales {
		a.t.Errorf("%d assignments for %d leads", assigned, forSales)
	}
	const steps = 3
	stopped := 2 // of the demo: one lead answers the second mail, or a later one; one unsubscribes after the first, or a later one
	var mails struct{ Count int }
	least, most := forSales*steps-stopped*steps, forSales*steps
	a.until(func() bool { return a.get("/api/mailbox/mails?limit=1", &mails) == nil && mails.Count >= least },
		"%d leads for sales should get %d mails or more", forSales, least)
	if mails.Count > most {
		a.t.Errorf("%d mails to %d leads: some steps were mailed twice", mails.Count, forSales)
	}
}

func (a *app) count(filter string) (n int) {
	a.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Leads []any
			Next  string
		}
		if err := a.get("/api/leads?limit=500&"+filter+"&cursor="+cursor, &page); err != nil {
			a.t.Fatal(err)
		}
		n += len(page.Leads)
		if cursor = page.Next; cursor == "" {
			return n
		}
	}
}
