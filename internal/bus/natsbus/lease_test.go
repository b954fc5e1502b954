package natsbus_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/bus"
	"github.com/atollhq/atoll/internal/bus/bustest"
	"github.com/atollhq/atoll/internal/bus/natsbus"
	"github.com/atollhq/atoll/internal/fault"
)

const shortTerm = 500 * time.Millisecond

func TestTwoDoNotOwnOneLogOfAClusterAtOnce(t *testing.T) {
	dial := dialServer(t, 8<<20)
	first, err := natsbus.OpenFor(t.Context(), dial(), "shop", nil, shortTerm)
	if err != nil {
		t.Fatal(err)
	}
	refused := dial()
	defer refused.Close()
	_, err = natsbus.OpenFor(t.Context(), refused, "shop", nil, shortTerm)
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.CodeEventsOwned || !strings.Contains(e.Text, "process") {
		t.Errorf("the second opens: %v", err)
	}
	if _, err := first.Append(t.Context(), bus.StreamEvents, []*bus.Event{bustest.NewEvent("t", "", "x")}); err != nil {
		t.Errorf("the first cannot write: %v", err)
	}
	if docs, err := first.Load(t.Context(), ""); err != nil || len(docs) != 0 {
		t.Errorf("documents that nobody has saved: %q: %v", docs, err)
	}
	other, err := natsbus.OpenFor(t.Context(), dial(), "another", nil, shortTerm)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
	// What was given back is there at once, for terms too long to be waited for.
	after, err := natsbus.OpenFor(t.Context(), dial(), "shop", nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := after.Close(); err != nil {
		t.Error(err)
	}
}

func TestOfTwoThatComeAtOnceOneOwnsTheLog(t *testing.T) {
	dial := dialServer(t, 8<<20)
	logs := make([]*natsbus.Log, 8)
	var wg sync.WaitGroup
	for i := range logs {
		nc := dial()
		defer nc.Close()
		wg.Go(func() { logs[i], _ = natsbus.OpenFor(t.Context(), nc, "shop", nil, time.Second) })
	}
	wg.Wait()
	owners := 0
	for _, l := range logs {
		if l != nil {
			owners++
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if owners != 1 {
		t.Errorf("%d own one log", owners)
	}
}

func TestWhoHasLostALogOfAClusterWritesNoMore(t *testing.T) {
	dial := dialServer(t, 8<<20)
	lost := make(chan error, 1)
	nc := dial()
	l, err := natsbus.OpenFor(t.Context(), nc, "shop", &natsbus.Options{OnLost: func(err error) { lost <- err }}, shortTerm)
	if err != nil {
		t.Fatal(err)
	}
	other := dial()
	defer other.Close()
	if _, err := other.Request("atoll.shop.docs.owner", fmt.Appendf(nil, `{"id":"x","host":"elsewhere","at":%q}`, time.Now().Format(time.RFC3339)), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-lost:
		if !strings.Contains(err.Error(), "elsewhere") {
			t.Errorf("it is told %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody is told")
	}
	for _, stream := range bus.Streams() {
		if _, err := l.Append(t.Context(), stream, []*bus.Event{bustest.NewEvent("t", "", "x")}); err == nil {
			t.Errorf("it writes %s", stream)
		}
	}
	if err := l.Save(t.Context(), map[string][]byte{"a": []byte("1")}); err == nil {
		t.Error("it saves documents")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	// What is renewed no more is taken over after a while.
	next, err := natsbus.OpenFor(t.Context(), dial(), "shop", nil, shortTerm)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}
