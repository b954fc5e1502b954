package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/alert"
)

// Webhook sends a notification as JSON, of the form of Alertmanager's webhook, version 4
// (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config). The label alert is called alertname there, and so it is here.
//
// With a key the request is signed after Standard Webhooks (https://www.standardwebhooks.com): Webhook-Id is the same whenever a notification is
// tried, Webhook-Timestamp is the time of the try, and Webhook-Signature is v1 and the HMAC-SHA256 of id, timestamp and body joined by full
// stops.
type Webhook struct {
	URL      string
	Key      []byte // nil for none; see Key
	Client   *http.Client
	External string // URL at which people find the alerts; "" for none
}

var _ alert.Notifier = (*Webhook)(nil)

// Key is the key of a secret: what follows whsec_ in Base64, or the text itself.
func Key(secret string) []byte {
	secret = strings.TrimSpace(secret)
	if digits, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(digits, "=")); err == nil && len(key) > 0 {
			return key
		}
	}
	return []byte(secret)
}

// payload is what Alertmanager sends.
type payload struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []payloadAlert    `json:"alerts"`
}

type payloadAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"` // the zero time while it fires
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// Notify sends it.
func (w *Webhook) Notify(ctx context.Context, n *alert.Notification) error {
	var sign func([]byte) http.Header
	if len(w.Key) > 0 {
		sign = func(body []byte) http.Header { return w.sign(n.ID, time.Now(), body) }
	}
	return post(ctx, w.Client, w.URL, w.payload(n), sign)
}

func (w *Webhook) sign(id string, at time.Time, body []byte) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, w.Key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	h := http.Header{}
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", stamp)
	h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return h
}

func (w *Webhook) payload(n *alert.Notification) *payload {
	p := &payload{
		Version: "4", GroupKey: n.GroupKey, TruncatedAlerts: n.Truncated, Status: status(n), Receiver: n.Receiver, ExternalURL: w.External,
		GroupLabels: named(n.Group), CommonLabels: named(n.Common), CommonAnnotations: map[string]string{}, Alerts: []payloadAlert{},
	}
	for i := range n.Alerts {
		a := &n.Alerts[i]
		p.Alerts = append(p.Alerts, payloadAlert{
			Status: string(a.Phase), Labels: named(a.Labels), StartsAt: a.Started, EndsAt: a.Ended, GeneratorURL: w.External, Fingerprint: a.Labels.Fingerprint(),
			Annotations: map[string]string{"summary": a.Summary, "value": alert.FormatValue(a.Value, a.Unit)},
		})
	}
	return p
}

func status(n *alert.Notification) string {
	if n.Firing() {
		return string(alert.Firing)
	}
	return string(alert.Resolved)
}

// named are labels with alertname in the place of alert.
func named(l alert.Labels) map[string]string {
	out := maps.Clone(map[string]string(l))
	if out == nil {
		return map[string]string{}
	}
	if name, ok := out[alert.LabelAlert]; ok {
		delete(out, alert.LabelAlert)
		out["alertname"] = name
	}
	return out
}
