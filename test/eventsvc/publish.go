package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	keys     = 3   // ordering keys of each publisher
	together = 6   // events that are on their way at once
	batch    = 24  // events that are published by one request
	rows     = 120 // events of an outbox that are committed together, one transaction for each key
)

// publish publishes events in their order, and calls acked for each that was acknowledged.
type publish func(ctx context.Context, ids []string, acked func(id string)) error

// publishing is how a role publishes, and how many events at once; nil if it does not.
func publishing(role string) (how publish, atOnce int) {
	switch role {
	case "single":
		return publishSingly, together
	case "batch":
		return publishBatch, batch
	case "nats":
		p := &natsPublisher{}
		return p.publish, together
	case "sqlite", "postgres":
		p := &outboxPublisher{}
		return p.publish, rows // so many that Atoll is in the middle of them when it is killed
	}
	return nil, 0
}

// publishAll publishes what an earlier process has not seen acknowledged, and then more and more.
func publishAll(ctx context.Context, l *ledger, publish publish, atOnce int) error {
	name, n := os.Getenv("ATOLL_SERVICE"), 0
	var unsure []string
	for _, id := range l.order {
		_, number, _ := strings.Cut(id, "/")
		at, err := strconv.Atoi(number)
		if err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		n = max(n, at)
		if !l.acked[id] {
			unsure = append(unsure, id)
		}
	}
	acked := func(id string) { l.write("A " + id) }
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		if len(unsure) > 0 {
			if err := publish(ctx, unsure, acked); err != nil {
				return err
			}
		}
		unsure = nil
		<-tick.C
		for range atOnce {
			if l.told("quiet") {
				break
			}
			n++
			id := fmt.Sprintf("%s-%d/%d", name, n%keys, n)
			l.write("P " + id)
			unsure = append(unsure, id)
		}
	}
}

// attributes are those of an event, by their names in HTTP and NATS.
func attributes(id string) map[string]string {
	key, _, _ := strings.Cut(id, "/")
	return map[string]string{
		"ce-specversion": "1.0", "ce-id": id, "ce-source": "/test", "ce-type": topic, "ce-partitionkey": key, "content-type": "text/plain",
	}
}

func publishSingly(ctx context.Context, ids []string, acked func(string)) error {
	for _, id := range ids {
		h := http.Header{}
		for name, value := range attributes(id) {
			h.Set(name, value)
		}
		if err := post(ctx, h, []byte(id)); err != nil {
			return err
		}
		acked(id)
	}
	return nil
}

func publishBatch(ctx context.Context, ids []string, acked func(string)) error {
	var events []map[string]string
	for _, id := range ids {
		event := map[string]string{"data": id}
		for name, value := range attributes(id) {
			event[strings.TrimPrefix(name, "ce-")] = value
		}
		delete(event, "content-type")
		events = append(events, event)
	}
	body, err := json.Marshal(events)
	if err != nil {
		return err
	}
	if err := post(ctx, http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, body); err != nil {
		return err
	}
	for _, id := range ids {
		acked(id)
	}
	return nil
}

// post publishes until that is acknowledged. While it is not known whether it was, nothing else is published.
func post(ctx context.Context, h http.Header, body []byte) error {
	for range 100 {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv("EVENTS_URL")+"/"+topic, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header = h
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			text, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return nil
			}
			if resp.StatusCode < http.StatusInternalServerError {
				return fmt.Errorf("publishing was refused: %s", text)
			}
		}
		<-time.After(50 * time.Millisecond)
	}
	return fmt.Errorf("nobody takes events")
}

// natsPublisher publishes over NATS without waiting in between.
type natsPublisher struct{ js jetstream.JetStream }

func (p *natsPublisher) publish(_ context.Context, ids []string, acked func(string)) error {
	if p.js == nil {
		nc, err := nats.Connect(os.Getenv("NATS_URL"))
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		if p.js, err = jetstream.New(nc); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	futures := make([]jetstream.PubAckFuture, len(ids))
	for i, id := range ids {
		m := &nats.Msg{Subject: "events." + topic, Header: nats.Header{}, Data: []byte(id)}
		for name, value := range attributes(id) {
			m.Header[name] = []string{value}
		}
		var err error
		if futures[i], err = p.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	for i, f := range futures {
		select {
		case <-f.Ok():
			acked(ids[i])
		case err := <-f.Err():
			return fmt.Errorf("publish: %w", err)
		case <-time.After(10 * time.Second):
			return fmt.Errorf("%s was not answered", ids[i])
		}
	}
	return nil
}
