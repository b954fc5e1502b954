package power_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"sync"

	"github.com/atollhq/atoll/internal/bus"
)

// ledger is what the world outside knows: it outlives the power.
type ledger struct {
	mu       sync.Mutex
	sums     map[string]uint32          // guarded by mu: of the data of all that was ever published, by id
	acked    map[string]bool            // guarded by mu: by id
	settled  map[string]map[string]bool // guarded by mu: by subscription and id: accepted
	buried   map[string]map[string]bool // guarded by mu: told to be a dead letter
	offsets  map[string]bus.Offset      // guarded by mu: the first that is known of each
	placed   bool                       // guarded by mu: the subscriptions were told to have places
	problems []string                   // guarded by mu
}

func newLedger() *ledger {
	l := &ledger{sums: map[string]uint32{}, acked: map[string]bool{}, offsets: map[string]bus.Offset{}}
	l.settled, l.buried = map[string]map[string]bool{}, map[string]map[string]bool{}
	for _, sub := range subscriptions() {
		l.settled[sub], l.buried[sub] = map[string]bool{}, map[string]bool{}
	}
	return l
}

func (l *ledger) problem(format string, args ...any) {
	if len(l.problems) < 10 {
		l.problems = append(l.problems, fmt.Sprintf(format, args...))
	}
}

// publishing notes events before they are published.
func (l *ledger) publishing(events []*bus.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		l.sums[e.ID] = crc32.ChecksumIEEE(e.Data)
	}
}

func (l *ledger) acknowledged(receipts []bus.Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range receipts {
		l.acked[r.ID] = true
		if r.Delayed.IsZero() {
			l.stands(r.ID, r.Offset)
		}
	}
}

// stands notes where an event is in the stream. The caller holds mu.
func (l *ledger) stands(id string, at bus.Offset) {
	if before, known := l.offsets[id]; !known || at < before {
		l.offsets[id] = at
	}
}

func (l *ledger) note(in map[string]map[string]bool, sub string, e *bus.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in[sub][e.ID] = true
	l.whole("delivered", e)
}

// whole finds what is not as it was published. The caller holds mu.
func (l *ledger) whole(where string, e *bus.Event) {
	if sum, known := l.sums[e.ID]; !known {
		l.problem("%s: %s was never published", where, e.ID)
	} else if sum != crc32.ChecksumIEEE(e.Data) {
		l.problem("%s: %s is not whole", where, e.ID)
	}
}

// image is what a log holds.
type image struct {
	events, delayed, dead []bus.Record
	end                   bus.Offset
	cursors               map[string]bus.Cursor
}

func readImage(ctx context.Context, log bus.Log) (*image, error) {
	img := &image{cursors: map[string]bus.Cursor{}}
	for stream, into := range map[bus.Stream]*[]bus.Record{bus.StreamEvents: &img.events, bus.StreamDelayed: &img.delayed, bus.StreamDead: &img.dead} {
		for from := bus.Offset(1); ; {
			records, next, err := log.Read(ctx, stream, from, 1000, 4<<20)
			if err != nil {
				return nil, err
			}
			if len(records) == 0 {
				break
			}
			*into = append(*into, records...)
			from = next
		}
	}
	bounds, err := log.Bounds(ctx, bus.StreamEvents)
	if err != nil {
		return nil, err
	}
	img.end = bounds.Next
	docs, err := log.Load(ctx, "cursor.")
	if err != nil {
		return nil, err
	}
	for name, doc := range docs {
		var c bus.Cursor
		if err := json.Unmarshal(doc, &c); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		img.cursors[name] = c
	}
	return img, nil
}

// check holds what a log has after a cut against what was promised.
func (l *ledger) check(img *image) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := map[string]bool{}
	for _, r := range img.events {
		l.whole("log", r.Event)
		l.stands(r.Event.ID, r.Offset)
		kept[r.Event.ID] = true
	}
	for _, r := range img.delayed {
		l.whole("delayed", r.Event)
		kept[r.Event.ID] = true
	}
	for _, id := range slices.Sorted(maps.Keys(l.acked)) {
		if !kept[id] && !l.everywhere(id) {
			l.problem("%s was acknowledged and is lost", id)
		}
	}
	l.checkOrder()
	l.checkPlaces(img)
}

// everywhere tells whether all subscriptions have settled an event, so that it need not be kept. The caller holds mu.
func (l *ledger) everywhere(id string) bool {
	for _, sub := range subscriptions() {
		if !l.settled[sub][id] && !l.buried[sub][id] {
			return false
		}
	}
	return true
}

// checkOrder holds the order of the stream against the order in which each publisher published. The caller holds mu.
func (l *ledger) checkOrder() {
	for p := range publishers {
		var before bus.Offset
		for n := 1; ; n++ {
			id := fmt.Sprintf("p%d/%d", p, n)
			at, known := l.offsets[id]
			if !known {
				break
			}
			if at <= before {
				l.problem("%s stands at %d, and the one before it at %d", id, at, before)
			}
			before = at
		}
	}
}

// checkPlaces holds dead letters and cursors against what was settled. The caller holds mu.
func (l *ledger) checkPlaces(img *image) {
	dead := map[string]map[string]bool{}
	for _, sub := range subscriptions() {
		dead[sub] = map[string]bool{}
	}
	for _, r := range img.dead {
		l.whole("dead letter", r.Event)
		var doc struct{ Subscription string }
		if err := json.Unmarshal([]byte(r.Event.Extension("atolldead")), &doc); err != nil || dead[doc.Subscription] == nil {
			l.problem("dead letter %d is not whole: %v", r.Offset, err)
			continue
		}
		dead[doc.Subscription][r.Event.ID] = true
	}
	for _, sub := range subscriptions() {
		for id := range l.buried[sub] {
			if !dead[sub][id] {
				l.problem("dead letter %s of %s is lost", id, sub)
			}
		}
		c, known := img.cursors["cursor."+sub]
		if !known && l.placed {
			l.problem("the place of %s is lost", sub)
		}
		if c.Next > img.end {
			l.problem("%s stands at %d, beyond the end at %d", sub, c.Next, img.end)
		}
		for _, r := range img.events {
			waits := slices.ContainsFunc(c.Unsettled, func(u bus.Unsettled) bool { return u.Offset == r.Offset })
			if r.Offset < c.Next && !waits && !l.settled[sub][r.Event.ID] && !dead[sub][r.Event.ID] {
				l.problem("%s stands at %d, and %s at %d was not settled", sub, c.Next, r.Event.ID, r.Offset)
			}
		}
	}
}

// checkSettled finds what was acknowledged and not settled by everybody, when nothing waits any more.
func (l *ledger) checkSettled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.acked {
		if !l.everywhere(id) {
			l.problem("%s was acknowledged, and somebody never got it", id)
		}
	}
}
