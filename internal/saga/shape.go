package saga

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
)

// The most that a definition may hold.
const (
	MaxSteps = 100
	MaxDepth = 8 // of sagas within sagas
)

// Node is where a step stands in the graph of its saga.
type Node struct {
	Role          Role
	After, Before []int
	Revocable     bool // a child that is undone by compensating it
}

// Finding is a fault of a definition at a path such as steps[2].undo.
type Finding struct {
	Path  string
	Fault *fault.Error
}

// Shape finds the graph of a saga and whether it can be compensated wherever it fails: compensatable steps, then at most one
// pivot, then retriable steps. Others are the sagas by name, for children. The nodes are good only if there are no findings.
func Shape(s *manifest.Saga, others map[string]*manifest.Saga) ([]Node, []Finding) {
	sh := &shape{saga: s, others: others, nodes: make([]Node, len(s.Steps)), index: map[string]int{}, pivot: -1}
	if len(s.Steps) == 0 || len(s.Steps) > MaxSteps {
		sh.find("steps", "a saga has between 1 and %d steps, this one has %d", "write the steps, or split the saga by child", MaxSteps, len(s.Steps))
		return nil, sh.findings
	}
	sh.names()
	if sh.edges(); len(sh.findings) == 0 && sh.cycle() {
		return nil, sh.findings
	}
	if len(sh.findings) > 0 {
		return nil, sh.findings
	}
	sh.roles()
	for i := range s.Steps {
		sh.undo(i)
	}
	return sh.nodes, sh.findings
}

type shape struct {
	saga     *manifest.Saga
	others   map[string]*manifest.Saga
	nodes    []Node
	index    map[string]int
	pivot    int
	ahead    []map[int]bool // of each step: all that must have ended before it
	findings []Finding
}

func (sh *shape) find(path, text, fix string, args ...any) {
	sh.findings = append(sh.findings, Finding{path, fault.New(fault.CodeSagaShape, text, args...).Fix("%s", fix)})
}

func at(i int, key string) string {
	if key == "" {
		return fmt.Sprintf("steps[%d]", i)
	}
	return fmt.Sprintf("steps[%d].%s", i, key)
}

// names notes where each step stands.
func (sh *shape) names() {
	for i := range sh.saga.Steps {
		name := sh.saga.Steps[i].Name
		if _, double := sh.index[name]; double {
			sh.find(at(i, "step"), "there is a step %q already", "give one of the two another name", name)
		}
		sh.index[name] = i
	}
}

// edges finds what each step waits for.
func (sh *shape) edges() {
	for i := range sh.saga.Steps {
		after := sh.saga.Steps[i].After
		if after == nil {
			if i > 0 {
				sh.link(i-1, i)
			}
			continue
		}
		for j, name := range *after {
			from, ok := sh.index[name]
			switch {
			case !ok:
				sh.find(at(i, fmt.Sprintf("after[%d]", j)), "there is no step %q to come after", "the steps are "+strings.Join(sh.stepNames(), ", "), name)
			case from == i:
				sh.find(at(i, fmt.Sprintf("after[%d]", j)), "step %s waits for itself", "take it away", name)
			case !slices.Contains(sh.nodes[i].After, from):
				sh.link(from, i)
			}
		}
	}
}

func (sh *shape) link(from, to int) {
	sh.nodes[to].After = append(sh.nodes[to].After, from)
	sh.nodes[from].Before = append(sh.nodes[from].Before, to)
}

func (sh *shape) stepNames() []string {
	names := make([]string, len(sh.saga.Steps))
	for i := range sh.saga.Steps {
		names[i] = sh.saga.Steps[i].Name
	}
	return names
}

// cycle finds a step that waits for itself by way of others, and else all that lies before each step.
func (sh *shape) cycle() bool {
	sh.ahead = make([]map[int]bool, len(sh.nodes))
	open := map[int]bool{}
	var visit func(i int) bool
	visit = func(i int) bool {
		if sh.ahead[i] != nil {
			return false
		}
		if open[i] {
			sh.find(at(i, "after"), "step %s waits for itself, by way of %s", "take one of these after away", sh.saga.Steps[i].Name, sh.openNames(open))
			return true
		}
		open[i] = true
		all := map[int]bool{}
		for _, from := range sh.nodes[i].After {
			if visit(from) {
				return true
			}
			all[from] = true
			for j := range sh.ahead[from] {
				all[j] = true
			}
		}
		delete(open, i)
		sh.ahead[i] = all
		return false
	}
	for i := range sh.nodes {
		if visit(i) {
			return true
		}
	}
	return false
}

func (sh *shape) openNames(open map[int]bool) string {
	var names []string
	for i := range sh.saga.Steps {
		if open[i] {
			names = append(names, sh.saga.Steps[i].Name)
		}
	}
	return strings.Join(names, ", ")
}

// roles finds the pivot and what lies before and after it.
func (sh *shape) roles() {
	for i := range sh.saga.Steps {
		if !sh.saga.Steps[i].Pivot {
			continue
		}
		if sh.pivot >= 0 {
			sh.find(at(i, "pivot"), "%s is a second pivot: when it fails, %s can no longer be undone", "keep one pivot; what comes after it is tried until it is done",
				sh.saga.Steps[i].Name, sh.saga.Steps[sh.pivot].Name)
			continue
		}
		sh.pivot = i
	}
	for i := range sh.nodes {
		switch {
		case i == sh.pivot:
			sh.nodes[i].Role = Pivot
		case sh.pivot < 0 || sh.ahead[sh.pivot][i]:
			sh.nodes[i].Role = Compensatable
		case sh.ahead[i][sh.pivot]:
			sh.nodes[i].Role = Retriable
		default:
			sh.nodes[i].Role = Compensatable
			sh.find(at(i, ""), "step %s runs beside the pivot %s, so that neither can be sure of the other", "let it come before or after: add it to the after of the pivot, or the pivot to its own",
				sh.saga.Steps[i].Name, sh.saga.Steps[sh.pivot].Name)
		}
	}
}

// undo holds a step against its role.
func (sh *shape) undo(i int) {
	step, node := &sh.saga.Steps[i], &sh.nodes[i]
	idle := step.Wait != nil || step.Sleep != "" || step.Until != ""
	revocable, known := sh.revocable(step)
	switch {
	case step.Pivot && step.Do == nil && step.Child == nil:
		sh.find(at(i, "pivot"), "step %s decides nothing: a pivot is a call or a child", "take pivot away", step.Name)
	case idle && step.Undo != nil && !step.Undo.None():
		sh.find(at(i, "undo"), "step %s has done nothing that could be undone", "take undo away", step.Name)
	case node.Role == Retriable && step.Undo != nil:
		sh.find(at(i, "undo"), "step %s comes after the pivot %s, and what comes after it is never undone", "take undo away: the step is tried until it is done, and parked if it cannot be",
			step.Name, sh.saga.Steps[sh.pivot].Name)
	case node.Role != Compensatable || idle || step.Undo != nil:
	case step.Child != nil && known:
		if node.Revocable = revocable; !revocable {
			sh.find(at(i, "child"), "step %s runs %s, which has a pivot: once it has passed that, it cannot be undone", "give the step an undo, make it the pivot, or let it come after the pivot", step.Name, step.Child.Saga)
		}
	case step.Child == nil:
		sh.find(at(i, ""), "step %s cannot be undone when a later one fails", "add undo, undo: none if it has no effect, pivot: true if it decides, or let it come after the pivot", step.Name)
	}
	if node.Role == Retriable && step.Wait != nil && step.Wait.Timeout > 0 && step.Wait.Else != manifest.WaitGoOn {
		sh.find(at(i, "wait"), "step %s can fail after the pivot, when nothing can be undone any more", "write else: go-on, or take timeout away", step.Name)
	}
}

// revocable tells whether a child can be compensated even once it has completed.
func (sh *shape) revocable(step *manifest.SagaStep) (revocable, known bool) {
	if step.Child == nil {
		return false, false
	}
	child := sh.others[step.Child.Saga]
	if child == nil {
		return false, false // which is said elsewhere
	}
	return !slices.ContainsFunc(child.Steps, func(s manifest.SagaStep) bool { return s.Pivot }), true
}
