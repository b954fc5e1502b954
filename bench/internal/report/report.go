// Package report prints what benchmarks have found, in the one form that all of them have.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Result is one figure.
type Result struct {
	Case     string   `json:"case"`
	Subject  string   `json:"subject"`
	Metric   string   `json:"metric"`
	Value    float64  `json:"value"`
	Unit     string   `json:"unit"`
	Baseline *string  `json:"baseline"` // the subject that it is compared with; null for none
	Ratio    *float64 `json:"ratio"`    // value over that of the baseline
	Goal     string   `json:"goal"`
	Met      *bool    `json:"met"` // null where no goal is set
}

// Against compares the result with that of another subject.
func (r Result) Against(base Result) Result {
	ratio := r.Value / base.Value
	r.Baseline, r.Ratio = &base.Subject, &ratio
	return r
}

// AtMost sets a goal for the value.
func (r Result) AtMost(most float64) Result {
	met := r.Value <= most
	r.Goal, r.Met = fmt.Sprintf("at most %.3g %s", most, r.Unit), &met
	return r
}

// AtLeast sets a goal for the value.
func (r Result) AtLeast(least float64) Result {
	met := r.Value >= least
	r.Goal, r.Met = fmt.Sprintf("at least %s %s", number(least), r.Unit), &met
	return r
}

// Times sets a goal for the ratio.
func (r Result) Times(least float64) Result {
	met := r.Ratio != nil && *r.Ratio >= least
	r.Goal, r.Met = fmt.Sprintf("at least %g times", least), &met
	return r
}

// Median is the middle of values, of which there is at least one.
func Median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}

// Write prints results as a table, or as one JSON object a line.
func Write(out io.Writer, format string, results []Result) error {
	if format == "json" {
		e := json.NewEncoder(out)
		for _, r := range results {
			if err := e.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CASE\tSUBJECT\tMETRIC\tVALUE\tUNIT\tBASELINE\tRATIO\tGOAL\tMET")
	for _, r := range results {
		base, ratio, goal, met := "-", "-", "-", "-"
		if r.Baseline != nil {
			base, ratio = *r.Baseline, fmt.Sprintf("%.3g", *r.Ratio)
		}
		if r.Met != nil {
			goal, met = r.Goal, map[bool]string{true: "yes", false: "no"}[*r.Met]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Case, r.Subject, r.Metric, number(r.Value), r.Unit, base, ratio, goal, met)
	}
	return w.Flush()
}

// number writes three digits that count, and no exponent.
func number(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
