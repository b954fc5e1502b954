package notify

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/atollhq/atoll/internal/alert"
)

// Slack sends a notification to an incoming webhook of Slack, or of what takes the same form
// (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks): a line of text, and an attachment with a colour for each alert.
type Slack struct {
	URL    string
	Client *http.Client
}

var _ alert.Notifier = (*Slack)(nil)

const maxAttachments = 20 // Slack shows no more of a message well

type slackMessage struct {
	Text        string            `json:"text"`
	Attachments []slackAttachment `json:"attachments"`
}

type slackAttachment struct {
	Color    string `json:"color"`
	Fallback string `json:"fallback"`
	Text     string `json:"text"`
	Footer   string `json:"footer,omitempty"`
	Time     int64  `json:"ts,omitempty"`
}

// Notify sends it.
func (s *Slack) Notify(ctx context.Context, n *alert.Notification) error {
	return post(ctx, s.Client, s.URL, slackOf(n), nil)
}

func slackOf(n *alert.Notification) *slackMessage {
	m := &slackMessage{Text: slackText(title(n)), Attachments: []slackAttachment{}}
	for i := range n.Alerts {
		a := &n.Alerts[i]
		if i == maxAttachments {
			m.Text += fmt.Sprintf(" (%d more)", len(n.Alerts)-i+n.Truncated)
			break
		}
		text := slackText(a.Summary)
		m.Attachments = append(m.Attachments, slackAttachment{
			Color: color(a), Fallback: text, Text: text, Footer: slackText(string(a.Phase) + ": " + a.Labels.String()), Time: a.Since.Unix(),
		})
	}
	return m
}

func color(a *alert.Alert) string {
	switch {
	case a.Phase != alert.Firing:
		return "#2eb67d"
	case a.Severity == alert.Critical:
		return "#e01e5a"
	}
	return "#ecb22e"
}

// slackText is text that Slack takes for no markup: labels may come from anywhere.
func slackText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// title is a notification in one line, such as "2 firing, 1 resolved: latency orders".
func title(n *alert.Notification) string {
	firing, resolved := 0, 0
	for i := range n.Alerts {
		if n.Alerts[i].Phase == alert.Firing {
			firing++
		} else {
			resolved++
		}
	}
	firing, resolved = firing+n.Truncated-n.TruncatedResolved, resolved+n.TruncatedResolved
	var parts []string
	if firing > 0 {
		parts = append(parts, fmt.Sprintf("%d firing", firing))
	}
	if resolved > 0 {
		parts = append(parts, fmt.Sprintf("%d resolved", resolved))
	}
	subject := strings.TrimSpace(n.Group[alert.LabelAlert] + " " + n.Group[alert.LabelService])
	if subject == "" {
		subject = "alerts"
	}
	return strings.Join(parts, ", ") + ": " + subject
}
