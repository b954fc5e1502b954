// Package schedule tells when the events of a schedule are due.
//
// The form of a schedule is manifest.Cron. Times are whole minutes of a time zone's clock on the wall. Where that clock is
// changed, a schedule means what a person would: 02:30 happens once each day. On the day without a 02:30 it happens at the
// moment of the change, and on the day with two it happens at the first. A schedule for every hour is no time of day but a
// rhythm, and keeps it: it happens at each of the two 02:30, and not for one that there is not.
//
// Everything here is a pure function of its arguments.
package schedule
