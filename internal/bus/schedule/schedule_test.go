package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/bus/schedule"
	"github.com/atollhq/atoll/internal/manifest"
)

func parse(t rapid.TB, cron, zone string) (*schedule.Schedule, manifest.Cron) {
	t.Helper()
	var c manifest.Cron
	if err := c.UnmarshalText([]byte(cron)); err != nil {
		t.Fatal(err)
	}
	s, err := schedule.New(c, zone)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestTimesFollowTheClockOnTheWall(t *testing.T) {
	for _, c := range []struct{ cron, zone, after, want string }{
		{"0 7 * * mon-fri", "UTC", "2026-11-20T07:00:00Z", "2026-11-23T07:00:00Z"},
		{"0 7 * * mon-fri", "UTC", "2026-11-20T06:59:59.5Z", "2026-11-20T07:00:00Z"},
		{"0 0 29 2 *", "UTC", "2026-11-20T07:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"0 0 13 * fri", "UTC", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"},
		{"0 0 1 1 *", "Asia/Kolkata", "2026-11-20T00:00:00Z", "2026-12-31T18:30:00Z"},
		// Vienna puts its clocks forward on 2026-03-29 at 02:00 (01:00 UTC), and back on 2026-10-25 at 03:00 (01:00 UTC).
		{"30 2 * * *", "Europe/Vienna", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"30 2 * * *", "Europe/Vienna", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"30 2 * * *", "Europe/Vienna", "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z"},
		{"30 2 * * *", "Europe/Vienna", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
		{"30 2 * * *", "Europe/Vienna", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"30 * * * *", "Europe/Vienna", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
		{"30 * * * *", "Europe/Vienna", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"},
		{"0 3 * * *", "Europe/Vienna", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"0,30 2,3 * * *", "Europe/Vienna", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"},
		{"0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2011-12-30T10:00:00Z"}, // a day that Samoa left out
	} {
		after, err := time.Parse(time.RFC3339Nano, c.after)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := parse(t, c.cron, c.zone)
		if got := s.Next(after).Format(time.RFC3339Nano); got != c.want {
			t.Errorf("%q in %s after %s: got %s, want %s", c.cron, c.zone, c.after, got, c.want)
		}
	}
}

func TestASetOfMinutesThatNeverComesEnds(t *testing.T) {
	s, err := schedule.New(manifest.Cron{}, "Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Next(time.Now()); !got.IsZero() {
		t.Errorf("got %s", got)
	}
	if _, err := schedule.New(manifest.Cron{}, "Europe/Nowhere"); err == nil {
		t.Error("a zone that does not exist was taken")
	}
}

// oracle walks minute by minute with a clock on the wall beside it, and never looks back.
func oracle(c manifest.Cron, zone *time.Location, after time.Time, minutes int) time.Time {
	wall := func(t time.Time) time.Time {
		t = t.In(zone)
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), 0, 0, time.UTC)
	}
	fits := func(w time.Time) bool {
		day, week := c.Day>>w.Day()&1 == 1, c.Weekday>>w.Weekday()&1 == 1
		onDay := day && week || c.EitherDay && (day || week)
		return onDay && c.Minute>>w.Minute()&1 == 1 && c.Hour>>w.Hour()&1 == 1 && c.Month>>w.Month()&1 == 1
	}
	rhythm := c.Hour == 1<<24-1
	t := after.Truncate(time.Minute).Add(-48 * time.Hour) // what the clock has shown by then
	latest := wall(t)
	for ; minutes+48*60 > 0; minutes-- {
		t = t.Add(time.Minute)
		w := wall(t)
		due := rhythm && fits(w)
		for m := latest.Add(time.Minute); !rhythm && !m.After(w); m = m.Add(time.Minute) {
			due = due || fits(m)
		}
		if w.After(latest) {
			latest = w
		}
		if due && t.After(after) {
			return t.UTC()
		}
	}
	return time.Time{}
}

func TestNextIsWhatAClockOnTheWallWouldShow(t *testing.T) {
	changes := map[string][]string{
		"UTC":                 {"2026-11-22T00:00:00Z"},
		"Europe/Vienna":       {"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"},
		"America/New_York":    {"2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"},
		"Australia/Lord_Howe": {"2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z"}, // half an hour
		"America/Havana":      {"2026-03-08T05:00:00Z", "2026-11-01T05:00:00Z"}, // at midnight
		"Pacific/Apia":        {"2011-12-30T10:00:00Z"},
	}
	field := func(t *rapid.T, name string, low, high int) string {
		switch rapid.IntRange(0, 3).Draw(t, name+" form") {
		case 0:
			return "*"
		case 1:
			return fmt.Sprintf("*/%d", rapid.IntRange(1, high).Draw(t, name+" step"))
		default:
			values := rapid.SliceOfN(rapid.IntRange(low, high), 1, 4).Draw(t, name)
			return strings.Trim(strings.ReplaceAll(fmt.Sprint(values), " ", ","), "[]")
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom([]string{"UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia"}).Draw(t, "zone")
		change, err := time.Parse(time.RFC3339, rapid.SampledFrom(changes[zone]).Draw(t, "change"))
		if err != nil {
			t.Fatal(err)
		}
		cron := field(t, "minute", 0, 59) + " " + field(t, "hour", 0, 5) + " * * " + field(t, "weekday", 0, 7)
		after := change.Add(time.Duration(rapid.IntRange(-30*3600, 6*3600).Draw(t, "seconds")) * time.Second)
		s, c := parse(t, cron, zone)
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		got, want := s.Next(after), oracle(c, location, after, 2*24*60)
		if want.IsZero() && got.After(after.Add(2*24*time.Hour-time.Minute)) {
			return
		}
		if !got.Equal(want) {
			t.Fatalf("%q in %s after %s: got %s, want %s", cron, zone, after, got, want)
		}
	})
}

func FuzzNextLiesAhead(f *testing.F) {
	for _, cron := range []string{"* * * * *", "30 2 * * *", "0 0 29 2 mon", "*/7 1-5/2 1,15 jan-mar sun", "@monthly", "59 23 31 12 7"} {
		f.Add(cron, int64(1_790_000_000))
	}
	f.Fuzz(func(t *testing.T, cron string, seconds int64) {
		var c manifest.Cron
		if c.UnmarshalText([]byte(cron)) != nil || seconds < 0 || seconds > 1<<36 {
			return
		}
		s, err := schedule.New(c, "Europe/Vienna")
		if err != nil {
			t.Fatal(err)
		}
		after := time.Unix(seconds, 0)
		if next := s.Next(after); !next.IsZero() && !next.After(after) {
			t.Errorf("%q after %s: %s", cron, after, next)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	var c manifest.Cron
	if err := c.UnmarshalText([]byte("30 2 * * mon")); err != nil {
		b.Fatal(err)
	}
	s, err := schedule.New(c, "Europe/Vienna")
	if err != nil {
		b.Fatal(err)
	}
	at := time.Unix(1_790_000_000, 0)
	for b.Loop() {
		s.Next(at)
	}
}
