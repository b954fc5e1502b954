package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/control/client"
)

// publishFlags are the flags of atoll events publish.
type publishFlags struct {
	key, kind, id, source, subject, contentType, at string
}

func (a *app) publishCommand() *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish TOPIC [DATA|-|@FILE]",
		Short: "Publish an event",
		Long: "Publishes an event to a topic of the manifests, and returns once it is durable. The data are the argument, - for\n" +
			"standard input, or @FILE. Without --content-type they are taken as JSON if they are JSON, else as text, else as bytes.\n" +
			"With --format json the answer has id and offset, or id and due.",
		Example: "  atoll events publish order.placed '{\"id\": 7}' --key 7\n" +
			"  atoll events publish invoice.due @invoice.json --at 2h",
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			var data []byte
			if len(args) == 2 {
				var err error
				if data, err = a.readData(args[1]); err != nil {
					return err
				}
			}
			h := http.Header{"Content-Type": {"application/cloudevents+json"}}
			if f.at != "" {
				due, err := parseMoment(cmd, "--at", f.at, +1)
				if err != nil {
					return err
				}
				h.Set("Atoll-Deliver-At", due.UTC().Format(time.RFC3339Nano))
			}
			event, err := f.event(args[0], data)
			if err != nil {
				return err
			}
			return a.publish(cmd.Context(), args[0], h, event)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.key, "key", "", "ordering key: events of one key are delivered one after the other")
	flags.StringVar(&f.kind, "type", "", "type (default the topic)")
	flags.StringVar(&f.id, "id", "", "id (default a new one)")
	flags.StringVar(&f.source, "source", "/operator", "source")
	flags.StringVar(&f.subject, "subject", "", "subject")
	flags.StringVar(&f.contentType, "content-type", "", "media type of the data")
	flags.StringVar(&f.at, "at", "", "deliver it then: 10m from now, or a time as in RFC 3339")
	return a.withFormat(cmd)
}

// readData reads the data that an argument stands for.
func (a *app) readData(arg string) ([]byte, error) {
	name, isFile := strings.CutPrefix(arg, "@")
	switch {
	case arg == "-":
		data, err := io.ReadAll(a.In)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return data, nil
	case isFile:
		return os.ReadFile(name)
	}
	return []byte(arg), nil
}

// event is the event in the JSON event format.
func (f *publishFlags) event(topic string, data []byte) ([]byte, error) {
	doc := map[string]any{"specversion": "1.0", "id": f.id, "source": f.source, "type": f.kind, "time": time.Now().UTC()}
	if f.id == "" {
		doc["id"] = bus.NewID()
	}
	if f.kind == "" {
		doc["type"] = topic
	}
	for name, value := range map[string]string{"subject": f.subject, bus.AttributeKey: f.key} {
		if value != "" {
			doc[name] = value
		}
	}
	if len(data) > 0 {
		contentType := f.contentType
		if contentType == "" {
			contentType = typeOf(data)
		}
		doc["datacontenttype"] = contentType
		if contentType == typeJSON && json.Valid(data) {
			doc["data"] = json.RawMessage(data)
		} else {
			doc["data_base64"] = data
		}
	}
	return json.Marshal(doc)
}

const typeJSON = "application/json"

// typeOf is the media type of data of which none was named.
func typeOf(data []byte) string {
	switch {
	case json.Valid(data):
		return typeJSON
	case utf8.Valid(data):
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

func (a *app) publish(ctx context.Context, topic string, h http.Header, event []byte) error {
	return a.with(ctx, func(c *client.Client) error {
		published, err := c.PublishEvents(ctx, topic, h, event)
		if err != nil {
			return err
		}
		for _, e := range published {
			switch {
			case a.json():
				if err := writeJSON(a.Out, e); err != nil {
					return err
				}
			case !e.Due.IsZero():
				fmt.Fprintf(a.Out, "%s is kept, due at %s\n", e.ID, e.Due.Local().Format(time.RFC3339))
			default:
				fmt.Fprintf(a.Out, "%s is published at offset %d\n", e.ID, e.Offset)
			}
		}
		return nil
	})
}

// parseMoment reads a time span before (-1) or after (+1) now, or a time.
func parseMoment(cmd *cobra.Command, flag, text string, direction int) (time.Time, error) {
	if span, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(time.Duration(direction) * span), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usage(cmd, "%s %q is neither a time span such as 10m nor a time as in RFC 3339", flag, text)
	}
	return at, nil
}
