package notify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/alert/notify"
	"github.com/atollhq/atoll/internal/fault"
)

func notification() *alert.Notification {
	at := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	one := alert.Labels{"alert": "latency", "service": "orders", "severity": "critical"}
	two := alert.Labels{"alert": "latency", "service": "<stock>", "severity": "warning"}
	return &alert.Notification{
		ID: "alert_1", Receiver: "ops", GroupKey: `"alert"="latency",`, Group: alert.Labels{"alert": "latency"}, Common: alert.Labels{"alert": "latency"}, At: at, Truncated: 1,
		Alerts: []alert.Alert{
			{Rule: "latency", Labels: one, Severity: alert.Critical, Phase: alert.Firing, Since: at, Started: at, Value: 2.5, Unit: alert.UnitSeconds, Summary: "orders takes 2.5s\r\n.\r\nQUIT"},
			{Rule: "latency", Labels: two, Severity: alert.Warning, Phase: alert.Resolved, Since: at, Started: at, Ended: at.Add(time.Hour), Summary: "<!channel> größer & more"},
		},
	}
}

// receive serves one request and gives what it was.
func receive(t *testing.T, status int) (*httptest.Server, func() (http.Header, []byte)) {
	t.Helper()
	type request struct {
		header http.Header
		body   []byte
	}
	got := make(chan request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/elsewhere" {
			t.Error("a redirect was followed")
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		got <- request{r.Header, body}
	}))
	t.Cleanup(s.Close)
	return s, func() (http.Header, []byte) {
		r := <-got
		return r.header, r.body
	}
}

func TestAWebhookIsOfAlertmanagersFormAndSignedAfterStandardWebhooks(t *testing.T) {
	s, got := receive(t, 200)
	key := notify.Key("whsec_c2VjcmV0")
	w := &notify.Webhook{URL: s.URL, Key: key, Client: notify.NewClient(), External: "http://atoll"}
	if err := w.Notify(t.Context(), notification()); err != nil {
		t.Fatal(err)
	}
	header, body := got()
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write([]byte("alert_1." + header.Get("Webhook-Timestamp") + "."))
	mac.Write(body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); header.Get("Webhook-Signature") != want || header.Get("Webhook-Id") != "alert_1" {
		t.Errorf("the headers are %v, want the signature %s", header, want)
	}
	var p struct {
		Version, Status, Receiver, GroupKey string
		TruncatedAlerts                     int
		GroupLabels, CommonLabels           map[string]string
		Alerts                              []struct {
			Status, Fingerprint string
			Labels, Annotations map[string]string
			StartsAt, EndsAt    time.Time
		}
	}
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatal(err)
	}
	if p.Version != "4" || p.Status != "firing" || p.Receiver != "ops" || p.TruncatedAlerts != 1 || p.GroupLabels["alertname"] != "latency" || len(p.Alerts) != 2 {
		t.Errorf("the payload is %s", body)
	}
	a, b := p.Alerts[0], p.Alerts[1]
	if a.Status != "firing" || a.Labels["alertname"] != "latency" || a.Labels["alert"] != "" || a.Annotations["value"] != "2.5s" || len(a.Fingerprint) != 16 || !a.EndsAt.IsZero() {
		t.Errorf("the first is %+v", a)
	}
	if b.Status != "resolved" || b.EndsAt.Sub(b.StartsAt) != time.Hour {
		t.Errorf("the second is %+v", b)
	}
	if plain := notify.Key(" text "); string(plain) != "text" {
		t.Errorf("a key that is text is %q", plain)
	}
}

func TestSlackTakesNothingOfALabelForMarkup(t *testing.T) {
	s, got := receive(t, 200)
	if err := (&notify.Slack{URL: s.URL, Client: notify.NewClient()}).Notify(t.Context(), notification()); err != nil {
		t.Fatal(err)
	}
	_, body := got()
	var m struct {
		Text        string
		Attachments []struct{ Color, Text, Footer string }
	}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	if m.Text != "2 firing, 1 resolved: latency" || len(m.Attachments) != 2 || m.Attachments[0].Color == m.Attachments[1].Color {
		t.Errorf("the message is %s", body)
	}
	if a := m.Attachments[1]; a.Text != "&lt;!channel&gt; größer &amp; more" || strings.Contains(a.Footer, "<") {
		t.Errorf("the attachment is %+v", a)
	}
}

func TestWhoDoesNotAnswer2xxWasNotToldAndNoURLIsShown(t *testing.T) {
	for _, status := range []int{302, 400, 404, 500} {
		s, _ := receive(t, status)
		err := (&notify.Webhook{URL: s.URL + "/secret-path", Client: notify.NewClient()}).Notify(t.Context(), notification())
		if fault.CodeOf(err) != fault.CodeAlertUntold || strings.Contains(err.Error(), "secret-path") {
			t.Errorf("%d gives %v", status, err)
		}
	}
	s, _ := receive(t, 200)
	s.Close()
	err := (&notify.Slack{URL: s.URL + "/secret-path", Client: notify.NewClient()}).Notify(t.Context(), notification())
	if fault.CodeOf(err) != fault.CodeAlertUntold || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("nobody there gives %v", err)
	}
	if e := err.(*fault.Error); strings.Contains(e.Cause.Error(), "secret-path") { //nolint:errorlint // its code has been seen
		t.Errorf("the log would hold the URL: %v", e.Cause)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&notify.Slack{URL: "http://127.0.0.1:1", Client: notify.NewClient()}).Notify(ctx, notification()); err == nil {
		t.Error("who has no time has told")
	}
}

// TestWhatIsLeftOutIsNotSaidToFireWhenItIsOver has more alerts than a notification holds, all resolved.
func TestWhatIsLeftOutIsNotSaidToFireWhenItIsOver(t *testing.T) {
	s, got := receive(t, 200)
	n := notification()
	n.Alerts, n.Truncated, n.TruncatedResolved = n.Alerts[1:], 7, 7
	if err := (&notify.Slack{URL: s.URL, Client: notify.NewClient()}).Notify(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if _, body := got(); !strings.Contains(string(body), `"text":"8 resolved: latency"`) {
		t.Errorf("the message is %s", body)
	}
}
