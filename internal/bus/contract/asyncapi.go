package contract

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// document is an AsyncAPI 3.0 document.
type document struct {
	AsyncAPI           string     `yaml:"asyncapi"`
	Info               info       `yaml:"info"`
	DefaultContentType string     `yaml:"defaultContentType"`
	Channels           *yaml.Node `yaml:"channels,omitempty"`
	Operations         *yaml.Node `yaml:"operations,omitempty"`
	Components         components `yaml:"components,omitempty"`
}

type info struct {
	Title       string `yaml:"title"`
	Version     string `yaml:"version"`
	Description string `yaml:"description"`
	Tags        []tag  `yaml:"tags,omitempty"`
}

type tag struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description,omitempty"`
}

type reference struct {
	Ref string `yaml:"$ref"`
}

type channel struct {
	Address  string               `yaml:"address"`
	Summary  string               `yaml:"summary,omitempty"`
	Messages map[string]reference `yaml:"messages"`
}

type operation struct {
	Action   string         `yaml:"action"`
	Channel  reference      `yaml:"channel"`
	Summary  string         `yaml:"summary"`
	Tags     []tag          `yaml:"tags"`
	Messages []reference    `yaml:"messages"`
	Atoll    map[string]any `yaml:"x-atoll,omitempty"` // how Atoll carries it out
}

type components struct {
	Messages *yaml.Node `yaml:"messages,omitempty"`
	Schemas  *yaml.Node `yaml:"schemas,omitempty"`
}

type eventMessage struct {
	Name        string     `yaml:"name"`
	Summary     string     `yaml:"summary,omitempty"`
	ContentType string     `yaml:"contentType,omitempty"`
	Headers     reference  `yaml:"headers"`
	Payload     *reference `yaml:"payload,omitempty"`
}

// The schema of the headers, and the key of the one message of each channel.
const (
	envelope   = "CloudEvent"
	messageKey = "event"
)

// AsyncAPI describes the events of an application as an AsyncAPI 3.0 document, in YAML: a channel for each topic, an operation
// for each service that publishes or subscribes to it, and one message with the attributes of CloudEvents as headers. Schemas
// are part of the document, with all that they refer to. The error is a *fault.Error or a fault.List.
func AsyncAPI(app *manifest.App) ([]byte, error) {
	if _, err := Compile(app); err != nil {
		return nil, err
	}
	b := &bundle{dir: app.Dir, schemas: mapping(), resources: map[string]place{}}
	b.add(envelope, headerSchema())
	messages, channels, operations := mapping(), mapping(), mapping()
	for _, topic := range app.Topics() {
		m, err := describe(b, topic)
		if err != nil {
			return nil, err
		}
		set(messages, topic.Name, m)
		set(channels, topic.Name, channel{
			Address: topic.Name, Summary: topic.Summary,
			Messages: map[string]reference{messageKey: {"#/components/messages/" + topic.Name}},
		})
		operate(operations, app, topic)
	}
	if err := b.link(); err != nil {
		return nil, err
	}
	doc := document{
		AsyncAPI: "3.0.0", DefaultContentType: "application/json", Channels: channels, Operations: operations,
		Components: components{Messages: messages, Schemas: b.schemas},
		Info: info{
			Title: app.Name, Version: "0.0.0", Tags: tags(app),
			Description: "The events of the application " + app.Name + ": CloudEvents 1.0, published by POST to EVENTS_URL/TOPIC and delivered by POST.",
		},
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(doc); err != nil {
		return nil, fault.New(fault.CodeInternal, "the AsyncAPI document cannot be written").Because(fmt.Errorf("encode YAML: %w", err))
	}
	return out.Bytes(), nil
}

// describe makes the message of a topic, and puts its schema into the bundle.
func describe(b *bundle, topic manifest.Topic) (eventMessage, error) {
	m := eventMessage{Name: topic.Name, Summary: topic.Summary, Headers: reference{"#/components/schemas/" + envelope}}
	if topic.Schema == "" {
		return m, nil
	}
	name, err := b.file(topic.Schema)
	if err != nil {
		return m, broken(b.dir, topic.Name, topic.Schema, err)
	}
	m.ContentType, m.Payload = "application/json", &reference{"#/components/schemas/" + name}
	return m, nil
}

// operate adds what services do with a topic. Operations are named after who does it, what and to which topic.
func operate(operations *yaml.Node, app *manifest.App, topic manifest.Topic) {
	on := func(action, who, summary string, how map[string]any) {
		set(operations, who+"."+action+"."+topic.Name, operation{
			Action: action, Channel: reference{"#/channels/" + topic.Name}, Summary: summary, Tags: []tag{{Name: who}}, Atoll: how,
			Messages: []reference{{"#/channels/" + topic.Name + "/messages/" + messageKey}},
		})
	}
	for _, name := range topic.Publishers {
		how := map[string]any{}
		for _, s := range app.Service(name).Schedules {
			if s.Publish == topic.Name {
				how["schedule"] = s.Cron.String() + " " + s.Zone
			}
		}
		on("send", name, name+" publishes "+topic.Name, how)
	}
	if len(topic.Routes) > 0 {
		var paths []string
		for _, r := range topic.Routes {
			paths = append(paths, r.Path)
		}
		on("send", "gateway", "requests from outside become events of "+topic.Name, map[string]any{"routes": paths})
	}
	for _, name := range topic.Subscribers {
		s := app.Service(name).Subscribes[topic.Name]
		on("receive", name, name+" subscribes to "+topic.Name, map[string]any{"to": s.To, "order": string(s.Order), "attempts": s.Attempts})
	}
}

// tags are the services that have to do with events.
func tags(app *manifest.App) []tag {
	var out []tag
	for _, s := range app.Services {
		if s.Events() {
			text := s.Summary
			if s.Owner != "" {
				text = strings.TrimSpace(text + " (owner: " + s.Owner + ")")
			}
			out = append(out, tag{s.Name, text})
		}
	}
	return out
}

// headerSchema describes the attributes of CloudEvents as headers of HTTP, as a delivery has them.
func headerSchema() *yaml.Node {
	attributes := []struct {
		name, format, says string
	}{
		{"ce-id", "", "With ce-source it names the event: the same pair twice is the same event twice."},
		{"ce-source", "uri-reference", "Where it happened."},
		{"ce-type", "", "What happened."},
		{"ce-subject", "", "About what it is."},
		{"ce-time", "date-time", "When it happened."},
		{"ce-dataschema", "uri", "The schema of the data."},
		{"ce-" + bus.AttributeKey, "", "Ordering key: events of one key are delivered one after the other."},
		{"ce-" + bus.AttributeTrace, "", "W3C Trace Context of what published the event."},
		{"ce-" + bus.AttributeTraceState, "", "W3C Trace Context of what published the event."},
	}
	properties := mapping()
	set(properties, "ce-specversion", map[string]any{"type": "string", "const": "1.0"})
	for _, a := range attributes {
		p := map[string]any{"type": "string", "minLength": 1, "description": a.says}
		if a.format != "" {
			p["format"] = a.format
		}
		set(properties, a.name, p)
	}
	out := mapping()
	set(out, "type", "object")
	set(out, "description", "The attributes of CloudEvents 1.0 in the binary mode of its HTTP protocol binding.")
	set(out, "required", []string{"ce-specversion", "ce-id", "ce-source", "ce-type"})
	set(out, "properties", properties)
	return out
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

// set adds a key to a mapping.
func set(m *yaml.Node, key string, value any) {
	n, ok := value.(*yaml.Node)
	if !ok {
		n = &yaml.Node{}
		if err := n.Encode(value); err != nil {
			panic("contract: a value of plain types does not encode: " + err.Error())
		}
	}
	k := &yaml.Node{}
	k.SetString(key)
	m.Content = append(m.Content, k, n)
}
