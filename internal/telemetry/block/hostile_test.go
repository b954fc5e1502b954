package block_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
)

func TestALimitThatIsBeyondAllNumbersIsNone(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	w := newWorld(3)
	const n = block.PageRows + 100
	add(t, s, w.batch(n, 0))
	for _, limit := range []int{math.MaxInt, math.MaxInt/4 + 1, math.MaxInt / 4} {
		q := &telemetry.Query{Limit: limit}
		if got := find(t, s, telemetry.Spans, telemetry.Range{}, q); len(got) != n {
			t.Errorf("limit %d: %d rows of %d", limit, len(got), n)
		}
	}
}

// TestRowsDoNotRepeatALargeResource: what a resource has no column for stands in each of its rows.
func TestRowsDoNotRepeatALargeResource(t *testing.T) {
	var log bytes.Buffer
	s := open(t, t.TempDir(), &block.Options{MemRows: 100, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	key := func(i int) string { return fmt.Sprintf("%03d%s", i, strings.Repeat("k", 254)) }
	r := &telemetry.Resource{Service: "loud", Attrs: []telemetry.Attr{{Key: key(100), Value: telemetry.String("small")}}}
	for i := range 40 {
		r.Attrs = append(r.Attrs, telemetry.Attr{Key: key(i), Value: telemetry.String(strings.Repeat("v", 10_000))})
	}
	b := &telemetry.Batch{}
	for i := range 100 {
		b.Records = append(b.Records, telemetry.Record{Resource: r, Time: time.Now().UnixNano() + int64(i), Body: telemetry.String("x"), Attrs: []telemetry.Attr{
			{Key: key(200), Value: telemetry.Int(int64(i))}, // so that no two rows say the same
		}})
	}
	add(t, s, b)
	for _, where := range []string{"in memory or in a block", "in a block"} {
		got := find(t, s, telemetry.Logs, telemetry.Range{}, &telemetry.Query{Limit: 1000})
		if len(got) != 100 {
			t.Fatalf("%s: %d rows", where, len(got))
		}
		for _, row := range got {
			if len(row) > 2000 || !strings.Contains(row, "small") || !strings.Contains(row, key(200)) {
				t.Fatalf("%s: a row of %d bytes: %.2000s", where, len(row), row)
			}
		}
		awaitBlocks(t, s)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "attributes=40") {
		t.Errorf("logged %s", &log)
	}
}

func TestWordsAreFoundInBodiesThatAreAllStructured(t *testing.T) {
	s := open(t, t.TempDir(), &block.Options{MemRows: 3})
	b := &telemetry.Batch{}
	for _, body := range []string{`{"msg":"connection refused"}`, `["order placed"]`, `{"msg":"order shipped"}`} {
		b.Records = append(b.Records, telemetry.Record{Resource: &telemetry.Resource{Service: "s"}, Time: time.Now().UnixNano(), Body: telemetry.JSON(body)})
	}
	add(t, s, b)
	awaitBlocks(t, s)
	for text, want := range map[string]int{"order": 2, `"connection refused"`: 1, "absent": 0, "not order": 1} {
		if got := find(t, s, telemetry.Logs, telemetry.Range{}, parse(t, telemetry.Logs, text)); len(got) != want {
			t.Errorf("%s finds %d", text, len(got))
		}
	}
}

// TestLinesThatComeWhileTheLastAreShownAreShownToo: those that are grepped are looked for among many others first.
func TestLinesThatComeWhileTheLastAreShownAreShownToo(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	n := 0
	write := func(texts ...string) {
		b := &telemetry.Batch{}
		for _, text := range texts {
			n++
			b.Records = append(b.Records, telemetry.Record{
				Resource: &telemetry.Resource{Service: "s"}, Time: time.Now().UnixNano() + int64(n), Body: telemetry.String(text),
			})
		}
		add(t, s, b)
	}
	write("find 1", "other", "find 2", "find 3", "other", "other")
	ctx, enough := context.WithTimeout(t.Context(), 10*time.Second)
	defer enough()
	var got []string
	err := telemetry.ReadLines(ctx, s, &telemetry.LineQuery{Grep: regexp.MustCompile("^find"), Last: 2, Follow: true}, func(l *telemetry.Line) error {
		got = append(got, l.Text)
		switch len(got) {
		case 1:
			write("other", "find 4")
		case 2:
			write("find 5")
		case 4:
			enough()
		}
		return nil
	})
	if want := []string{"find 2", "find 3", "find 4", "find 5"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, want %q; %v", got, want, err)
	}
}

// TestAttributesOfResourcesFillATable: each takes some bytes of the log, and many times that in memory.
func TestAttributesOfResourcesFillATable(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, &block.Options{MemBytes: 1_000_000})
	b := &telemetry.Batch{}
	for i := range 50 {
		b.Records = append(b.Records, telemetry.Record{
			Resource: &telemetry.Resource{Service: fmt.Sprint("s", i), Attrs: make([]telemetry.Attr, 1000)}, Time: time.Now().UnixNano(), Body: telemetry.String("x"),
		})
	}
	if size := len(block.EncodeRecords(b.Records)); size > 200_000 {
		t.Fatalf("%d bytes of the log", size)
	}
	blocks := func() int {
		awaitBlocks(t, s)
		files, _ := filepath.Glob(filepath.Join(dir, "logs", "*", "*.parquet"))
		return len(files)
	}
	add(t, s, b)
	if n := blocks(); n == 0 {
		t.Error("2.4 MB of resources do not fill a table of 1 MB")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	before := blocks()
	must(s.Close())
	// What comes back from the log is counted likewise.
	s = open(t, dir, &block.Options{MemBytes: 100_000_000})
	add(t, s, b)
	must(s.Close())
	s = open(t, dir, &block.Options{MemBytes: 1_000_000})
	if n := blocks(); n == before {
		t.Error("what came back from the log does not fill a table of 1 MB")
	}
}
