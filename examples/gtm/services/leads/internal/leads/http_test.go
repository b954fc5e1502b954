package leads_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/gtm/internal/contracttest"
	"example.com/gtm/services/leads/internal/leads"
)

func send(t *testing.T, c *http.Client, method, url, media, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, got
}

func TestTheContractIsTrue(t *testing.T) {
	s := fresh(t)
	srv := httptest.NewServer(leads.Handler(s))
	t.Cleanup(srv.Close)
	contract := contracttest.Load(t, "../../openapi.yaml")
	c := contract.Client()
	const form = "application/x-www-form-urlencoded"
	broken, err := os.ReadFile("../../../../data/broken.csv")
	if err != nil {
		t.Fatal(err)
	}
	var upload bytes.Buffer
	parts := multipart.NewWriter(&upload)
	part, err := parts.CreateFormFile("file", "leads.csv")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write([]byte("email\nfile@upload.example\n"))
	_ = parts.Close()

	_, first := send(t, c, "POST", srv.URL+"/api/leads", form, "email=ada%40stripe.com&interest=demo&seats=20")
	id, _ := first["id"].(string)
	for _, test := range []struct {
		method, path, media, body string
		want                      int
	}{
		{"POST", "/api/leads", form, "email=ADA%40stripe.com", 200},
		{"POST", "/api/leads", form, "email=nobody", 422},
		{"POST", "/api/leads", form, "email=a%40b.example&seats=many", 422},
		{"POST", "/api/leads", form, "email=" + strings.Repeat("x", 70<<10), 413},
		{"POST", "/api/leads", "application/json", `{"email":"ben@stripe.com","seats":3}`, 201},
		{"POST", "/api/leads", "application/json", `{"email":"ben@stripe.com","sets":3}`, 400},
		{"POST", "/api/leads", "text/html", `x`, 415},
		{"GET", "/api/leads?limit=1&q=stripe&state=pending", "", "", 200},
		{"GET", "/api/leads?limit=1&cursor=" + id, "", "", 200},
		{"GET", "/api/leads?state=dreaming", "", "", 400},
		{"GET", "/api/leads?limit=x", "", "", 400},
		{"GET", "/api/leads/" + id, "", "", 200},
		{"GET", "/api/leads/none", "", "", 404},
		{"GET", "/companies/Stripe.com", "", "", 200},
		{"POST", "/api/leads/import", "text/csv", string(broken), 200},
		{"POST", "/api/leads/import", parts.FormDataContentType(), upload.String(), 200},
		{"POST", "/api/leads/import", "text/csv", "no,header\n", 422},
		{"POST", "/api/leads/import", "image/png", "x", 415},
		{"GET", "/api/leads/imports/1", "", "", 200},
		{"GET", "/api/leads/imports/99", "", "", 404},
		{"GET", "/api/leads/events?after=x", "", "", 400},
	} {
		if got, body := send(t, c, test.method, srv.URL+test.path, test.media, test.body); got != test.want {
			t.Errorf("%s %s %.60s: %d %v, want %d", test.method, test.path, test.body, got, body, test.want)
		}
	}
	contract.AllSeen()
}

func TestAnImportReportsEachBadLineAndCountsTheRest(t *testing.T) {
	srv := httptest.NewServer(leads.Handler(fresh(t)))
	t.Cleanup(srv.Close)
	broken, err := os.ReadFile("../../../../data/broken.csv")
	if err != nil {
		t.Fatal(err)
	}
	_, got := send(t, srv.Client(), "POST", srv.URL+"/api/leads/import", "text/csv", string(broken))
	if got["accepted"] != 2.0 || got["duplicates"] != 1.0 || got["rejected"] != 7.0 || got["complete"] != true {
		t.Errorf("got %v", got)
	}
	_, got = send(t, srv.Client(), "POST", srv.URL+"/api/leads/import", "text/csv", string(broken))
	if got["accepted"] != 0.0 || got["duplicates"] != 3.0 {
		t.Errorf("the same file again: %v", got)
	}
}

func TestAFileThatBreaksOffKeepsWhatWasReadAndSaysSo(t *testing.T) {
	s := fresh(t)
	srv := httptest.NewServer(leads.Handler(s))
	t.Cleanup(srv.Close)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /api/leads/import HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 5000\r\n\r\n"+
		"email\na@one.example\nb@two.example\nc@thr")
	_ = conn.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 400 || !strings.Contains(string(body), `"complete":false,"accepted":2`) {
		t.Errorf("got %s %s", resp.Status, body)
	}
}

// events reads a stream of events into a channel of their data lines.
func events(t *testing.T, url, lastID string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string)
	go func() {
		defer close(out)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				select {
				case out <- data:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

func TestAReaderOfEventsSeesWhatChangedWhileItWasAway(t *testing.T) {
	s := fresh(t)
	srv := httptest.NewServer(leads.Handler(s))
	t.Cleanup(srv.Close)
	accept(t, s, "seen@a.example")
	last, err := s.Last(t.Context())
	if err != nil || last != 1 {
		t.Fatal(last, err)
	}
	accept(t, s, "missed@b.example")
	stream := events(t, srv.URL+"/api/leads/events", "1")
	if data := <-stream; !strings.Contains(data, "missed@b.example") {
		t.Errorf("first event: %s", data)
	}
	accept(t, s, "live@c.example")
	if data := <-stream; !strings.Contains(data, "live@c.example") {
		t.Errorf("second event: %s", data)
	}
}
