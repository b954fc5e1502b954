package manifest

import (
	"path/filepath"
	"slices"
	"strings"
)

// Events is where the events of an application are kept, and for how long.
type Events struct {
	NATS        string `key:"nats" doc:"URL of a NATS cluster with JetStream, such as nats://nats.internal:4222; several are separated by commas. Without it Atoll runs a server of its own, in its process."`
	Credentials string `key:"credentials" doc:"Name of the secret that opens the cluster of nats: user:password, a token, or the text of a .creds file."`
	Replicas    int    `key:"replicas" default:"1" doc:"How many servers of the cluster of nats keep a copy of each event: 1, 3 or 5. An event is acknowledged when most of them have it."`
	Keep        Keep   `key:"keep" doc:"How long events are kept after every subscription has settled them, for replay."`
}

// Keep bounds what is kept of the events that are settled. What some subscription has not settled is never dropped.
type Keep struct {
	Age  Duration `key:"age" default:"168h" doc:"Age beyond which a settled event may be dropped; at least 1m."`
	Size Size     `key:"size" default:"10GB" doc:"Size of all events together beyond which the oldest settled ones are dropped; at least 10MB. When what is not settled grows to it, publishing is refused until subscribers have caught up."`
}

// Publish is a topic that a service may publish events to.
type Publish struct {
	Topic   string `key:"topic" required:"true" doc:"Name of the topic: lower-case words joined by dots, such as order.placed."`
	Schema  string `key:"schema" doc:"JSON Schema of the events' data: a file, relative to the service's folder. An event whose data does not fit is refused when it is published, whoever publishes it."`
	Summary string `key:"summary" doc:"What an event of this topic says, in one sentence."`
}

// SubscribeNATS is the target of a subscription whose events the service takes itself, over NATS.
const SubscribeNATS = "nats"

// Order is in which order a subscription's events are delivered.
type Order string

// The orders.
const (
	OrderKey  Order = "key"  // events of one ordering key one after the other
	OrderNone Order = "none" // whatever order
)

// Subscription is how the events of a topic come to a service.
type Subscription struct {
	To          string   `key:"to" required:"true" doc:"Where the events go: a path of the service, to which each is sent by POST and which takes it by answering 2xx; or nats, when the service takes them itself from NATS_URL."`
	Concurrency int      `key:"concurrency" default:"16" doc:"How many events are on their way to the service at once, over all of its replicas; from 1 to 1024. The others wait in the log."`
	Attempts    int      `key:"attempts" default:"16" doc:"How often an event is tried before it becomes a dead letter, from 1 to 1000. Answers 400, 410 and 422 say never: it becomes one at once."`
	Timeout     Duration `key:"timeout" default:"30s" doc:"How long the service may take to answer one attempt, at most 1h; after that the attempt has failed."`
	Backoff     Duration `key:"backoff" default:"500ms" doc:"Wait before the second attempt; it doubles with each further one, with some chance in it."`
	MaxBackoff  Duration `key:"max_backoff" default:"10m" doc:"Longest wait between two attempts."`
	Order       Order    `key:"order" enum:"key,none" default:"key" doc:"key delivers events of one ordering key (the attribute partitionkey) one after the other, so that one that fails holds up those behind it, of its key alone; none delivers whatever is there."`
}

// Direct tells whether the service takes the events itself, over NATS.
func (s Subscription) Direct() bool { return s.To == SubscribeNATS }

// Missed is what a schedule does about the times that passed while Atoll did not run.
type Missed string

// What can be done about them.
const (
	MissedOnce Missed = "once" // publish one event for all of them
	MissedSkip Missed = "skip" // publish none
)

// Schedule is an event that is published by the clock.
type Schedule struct {
	Name    string `key:"name" required:"true" doc:"Name of the schedule, unique within the service: lower-case letters, digits and hyphens."`
	Cron    Cron   `key:"cron" required:"true" doc:"When: minute, hour, day of the month, month and day of the week, such as \"0 7 * * mon-fri\"; or @hourly, @daily, @weekly, @monthly, @yearly. Put it in quotes."`
	Zone    string `key:"zone" default:"UTC" doc:"Time zone that cron is read in, such as Europe/Vienna. When the clocks change, a time that is skipped happens at the change and one that comes twice happens once; with * for the hour it goes on by the hour."`
	Publish string `key:"publish" required:"true" doc:"Topic of the event; it must be one of the service's publishes."`
	Data    JSON   `key:"data" doc:"Data of the event: any value, published as JSON. Without it the event has none."`
	Missed  Missed `key:"missed" enum:"once,skip" default:"once" doc:"What happens about times that passed while Atoll did not run: once publishes one event for all of them, skip none."`
}

// JSON is a JSON text, or "" where there is none. A manifest writes it as any YAML value.
type JSON string

// WebhookScheme is how a webhook is signed.
type WebhookScheme string

// The schemes.
const (
	WebhookStandard WebhookScheme = "standard" // https://www.standardwebhooks.com
	WebhookGitHub   WebhookScheme = "github"
	WebhookStripe   WebhookScheme = "stripe"
	WebhookHMAC     WebhookScheme = "hmac" // HMAC-SHA256 of the body in some header
)

// Webhook is the signature that requests of a route must bear.
type Webhook struct {
	Scheme    WebhookScheme `key:"scheme" required:"true" enum:"standard,github,stripe,hmac" doc:"How the sender signs: standard (Standard Webhooks), github (X-Hub-Signature-256), stripe (Stripe-Signature), or hmac (HMAC-SHA256 of the body in a header of your choice)."`
	Secret    string        `key:"secret" required:"true" doc:"Name of the secret that is shared with the sender; several values, one a line or separated by commas, are all taken, so that it can be changed without a gap."`
	Header    string        `key:"header" doc:"Only of hmac: the header that holds the signature."`
	Prefix    string        `key:"prefix" doc:"Only of hmac: what stands before the signature in the header, such as sha256=."`
	Encoding  string        `key:"encoding" enum:"hex,base64" default:"hex" doc:"Only of hmac: how the signature is written."`
	Tolerance Duration      `key:"tolerance" default:"5m" doc:"Only of standard and stripe: how old, or how far ahead, the signed time may be; at most 1h."`
}

// Topic is all that the manifests of an application say about one topic.
type Topic struct {
	Name        string
	Summary     string
	Schema      string   // absolute path of its JSON Schema, or ""
	Publishers  []string // services, sorted
	Routes      []Route  // routes of the gateway that publish to it
	Subscribers []string // services, sorted
	Sagas       []string // sagas that its events start, or that wait for them; sorted
}

// Topics lists the topics that an application publishes, subscribes to or takes in sagas, by name.
func (a *App) Topics() []Topic {
	byName := map[string]*Topic{}
	topic := func(name string) *Topic {
		if byName[name] == nil {
			byName[name] = &Topic{Name: name}
		}
		return byName[name]
	}
	for _, s := range a.Services { // sorted by name
		for _, p := range s.Publishes {
			t := topic(p.Topic)
			t.Publishers = append(t.Publishers, s.Name)
			if t.Summary == "" {
				t.Summary = p.Summary
			}
			if t.Schema == "" && p.Schema != "" {
				t.Schema = filepath.Join(s.Dir, filepath.FromSlash(p.Schema))
			}
		}
		for name := range s.Subscribes {
			t := topic(name)
			t.Subscribers = append(t.Subscribers, s.Name)
		}
	}
	for _, s := range a.Sagas { // sorted by name
		for _, name := range s.Topics() {
			t := topic(name)
			t.Sagas = append(t.Sagas, s.Name)
		}
	}
	for _, r := range a.Gateway.Routes {
		if r.Publish != "" {
			t := topic(r.Publish)
			t.Routes = append(t.Routes, r)
		}
	}
	out := make([]Topic, 0, len(byName))
	for _, t := range byName {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Topics lists the names of the topics that the service may publish to, as it declares them.
func (s *Service) Topics() []string {
	names := make([]string, len(s.Publishes))
	for i, p := range s.Publishes {
		names[i] = p.Topic
	}
	return names
}

// Events tells whether the service has to do with events, so that it finds EVENTS_URL and NATS_URL in its environment.
func (s *Service) Events() bool {
	return len(s.Publishes) > 0 || len(s.Subscribes) > 0 || len(s.Schedules) > 0
}
