package bus

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// Config is who may publish what, who gets what, and how long events are kept. It is never changed once it was applied.
type Config struct {
	Topics        map[string]*Topic
	Publishers    map[string]Publisher // by service
	Subscriptions []Subscription       // no two of one name
	Schedules     []Schedule           // no two of one name
	KeepAge       time.Duration        // events are kept so long, and longer as long as a subscription needs them; 0 means 7 days
	KeepBytes     int64                // and so many bytes of them; 0 means 10 GB
}

// Topic is a name that events are published to.
type Topic struct {
	Name     string
	Contract Contract // nil takes every event
}

// Contract decides which events fit a topic.
type Contract interface {
	// Check returns a *fault.Error that says what does not fit, and where in the data.
	Check(e *Event) error
}

// Publisher is a service as a publisher, with what a refusal needs to name the line that would allow it.
type Publisher struct {
	Topics []string
	File   string // that declares the service
}

// Subscription is one reader of the log.
type Subscription struct {
	Name   string   // service/topic, or webhook/ID
	Topics []string // the topics that it gets; events addressed to it alone come besides
	Policy Policy
	// Deliver makes one attempt. It ends, as Aborted, soon after its context does.
	Deliver Deliverer
	// Paused holds its place and delivers nothing. What it has not settled is kept as long as what all have settled, and holds
	// up no publisher.
	Paused bool
	// Filter, if not nil, chooses among the events of Topics. It must be a pure function.
	Filter func(*Event) bool
}

// gets tells whether an event belongs to the subscription.
func (s *Subscription) gets(e *Event) bool {
	if only := e.Extension(AttributeOnly); only != "" {
		return only == s.Name
	}
	return slices.Contains(s.Topics, e.Topic) && (s.Filter == nil || s.Filter(e))
}

// Schedule publishes an event again and again.
type Schedule struct {
	Name      string // service/name
	Publisher string // service
	Topic     string
	Data      []byte // JSON
	// Next is the first time after t at which it is due. It must be a pure function.
	Next func(t time.Time) time.Time
	// Missed: an event that was due while the bus did not run is published once it does.
	Missed bool
}

// allowed returns the topic if a service may publish to it.
func (c *Config) allowed(publisher, topic string) (*Topic, error) {
	p, known := c.Publishers[publisher]
	if known && slices.Contains(p.Topics, topic) {
		return c.Topics[topic], nil
	}
	if !manifest.ValidTopic(topic) {
		return nil, fault.New(fault.CodeEventInvalid, "%q is not a name for a topic", topic).
			Fix("topics are lower-case words joined by dots, such as order.placed")
	}
	e := fault.New(fault.CodePublishUndeclared, "service %q does not declare that it publishes %q", publisher, topic)
	if !known {
		return nil, e.Fix("service %q is no longer part of the application", publisher)
	}
	if len(p.Topics) == 0 {
		return nil, e.Fix("add the line `publishes: [%s]` to %s", topic, p.File)
	}
	return nil, e.Fix("add %s to the list publishes in %s, beside %s", topic, p.File, strings.Join(p.Topics, ", "))
}

// topics lists the names of all topics in order.
func (c *Config) topics() []string { return slices.Sorted(maps.Keys(c.Topics)) }
