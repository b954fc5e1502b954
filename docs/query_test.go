package docs_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

// queryPage is what reference/query.md shows.
type queryPage struct {
	spans, records []telemetry.Row
	numbers        map[any]string // of the rows
	examples       []queryExample
}

type queryExample struct {
	text   string
	signal telemetry.Signal
	result []string // lines; nil where none is stated
}

func readQueryPage(t *testing.T) *queryPage {
	t.Helper()
	file, err := os.ReadFile("reference/query.md")
	if err != nil {
		t.Fatal(err)
	}
	page := &queryPage{numbers: map[any]string{}}
	var header []string
	lines := strings.Split(string(file), "\n")
	for i := 0; i < len(lines); i++ {
		switch line := lines[i]; {
		case strings.HasPrefix(line, "| span |"), strings.HasPrefix(line, "| record |"):
			header = cells(line)
			i++
		case strings.HasPrefix(line, "| ") && header != nil:
			page.row(t, header, cells(line))
		case strings.HasPrefix(line, "```query "):
			e := queryExample{signal: telemetry.Signal(strings.TrimPrefix(line, "```query ")), text: lines[i+1]}
			if i += 2; lines[i+1] == "```result" {
				end := i + 2 + slices.Index(lines[i+2:], "```")
				e.result = lines[i+2 : end]
				i = end
			}
			page.examples = append(page.examples, e)
		default:
			header = nil
		}
	}
	return page
}

func cells(line string) []string {
	var out []string
	for c := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
		out = append(out, strings.TrimSpace(c))
	}
	return out
}

const queryDay = "2026-11-28T"

func (p *queryPage) row(t *testing.T, header, values []string) {
	t.Helper()
	of := map[string]string{}
	for i, h := range header {
		of[h] = values[i]
	}
	at, err := time.Parse(time.RFC3339, queryDay+of["time"]+"Z")
	if err != nil {
		t.Fatal(err)
	}
	res := &telemetry.Resource{Service: of["service"]}
	if header[0] == "record" {
		level, err := telemetry.ParseLevel(of["level"])
		if err != nil {
			t.Fatal(err)
		}
		r := &telemetry.Record{
			Resource: res, Time: at.UnixNano(), Severity: level.Severity(), Name: of["name"], Body: telemetry.String(of["text"]),
			Attrs: attributes(of["attributes"]),
		}
		p.numbers[r] = of["record"]
		p.records = append(p.records, telemetry.Row{Record: r})
		return
	}
	took, err := time.ParseDuration(of["duration"])
	if err != nil {
		t.Fatal(err)
	}
	s := &telemetry.Span{
		Resource: res, Start: at.UnixNano(), Duration: int64(took), Name: of["name"], StatusText: of["status_text"], Attrs: attributes(of["attributes"]),
		SpanID: telemetry.SpanID{byte(len(p.spans) + 1)},
	}
	for ; s.Kind.String() != of["kind"]; s.Kind++ {
		if s.Kind > telemetry.KindConsumer {
			t.Fatalf("no kind %s", of["kind"])
		}
	}
	for ; s.Status.String() != of["status"]; s.Status++ {
		if s.Status > telemetry.StatusError {
			t.Fatalf("no status %s", of["status"])
		}
	}
	p.numbers[s] = of["span"]
	p.spans = append(p.spans, telemetry.Row{Span: s})
}

func attributes(text string) []telemetry.Attr {
	var out []telemetry.Attr
	for a := range strings.SplitSeq(text, ", ") {
		key, value, ok := strings.Cut(a, "=")
		if !ok {
			continue
		}
		v := telemetry.String(value)
		if f, err := strconv.ParseFloat(value, 64); err == nil && value != "007" {
			v = telemetry.Float(f)
		}
		if value == "true" {
			v = telemetry.Bool(true)
		}
		out = append(out, telemetry.Attr{Key: key, Value: v})
	}
	return out
}

// run answers a query as the page writes answers.
func (p *queryPage) run(t *testing.T, e queryExample) []string {
	t.Helper()
	q, err := telemetry.ParseQuery(e.text, e.signal)
	if err != nil {
		t.Errorf("%s: %v", e.text, err)
		return nil
	}
	word, rows := "spans", p.spans
	if e.signal == telemetry.Logs {
		word, rows = "records", p.records
	}
	var chosen []telemetry.Row
	for _, r := range rows {
		if q.Match(r) {
			chosen = append(chosen, r)
		}
	}
	if q.Tell != nil {
		return p.table(t, q, e.signal, chosen)
	}
	slices.SortFunc(chosen, q.CompareRows)
	if q.Limit > 0 {
		chosen = chosen[:min(q.Limit, len(chosen))]
	}
	for _, r := range chosen {
		number := p.numbers[r.Span]
		if r.Record != nil {
			number = p.numbers[r.Record]
		}
		word += " " + number
	}
	return []string{word}
}

func (p *queryPage) table(t *testing.T, q *telemetry.Query, s telemetry.Signal, rows []telemetry.Row) []string {
	t.Helper()
	a := telemetry.NewAggregator(s, q.Tell, telemetry.Range{})
	for _, r := range rows {
		if err := a.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	table := a.Table(q.Sort, q.Limit)
	out := []string{strings.Join(table.Columns, " ")}
	for _, row := range table.Rows {
		var line []string
		for i, v := range row {
			text := v.Text()
			switch {
			case v.Kind() == telemetry.KindNone:
				text = "-"
			case table.Columns[i] == telemetry.FieldTime:
				text = time.Unix(0, v.Int()).UTC().Format(time.TimeOnly)
			case strings.Contains(text, " "):
				text = strconv.Quote(text)
			}
			if f, ok := v.Number(); ok && table.Columns[i] != telemetry.FieldTime {
				text = strconv.FormatFloat(f, 'f', -1, 64)
			}
			line = append(line, text)
		}
		out = append(out, strings.Join(line, " "))
	}
	return out
}

func TestTheQueriesOfTheReferenceAnswerAsItSays(t *testing.T) {
	page := readQueryPage(t)
	results := 0
	for _, e := range page.examples {
		got := page.run(t, e)
		if e.result == nil {
			continue
		}
		results++
		if !slices.Equal(got, e.result) {
			t.Errorf("%s\n got %s\nwant %s", e.text, strings.Join(got, "\n     "), strings.Join(e.result, "\n     "))
		}
	}
	if len(page.spans) != 6 || len(page.records) != 4 || results < 25 {
		t.Errorf("found %d spans, %d records, %d results", len(page.spans), len(page.records), results)
	}
}

// TestTheFieldsOfTheReferenceAreThose holds the table of fields to those that there are.
func TestTheFieldsOfTheReferenceAreThose(t *testing.T) {
	file, err := os.ReadFile("reference/query.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(file), "\n## Fields\n")
	section, _, _ = strings.Cut(section, "\nEvery other name")
	listed := map[telemetry.Signal][]string{}
	for line := range strings.SplitSeq(section, "\n") {
		c := cells(line)
		if len(c) != 4 {
			continue
		}
		for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(c[0], -1) {
			for i, s := range []telemetry.Signal{telemetry.Spans, telemetry.Logs} {
				if c[1+i] == "yes" {
					listed[s] = append(listed[s], name[1])
				}
			}
		}
	}
	for s, names := range listed {
		fixed := telemetry.FixedFields(s)
		slices.Sort(fixed)
		slices.Sort(names)
		if !slices.Equal(names, fixed) {
			t.Errorf("%s: the page has %v, there are %v", s, names, fixed)
		}
	}
}
