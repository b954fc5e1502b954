package cli_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/cli"
	"github.com/atollhq/atoll/internal/control/api"
)

func sagaSteps(after ...[]string) []api.SagaStep {
	out := make([]api.SagaStep, len(after))
	for i := range after {
		out[i] = api.SagaStep{Step: string(rune('a' + i)), Role: api.RoleCompensatable, After: after[i], Does: "POST s/" + string(rune('a'+i))}
	}
	return out
}

func TestAGraphOfStepsSideBySideIsDrawnWithALineForEachOrder(t *testing.T) {
	for name, c := range map[string]struct {
		steps []api.SagaStep
		want  string
	}{
		"a diamond": {sagaSteps(nil, []string{"a"}, []string{"a"}, []string{"b", "c"}), `
     a
   ┌─┴─┐
   b   c
   └─┬─┘
     d
`},
		"one that leads past a row": {sagaSteps(nil, []string{"a"}, []string{"a", "b"}), `
     a
   ┌─┴─┐
   b   │
   └─┬─┘
     c
`},
		"two that do not meet": {sagaSteps(nil, nil, []string{"a"}, []string{"b"}), `
   a   b
   │   │
   c   d
`},
	} {
		var out strings.Builder
		cli.DrawSaga(&out, c.steps, nil, 80)
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%s is drawn as\n%s\nwant\n%s", name, out.String(), c.want)
		}
	}
}

func TestAGraphThatIsTooWideIsAList(t *testing.T) {
	var out strings.Builder
	cli.DrawSaga(&out, sagaSteps(nil, nil, nil, nil, nil, nil, []string{"a", "b", "c", "d", "e", "f"}), nil, 20)
	if got := out.String(); strings.Contains(got, "┴") || !strings.Contains(got, "after a, b, c…") {
		t.Errorf("got\n%s", got)
	}
}

func TestWhatFreesAParkedInstanceGoesByWhyItIsParked(t *testing.T) {
	for name, c := range map[string]struct {
		role, last   string
		compensating bool
		want         string // the first command
		never        string
	}{
		"a step after the pivot was refused": {api.RoleRetriable, "refused", false, "atoll saga replace i ship", "atoll saga cancel"},
		"a step after the pivot failed":      {api.RoleRetriable, "failed", false, "atoll saga retry i ship", "atoll saga cancel"},
		"the pivot had no answer":            {api.RolePivot, "failed", false, "atoll saga retry i ship", "atoll saga skip"},
		"the pivot was refused after that":   {api.RolePivot, "refused", false, "atoll saga cancel i ", "atoll saga skip"},
		"an undo failed":                     {api.RoleCompensatable, "refused", true, "atoll saga retry i ship", "atoll saga override"},
	} {
		hints := cli.ParkedHints(&api.SagaDetail{
			SagaInstance: api.SagaInstance{ID: "i", State: api.SagaParked}, Compensating: c.compensating,
			Steps: []api.SagaStepStatus{{
				SagaStep: api.SagaStep{Step: "ship", Role: c.role}, State: api.StepParked, Tasks: []api.SagaTask{{Task: "ship", State: "parked"}},
			}},
			History: []api.SagaRecord{{Kind: "failed", Task: "ship"}, {Kind: c.last, Task: "ship"}, {Kind: "parked", Task: "ship"}},
		})
		if len(hints) == 0 || !strings.HasPrefix(hints[0], c.want) {
			t.Errorf("%s: the hints are %q, the first should be %s", name, hints, c.want)
		}
		if slices.ContainsFunc(hints, func(h string) bool { return strings.HasPrefix(h, c.never) }) {
			t.Errorf("%s: the hints are %q, and %s is refused there", name, hints, c.never)
		}
	}
}

func TestALongTextIsBrokenBetweenWordsAndLosesNothing(t *testing.T) {
	const text = "the card processor does not answer {\"a\":\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"}"
	lines := cli.Wrap(text, 20)
	for _, line := range lines {
		if len(line) > 20 {
			t.Errorf("%q is too long", line)
		}
	}
	if lines[0] != "the card processor" || strings.ReplaceAll(strings.Join(lines, ""), " ", "") != strings.ReplaceAll(text, " ", "") {
		t.Errorf("got %q", lines)
	}
}
