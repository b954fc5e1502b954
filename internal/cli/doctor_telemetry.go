package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/manifest"
)

// mostDropping is how many services are named of those whose telemetry was dropped.
const mostDropping = 5

// telemetryChecks tell where telemetry comes in, how much of it is kept, and what was not.
func telemetryChecks(ctx context.Context, c *client.Client) []diagnosis {
	u, err := c.TelemetryUsage(ctx)
	if err != nil {
		return nil
	}
	const group = "telemetry"
	var doors []string
	for _, d := range [][2]string{{u.GRPC, "gRPC"}, {u.HTTP, "HTTP"}} {
		if d[0] != "" {
			doors = append(doors, d[0]+" ("+d[1]+")")
		}
	}
	found := []diagnosis{
		{group, "OTLP", statusOK, cmp.Or(strings.Join(doors, ", "), "not taken in"), ""},
		{group, "spans and logs", statusOK, storeText(&u.Rows), ""},
		{group, "metrics", statusOK, storeText(&u.Metrics) + fmt.Sprintf(", %d series", u.Series), ""},
	}
	if n := sampledOut(u.Services); n > 0 {
		found = append(found, diagnosis{group, "sampling", statusOK, fmt.Sprintf("%d spans left out, as telemetry.sample says", n), ""})
	}
	for i := range u.Forwards {
		found = append(found, forwardCheck(&u.Forwards[i]))
	}
	if d := droppedCheck(u.Services); d != nil {
		found = append(found, *d)
	}
	if torn := append(slices.Clone(u.Rows.Torn), u.Metrics.Torn...); len(torn) > 0 {
		found = append(found, diagnosis{
			group, "damaged", statusWarning, strings.Join(torn, ", ") + " set aside", "what was in them cannot be read; look after the disk, and remove the files",
		})
	}
	return found
}

// sampledOut is how many spans sampling has left out.
func sampledOut(services []api.ServiceUsage) (n int64) {
	for i := range services {
		n += services[i].Dropped["sampled"]
	}
	return n
}

// forwardCheck tells how far a backend has come that gets a copy.
func forwardCheck(f *api.ForwardUsage) diagnosis {
	d := diagnosis{"telemetry", "forwarding", statusOK, fmt.Sprintf("%s: %d sent", f.Endpoint, f.Sent), ""}
	more := func(n int64, form, remedy string) {
		if n > 0 {
			d.Status, d.Text, d.Fix = statusWarning, d.Text+", "+fmt.Sprintf(form, n), remedy
		}
	}
	const look = "look after the backend and its entry of telemetry.forward; the operator's log, .atoll/atoll.log, says more"
	if f.Failing {
		d.Status, d.Text, d.Fix = statusWarning, d.Text+", it takes nothing", look
	}
	if f.Waiting > 0 {
		d.Text += fmt.Sprintf(", %d wait (%s of %s)", f.Waiting, bytesText(f.Bytes), manifest.Size(f.Limit))
	}
	more(f.Refused, "%d refused", look)
	more(f.Damaged, "%d requests damaged", "look after the disk")
	more(f.Dropped, "%d dropped since the queue was full", "look after the backend, or give the queue more room: telemetry: {forward: [{queue: …}]}")
	return d
}

func storeText(k *api.Kept) string {
	text := fmt.Sprintf("%s of %s kept", bytesText(max(k.Bytes, 1)), manifest.Size(k.Limit))
	if !k.Oldest.IsZero() {
		text += " since " + k.Oldest.Local().Format("2006-01-02 15:04")
	}
	return text
}

// droppedCheck names the services whose telemetry was not kept, those with the most first; nil if there is none. What was left out by
// sampling was meant to be.
func droppedCheck(services []api.ServiceUsage) *diagnosis {
	type loss struct {
		n    int64
		text string
	}
	var losses []loss
	for i := range services {
		l := loss{}
		var causes []string
		for _, cause := range slices.Sorted(maps.Keys(services[i].Dropped)) {
			if n := services[i].Dropped[cause]; cause != "sampled" && n > 0 {
				l.n += n
				causes = append(causes, fmt.Sprintf("%d %s", n, cause))
			}
		}
		if l.n > 0 {
			l.text = services[i].Service + " " + strings.Join(causes, ", ")
			losses = append(losses, l)
		}
	}
	if len(losses) == 0 {
		return nil
	}
	slices.SortStableFunc(losses, func(a, b loss) int { return cmp.Compare(b.n, a.n) })
	var texts []string
	for _, l := range losses[:min(len(losses), mostDropping)] {
		texts = append(texts, l.text)
	}
	return &diagnosis{
		"telemetry", "dropped", statusWarning, strings.Join(texts, "; "),
		"send less, or allow more by telemetry: {keep: …, limits: …, metrics: …} in atoll.yaml",
	}
}
