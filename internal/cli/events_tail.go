package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
)

func (a *app) tailCommand() *cobra.Command {
	var q api.EventQuery
	var since string
	cmd := &cobra.Command{
		Use:   "tail [TOPIC]",
		Short: "Show the newest events, and follow",
		Long: "Shows the newest events of a topic, of those below it (order.*), or of all, one a line: when it was stored, its\n" +
			"offset, topic, key and data. With --format json each line is a CloudEvent in the JSON event format, with topic and\n" +
			"offset among its attributes.",
		Example: "  atoll events tail -f order.placed --key 7\n  atoll events tail --since 10m --format json",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				q.Topic = args[0]
			}
			if q.Last < 0 {
				return usage(cmd, "--last cannot be negative")
			}
			if since != "" {
				at, err := parseMoment(cmd, "--since", since, -1)
				if err != nil {
					return err
				}
				q.Since = at
			}
			return a.tail(cmd, &q)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&q.Follow, "follow", "f", false, "go on with what comes")
	flags.StringVar(&since, "since", "", "all from then on: 10m, 2h, or a time as in RFC 3339")
	flags.IntVarP(&q.Last, "last", "n", 20, "only the last so many; 0 means all")
	flags.StringVar(&q.Key, "key", "", "of this ordering key")
	flags.StringVar(&q.Type, "type", "", "of this type")
	flags.StringVar(&q.ID, "id", "", "of this id")
	flags.StringVar(&q.Source, "source", "", "whose source contains this")
	return a.withFormat(cmd)
}

func (a *app) tail(cmd *cobra.Command, q *api.EventQuery) error {
	ctx := cmd.Context()
	return a.with(ctx, func(c *client.Client) error {
		b, err := c.Bus(ctx)
		if err != nil {
			return err
		}
		if err := knownTopic(&b, q.Topic); err != nil {
			return err
		}
		p, width := paint(a.color(a.Out)), a.Width(a.Out)
		return c.StoredEvents(ctx, q, func(e *api.StoredEvent) error {
			if a.json() {
				_, err := fmt.Fprintf(a.Out, "%s\n", cloudEvent(e))
				return err
			}
			_, err := fmt.Fprintln(a.Out, clip(eventLine(p, e), width))
			return err
		})
	})
}

// eventLine is an event in one line.
func eventLine(p paint, e *api.StoredEvent) string {
	content := contentOf(e.Event)
	line := fmt.Sprintf("%s %6d %s", p.dim(e.Stored.Local().Format("15:04:05.000")), e.Offset, p.hue(e.Topic, e.Topic))
	if e.Key != "" {
		line += " " + p.bold(clean(e.Key))
	}
	if content.Type != e.Topic {
		line += " " + clean(content.Type)
	}
	if e.Only != "" {
		line += " " + p.yellow("only "+e.Only)
	}
	return line + " " + clean(content.line())
}

// content is what is shown of an event's JSON.
type content struct {
	Type       string          `json:"type"`
	Key        string          `json:"partitionkey"`
	DataType   string          `json:"datacontenttype"`
	Data       json.RawMessage `json:"data"`
	DataBase64 []byte          `json:"data_base64"`
}

func contentOf(event []byte) content {
	var c content
	_ = json.Unmarshal(event, &c) // the control API writes what can be read
	return c
}

// line is the data in one line.
func (c *content) line() string {
	var text string
	var out bytes.Buffer
	switch {
	case len(c.DataBase64) > 0:
		return plural(len(c.DataBase64), "byte")
	case c.Data == nil:
		return "-"
	case !strings.Contains(c.DataType, "json") && json.Unmarshal(c.Data, &text) == nil:
		return strings.Join(strings.Fields(text), " ")
	case json.Compact(&out, c.Data) != nil:
		return string(c.Data)
	}
	return out.String()
}

// bytes is the data as they were published; JSON is indented.
func (c *content) bytes() []byte {
	var text string
	var out bytes.Buffer
	switch {
	case len(c.DataBase64) > 0:
		return c.DataBase64
	case c.Data == nil:
		return nil
	case !strings.Contains(c.DataType, "json") && c.DataType != "" && json.Unmarshal(c.Data, &text) == nil:
		return []byte(text)
	case json.Indent(&out, c.Data, "", "  ") != nil:
		return c.Data
	}
	return out.Bytes()
}

// cloudEvent is an event in JSON, with topic and offset among its attributes unless it has such of its own.
func cloudEvent(e *api.StoredEvent) []byte {
	var has map[string]json.RawMessage
	if json.Unmarshal(e.Event, &has) != nil || len(has) == 0 {
		return e.Event
	}
	out := bytes.TrimSuffix(slices.Clone([]byte(e.Event)), []byte("}"))
	for _, own := range [][2]string{{"topic", e.Topic}, {"offset", strconv.FormatUint(e.Offset, 10)}} {
		if has[own[0]] == nil {
			out = fmt.Appendf(out, `,%q:%q`, own[0], own[1])
		}
	}
	return append(out, '}')
}

func (a *app) showEventCommand() *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use:   "show OFFSET",
		Short: "Show one event",
		Long:  "Shows an event with all of its attributes and data. With --format json it is a CloudEvent, with topic and offset.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := offsets(cmd, args)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				e, err := c.StoredEvent(cmd.Context(), at[0])
				if err != nil {
					return err
				}
				if a.json() {
					_, err := fmt.Fprintf(a.Out, "%s\n", cloudEvent(&e))
					return err
				}
				fmt.Fprintf(a.Out, "%s  offset %d\n", paint(a.color(a.Out)).bold(e.Topic), e.Offset)
				t := &table{}
				t.add("  stored", e.Stored.Local().Format(time.RFC3339Nano))
				t.add("  publisher", orDash(clean(e.Publisher)))
				if e.Only != "" {
					t.add("  only for", clean(e.Only))
				}
				a.showEvent(t, e.Event)
				return nil
			})
		},
	})
}

// showEvent shows rows, the attributes of an event below them, and its data.
func (a *app) showEvent(t *table, event json.RawMessage) {
	var attributes map[string]json.RawMessage
	_ = json.Unmarshal(event, &attributes) // the control API writes what can be read
	first := []string{"id", "source", "type", "subject", "time", "datacontenttype", "dataschema"}
	var names []string
	for name := range attributes {
		if !slices.Contains(first, name) && name != "specversion" && name != "data" && name != "data_base64" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range append(first, names...) {
		var value string
		if json.Unmarshal(attributes[name], &value) == nil {
			t.add("  "+name, clean(value))
		}
	}
	t.write(a.Out, a.Width(a.Out))
	content := contentOf(event)
	if content.DataBase64 != nil {
		fmt.Fprintf(a.Out, "data: %s\n", plural(len(content.DataBase64), "byte"))
		return
	}
	for line := range strings.SplitSeq(string(content.bytes()), "\n") {
		fmt.Fprintln(a.Out, clean(line))
	}
}
