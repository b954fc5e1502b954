package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/webhook"
)

var _ webhook.Store = bus.Log(nil) // what the bus keeps its own documents in will do

// cabinet is a store in memory.
type cabinet struct {
	mu    sync.Mutex // guards what follows
	docs  map[string][]byte
	saves int
	fail  error
}

func (c *cabinet) Save(_ context.Context, docs map[string][]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.saves++
	if c.fail != nil {
		return c.fail
	}
	if c.docs == nil {
		c.docs = map[string][]byte{}
	}
	for name, text := range docs {
		if text == nil {
			delete(c.docs, name)
		} else {
			c.docs[name] = bytes.Clone(text)
		}
	}
	return nil
}

func (c *cabinet) Load(_ context.Context, prefix string) (map[string][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := maps.Clone(c.docs)
	maps.DeleteFunc(out, func(name string, _ []byte) bool { return !strings.HasPrefix(name, prefix) })
	return out, nil
}

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func registry(t *testing.T, c *cabinet, o *webhook.RegistryOptions) *webhook.Registry {
	t.Helper()
	r, err := webhook.OpenRegistry(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func spec(change func(*webhook.Spec)) webhook.Spec {
	s := webhook.Spec{URL: "https://partner.example/hooks", Topics: []string{"order.placed"}}
	if change != nil {
		change(&s)
	}
	return s
}

func create(t *testing.T, r *webhook.Registry, s webhook.Spec) (webhook.Endpoint, string) {
	t.Helper()
	e, secret, err := r.Create(t.Context(), s, noon())
	if err != nil {
		t.Fatal(err)
	}
	return e, secret
}

func TestEndpointsOutliveTheRegistryWithTheirSecrets(t *testing.T) {
	c := &cabinet{docs: map[string][]byte{"cursor.webhook": []byte("of somebody else")}}
	r := registry(t, c, nil)
	e, secret := create(t, r, spec(func(s *webhook.Spec) {
		s.Name, s.Topics, s.Filter = "Partner", []string{"b", "a.*", "b"}, map[string]string{"subject": "x"}
	}))
	_, rotated, err := r.Rotate(t.Context(), e.ID, noon())
	if err != nil {
		t.Fatal(err)
	}
	again := registry(t, c, nil)
	got, err := again.Get(e.ID)
	if err != nil || got.Name != "Partner" || fmt.Sprint(got.Topics, got.Filter) != "[a.* b] map[subject:x]" || got.State != webhook.StateActive ||
		!got.Created.Equal(noon()) || got.URL != e.URL {
		t.Errorf("%+v, %v", got, err)
	}
	if list, err := again.Reveal(e.ID, noon()); err != nil || fmt.Sprint(list) != fmt.Sprint([]string{rotated, secret}) {
		t.Errorf("revealed %d secrets, %v", len(list), err)
	}
	if err := again.Remove(t.Context(), e.ID); err != nil {
		t.Error(err)
	}
	if left := registry(t, c, nil).List(); len(left) != 0 || len(c.docs) != 1 {
		t.Errorf("after its removal there is %v, stored %d", left, len(c.docs))
	}
	if _, err := again.Get(e.ID); fault.CodeOf(err) != fault.CodeWebhookUnknown {
		t.Errorf("removed: %v", err)
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	r := registry(t, &cabinet{}, nil)
	e, secret := create(t, r, spec(nil))
	raw := strings.TrimPrefix(secret, "whsec_")
	if !strings.HasPrefix(secret, "whsec_") || len(raw) != 44 {
		t.Errorf("the secret has the form %q", secret[:6])
	}
	printed := fmt.Sprintf("%v %+v %#v %+v", e, e, e, r.List())
	if strings.Contains(printed, raw[:12]) || strings.Contains(printed, "[]byte{0x") {
		t.Errorf("printed: %s", printed)
	}
}

func TestAnOldSecretSignsForADayAfterItsRotationAndNoLonger(t *testing.T) {
	r := registry(t, &cabinet{}, nil)
	e, first := create(t, r, spec(nil))
	_, second, err := r.Rotate(t.Context(), e.ID, noon())
	if err != nil || first == second {
		t.Fatalf("rotated to %q, %v", second[:6], err)
	}
	for at, want := range map[time.Duration]int{0: 2, webhook.Overlap - 1: 2, webhook.Overlap: 1} {
		if list, err := r.Reveal(e.ID, noon().Add(at)); err != nil || len(list) != want || list[0] != second {
			t.Errorf("after %s: %d secrets sign, %v", at, len(list), err)
		}
	}
}

func TestRotatingAgainCutsOffNobodyWhoHasAnOlderSecret(t *testing.T) {
	c := &cabinet{}
	r := registry(t, c, nil)
	e, secret := create(t, r, spec(nil))
	secrets := []string{secret} // the newest first
	for hour := range 5 {
		_, next, err := r.Rotate(t.Context(), e.ID, noon().Add(time.Duration(hour)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		secrets = append([]string{next}, secrets...)
	}
	_, _, err := r.Rotate(t.Context(), e.ID, noon().Add(webhook.Overlap-1))
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.CodeWebhookRotated || !strings.Contains(f.Remedy, "2026-11-24T12:00:00Z") {
		t.Errorf("the sixth rotation, while the first secret signs: %v", err)
	}
	for name, r := range map[string]*webhook.Registry{"at once": r, "opened anew": registry(t, c, nil)} {
		for after, want := range map[time.Duration]int{4 * time.Hour: 6, webhook.Overlap - 1: 6, webhook.Overlap: 5, webhook.Overlap + 2*time.Hour: 3, 2 * webhook.Overlap: 1} {
			if list, err := r.Reveal(e.ID, noon().Add(after)); err != nil || !slices.Equal(list, secrets[:want]) {
				t.Errorf("%s, after %s: %d secrets sign, %d should: %v", name, after, len(list), want, err)
			}
		}
	}
	if _, _, err := r.Rotate(t.Context(), e.ID, noon().Add(webhook.Overlap)); err != nil {
		t.Errorf("a rotation once the first secret has ended: %v", err)
	}
}

func TestAnOldSecretThatAnEarlierVersionStoredSignsOn(t *testing.T) {
	c := &cabinet{docs: map[string][]byte{"webhook.endpoint.wh_1": []byte(
		`{"id":"wh_1","url":"https://partner.example/","topics":["*"],"state":"active","since":"2026-11-23T11:00:00Z","created":"2026-11-23T11:00:00Z",` +
			`"secret":"bmV3","previous":"b2xk","previous_until":"2026-11-24T12:00:00Z"}`)}}
	list, err := registry(t, c, nil).Reveal("wh_1", noon())
	if err != nil || !slices.Equal(list, []string{"whsec_bmV3", "whsec_b2xk"}) {
		t.Errorf("got %q, %v", list, err)
	}
}

func TestEndpointsThatCannotBeAreRefusedWithAReason(t *testing.T) {
	r := registry(t, &cabinet{}, &webhook.RegistryOptions{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}})
	url := func(u string) func(*webhook.Spec) { return func(s *webhook.Spec) { s.URL = u } }
	for name, c := range map[string]struct {
		change func(*webhook.Spec)
		code   fault.Code
	}{
		"no URL":               {url(""), fault.CodeWebhookInvalid},
		"no host":              {url("https:///x"), fault.CodeWebhookInvalid},
		"a port alone":         {url("https://:443/x"), fault.CodeWebhookInvalid},
		"no scheme":            {url("partner.example/x"), fault.CodeWebhookInvalid},
		"a file":               {url("file:///etc/passwd"), fault.CodeWebhookInvalid},
		"http":                 {url("http://partner.example/"), fault.CodeWebhookInvalid},
		"credentials":          {url("https://me:pw@partner.example/"), fault.CodeWebhookInvalid},
		"a fragment":           {url("https://partner.example/#a"), fault.CodeWebhookInvalid},
		"port 0":               {url("https://partner.example:0/"), fault.CodeWebhookInvalid},
		"port 70000":           {url("https://partner.example:70000/"), fault.CodeWebhookInvalid},
		"too long":             {url("https://partner.example/" + strings.Repeat("x", 2048)), fault.CodeWebhookInvalid},
		"loopback":             {url("https://127.0.0.1/"), fault.CodeWebhookAddress},
		"loopback by name":     {url("https://LOCALHOST./"), fault.CodeWebhookAddress},
		"loopback, IPv6":       {url("https://[::1]:8443/"), fault.CodeWebhookAddress},
		"metadata":             {url("https://169.254.169.254/latest"), fault.CodeWebhookAddress},
		"metadata, allowed":    {func(s *webhook.Spec) { s.URL, s.AllowPrivate = "http://169.254.169.254/", true }, fault.CodeWebhookAddress},
		"no topics":            {func(s *webhook.Spec) { s.Topics = nil }, fault.CodeWebhookInvalid},
		"a topic that is none": {func(s *webhook.Spec) { s.Topics = []string{"Order Placed"} }, fault.CodeWebhookInvalid},
		"a star in a word":     {func(s *webhook.Spec) { s.Topics = []string{"ord*"} }, fault.CodeWebhookInvalid},
		"a name of two lines":  {func(s *webhook.Spec) { s.Name = "a\nb" }, fault.CodeWebhookInvalid},
		"a filter for nothing": {func(s *webhook.Spec) { s.Filter = map[string]string{"subject": ""} }, fault.CodeWebhookInvalid},
		"a filter by no name":  {func(s *webhook.Spec) { s.Filter = map[string]string{"Sub-Ject": "x"} }, fault.CodeWebhookInvalid},
	} {
		_, _, err := r.Create(t.Context(), spec(c.change), noon())
		if fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*webhook.Spec){
		"private, allowed":       func(s *webhook.Spec) { s.URL, s.AllowPrivate = "http://192.168.1.2:8080/x", true },
		"loopback, allowed":      func(s *webhook.Spec) { s.URL, s.AllowPrivate = "http://localhost:8080/x", true },
		"in an allowed network":  url("https://10.1.2.3/"),
		"all topics":             func(s *webhook.Spec) { s.Topics = []string{"*"} },
		"with a port and a path": url("https://partner.example:8443/a?b=c"),
	} {
		if _, _, err := r.Create(t.Context(), spec(change), noon()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnEndpointGetsWhatItAskedForAndNothingElse(t *testing.T) {
	e := webhook.Endpoint{Topics: []string{"order.*", "lead.won"}, Filter: map[string]string{"subject": "acme"}}
	acme := func(name string) string { return map[string]string{"subject": "acme"}[name] }
	for topic, want := range map[string]bool{
		"order.placed": true, "order.line.added": true, "order": false, "orders.placed": false, "lead.won": true, "lead.won.big": false, "lead": false,
	} {
		if e.Wants(topic, acme) != want {
			t.Errorf("%s: %v", topic, !want)
		}
	}
	if e.Wants("lead.won", func(string) string { return "" }) {
		t.Error("an event without the attribute passes the filter")
	}
	if !(webhook.Endpoint{Topics: []string{"*"}}).Wants("anything", nil) {
		t.Error("* does not stand for all")
	}
}

func failure(at time.Duration) webhook.Result {
	return webhook.Result{At: noon().Add(at), Class: webhook.ClassStatus, Status: 500}
}

func success(at time.Duration) webhook.Result {
	return webhook.Result{At: noon().Add(at), Status: 204}
}

func TestThreeDaysOfNothingButFailuresDisableWithOneNotice(t *testing.T) {
	c := &cabinet{}
	r := registry(t, c, nil)
	e, _ := create(t, r, spec(nil))
	record := func(result webhook.Result) *fault.Error {
		t.Helper()
		notice, err := r.Record(t.Context(), e.ID, result)
		if err != nil {
			t.Fatal(err)
		}
		return notice
	}
	for _, result := range []webhook.Result{
		failure(0), failure(71 * time.Hour), success(71*time.Hour + 1), failure(72 * time.Hour), failure(143 * time.Hour),
		{At: noon().Add(200 * time.Hour), Class: webhook.ClassAborted}, // a stop of the sender is no failure of the receiver
	} {
		if notice := record(result); notice != nil {
			t.Fatalf("after %s: %v", result.At.Sub(noon()), notice)
		}
	}
	saves := c.saves
	if notice := record(failure(143*time.Hour + 1)); notice != nil {
		t.Errorf("too early: %v", notice)
	}
	if c.saves != saves {
		t.Error("a failure among failures is written to the store")
	}
	notice := record(failure(144 * time.Hour))
	if notice == nil || notice.Code != fault.CodeWebhookDisabled || !strings.Contains(notice.Text, "since 2026-11-26T12:00:00Z failed") {
		t.Fatalf("notice %v", notice)
	}
	if again := record(failure(145 * time.Hour)); again != nil {
		t.Errorf("a second notice: %v", again)
	}
	got, _ := registry(t, c, nil).Get(e.ID)
	if got.State != webhook.StateDisabled || got.Reason != webhook.ReasonFailing || !got.Since.Equal(noon().Add(144*time.Hour)) {
		t.Errorf("after a restart: %+v", got)
	}
	if got, err := r.Enable(t.Context(), e.ID, noon().Add(150*time.Hour)); err != nil || got.State != webhook.StateActive || got.Notice() != nil {
		t.Errorf("enabled: %+v, %v", got, err)
	}
	if notice := record(failure(151 * time.Hour)); notice != nil {
		t.Errorf("the failures before it was enabled count: %v", notice)
	}
}

func TestAReceiverThatIsGoneIsDisabledAtOnce(t *testing.T) {
	r := registry(t, &cabinet{}, nil)
	e, _ := create(t, r, spec(nil))
	gone := webhook.Result{At: noon(), Class: webhook.ClassStatus, Status: 410}
	notice, err := r.Record(t.Context(), e.ID, gone)
	if err != nil || notice == nil || !strings.Contains(notice.Text, "410") {
		t.Errorf("notice %v, %v", notice, err)
	}
	if got, _ := r.Get(e.ID); got.Reason != webhook.ReasonGone {
		t.Errorf("%+v", got)
	}
	if notice, err := r.Record(t.Context(), "wh_removed", gone); notice != nil || err != nil {
		t.Errorf("of one that was removed: %v, %v", notice, err)
	}
}

func TestAChangeThatIsNotDurableIsNotVisible(t *testing.T) {
	c := &cabinet{}
	var told []string
	r := registry(t, c, &webhook.RegistryOptions{OnChange: func(id string) { told = append(told, id) }})
	e, _ := create(t, r, spec(nil))
	c.fail = errors.New("the disk is full")
	for name, change := range map[string]func() error{
		"create": func() error { _, _, err := r.Create(t.Context(), spec(nil), noon()); return err },
		"update": func() error {
			_, err := r.Update(t.Context(), e.ID, spec(func(s *webhook.Spec) { s.Name = "new" }))
			return err
		},
		"rotate":  func() error { _, _, err := r.Rotate(t.Context(), e.ID, noon()); return err },
		"disable": func() error { _, err := r.Disable(t.Context(), e.ID, noon()); return err },
		"record":  func() error { _, err := r.Record(t.Context(), e.ID, failure(0)); return err },
		"remove":  func() error { return r.Remove(t.Context(), e.ID) },
	} {
		if err := change(); !errors.Is(err, c.fail) {
			t.Errorf("%s: %v", name, err)
		}
	}
	list := r.List()
	secrets, err := r.Reveal(e.ID, noon())
	if err != nil || len(list) != 1 || list[0].Name != "" || list[0].State != webhook.StateActive || !list[0].Failing.IsZero() || len(secrets) != 1 {
		t.Errorf("visible: %+v, %d secrets, %v", list, len(secrets), err)
	}
	if fmt.Sprint(told) != fmt.Sprint([]string{e.ID}) {
		t.Errorf("told of %v", told)
	}
}

func TestWhatACallerDoesToAnEndpointChangesNothing(t *testing.T) {
	r := registry(t, &cabinet{}, nil)
	e, _ := create(t, r, spec(func(s *webhook.Spec) { s.Filter = map[string]string{"subject": "x"} }))
	e.Topics[0], e.Filter["subject"] = "other", "other"
	list := r.List()
	list[0].Topics[0] = "other"
	if got, _ := r.Get(e.ID); got.Topics[0] != "order.placed" || got.Filter["subject"] != "x" {
		t.Errorf("%+v", got)
	}
}

func TestThereAreOnlySoManyEndpoints(t *testing.T) {
	r := registry(t, &cabinet{}, nil)
	for range webhook.MaxEndpoints {
		create(t, r, spec(nil))
	}
	if _, _, err := r.Create(t.Context(), spec(nil), noon()); fault.CodeOf(err) != fault.CodeWebhookTooMany {
		t.Errorf("one more: %v", err)
	}
	if list := r.List(); list[0].ID == list[1].ID || len(list) != webhook.MaxEndpoints {
		t.Errorf("%d listed", len(list))
	}
}

func TestChangesAtOnceLoseNone(t *testing.T) {
	r := registry(t, &cabinet{}, nil)
	e, _ := create(t, r, spec(nil))
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if i%2 == 0 {
				_, _ = r.Record(t.Context(), e.ID, failure(time.Duration(i)))
				_ = r.List()
				return
			}
			if _, _, err := r.Create(t.Context(), spec(nil), noon()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, err := r.Get(e.ID); err != nil || got.Failing.IsZero() || len(r.List()) != 11 {
		t.Errorf("%d endpoints, %+v, %v", len(r.List()), got, err)
	}
}
