package replica

import (
	"cmp"
	"fmt"
	"slices"
)

// reconcile brings the replicas one step closer to what they should be.
//
// With n replicas wanted, a roll keeps these bounds: at most n+1 replicas that are not being ended, and an
// old one that serves is ended only when more than n would serve with it. So a roll starts one new replica,
// waits until it is ready, ends one old one, and so on; if the new one never becomes ready, the roll stays
// there.
func (s *step) reconcile() {
	s.sweep()
	s.retire()
	s.fill()
	s.launch()
}

// sweep takes away the replicas that were to end and have ended.
func (s *step) sweep() {
	s.m.slots = slices.DeleteFunc(s.m.slots, func(c slot) bool {
		if !c.removing || c.process != processNone {
			return false
		}
		s.enterWith(&c, Stopped, c.reason, func(ch *Change) { ch.Exit = c.lastExit })
		return true
	})
}

// retire ends what is not needed, or not any more.
func (s *step) retire() {
	for i := range s.m.slots {
		if c := &s.m.slots[i]; s.m.stopping || s.useless(c) {
			s.remove(c, s.whyRetired(c))
		}
	}
	for c := s.surplus(); c != nil; c = s.surplus() {
		s.remove(c, s.whyRetired(c))
	}
	s.sweep()
}

func (s *step) whyRetired(c *slot) string {
	switch {
	case s.m.stopping:
		return "the service is being stopped"
	case c.gen < s.m.gen:
		return "replaced by a newer replica"
	default:
		return "fewer replicas are wanted"
	}
}

// useless tells of a replica of an older generation that does not serve: it makes room at once. As long as
// it is not known that the new generation can be built, or when that one crashes, it is left as it is: it may
// serve again. One that holds the port which the new generation insists on makes room in any case.
func (s *step) useless(c *slot) bool {
	if c.removing || c.gen == s.m.gen || s.m.build != buildOK {
		return false
	}
	return c.svc.clashes(s.m.service) || c.state != Ready && !s.m.failing
}

// surplus is a replica that is one too many, or nil.
func (s *step) surplus() *slot {
	var current, old []*slot
	serving := 0
	for i := range s.m.slots {
		c := &s.m.slots[i]
		switch {
		case c.removing:
			continue
		case c.gen == s.m.gen:
			current = append(current, c)
		default:
			old = append(old, c)
		}
		if c.state == Ready {
			serving++
		}
	}
	if len(current) > s.m.want {
		return slices.MaxFunc(current, worse)
	}
	if len(old) == 0 || serving <= s.m.want && s.m.want > 0 {
		return nil
	}
	if s.m.want == 0 {
		return old[0]
	}
	i := slices.IndexFunc(old, func(c *slot) bool { return c.state == Ready })
	if i < 0 {
		return nil
	}
	return old[i]
}

// worse orders replicas by how little is lost with them: those that do not serve last, then by number.
func worse(a, b *slot) int {
	serves := func(c *slot) int {
		if c.state == Ready {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(serves(a), serves(b)), cmp.Compare(a.number, b.number))
}

// fill makes the replicas that are missing.
func (s *step) fill() {
	if s.m.stopping || s.m.gen == 0 {
		return
	}
	current, old := 0, 0
	for _, c := range s.m.slots {
		switch {
		case c.removing:
		case c.gen == s.m.gen:
			current++
		default:
			old++
		}
	}
	for ; current < s.m.want && current+old <= s.m.want; current++ {
		s.add()
	}
}

// add makes a replica under the lowest number that is free.
func (s *step) add() {
	number := 1
	for slices.ContainsFunc(s.m.slots, func(c slot) bool { return c.number == number }) {
		number++
	}
	c := slot{
		id: fmt.Sprintf("%s-%d", s.m.service.Name, number), number: number,
		gen: s.m.gen, svc: s.m.service, state: Pending, since: s.at,
	}
	s.m.slots = append(s.m.slots, c)
	slices.SortFunc(s.m.slots, func(a, b slot) int { return cmp.Compare(a.number, b.number) })
	s.do(DoReport{Current: true, Change: Change{
		Time: s.at, Service: s.m.service.Name, Replica: c.id, Version: c.svc.Version, From: Pending, To: Pending,
	}})
}

// launch starts the replicas that wait, if what they wait for is there.
func (s *step) launch() {
	for i := range s.m.slots {
		c := &s.m.slots[i]
		if c.removing || c.state != Pending && c.state != Building {
			continue
		}
		switch s.m.build {
		case buildOK:
			if !s.portHeld(c.svc) {
				s.start(c)
			}
		case buildFailed:
			s.crash(c, crash{fault: s.m.fault, final: true})
		case buildRunning:
			s.enter(c, Building, "")
		case buildQueued:
		}
	}
}

// portHeld tells whether a process still holds the port that svc insists on.
func (s *step) portHeld(svc Service) bool {
	return slices.ContainsFunc(s.m.slots, func(c slot) bool { return c.process != processNone && c.svc.clashes(svc) })
}
