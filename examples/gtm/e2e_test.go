package gtm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/gtm/internal/contracttest"
)

// app is the six services as processes, with the environment that Atoll promises and a plain reverse proxy for
// a gateway.
type app struct {
	t       *testing.T
	dir     string // of binaries and databases
	gateway string
	ports   map[string]string
	running map[string]*exec.Cmd
	client  *http.Client
}

func calls() map[string][]string {
	return map[string][]string{
		"leads": {"enrichment", "qualification", "routing", "crm"}, "web": {"leads"},
		"enrichment": nil, "qualification": nil, "routing": nil, "crm": nil,
	}
}

// up builds and starts the named services; without names, all.
func up(t *testing.T, names ...string) *app {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs all services: run without -short, as make test does")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed, which make test would do: apt-get install nodejs")
	}
	a := &app{t: t, dir: t.TempDir(), ports: map[string]string{}, running: map[string]*exec.Cmd{}, client: &http.Client{}}
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(calls()))
	}
	var wg sync.WaitGroup
	for _, name := range names {
		a.ports[name] = freePort(t)
		if name == "enrichment" {
			continue
		}
		wg.Go(func() {
			build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(a.dir, name), "./services/"+name)
			if out, err := build.CombinedOutput(); err != nil {
				t.Errorf("build %s: %v\n%s", name, err, out)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, name := range names {
		a.start(name)
	}
	t.Cleanup(func() {
		for name := range a.running {
			a.stop(name, syscall.SIGTERM)
		}
	})
	for _, name := range names {
		a.ready(name)
	}
	a.gateway = a.proxy()
	return a
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

func (a *app) url(name string) string { return "http://127.0.0.1:" + a.ports[name] }

func (a *app) start(name string) {
	a.t.Helper()
	cmd := exec.Command(filepath.Join(a.dir, name))
	if name == "enrichment" {
		cmd = exec.Command("node", "server.mjs")
	}
	cmd.Dir = filepath.Join("services", name)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "PORT=" + a.ports[name], "ATOLL_SERVICE=" + name, "ATOLL_REPLICA=1",
		"DATABASE_URL=sqlite://" + filepath.Join(a.dir, name+".db"),
	}
	for _, callee := range calls()[name] {
		cmd.Env = append(cmd.Env, strings.ToUpper(callee)+"_URL="+a.url(callee))
	}
	log, err := os.OpenFile(filepath.Join(a.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		a.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	a.running[name] = cmd
}

// stop ends a service; one that is told in peace must end with code 0.
func (a *app) stop(name string, signal syscall.Signal) {
	a.t.Helper()
	cmd := a.running[name]
	if err := cmd.Process.Signal(signal); err != nil {
		a.t.Error(err)
	}
	if err := cmd.Wait(); err != nil && signal == syscall.SIGTERM {
		log, _ := os.ReadFile(filepath.Join(a.dir, name+".log"))
		a.t.Errorf("%s: %v\n%s", name, err, log[max(len(log)-2000, 0):])
	}
}

func (a *app) ready(name string) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		resp, err := a.client.Get(a.url(name) + "/healthz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(a.dir, name+".log"))
			a.t.Fatalf("%s does not get ready\n%s", name, log)
		}
	}
}

// proxy stands for the gateway, with the routes of atoll.yaml.
func (a *app) proxy() string {
	to := func(name string) http.Handler {
		target, _ := url.Parse(a.url(name))
		return &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	}
	mux := http.NewServeMux()
	mux.Handle("/api/leads", to("leads"))
	mux.Handle("/api/leads/", to("leads"))
	mux.Handle("/api/crm/", to("crm"))
	mux.Handle("/api/routing/", to("routing"))
	mux.Handle("/", to("web"))
	srv := httptest.NewServer(mux)
	a.t.Cleanup(srv.Close)
	return srv.URL
}

func (a *app) get(path string, out any) {
	a.t.Helper()
	resp, err := a.client.Get(a.gateway + path)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		a.t.Fatalf("%s: %s %v\n%s", path, resp.Status, err, body)
	}
	if err := json.Unmarshal(body, out); err != nil {
		a.t.Fatalf("%s: %v", path, err)
	}
}

func TestEveryLeadOfTheDemoIsProcessedAlthoughServicesAreKilled(t *testing.T) {
	a := up(t)
	var out bytes.Buffer
	demo := exec.CommandContext(t.Context(), "go", "run", "./cmd/demo", "-wait", "2m", a.gateway)
	demo.Stdout, demo.Stderr = &out, &out
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"leads", "crm", "enrichment", "routing", "leads"} {
		a.await((i + 1) * 150) // in the middle of the work
		a.stop(name, syscall.SIGKILL)
		a.start(name)
		a.ready(name)
	}
	if err := demo.Wait(); err != nil {
		t.Fatalf("demo: %v\n%s", err, &out)
	}
	t.Log(out.String())
	var page struct {
		Owners []struct {
			Leads int `json:"leads"`
		} `json:"owners"`
	}
	a.get("/api/routing/owners", &page)
	sum := 0
	for _, o := range page.Owners {
		sum += o.Leads
	}
	if want := a.count("verdict=MQL") + a.count("verdict=MQA"); sum != want {
		t.Errorf("%d assignments for %d qualified leads", sum, want)
	}
}

// await waits until so many leads are done.
func (a *app) await(n int) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		resp, err := a.client.Get(a.gateway + "/api/leads/imports/1")
		if err == nil {
			var batch struct{ Done int }
			err = json.NewDecoder(resp.Body).Decode(&batch)
			resp.Body.Close()
			if err == nil && batch.Done >= n {
				return
			}
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			a.t.Fatalf("%d leads are not done", n)
		}
	}
}

func (a *app) count(filter string) (n int) {
	a.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Leads []any
			Next  string
		}
		a.get(fmt.Sprintf("/api/leads?limit=500&%s&cursor=%s", filter, cursor), &page)
		n += len(page.Leads)
		if cursor = page.Next; cursor == "" {
			return n
		}
	}
}

func TestTheContractOfEnrichmentIsTrue(t *testing.T) {
	a := up(t, "enrichment")
	c := contracttest.Load(t, "services/enrichment/openapi.yaml")
	for body, want := range map[string]int{
		`{"email":"ada@stripe.com"}`: 200, `{"email":"ada@bosch.de"}`: 200, `{"email":"ada@gmail.com"}`: 200,
		`{"email":"ada@mailinator.com"}`: 200, `{"email":"nobody"}`: 422, `{`: 400,
	} {
		resp, err := c.Client().Post(a.url("enrichment")+"/enrich", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("%s: %s", body, resp.Status)
		}
	}
	c.AllSeen()
}
