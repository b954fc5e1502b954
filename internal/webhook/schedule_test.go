package webhook_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/webhook"
)

func TestEveryMessageIsTriedOverThreeDaysAndThenGivenUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := noon().Add(time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "first")))
		now, tries := first, 0
		for attempt := 1; ; attempt++ {
			tries++
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(webhook.TryTimeout)).Draw(t, "took")))
			asked := time.Duration(rapid.SampledFrom([]int64{0, 0, 0, 60e9, 86400e9}).Draw(t, "retry after"))
			at, giveUp := webhook.Next(attempt, first, now, asked)
			if giveUp {
				break
			}
			end := first.Add(webhook.GiveUpAfter)
			if !at.After(now) || at.After(end) {
				t.Fatalf("attempt %d: next at %s, now %s, end %s", attempt, at, now, end)
			}
			if at.Sub(now) < asked && !at.Equal(end) {
				t.Fatalf("attempt %d: asked for %s, next after %s", attempt, asked, at.Sub(now))
			}
			if again, _ := webhook.Next(attempt, first, now, asked); !again.Equal(at) {
				t.Fatal("it is no pure function")
			}
			now = at
		}
		if now.Sub(first) < webhook.GiveUpAfter {
			t.Fatalf("given up after %s", now.Sub(first))
		}
		if tries > 20 {
			t.Fatalf("%d tries", tries)
		}
	})
}

func TestTheFirstTriesFollowSoonAndTheOthersGrow(t *testing.T) {
	var waits []time.Duration
	now := noon()
	for attempt := 1; ; attempt++ {
		at, giveUp := webhook.Next(attempt, noon(), now, 0)
		if giveUp {
			break
		}
		waits = append(waits, at.Sub(now))
		now = at
	}
	if len(waits) < 12 || len(waits) > 17 || waits[0] > 6*time.Second || waits[8] < 6*time.Hour {
		t.Errorf("waits %v", waits)
	}
	t.Logf("%d tries, waits %v", len(waits)+1, waits)
}

func TestWhatFailedTogetherIsNotTriedTogether(t *testing.T) {
	const messages = 1000
	var tenths [10]int
	for i := range messages {
		first := noon().Add(time.Duration(i)) // a nanosecond apart
		at, _ := webhook.Next(4, first, first, 0)
		tenth := int((at.Sub(first) - 8*time.Minute) * 10 / (4 * time.Minute))
		if tenth < 0 || tenth > 9 {
			t.Fatalf("after %s", at.Sub(first))
		}
		tenths[tenth]++
	}
	for _, n := range tenths {
		if n < messages/20 || n > messages/5 {
			t.Errorf("spread %v", tenths)
		}
	}
}
