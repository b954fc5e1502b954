package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	receiver "github.com/atollhq/atoll/docs/howto/code/webhooks"
	"github.com/atollhq/atoll/internal/webhook"
)

// delivery is a webhook as a receiver meets it, and whether it shall be taken.
type delivery struct {
	Name    string            `json:"name"`
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"` // in lower case, as Node has them
	Body    string            `json:"body"`
	Good    bool              `json:"good"`
}

// deliveries are what every receiver must judge rightly.
func deliveries(t *testing.T) []delivery {
	t.Helper()
	const mine, old = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_b2xkIHNlY3JldCBvZiB0aGUgc2VuZGVy"
	const body = `{"specversion":"1.0","type":"order.placed","data":{"name":"Zoë"}}`
	var out []delivery
	add := func(name, signedWith string, at time.Time, secret, body string, good bool, change func(map[string]string)) {
		k, err := webhook.NewKeys(webhook.Settings{Scheme: webhook.SchemeStandard, Secret: signedWith})
		if err != nil {
			t.Fatal(err)
		}
		h := map[string]string{}
		for _, f := range k.Sign("msg_1", at, []byte(`{"specversion":"1.0","type":"order.placed","data":{"name":"Zoë"}}`)) {
			h[strings.ToLower(f.Name)] = f.Value
		}
		if change != nil {
			change(h)
		}
		out = append(out, delivery{name, secret, h, body, good})
	}
	now := time.Now()
	add("as it was sent", mine, now, mine, body, true, nil)
	add("during a rotation, by who has the new secret", mine+","+old, now, mine, body, true, nil)
	add("during a rotation, by who has the old secret", mine+","+old, now, old, body, true, nil)
	add("with another body", mine, now, mine, body+" ", false, nil)
	add("with another secret", old, now, mine, body, false, nil)
	add("sent again later", mine, now.Add(-6*time.Minute), mine, body, false, nil)
	add("from the future", mine, now.Add(6*time.Minute), mine, body, false, nil)
	add("with another id", mine, now, mine, body, false, func(h map[string]string) { h["webhook-id"] = "msg_2" })
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		add("without "+name, mine, now, mine, body, false, func(h map[string]string) { delete(h, name) })
	}
	add("with rubbish for a signature", mine, now, mine, body, false, func(h map[string]string) { h["webhook-signature"] = "v1, v1,!! v2,AAAA" })
	return out
}

func TestTheReceiverInGoTakesWhatAtollSendsAndNothingElse(t *testing.T) {
	for _, d := range deliveries(t) {
		h := http.Header{}
		for name, value := range d.Headers {
			h.Set(name, value)
		}
		if receiver.Verify(d.Secret, h, []byte(d.Body)) != d.Good {
			t.Errorf("%s: taken %v", d.Name, !d.Good)
		}
	}
}

func TestTheReceiverInNodeTakesWhatAtollSendsAndNothingElse(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed, which make test would do: apt-get install nodejs")
	}
	list, err := json.Marshal(deliveries(t))
	if err != nil {
		t.Fatal(err)
	}
	const script = `import { readFileSync } from "node:fs";
import { verify } from "./howto/code/webhooks/verify.mjs";
for (const d of JSON.parse(readFileSync(0, "utf8"))) {
  const got = verify(d.secret, d.headers, Buffer.from(d.body));
  console.log(got === d.good ? "right" : d.name + ": taken " + got);
}`
	cmd := exec.CommandContext(t.Context(), "node", "--input-type=module", "-e", script)
	cmd.Stdin = bytes.NewReader(list)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != strings.Repeat("right\n", len(deliveries(t))) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheHowtoShowsTheReceiversAsTheyAre(t *testing.T) {
	page, err := os.ReadFile("howto/send-webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, language := range map[string]string{"verify.mjs": "js", "verify.go": "go"} {
		code, err := os.ReadFile("howto/code/webhooks/" + name)
		if err != nil {
			t.Fatal(err)
		}
		_, shown, _ := strings.Cut(string(code), "\n)\n\n") // of Go only what follows the imports
		if language == "js" {
			shown = string(code)
		}
		if !strings.Contains(string(page), fmt.Sprintf("```%s\n%s```\n", language, shown)) {
			t.Errorf("the page shows another %s than howto/code/webhooks has", name)
		}
	}
}
