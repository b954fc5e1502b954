package platform_test

import (
	"testing"

	"github.com/atollhq/atoll/internal/gateway"
	"github.com/atollhq/atoll/internal/platform"
)

func TestAKeyOfAClientNamesNothingOfAnother(t *testing.T) {
	opening := func(source, subject, key string) *gateway.Opening {
		return &gateway.Opening{Message: gateway.Message{Source: source, Subject: subject}, Key: key}
	}
	first := platform.StartKey(opening("/routes/orders", "ann", "1"))
	if again := platform.StartKey(opening("/routes/orders", "ann", "1")); again != first {
		t.Errorf("the same key is %q and %q", first, again)
	}
	for name, other := range map[string]*gateway.Opening{
		"client": opening("/routes/orders", "bob", "1"), "route": opening("/routes/refunds", "ann", "1"), "key": opening("/routes/orders", "ann", "2"),
		"client as part of the route": opening("/routes/ordersann", "", "1"),
	} {
		if platform.StartKey(other) == first {
			t.Errorf("another %s has the same key", name)
		}
	}
	if key := platform.StartKey(opening("/routes/orders", "ann", "schedule nightly 2026-11-28T02:00:00Z")); key == "schedule nightly 2026-11-28T02:00:00Z" {
		t.Error("a client takes the key of a schedule")
	}
	if key := platform.StartKey(opening("/routes/orders", "ann", "")); key != "" {
		t.Errorf("no key became %q", key)
	}
}

func TestAnAnswerThatWasCutOffIsNotTakenForAnother(t *testing.T) {
	for body, want := range map[string]bool{
		`{"id":1}`: true, `[1]`: true, `"x"`: true, " {}\n": true, ``: false, `12`: false, `{"id":1`: false, `true`: false,
	} {
		if got := platform.Whole([]byte(body)); got != want {
			t.Errorf("%q: %t", body, got)
		}
	}
}
