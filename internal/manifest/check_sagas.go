package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

const (
	stepPattern  = `^[a-z][a-z0-9_]*$`
	maxSagaDepth = 8 // of sagas within sagas, the first counted
)

var stepForm = regexp.MustCompile(stepPattern)

// sagas checks what can be known of sagas without reading their expressions.
func (c *checker) sagas() {
	c.sagaStore()
	for _, s := range c.app.Sagas {
		k := &sagaChecker{c, s}
		k.check()
	}
	c.descent()
}

// sagaStore checks where instances are kept.
func (c *checker) sagaStore() {
	n, db := lookup(c.root, "saga_store"), c.app.SagaStore.Database
	if db.Kind == DatabaseExisting && !strings.HasPrefix(db.URL, "postgres://") && !strings.HasPrefix(db.URL, "postgresql://") {
		c.add(c.fault(lookup(n, "database"), fault.CodeBadValue, "instances of sagas are kept in SQLite or PostgreSQL").
			Fix("write sqlite, postgres, or a URL such as postgres://user@host/name"))
	}
}

// mayStart checks the sagas that a service names.
func (c *checker) mayStart(s *Service, n *yaml.Node) {
	seen := map[string]bool{}
	for i, name := range s.Sagas {
		at := lookup(n, "sagas", i)
		switch {
		case seen[name]:
			c.add(c.fault(at, fault.CodeDuplicateKey, "%s is named twice", name).Fix("keep one of the two"))
		case c.app.Saga(name) == nil:
			c.noSaga(at, "use", name)
		}
		seen[name] = true
	}
}

// noSaga says that a saga is named that does not exist.
func (c *checker) noSaga(n *yaml.Node, purpose, name string) {
	c.add(c.unknownSaga(purpose, name).At(c.position(n)))
}

func (c *checker) unknownSaga(purpose, name string) *fault.Error {
	names := make([]string, len(c.app.Sagas))
	for i, s := range c.app.Sagas {
		names[i] = s.Name
	}
	e := fault.New(fault.CodeSagaUnknown, "there is no saga %q to %s", name, purpose)
	switch near := nearest(name, names); {
	case near != "":
		return e.Fix("did you mean %q?", near)
	case len(names) == 0:
		return e.Fix("define it in a file, and name that in %s: sagas: [sagas/*.yaml]", AppFile)
	}
	return e.Fix("the sagas are %s; a new one needs a file that sagas in %s names", strings.Join(names, ", "), AppFile)
}

// descent refuses sagas that run themselves, and those that are nested too deep.
func (c *checker) descent() {
	var path []string
	told := map[string]bool{}
	var visit func(s *Saga, at string, by *Saga)
	visit = func(s *Saga, at string, by *Saga) {
		if i := slices.Index(path, s.Name); i >= 0 || len(path) == maxSagaDepth {
			round := strings.Join(append(slices.Clone(path[max(i, 0):]), s.Name), " → ")
			e := fault.New(fault.CodeSagaShape, "this saga runs itself: %s", round).Fix("take one of these children away")
			if i < 0 {
				e = fault.New(fault.CodeSagaShape, "these are more than %d sagas within each other: %s", maxSagaDepth, round).
					Fix("let one of them take the steps of its child itself")
			}
			if key := by.Name + at; !told[key] {
				told[key] = true
				c.add(e.At(by.Place(at)))
			}
			return
		}
		path = append(path, s.Name)
		for i := range s.Steps {
			if child := s.Steps[i].Child; child != nil {
				if next := c.app.Saga(child.Saga); next != nil {
					visit(next, stepAt(i, "child.saga"), s)
				}
			}
		}
		path = path[:len(path)-1]
	}
	for _, s := range c.app.Sagas {
		visit(s, "", s)
	}
}

func stepAt(i int, key string) string {
	if key == "" {
		return fmt.Sprintf("steps[%d]", i)
	}
	return fmt.Sprintf("steps[%d].%s", i, key)
}

// sagaChecker checks one saga.
type sagaChecker struct {
	*checker
	saga *Saga
}

func (k *sagaChecker) find(path string, code fault.Code, format string, args ...any) finding {
	return finding{k, path, fault.New(code, format, args...)}
}

// finding is a fault that wants a remedy.
type finding struct {
	k    *sagaChecker
	path string
	e    *fault.Error
}

func (f finding) fix(format string, args ...any) {
	f.k.add(f.e.Fix(format, args...).At(f.k.saga.Place(f.path)))
}

// written tells whether a key stands in the file.
func (k *sagaChecker) written(path string) bool {
	_, ok := k.saga.places[path]
	return ok
}

func (k *sagaChecker) check() {
	s := k.saga
	k.name(lookup(k.sagaNodes[s], "saga"), s.Name, "a saga")
	schedules := map[string]bool{}
	for i := range s.Start {
		k.start(fmt.Sprintf("start[%d]", i), &s.Start[i], schedules)
	}
	if k.written("steps") && len(s.Steps) == 0 && s.sound {
		k.find("steps", fault.CodeSagaShape, "a saga has at least one step").fix("write what it does")
	}
	for i := range s.Steps {
		k.step(i, &s.Steps[i])
	}
}

// start checks one thing that starts instances.
func (k *sagaChecker) start(at string, start *SagaStart, schedules map[string]bool) {
	clock := start.Cron.String() != ""
	switch {
	case start.Event != "" && k.written(at+".cron"):
		k.find(at+".cron", fault.CodeBadValue, "a start is an event or a schedule, and this one says both").fix("make two of it")
	case start.Event == "" && !k.written(at+".cron"):
		k.find(at, fault.CodeMissingKey, "this start says neither event nor cron").fix("add \"event: TOPIC\", or \"name: NAME\" and \"cron: '0 2 * * *'\"")
	case start.Event != "":
		k.topicAt(at+".event", start.Event)
		k.only(at, "schedules", "name", "zone", "missed")
	case clock:
		k.schedule(at, start, schedules)
		k.only(at, "events", "when", "key")
	}
}

func (k *sagaChecker) schedule(at string, start *SagaStart, schedules map[string]bool) {
	switch {
	case start.Name == "":
		k.find(at, fault.CodeMissingKey, "this schedule has no name").fix("add a line \"name: nightly\"")
	case schedules[start.Name]:
		k.find(at+".name", fault.CodeDuplicateKey, "%s has a schedule %s already", k.saga.Name, start.Name).fix("give one of the two another name")
	case len(start.Name) > maxName || !nameOf.MatchString(start.Name):
		k.find(at+".name", fault.CodeBadName, "%q is not a name for a schedule", start.Name).
			fix("use at most %d lower-case letters, digits and hyphens, with a letter first", maxName)
	}
	schedules[start.Name] = true
	if _, err := time.LoadLocation(start.Zone); err != nil || start.Zone == "Local" {
		k.find(at+".zone", fault.CodeBadValue, "%q is not a time zone", start.Zone).fix("write a name of the IANA database such as Europe/Vienna, or UTC")
	}
}

// only refuses keys that belong to something else.
func (k *sagaChecker) only(at, of string, keys ...string) {
	for _, key := range keys {
		if k.written(at + "." + key) {
			k.find(at+"."+key, fault.CodeBadValue, "%s is only for %s", key, of).fix("take it away")
		}
	}
}

func (k *sagaChecker) topicAt(at, topic string) {
	if topic != "" && !ValidTopic(topic) {
		k.find(at, fault.CodeBadName, "%q is not a name for a topic", topic).fix("use lower-case words joined by dots, such as order.placed")
	}
}

// step checks one step.
func (k *sagaChecker) step(i int, step *SagaStep) {
	at := func(key string) string { return stepAt(i, key) }
	switch reserved := []string{"in", "true", "false", "null"}; {
	case step.Name == "":
	case len(step.Name) > maxName || !stepForm.MatchString(step.Name) || slices.Contains(reserved, step.Name):
		k.find(at("step"), fault.CodeBadName, "%q is not a name for a step", step.Name).
			fix("use at most %d lower-case letters, digits and underscores, with a letter first, and not %s", maxName, strings.Join(reserved, ", "))
	}
	if !k.kind(i, step) {
		return
	}
	k.modifiers(i, step)
	if step.Do != nil {
		k.call(at("do"), step.Do.Call, step.Do.Body, step.Do.Headers)
		k.statuses(at("do.refused"), step.Do.Refused, 400, 599)
		k.async(at("do.async"), step.Do)
	}
	if step.Undo != nil && !step.Undo.None() {
		k.call(at("undo"), step.Undo.Call, step.Undo.Body, step.Undo.Headers)
		k.statuses(at("undo.done"), step.Undo.Done, 100, 599)
	} else if step.Undo != nil {
		k.only(at("undo"), "undo that is a call", "body", "headers", "done")
	}
	if step.Child != nil && step.Child.Saga != "" && k.app.Saga(step.Child.Saga) == nil {
		k.add(k.unknownSaga("run", step.Child.Saga).At(k.saga.Place(at("child.saga"))))
	}
	if step.Wait != nil {
		k.topicAt(at("wait.event"), step.Wait.Event)
		if step.Wait.Else != "" && step.Wait.Timeout == 0 {
			k.find(at("wait.else"), fault.CodeBadValue, "the time of this wait is never over").fix("add a timeout, or take else away")
		}
	}
	if step.Each != nil && step.Each.AtOnce != 0 || k.written(at("each.at_once")) {
		k.within(at("each.at_once"), step.Each.AtOnce, 1, 64)
	}
}

// kind refuses a step that does nothing, or more than one thing.
func (k *sagaChecker) kind(i int, step *SagaStep) bool {
	var kinds []string
	for _, kind := range []string{"do", "child", "wait", "sleep", "until"} {
		if k.written(stepAt(i, kind)) {
			kinds = append(kinds, kind)
		}
	}
	switch len(kinds) {
	case 1:
		return true
	case 0:
		k.find(stepAt(i, ""), fault.CodeMissingKey, "step %s does nothing", step.Name).
			fix("add one of do, child, wait, sleep and until, such as do: POST stock/reservations")
	default:
		k.find(stepAt(i, kinds[1]), fault.CodeBadValue, "a step does one thing, and %s says %s", step.Name, strings.Join(kinds, " and ")).
			fix("make a step of each")
	}
	return false
}

// modifiers refuses what has no meaning for the kind of a step, and numbers that are out of bounds.
func (k *sagaChecker) modifiers(i int, step *SagaStep) {
	calls := step.Do != nil || step.Undo != nil && !step.Undo.None()
	refuse := func(why string, keys ...string) {
		for _, key := range keys {
			if k.written(stepAt(i, key)) {
				k.find(stepAt(i, key), fault.CodeBadValue, "%s %s", key, why).fix("take it away")
			}
		}
	}
	if !calls {
		refuse("is about calls, and this step makes none", "retry", "timeout")
	}
	if step.Do == nil {
		refuse("is made of the answer to a call, and this step makes none", "output")
	}
	if step.Do == nil && step.Child == nil {
		refuse("is for calls and children", "each")
	}
	if at := stepAt(i, "retry.attempts"); k.written(at) {
		k.within(at, step.Retry.Attempts, 1, 10_000)
	}
	if r := step.Retry; r.Backoff > 0 && r.MaxBackoff > 0 && r.Backoff > r.MaxBackoff {
		k.find(stepAt(i, "retry.backoff"), fault.CodeBadValue, "the first wait is longer than the longest, %s", r.MaxBackoff).fix("write at most that, or raise max_backoff")
	}
	if at := stepAt(i, "timeout"); k.written(at) && step.Timeout == 0 && k.saga.sound {
		k.find(at, fault.CodeBadValue, "an attempt needs time").fix("write a time span such as 30s")
	}
}

func (k *sagaChecker) within(at string, n, low, high int) {
	if n < low && (n != 0 || k.saga.sound) || n > high {
		k.find(at, fault.CodeBadValue, "%d is out of bounds", n).fix("write a number from %d to %d", low, high)
	}
}

func (k *sagaChecker) statuses(at string, statuses []int, low, high int) {
	for i, status := range statuses {
		if status < low || status > high {
			k.find(fmt.Sprintf("%s[%d]", at, i), fault.CodeBadValue, "%d is not a status that can stand here", status).fix("write a number from %d to %d", low, high)
		}
	}
}

// call checks a call but for its expressions.
func (k *sagaChecker) call(at, call string, body JSON, headers map[string]string) {
	method, service, _, ok := ParseSagaCall(call)
	switch s := k.app.Service(service); {
	case call == "":
	case !ok:
		k.find(at+".call", fault.CodeBadValue, "%q is not a call", call).fix("write METHOD service/path, such as POST stock/reservations")
	case s == nil:
		k.noService(k.nodeAt(at+".call"), "call", service)
	case s.Protocol != ProtocolHTTP:
		k.find(at+".call", fault.CodeBadValue, "a saga calls by HTTP, and %s speaks %s", service, s.Protocol).
			fix("let a service call it that speaks http")
	case (method == "GET" || method == "HEAD") && body != "":
		k.find(at+".body", fault.CodeBadValue, "%s has no body", method).fix("take it away, or write another method")
	}
	for name := range headers {
		lower := strings.ToLower(name)
		switch {
		case !headerForm.MatchString(name):
			k.find(at+".headers."+name, fault.CodeBadValue, "%q is not a header", name).fix("write a name such as X-Tenant")
		case strings.HasPrefix(lower, "atoll-") || slices.Contains(ownHeaders(), lower):
			k.find(at+".headers."+name, fault.CodeBadValue, "%s is set by Atoll", name).fix("take it away")
		}
	}
}

// ownHeaders are those of a call that are not the definition's.
func ownHeaders() []string {
	return []string{
		"idempotency-key", "traceparent", "tracestate", "host", "content-type", "content-length", "transfer-encoding", "connection", "te", "trailer",
		"upgrade", "expect", "keep-alive", "proxy-connection",
	}
}

// nodeAt is the node of a path such as steps[0].do.call, or the nearest that is written.
func (k *sagaChecker) nodeAt(path string) *yaml.Node {
	n := k.sagaNodes[k.saga]
	for part := range strings.SplitSeq(path, ".") {
		key, index, isList := strings.Cut(part, "[")
		n = lookup(n, key)
		if isList {
			var i int
			if _, err := fmt.Sscanf(index, "%d]", &i); err == nil {
				n = lookup(n, i)
			}
		}
	}
	return n
}

// async checks how the end of a step is told.
func (k *sagaChecker) async(at string, call *SagaCall) {
	a := call.Async
	if a == nil {
		return
	}
	k.topicAt(at+".event", a.Event)
	switch {
	case a.Event != "" && a.Key == "":
		k.find(at, fault.CodeMissingKey, "it is not said which event of %s is meant", a.Event).fix("add a line such as \"key: ${input.order}\"")
	case a.Event == "":
		k.only(at, "async with an event", "key", "by")
	}
}
