package bus

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DeadLetter is an event that a subscription has given up.
type DeadLetter struct {
	Offset       Offset // in the stream of dead letters, once it is there
	Subscription string
	Origin       Offset    // in the stream of events
	Stored       time.Time // when the event was stored
	Died         time.Time
	Cause        string
	Failed       int       // attempts
	Attempts     []Attempt // the latest of them, at most 50
	Event        *Event
}

// letter is what is kept of an item that is given up.
func (it *item) letter(now time.Time) DeadLetter {
	return DeadLetter{
		Origin: it.Offset, Stored: it.Stored, Died: now, Cause: it.cause, Failed: it.failed, Attempts: slices.Clone(it.attempts), Event: it.Event,
	}
}

// attributeDead holds the circumstances of a dead letter, in the event that is kept of it.
const attributeDead = "atolldead"

// deadDoc is the form of the circumstances.
type deadDoc struct {
	Subscription string    `json:"subscription"`
	Origin       Offset    `json:"origin"`
	Stored       time.Time `json:"stored"`
	Died         time.Time `json:"died"`
	Cause        string    `json:"cause"`
	Failed       int       `json:"failed"`
	Attempts     []Attempt `json:"attempts"`
}

// maxCircumstances is how many bytes the circumstances of a dead letter may take.
const maxCircumstances = CircumstancesRoom - 2*ownRoom

// record is the event that is kept of a dead letter. Where the circumstances are more than there is room for, the earliest attempts
// are left out.
func (d *DeadLetter) record() *Event {
	doc := deadDoc{d.Subscription, d.Origin, d.Stored, d.Died, d.Cause, d.Failed, d.Attempts}
	text := doc.text()
	for len(text) > maxCircumstances && len(doc.Attempts) > 0 {
		doc.Attempts = doc.Attempts[(len(doc.Attempts)+7)/8:]
		text = doc.text()
	}
	e := d.Event.Clone()
	e.SetExtension(attributeDead, text)
	return e
}

// text is the document; what subscribers say is often HTML, which needs no escaping here.
func (d *deadDoc) text() string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		panic("bus: a dead letter cannot be written: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// readDeadLetter is the dead letter of a record.
func readDeadLetter(r Record) (DeadLetter, error) {
	var doc deadDoc
	if err := json.Unmarshal([]byte(r.Event.Extension(attributeDead)), &doc); err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter %d: %w", r.Offset, err)
	}
	e := r.Event.Clone()
	e.SetExtension(attributeDead, "")
	return DeadLetter{
		Offset: r.Offset, Subscription: doc.Subscription, Origin: doc.Origin, Stored: doc.Stored, Died: doc.Died, Cause: doc.Cause,
		Failed: doc.Failed, Attempts: doc.Attempts, Event: e,
	}, nil
}
