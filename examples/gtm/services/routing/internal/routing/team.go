// Package routing decides who owns a lead.
//
// A lead's pool is its territory (by country) and its segment (by the seats asked for); what is unknown falls
// into the territory that has no countries, and into the first segment. Within a pool, owners take turns in
// proportion to their capacity: smooth weighted round-robin, as nginx does it, so that turns of one owner are
// spread out. A later lead of an account goes to the account's owner. A lead is assigned once: the transaction that takes
// the turn notes the event, and publishes the assignment, so that an event that is delivered again takes no turn.
package routing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Team is who can own leads.
type Team struct {
	Territories []Territory `json:"territories"`
	Segments    []Segment   `json:"segments"` // from small to large; the last has no bound
	Owners      []Owner     `json:"owners"`
}

// Territory is a group of countries (ISO 3166-1 alpha-2). The one without any takes what no other takes.
type Territory struct {
	Name      string   `json:"name"`
	Countries []string `json:"countries"`
}

// Segment is a size of customer, by the seats asked for.
type Segment struct {
	Name string `json:"name"`
	UpTo int    `json:"up_to,omitempty"`
}

// Owner is a salesperson.
type Owner struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Territory string   `json:"territory"`
	Segments  []string `json:"segments"`
	Capacity  int      `json:"capacity"` // the share of turns, against those of the same pool
}

// Parse reads a team and makes sure that every lead finds an owner.
func Parse(text []byte) (Team, error) {
	var t Team
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return Team{}, fmt.Errorf("decode: %w", err)
	}
	return t, t.validate()
}

func (t Team) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	rest := slices.IndexFunc(t.Territories, func(x Territory) bool { return len(x.Countries) == 0 })
	if rest < 0 {
		add("no territory takes the countries that no other takes: add one with an empty list")
	}
	if len(t.Segments) == 0 || t.Segments[len(t.Segments)-1].UpTo != 0 {
		add("the last segment must be there and have no bound")
	}
	for i := 1; i < len(t.Segments)-1; i++ {
		if t.Segments[i].UpTo <= t.Segments[i-1].UpTo {
			add("segment %s does not begin above %s", t.Segments[i].Name, t.Segments[i-1].Name)
		}
	}
	ids := map[string]bool{}
	for _, o := range t.Owners {
		if o.ID == "" || ids[o.ID] {
			add("owner %q: the id is missing or taken", o.ID)
		}
		ids[o.ID] = true
		if o.Capacity < 1 {
			add("owner %s: capacity must be 1 or more", o.ID)
		}
		if !slices.ContainsFunc(t.Territories, func(x Territory) bool { return x.Name == o.Territory }) {
			add("owner %s: there is no territory %q", o.ID, o.Territory)
		}
	}
	for _, s := range t.Segments {
		if rest >= 0 && len(t.pool(t.Territories[rest].Name, s.Name)) == 0 {
			add("territory %s has nobody for segment %s", t.Territories[rest].Name, s.Name)
		}
	}
	return errors.Join(errs...)
}

// request asks for the owner of a lead. Empty and zero mean unknown.
type request struct {
	LeadID  string
	Account string // the company's domain
	Country string
	Seats   int
}

// place is the pool of a request, with the reasons.
func (t Team) place(r request) (territory, segment string, reasons []string) {
	country := strings.ToUpper(strings.TrimSpace(r.Country))
	for _, x := range t.Territories {
		if len(x.Countries) == 0 {
			territory = x.Name
		}
	}
	why := fmt.Sprintf("the country is not known: territory %s", territory)
	if country != "" {
		why = fmt.Sprintf("no territory has %s: %s takes it", country, territory)
	}
	for _, x := range t.Territories {
		if slices.Contains(x.Countries, country) {
			territory, why = x.Name, fmt.Sprintf("%s is in territory %s", country, x.Name)
		}
	}
	segment = t.Segments[0].Name
	whySegment := fmt.Sprintf("the number of seats is not known: segment %s", segment)
	if r.Seats > 0 {
		i := slices.IndexFunc(t.Segments, func(s Segment) bool { return s.UpTo == 0 || r.Seats <= s.UpTo })
		segment = t.Segments[i].Name
		whySegment = fmt.Sprintf("%d seats make segment %s", r.Seats, segment)
	}
	reasons = []string{why, whySegment}
	if len(t.pool(territory, segment)) == 0 {
		for _, x := range t.Territories {
			if len(x.Countries) == 0 {
				reasons = append(reasons, fmt.Sprintf("%s has nobody for %s: %s takes it", territory, segment, x.Name))
				territory = x.Name
			}
		}
	}
	return territory, segment, reasons
}

func (t Team) pool(territory, segment string) []Owner {
	var pool []Owner
	for _, o := range t.Owners {
		if o.Territory == territory && slices.Contains(o.Segments, segment) {
			pool = append(pool, o)
		}
	}
	return pool
}

func (t Team) owner(id string) (Owner, bool) {
	i := slices.IndexFunc(t.Owners, func(o Owner) bool { return o.ID == id })
	if i < 0 {
		return Owner{}, false
	}
	return t.Owners[i], true
}

// next is whose turn it is, one step of smooth weighted round-robin: everybody gains their capacity, the richest
// takes the turn and pays the sum of all. It changes turns, which holds what everybody has.
func next(pool []Owner, turns map[string]int) Owner {
	sum := 0
	best := pool[0]
	for _, o := range pool {
		sum += o.Capacity
		turns[o.ID] += o.Capacity
		if turns[o.ID] > turns[best.ID] {
			best = o
		}
	}
	turns[best.ID] -= sum
	return best
}
