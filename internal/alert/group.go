package alert

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Timing is how often receivers are told.
type Timing struct {
	Wait     time.Duration // how long the first alert of a group waits for others
	Interval time.Duration // how long a group that was told of waits before changes are told of
	Repeat   time.Duration // after what time a group that still fires is told of again
}

// Group is what one receiver was told of the alerts that have some labels in common. It is pure data, and its methods have no clock.
type Group struct {
	Labels Labels          `json:"labels"`        // that they have in common
	Due    time.Time       `json:"due"`           // when it is to be looked at next
	Told   time.Time       `json:"told,omitzero"` // when the receiver was told last
	Times  int             `json:"times,omitempty"`
	Firing map[string]bool `json:"firing,omitempty"` // keys of the alerts that the receiver was told are firing, and not yet that they are not
}

// newGroup is a group with its first alert.
func newGroup(labels Labels, now time.Time, t Timing) *Group {
	return &Group{Labels: labels, Due: now.Add(t.Wait), Firing: map[string]bool{}}
}

// maxDue is no less than what a group waits.
const maxDue = 24 * time.Hour

// restore makes a group whole that was kept.
func (g *Group) restore(now time.Time) {
	if g.Firing == nil { // an empty one is not written
		g.Firing = map[string]bool{}
	}
	if g.Told.After(now) {
		g.Told, g.Due = now, now
	}
	if g.Due.Sub(now) > maxDue {
		g.Due = now
	}
}

// decide tells what a receiver is to be told when a group is due: the alerts that fire and those that do no longer, of which it was told that they
// did; nothing where that is no news. alerts are those of the group that fire, or did until a while ago; silenced ones are told of in no way.
func (g *Group) decide(alerts []Alert, now time.Time, t Timing) []Alert {
	var out []Alert
	news, firing := false, 0
	for _, a := range alerts {
		key := a.Labels.Key()
		switch {
		case len(a.Silenced) > 0:
		case a.Phase == Firing:
			news = news || !g.Firing[key]
			firing++
			out = append(out, a)
		case a.Phase == Resolved && g.Firing[key]:
			news = true
			out = append(out, a)
		}
	}
	if !news && (firing == 0 || now.Sub(g.Told) < t.Repeat) {
		return nil
	}
	slices.SortFunc(out, func(a, b Alert) int {
		return cmp.Or(cmp.Compare(a.Phase, b.Phase), a.Started.Compare(b.Started), cmp.Compare(a.Labels.Key(), b.Labels.Key()))
	})
	return out
}

// told notes that a receiver was told, and of which alerts: also of those that were only counted, or they would be news again and again.
func (g *Group) told(alerts []Alert, now time.Time) {
	g.Told = now
	g.Times++
	for _, a := range alerts {
		if a.Phase == Firing {
			g.Firing[a.Labels.Key()] = true
		} else {
			delete(g.Firing, a.Labels.Key())
		}
	}
}

// looked notes that a group was looked at, with the alerts that it has; it tells whether there is anything left to look at.
func (g *Group) looked(alerts []Alert, now time.Time, t Timing) bool {
	g.Due = now.Add(t.Interval)
	fires, here := false, map[string]bool{}
	for _, a := range alerts {
		fires = fires || a.Phase == Firing
		// One that is resolved in silence, the receiver is not told of: it must not be taken for one that still fires.
		here[a.Labels.Key()] = a.Phase == Firing || len(a.Silenced) == 0
	}
	maps.DeleteFunc(g.Firing, func(key string, _ bool) bool { return !here[key] })
	return fires || len(g.Firing) > 0
}

// Notification is what a receiver is told: how the alerts of one group are.
type Notification struct {
	ID        string // the same whenever it is tried
	Receiver  string
	GroupKey  string
	Group     Labels // labels that the group is made by
	Common    Labels // labels that the alerts of it have in common
	Alerts    []Alert
	Truncated int // alerts that are left out
	// TruncatedResolved is how many of those that are left out fire no longer.
	TruncatedResolved int
	At                time.Time

	all []Alert // with those that are left out
}

// maxTold bounds the alerts of one notification.
const maxTold = 100

// notification is what is to be told of some alerts of a group.
func (g *Group) notification(receiver string, alerts []Alert, now time.Time) *Notification {
	n := &Notification{Receiver: receiver, GroupKey: g.Labels.Key(), Group: g.Labels, Alerts: slices.Clone(alerts), At: now, all: alerts}
	labels := make([]Labels, len(alerts))
	var id strings.Builder // of what is told alone, so that it is the same after a crash
	id.WriteString(receiver + "\n" + n.GroupKey + "\n" + strconv.Itoa(g.Times))
	for i := range alerts {
		labels[i] = alerts[i].Labels
		id.WriteString("\n" + labels[i].Key() + string(alerts[i].Phase) + alerts[i].Since.UTC().Format(time.RFC3339Nano))
	}
	n.ID = "alert_" + shortHash(id.String())
	n.Common = common(labels)
	if len(alerts) > maxTold {
		n.Alerts, n.Truncated = n.Alerts[:maxTold], len(alerts)-maxTold
		for i := range alerts[maxTold:] {
			if alerts[maxTold+i].Phase == Resolved {
				n.TruncatedResolved++
			}
		}
	}
	return n
}

// Firing tells whether any of the alerts fires.
func (n *Notification) Firing() bool {
	return slices.ContainsFunc(n.Alerts, func(a Alert) bool { return a.Phase == Firing })
}
