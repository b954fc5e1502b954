package bus

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Cursor is how far a subscription has come: all before Next is settled but what Unsettled names.
type Cursor struct {
	Next      Offset
	Unsettled []Unsettled // by offset
}

// Unsettled is an event below Next that is neither accepted nor a dead letter.
type Unsettled struct {
	Offset   Offset    `json:"offset"`
	Failed   int       `json:"failed,omitempty"`
	First    time.Time `json:"first,omitzero"`
	Next     time.Time `json:"next,omitzero"`
	Attempts []Attempt `json:"attempts,omitempty"`
}

// Floor is the first offset that is still needed.
func (c *Cursor) Floor() Offset {
	if len(c.Unsettled) > 0 {
		return min(c.Next, c.Unsettled[0].Offset) // after a rewind, what is in flight stands beyond Next
	}
	return c.Next
}

// cursorDoc is the form in which a cursor is kept: offsets as differences, the few that failed beside them.
type cursorDoc struct {
	Next    Offset      `json:"next"`
	Waiting []Offset    `json:"waiting,omitempty"` // each as the difference to the one before
	Failing []Unsettled `json:"failing,omitempty"`
}

// MarshalJSON writes a cursor in few bytes: it is written several times a second, and may hold thousands of offsets.
func (c Cursor) MarshalJSON() ([]byte, error) {
	doc := cursorDoc{Next: c.Next}
	var before Offset
	budget := attemptBudget
	for _, u := range c.Unsettled {
		doc.Waiting = append(doc.Waiting, u.Offset-before)
		before = u.Offset
	}
	for _, u := range c.Unsettled {
		if u.Failed == 0 {
			continue
		}
		cost := 150
		for _, a := range u.Attempts {
			cost += 150 + len(a.Text)
		}
		if cost > budget/2 {
			cost, u.Attempts = 150, nil
		}
		if budget -= cost; budget < 0 {
			break
		}
		doc.Failing = append(doc.Failing, u)
	}
	return json.Marshal(doc)
}

// attemptBudget is about how many bytes of a cursor may go into what failed. Beyond it first the texts of attempts are not
// kept, then their number: after a crash those events are tried as if they were new.
const attemptBudget = 200 << 10

// UnmarshalJSON reads what MarshalJSON has written.
func (c *Cursor) UnmarshalJSON(text []byte) error {
	var doc cursorDoc
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("read cursor: %w", err)
	}
	failing := map[Offset]Unsettled{}
	for _, u := range doc.Failing {
		failing[u.Offset] = u
	}
	*c = Cursor{Next: doc.Next}
	var at Offset
	for _, d := range doc.Waiting {
		at += d
		u := failing[at]
		u.Offset = at
		c.Unsettled = append(c.Unsettled, u)
	}
	return nil
}

// Cursor is where the machine stands.
func (m *Machine) Cursor() Cursor {
	c := Cursor{Next: m.read, Unsettled: make([]Unsettled, 0, len(m.room))}
	for offset, it := range m.room {
		c.Unsettled = append(c.Unsettled, Unsettled{offset, it.failed, it.first, it.next, slices.Clone(it.attempts)})
	}
	if m.resume != nil {
		c.Next = max(m.read, m.resume.until)
		for offset, u := range m.resume.waiting {
			if offset < m.resume.until {
				c.Unsettled = append(c.Unsettled, u)
			}
		}
	}
	slices.SortFunc(c.Unsettled, func(a, b Unsettled) int { return int(int64(a.Offset) - int64(b.Offset)) })
	m.dirty = false
	return c
}

// Changed tells whether the cursor is another than when it was taken last.
func (m *Machine) Changed() bool { return m.dirty }

// Load says how much work the machine holds.
type Load struct {
	Held, Flying, Failing, Bytes int
	Read                         Offset    // the next to be read
	Oldest                       time.Time // when the oldest event that is held was stored; zero if none is held
	Unreachable                  bool      // the latest attempt found nobody
	Full                         bool      // no more is taken in
}

// Load returns how much work the machine holds.
func (m *Machine) Load() Load {
	l := Load{Held: len(m.room), Flying: m.flying, Bytes: m.bytes, Read: m.read, Unreachable: m.misses > 0, Full: m.full()}
	for _, it := range m.room {
		if it.failed > 0 {
			l.Failing++
		}
		if l.Oldest.IsZero() || it.Stored.Before(l.Oldest) {
			l.Oldest = it.Stored
		}
	}
	if m.resume != nil { // what is not read again yet is held all the same
		for offset := range m.resume.waiting {
			if offset < m.resume.until {
				l.Held++
			}
		}
		l.Read = max(m.read, m.resume.until)
	}
	return l
}
