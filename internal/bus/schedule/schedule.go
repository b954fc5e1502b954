package schedule

import (
	"fmt"
	"time"

	"github.com/atollhq/atoll/internal/manifest"
)

// horizon is how many years ahead a time is looked for. A 29th of February on a given day of the week can be 40 years away.
const horizon = 48

const everyHour = 1<<24 - 1

// Schedule is a set of minutes in a time zone.
type Schedule struct {
	cron manifest.Cron
	zone *time.Location
}

// New returns the schedule that a manifest describes. It fails if there is no such zone.
func New(cron manifest.Cron, zone string) (*Schedule, error) {
	location, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("load the time zone of a schedule: %w", err)
	}
	return &Schedule{cron: cron, zone: location}, nil
}

// Next returns the first time of the schedule after a time, in UTC, or the zero time if there is none.
//
// A zone is a row of periods with an offset each, and within one the clock on the wall just runs: so every period is searched
// as if its clock were UTC.
func (s *Schedule) Next(after time.Time) time.Time {
	at := after.In(s.zone).Truncate(time.Minute).Add(time.Minute)
	for end := at.AddDate(horizon, 0, 0); at.Before(end); {
		p := periodAt(at)
		from := p.wall(at)
		if s.cron.Hour != everyHour && (from.Before(p.fresh) || at.Equal(p.start)) {
			from = p.fresh // put back, the clock shows what it has shown before; put forward, it leaves something out
		}
		wall, ok := s.match(from)
		switch {
		case !ok:
			return time.Time{}
		case wall.Before(p.wall(p.start)):
			return p.start.UTC() // left out
		case p.end.IsZero() || p.time(wall).Before(p.end):
			return p.time(wall).UTC()
		}
		at = p.end
	}
	return time.Time{}
}

// period is a stretch of time with one offset from UTC.
type period struct {
	start, end time.Time // its first moment and the first after it; zero if there is none
	offset     time.Duration
	fresh      time.Time // what the clock of the period before would show at the start: from there on, all is new
}

func periodAt(t time.Time) period {
	start, end := t.ZoneBounds()
	p := period{start: start, end: end, offset: offsetAt(t)}
	if !start.IsZero() {
		p.fresh = start.UTC().Add(offsetAt(start.Add(-1)))
	}
	return p
}

func offsetAt(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}

// wall is what the clock on the wall shows, written as a time in UTC.
func (p period) wall(t time.Time) time.Time { return t.UTC().Add(p.offset) }

// time is when the clock shows that.
func (p period) time(wall time.Time) time.Time { return wall.Add(-p.offset) }

// match returns the first minute of the schedule at or after what a clock in UTC shows.
func (s *Schedule) match(t time.Time) (time.Time, bool) {
	if whole := t.Truncate(time.Minute); whole.Before(t) {
		t = whole.Add(time.Minute)
	}
	for end := t.Year() + horizon; t.Year() <= end; {
		y, m, d := t.Date()
		switch {
		case s.cron.Month&(1<<m) == 0:
			t = time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
		case !s.day(t):
			t = time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
		case s.cron.Hour&(1<<t.Hour()) == 0:
			t = t.Truncate(time.Hour).Add(time.Hour)
		case s.cron.Minute&(1<<t.Minute()) == 0:
			t = t.Add(time.Minute)
		default:
			return t, true
		}
	}
	return time.Time{}, false
}

func (s *Schedule) day(t time.Time) bool {
	month, week := s.cron.Day&(1<<t.Day()) != 0, s.cron.Weekday&(1<<t.Weekday()) != 0
	if s.cron.EitherDay {
		return month || week
	}
	return month && week
}
