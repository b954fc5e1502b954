package api

import (
	"encoding/json"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// Bus says how the events between services stand.
type Bus struct {
	Log           EventLog       `json:"log"`
	Topics        []Topic        `json:"topics"`
	Subscriptions []Subscription `json:"subscriptions"`
	Dead          uint64         `json:"dead"`    // dead letters that are kept
	Delayed       int            `json:"delayed"` // events that wait for their time
}

// EventLog is what is kept of the events of all topics.
type EventLog struct {
	First  uint64    `json:"first"` // the first offset that is kept
	Next   uint64    `json:"next"`  // the offset that the next event gets
	Events uint64    `json:"events"`
	Bytes  uint64    `json:"bytes"`
	Oldest time.Time `json:"oldest,omitzero"` // when the first was stored
}

// Topic is a name that events are published to.
type Topic struct {
	Topic       string   `json:"topic"`
	Summary     string   `json:"summary,omitempty"`
	Publishers  []string `json:"publishers"`  // services, and gateway where a route publishes
	Subscribers []string `json:"subscribers"` // services
	Schema      bool     `json:"schema"`      // it has a JSON Schema
	Published   uint64   `json:"published"`   // since the start
	Rate        float64  `json:"rate"`        // of them a second, over the last ten seconds
}

// Subscription is one reader of the events.
type Subscription struct {
	Subscription string    `json:"subscription"` // service/topic, or webhook/ID
	Topics       []string  `json:"topics"`
	State        string    `json:"state"`
	Waiting      uint64    `json:"waiting"`         // events that are not settled
	Oldest       time.Time `json:"oldest,omitzero"` // when the oldest of those that are held was stored
	InFlight     int       `json:"in_flight"`       // attempts
	Failing      int       `json:"failing"`         // events that have failed, and are tried again
	Rate         float64   `json:"rate"`            // events accepted a second, over the last ten seconds
	Accepted     uint64    `json:"accepted"`        // events since the start
	Attempts     uint64    `json:"attempts"`        // since the start
	Failed       uint64    `json:"failed"`          // of the attempts
	Died         uint64    `json:"died"`            // dead letters since the start
	Dead         uint64    `json:"dead"`            // dead letters that are kept
}

// The states of subscriptions.
const (
	SubscriptionDelivering  = "delivering"
	SubscriptionUnreachable = "unreachable" // nobody is there to take events
	SubscriptionFull        = "full"        // it holds as much as it may
	SubscriptionPaused      = "paused"      // a webhook that is disabled
	SubscriptionFailing     = "failing"     // a webhook to which the last try failed
)

// StoredEvent is an event that is kept.
type StoredEvent struct {
	Offset    uint64          `json:"offset"` // of all topics together
	Topic     string          `json:"topic"`
	Stored    time.Time       `json:"stored"`
	Publisher string          `json:"publisher,omitempty"` // a service, gateway, or operator
	Key       string          `json:"key,omitempty"`       // ordering key
	Only      string          `json:"only,omitempty"`      // the one subscription that gets it
	Due       time.Time       `json:"due,omitzero"`        // of one that waits for its time
	Event     json.RawMessage `json:"event"`               // in the JSON event format of CloudEvents
}

// EventQuery chooses among the events that are kept. Its zero value chooses all.
type EventQuery struct {
	From   uint64    // from this offset on
	Since  time.Time // stored at or after
	Before uint64    // of Last: below this offset; 0 means the end
	Last   int       // the newest so many; 0 means from the first on
	Limit  int       // end after so many; 0 means never
	Follow bool      // go on with what comes
	Topic  string    // or a pattern such as order.*
	Type   string
	Key    string
	ID     string
	Source string // a part of it
}

// Published says where an event went.
type Published struct {
	ID     string    `json:"id"`
	Offset uint64    `json:"offset,omitempty"`
	Due    time.Time `json:"due,omitzero"` // of one that waits for its time
}

// Replay asks for events to be delivered to one subscription again.
type Replay struct {
	Subscription string    `json:"subscription"`
	Offset       uint64    `json:"offset,omitempty"` // from this on
	Time         time.Time `json:"time,omitzero"`    // or from what was stored at or after
	DryRun       bool      `json:"dry_run,omitempty"`
}

// Replayed is what is delivered again.
type Replayed struct {
	From   uint64 `json:"from"` // offset
	Events uint64 `json:"events"`
	More   bool   `json:"more,omitempty"` // there are more than were counted
}

// DeadLetter is an event that a subscription has given up.
type DeadLetter struct {
	Offset       uint64          `json:"offset"` // of the dead letters
	Subscription string          `json:"subscription"`
	Topic        string          `json:"topic"`
	Origin       uint64          `json:"origin"` // offset of the event
	Stored       time.Time       `json:"stored"` // of the event
	Died         time.Time       `json:"died"`
	Cause        string          `json:"cause"`
	Failed       int             `json:"failed"` // attempts
	Attempts     []Attempt       `json:"attempts"`
	Event        json.RawMessage `json:"event"`
}

// Attempt is one failed attempt at delivering an event.
type Attempt struct {
	Time    time.Time `json:"time"`
	TookMS  int64     `json:"took_ms"`
	Status  int       `json:"status,omitempty"`
	Text    string    `json:"text,omitempty"`
	Replica string    `json:"replica,omitempty"`
}

// DeadLetters is a page of dead letters.
type DeadLetters struct {
	DeadLetters []DeadLetter `json:"dead_letters"`
	Next        uint64       `json:"next,omitempty"` // where the next page begins; 0 where there is none
}

// DelayedEvents is a page of events that wait for their time.
type DelayedEvents struct {
	Events []StoredEvent `json:"events"`
	Next   uint64        `json:"next,omitempty"`
}

// Selection chooses dead letters or delayed events: by offsets, or all that fit.
type Selection struct {
	Offsets      []uint64 `json:"offsets,omitempty"`
	All          bool     `json:"all,omitempty"`
	Subscription string   `json:"subscription,omitempty"` // of all, those of this subscription
	Topic        string   `json:"topic,omitempty"`        // of all, those of this topic
	Data         []byte   `json:"data,omitempty"`         // of a replay of one: in the place of its data; Base64
}

// Settled says what became of a selection.
type Settled struct {
	Done   int             `json:"done"`
	Failed []SettleFailure `json:"failed"`
}

// SettleFailure is one of a selection that could not be dealt with.
type SettleFailure struct {
	Offset uint64       `json:"offset"`
	Fault  *fault.Error `json:"fault"`
}

// Webhook is a party outside that takes events.
type Webhook struct {
	ID           string            `json:"id"`
	Name         string            `json:"name,omitempty"`
	URL          string            `json:"url"`
	Topics       []string          `json:"topics"`
	Filter       map[string]string `json:"filter,omitempty"` // attributes with the values that they must have
	AllowPrivate bool              `json:"allow_private,omitempty"`
	State        string            `json:"state"`            // active, disabled
	Reason       string            `json:"reason,omitempty"` // asked, gone, failing
	Since        time.Time         `json:"since"`            // of the state
	Created      time.Time         `json:"created"`
	FailingSince time.Time         `json:"failing_since,omitzero"`
	Secret       string            `json:"secret,omitempty"` // only where it is made
}

// WebhookSpec is what may be chosen of a webhook.
type WebhookSpec struct {
	Name         string            `json:"name,omitempty"`
	URL          string            `json:"url"`
	Topics       []string          `json:"topics"`
	Filter       map[string]string `json:"filter,omitempty"`
	AllowPrivate bool              `json:"allow_private,omitempty"`
}

// WebhookDelivery is one try to send an event to a webhook.
type WebhookDelivery struct {
	Delivery uint64    `json:"delivery"` // its number
	Time     time.Time `json:"time"`
	Message  string    `json:"message"` // Webhook-Id
	Topic    string    `json:"topic"`
	EventID  string    `json:"event_id"`
	Offset   uint64    `json:"offset"` // of the event
	Attempt  int       `json:"attempt"`
	Status   int       `json:"status,omitempty"`
	TookMS   int64     `json:"took_ms"`
	Class    string    `json:"class,omitempty"` // why it failed
	Text     string    `json:"text,omitempty"`
	Answer   string    `json:"answer,omitempty"` // the beginning of the answer's body
}

// WebhookReplay chooses what is sent to a webhook again: one delivery, or all that was given up.
type WebhookReplay struct {
	Delivery uint64 `json:"delivery,omitempty"`
}
