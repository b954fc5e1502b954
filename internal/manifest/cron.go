package manifest

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
)

// Cron is a set of minutes: those whose minute, hour, month and day are in it. Bit n of a field stands for the value n.
//
// The day is that of the month and that of the week where one of the two is left open (its field begins with *), as in
// "0 7 * * mon". Where neither is, as in "0 7 1 * mon", either is enough: every first of a month and every Monday. That
// is what cron has always done (IEEE Std 1003.1, crontab).
type Cron struct {
	Minute    uint64 // 0 to 59
	Hour      uint64 // 0 to 23
	Day       uint64 // 1 to 31
	Month     uint64 // 1 to 12
	Weekday   uint64 // 0 to 6, from Sunday
	EitherDay bool   // a day fits by one of Day and Weekday; else it must fit both

	text string
}

// cronField is one of the five fields.
type cronField struct {
	name      string
	low, high int
	names     string // three letters for each value, from low on
}

func cronFields() [5]cronField {
	return [5]cronField{
		{name: "minute", high: 59},
		{name: "hour", high: 23},
		{name: "day of the month", low: 1, high: 31},
		{name: "month", low: 1, high: 12, names: "janfebmaraprmayjunjulaugsepoctnovdec"},
		{name: "day of the week", high: 7, names: "sunmontuewedthufrisat"},
	}
}

// cronWord is what an @word stands for, or "".
func cronWord(word string) string {
	switch word {
	case "@hourly":
		return "0 * * * *"
	case "@daily", "@midnight":
		return "0 0 * * *"
	case "@weekly":
		return "0 0 * * 0"
	case "@monthly":
		return "0 0 1 * *"
	case "@yearly", "@annually":
		return "0 0 1 1 *"
	}
	return ""
}

// UnmarshalText reads "0 7 * * mon-fri", "*/15 8-18 * * *" or "@daily".
func (c *Cron) UnmarshalText(text []byte) error {
	written := strings.TrimSpace(string(text))
	fields := strings.Fields(written)
	if strings.HasPrefix(written, "@") {
		fields = strings.Fields(cronWord(strings.ToLower(written)))
	}
	bad := func(format string, args ...any) error {
		return fault.New(fault.CodeBadCron, "%q is not a time for a schedule: "+format, append([]any{written}, args...)...).
			Fix("write minute, hour, day of the month, month and day of the week, such as \"0 7 * * mon-fri\" or \"*/15 * * * *\"; " +
				"or @hourly, @daily, @weekly, @monthly or @yearly")
	}
	if len(fields) == 0 && strings.HasPrefix(written, "@") {
		return bad("there is no such word")
	}
	if len(fields) != 5 {
		return bad("it has %d fields, not five", len(fields))
	}
	out := Cron{text: written, EitherDay: fields[2][0] != '*' && fields[4][0] != '*'}
	sets := [5]*uint64{&out.Minute, &out.Hour, &out.Day, &out.Month, &out.Weekday}
	for i, f := range cronFields() {
		set, ok := f.set(strings.ToLower(fields[i]))
		if !ok {
			return bad("%q is no %s", fields[i], f.name)
		}
		*sets[i] = set
	}
	if out.Weekday&(1<<7) != 0 { // 7 is Sunday too
		out.Weekday = out.Weekday&^(1<<7) | 1
	}
	if !out.EitherDay && !out.occurs() {
		return bad("there is no such day")
	}
	*c = out
	return nil
}

// occurs tells whether some month has one of the days, in leap years at least.
func (c *Cron) occurs() bool {
	first := bits.TrailingZeros64(c.Day)
	for month, days := range [...]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31} {
		if c.Month&(1<<(month+1)) != 0 && first <= days {
			return true
		}
	}
	return false
}

// String is what the manifest says.
func (c Cron) String() string { return c.text }

// set reads a list of values, ranges and steps: "1,15", "mon-fri", "*/10", "8-18/2", "5/15".
func (f cronField) set(text string) (set uint64, ok bool) {
	for part := range strings.SplitSeq(text, ",") {
		span, step, stepped := strings.Cut(part, "/")
		by := 1
		if stepped {
			if by, ok = number(step); !ok || by < 1 {
				return 0, false
			}
		}
		low, high, ok := f.span(span, stepped)
		if !ok || low > high {
			return 0, false
		}
		for v := low; v <= high; v += by {
			set |= 1 << v
		}
	}
	return set, true
}

// span reads "*", "5" or "1-5". With a step, "5" means from 5 on.
func (f cronField) span(text string, stepped bool) (low, high int, ok bool) {
	if text == "*" {
		return f.low, f.high, true
	}
	from, to, isRange := strings.Cut(text, "-")
	low, ok = f.value(from)
	switch {
	case !ok:
		return 0, 0, false
	case isRange:
		high, ok = f.value(to)
		return low, high, ok
	case stepped:
		return low, f.high, true
	}
	return low, low, true
}

func (f cronField) value(text string) (int, bool) {
	if at := strings.Index(f.names, text); len(text) == 3 && at >= 0 && at%3 == 0 {
		return f.low + at/3, true
	}
	v, ok := number(text)
	return v, ok && v >= f.low && v <= f.high
}

// number reads one to four digits, and nothing else.
func number(text string) (int, bool) {
	v, err := strconv.ParseUint(text, 10, 16)
	return int(v), err == nil && len(text) <= 4
}

// MarshalText writes what the manifest says.
func (c Cron) MarshalText() ([]byte, error) { return []byte(c.text), nil }
