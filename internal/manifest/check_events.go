package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a zone means the same on every machine, also on one without a database of them

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

// The least that events can be kept.
const (
	minKeepAge  = Duration(time.Minute)
	minKeepSize = Size(10_000_000)
)

// events checks where events are kept.
func (c *checker) events() {
	e, n := &c.app.Events, lookup(c.root, "events")
	for address := range strings.SplitSeq(e.NATS, ",") {
		u, err := url.Parse(strings.TrimSpace(address))
		if e.NATS != "" && (err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme)) {
			c.add(c.fault(lookup(n, "nats"), fault.CodeBadValue, "this is not the URL of a NATS server").
				Fix("write nats://HOST:PORT, or tls, ws or wss in the place of nats"))
		} else if err == nil && u.User != nil {
			c.add(c.fault(lookup(n, "nats"), fault.CodeBadValue, "a URL that holds credentials is no place for them").
				Fix("put them into a secret and name that: credentials: nats_credentials"))
		}
	}
	if e.Credentials != "" {
		c.secret(lookup(n, "credentials"), e.Credentials)
	}
	if e.Credentials != "" && e.NATS == "" {
		c.add(c.fault(lookup(n, "credentials"), fault.CodeBadValue, "credentials are for a cluster, and nats names none").
			Fix("add a line nats: nats://HOST:PORT, or take this one away"))
	}
	switch {
	case e.Replicas != 1 && e.Replicas != 3 && e.Replicas != 5:
		c.add(c.fault(lookup(n, "replicas"), fault.CodeBadValue, "%d is not a number of copies", e.Replicas).
			Fix("write 1, 3 or 5, so that there can be a majority"))
	case e.Replicas > 1 && e.NATS == "":
		c.add(c.fault(lookup(n, "replicas"), fault.CodeBadValue, "Atoll's own server is one, and cannot keep %d copies", e.Replicas).
			Fix("name a cluster: nats: nats://HOST:PORT"))
	}
	if e.Keep.Age < minKeepAge {
		c.add(c.fault(lookup(n, "keep", "age"), fault.CodeBadValue, "%s is too short to keep events", e.Keep.Age).Fix("write at least %s", minKeepAge))
	}
	if e.Keep.Size < minKeepSize {
		c.add(c.fault(lookup(n, "keep", "size"), fault.CodeBadValue, "%s is too small to keep events", e.Keep.Size).Fix("write at least %s", minKeepSize))
	}
}

func (c *checker) publishes(s *Service, n *yaml.Node) {
	seen := map[string]bool{}
	for i, p := range s.Publishes {
		at := c.topicOf(n, i)
		switch {
		case p.Topic == "":
		case seen[p.Topic]:
			c.add(c.fault(at, fault.CodeDuplicateKey, "%s is named twice", p.Topic).Fix("keep one of the two"))
		default:
			c.topic(at, p.Topic)
		}
		seen[p.Topic] = true
		if p.Schema != "" {
			c.contract(lookup(n, "publishes", i, "schema"), path.Join(c.rel(s.Dir), p.Schema))
		}
	}
}

// topicOf is where entry i of a service's publishes has its topic.
func (c *checker) topicOf(service *yaml.Node, i int) *yaml.Node {
	n := lookup(service, "publishes", i)
	if n.Kind == yaml.MappingNode {
		return lookup(n, "topic")
	}
	return n
}

// contract refuses a JSON Schema that is not there, or that is no JSON.
func (c *checker) contract(n *yaml.Node, name string) {
	text, err := c.bytes(name)
	if err != nil {
		c.add(c.fault(n, fault.CodeFileMissing, "there is no file %s", name).Fix("write it, or correct the name here").Because(err))
		return
	}
	if err := json.Unmarshal(text, new(any)); err != nil {
		c.add(c.fault(n, fault.CodeContractInvalid, "%s is not JSON", name).
			Fix("write a JSON Schema into it, such as {\"type\": \"object\"}").Because(err))
	}
}

func (c *checker) subscribes(s *Service, n *yaml.Node) {
	list := lookup(n, "subscribes")
	for topic, sub := range s.Subscribes {
		at := lookup(list, topic)
		c.subscription(s, at, topic, sub)
		if sub.Direct() || sub.To == "" {
			continue
		}
		to := at
		if at.Kind == yaml.MappingNode {
			to = lookup(at, "to")
		}
		switch {
		case !strings.HasPrefix(sub.To, "/") || strings.ContainsAny(sub.To, "?# \\\t\r\n"):
			c.add(c.fault(to, fault.CodeBadPath, "%q is not a path", sub.To).
				Fix("write the path of %s that takes the event, such as /events/%s", s.Name, topic))
		case s.Protocol != ProtocolHTTP:
			c.add(c.fault(to, fault.CodeBadValue, "an event is sent to a path by HTTP, and %s speaks %s", s.Name, s.Protocol).
				Fix("write nats, and let the service take its events from NATS_URL"))
		}
	}
}

// subscription checks the numbers of a subscription.
func (c *checker) subscription(s *Service, n *yaml.Node, topic string, sub Subscription) {
	if sub.Concurrency < 1 || sub.Concurrency > 1024 {
		c.add(c.fault(lookup(n, "concurrency"), fault.CodeBadValue, "%s cannot take %d events at once", s.Name, sub.Concurrency).
			Fix("write a number from 1 to 1024"))
	}
	if sub.Attempts < 1 || sub.Attempts > 1000 {
		c.add(c.fault(lookup(n, "attempts"), fault.CodeBadValue, "an event of %s cannot be tried %d times", topic, sub.Attempts).
			Fix("write a number from 1 to 1000"))
	}
	if sub.Timeout < Duration(time.Millisecond) || sub.Timeout > Duration(time.Hour) {
		c.add(c.fault(lookup(n, "timeout"), fault.CodeBadValue, "%s is no time to wait for an answer", sub.Timeout).
			Fix("write a time span from 1ms to 1h"))
	}
	if sub.Backoff < Duration(time.Millisecond) || sub.MaxBackoff > Duration(24*time.Hour) || sub.Backoff > sub.MaxBackoff {
		at := "backoff"
		if value(n, at) == nil {
			at = "max_backoff"
		}
		c.add(c.fault(lookup(n, at), fault.CodeBadValue, "the wait between two attempts cannot grow from %s to %s", sub.Backoff, sub.MaxBackoff).
			Fix("let backoff be at least 1ms and at most max_backoff, and max_backoff at most 24h"))
	}
}

func (c *checker) schedules(s *Service, n *yaml.Node) {
	seen := map[string]bool{}
	for i, sch := range s.Schedules {
		at := lookup(n, "schedules", i)
		c.name(lookup(at, "name"), sch.Name, "a schedule")
		if seen[sch.Name] {
			c.add(c.fault(lookup(at, "name"), fault.CodeDuplicateKey, "%s has a schedule %s already", s.Name, sch.Name).
				Fix("give one of the two another name"))
		}
		seen[sch.Name] = true
		if _, err := time.LoadLocation(sch.Zone); err != nil || sch.Zone == "Local" || sch.Zone == "" {
			c.add(c.fault(lookup(at, "zone"), fault.CodeBadValue, "%q is not a time zone", sch.Zone).
				Fix("write a name of the IANA database such as Europe/Vienna, or UTC").Because(err))
		}
		if topics := s.Topics(); sch.Publish != "" && !slices.Contains(topics, sch.Publish) {
			c.add(c.fault(lookup(at, "publish"), fault.CodePublishUndeclared, "%s does not declare that it publishes %s", s.Name, sch.Publish).
				Fix("add %s to publishes: publishes: [%s]", sch.Publish, strings.Join(append(topics, sch.Publish), ", ")))
		}
	}
}

// outbox checks that there is a table to read and a topic to publish to.
func (c *checker) outbox(s *Service, n *yaml.Node) {
	if !s.Outbox {
		return
	}
	at := keyNode(n, "outbox")
	if !s.Database.Outbox() {
		c.add(c.fault(at, fault.CodeBadValue, "%s has no database that an outbox can be in", s.Name).
			Fix("add database: sqlite or postgres, or the URL of a PostgreSQL, MySQL or MariaDB database"))
	}
	if topics := value(n, "publishes"); topics == nil || topics.Kind == yaml.SequenceNode && len(topics.Content) == 0 {
		c.add(c.fault(at, fault.CodeBadValue, "%s has an outbox, but no topic to publish to", s.Name).
			Fix("name the topics that it publishes: publishes: [order.placed]"))
	}
}

// topics warns of topics that are consumed but never published, and refuses two contracts for one.
func (c *checker) topics() {
	published := map[string]bool{}
	for _, r := range c.app.Gateway.Routes {
		published[r.Publish] = true
	}
	for _, s := range c.app.Services {
		for _, topic := range s.Topics() {
			published[topic] = true
		}
	}
	delete(published, "")
	names := slices.Sorted(maps.Keys(published))
	for _, s := range c.app.Services {
		subscribes := lookup(c.nodes[s], "subscribes")
		for topic := range s.Subscribes {
			at := keyNode(subscribes, topic)
			c.topic(at, topic)
			if published[topic] {
				continue
			}
			c.add(unpublished(names, topic, "%s subscribes to %s, which nobody publishes", s.Name, topic).At(c.position(at)))
		}
	}
	for _, s := range c.app.Sagas {
		c.sagaTopics(s, published, names)
	}
	c.contracts()
}

// unpublished is the warning of a topic that nobody publishes.
func unpublished(published []string, topic, format string, args ...any) *fault.Error {
	e := fault.Warn(fault.CodeTopicUnpublished, format, args...)
	if near := nearest(topic, published); near != "" {
		return e.Fix("did you mean %q?", near)
	}
	return e.Fix("add it to the publishes of the service that it comes from")
}

// sagaTopics warns of topics that a saga takes and nobody publishes.
func (c *checker) sagaTopics(s *Saga, published map[string]bool, names []string) {
	warn := func(path, topic string) {
		if topic != "" && !published[topic] {
			c.add(unpublished(names, topic, "the saga %s takes events of %s, which nobody publishes", s.Name, topic).At(s.Place(path)))
		}
	}
	for i := range s.Start {
		warn(fmt.Sprintf("start[%d].event", i), s.Start[i].Event)
	}
	for i := range s.Steps {
		if wait := s.Steps[i].Wait; wait != nil {
			warn(stepAt(i, "wait.event"), wait.Event)
		}
		if do := s.Steps[i].Do; do != nil && do.Async != nil {
			warn(stepAt(i, "do.async.event"), do.Async.Event)
		}
	}
}

func (c *checker) topic(n *yaml.Node, topic string) {
	if len(topic) > 128 || !topicForm.MatchString(topic) {
		c.add(c.fault(n, fault.CodeBadName, "%q is not a name for a topic", topic).
			Fix("use lower-case words joined by dots, such as order.placed"))
	}
}

// contracts refuses two services that name different schemas for one topic. The same schema may lie in several files.
func (c *checker) contracts() {
	type first struct {
		service string
		text    []byte
	}
	known := map[string]first{}
	for _, s := range c.app.Services {
		for i, p := range s.Publishes {
			text, err := c.bytes(path.Join(c.rel(s.Dir), p.Schema))
			if p.Schema == "" || err != nil {
				continue // that there is none has been said
			}
			var compact bytes.Buffer
			if json.Compact(&compact, text) != nil {
				continue // said too
			}
			f, ok := known[p.Topic]
			switch {
			case !ok:
				known[p.Topic] = first{s.Name, compact.Bytes()}
			case !bytes.Equal(f.text, compact.Bytes()):
				c.add(c.fault(lookup(c.nodes[s], "publishes", i, "schema"), fault.CodeTopicSchemas,
					"%s publishes %s with another schema than %s", s.Name, p.Topic, f.service).
					Fix("let both name the same schema, or give one of the two a topic of its own"))
			}
		}
	}
}
