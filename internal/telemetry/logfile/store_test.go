package logfile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/logfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string, o *logfile.Options) *logfile.Store {
	t.Helper()
	s, err := logfile.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func record(second int, service, text string) *telemetry.Line {
	return &telemetry.Line{
		Time: time.Unix(int64(second), 0).UTC(), Service: service, Replica: service + "-1",
		Stream: "stdout", Level: telemetry.LevelOf(text), Text: text,
	}
}

func add(t *testing.T, s *logfile.Store, r *telemetry.Line) {
	t.Helper()
	if err := s.Append(r); err != nil {
		t.Fatal(err)
	}
}

func texts(t *testing.T, s *logfile.Store, q telemetry.LineQuery) string {
	t.Helper()
	var out []string
	if err := s.Read(t.Context(), &q, func(r *telemetry.Line) error {
		out = append(out, r.Text)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, ",")
}

func TestReadChoosesAndMergesByTime(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	add(t, s, record(1, "orders", "a"))
	add(t, s, record(3, "orders", "WARN c"))
	add(t, s, record(2, "pay", "b"))
	add(t, s, record(4, "pay", "ERROR d"))
	for want, q := range map[string]telemetry.LineQuery{
		"a,b,WARN c,ERROR d": {},
		"a,WARN c":           {Services: []string{"orders"}},
		"WARN c,ERROR d":     {Level: telemetry.LevelWarn},
		"b,WARN c,ERROR d":   {Since: time.Unix(2, 0)},
		"ERROR d":            {Grep: regexp.MustCompile("d$")},
		"WARN c,ERROR d ":    {Last: 2},
		"":                   {Services: []string{"nobody"}},
	} {
		if got := texts(t, s, q); got != strings.TrimSpace(want) {
			t.Errorf("%+v: got %s, want %s", q, got, want)
		}
	}
}

func TestANoisyServiceDrivesOutOnlyItsOwnRecords(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, &logfile.Options{SegmentBytes: 1000, ServiceBytes: 4000})
	add(t, s, record(1, "quiet", "still here"))
	for i := range 500 {
		add(t, s, record(i, "noisy", fmt.Sprint("line ", i)))
	}
	if got := texts(t, s, telemetry.LineQuery{Services: []string{"quiet"}}); got != "still here" {
		t.Errorf("quiet has %q", got)
	}
	got := texts(t, s, telemetry.LineQuery{Services: []string{"noisy"}})
	if !strings.HasSuffix(got, "line 499") || strings.Contains(got, "line 1,") {
		t.Errorf("noisy has %q", got)
	}
	files, total := 0, int64(0)
	entries, err := os.ReadDir(filepath.Join(dir, "noisy"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		files, total = files+1, total+info.Size()
	}
	if total > 4000 || files < 2 {
		t.Errorf("%d segments of %d bytes", files, total)
	}
}

func TestATornLineIsCutAndTheStoreGoesOn(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	add(t, s, record(1, "orders", "whole"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "orders", "00000001.jsonl")
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"text":"to`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s = open(t, dir, nil)
	add(t, s, record(2, "orders", "next"))
	if got := texts(t, s, telemetry.LineQuery{}); got != "whole,next" {
		t.Errorf("got %s", got)
	}
}

func TestFollowGivesEveryRecordOnceAndEndsWithTheContext(t *testing.T) {
	s := open(t, t.TempDir(), &logfile.Options{SegmentBytes: 300})
	add(t, s, record(0, "orders", "0"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	seen := make(chan string, 100)
	go func() {
		done <- s.Read(ctx, &telemetry.LineQuery{Follow: true}, func(r *telemetry.Line) error {
			seen <- r.Text
			return nil
		})
	}()
	for i := range 20 {
		if got := <-seen; got != fmt.Sprint(i) {
			t.Fatalf("got %s, want %d", got, i)
		}
		add(t, s, record(i+1, "orders", fmt.Sprint(i+1)))
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFollowEndsWhenTheStoreCloses(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	done := make(chan error)
	go func() {
		done <- s.Read(t.Context(), &telemetry.LineQuery{Follow: true}, func(*telemetry.Line) error { return nil })
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.Append(record(1, "a", "b")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("append to a closed store: %v", err)
	}
}
