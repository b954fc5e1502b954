// Package fault is how Atoll says that something is wrong: a code that programs test, a text that users
// read, a position in a source file, and a remedy.
//
// A fault's Text and Remedy are for users and never hold internal text; what lies behind (an error of the
// operating system, of a driver) is its Cause, which only the operator's log prints. Every code has a page
// in pages/, which `atoll explain CODE` prints and from which docs/reference/errors is generated.
package fault

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Code names a kind of fault. It is stable: programs test the code, never the text.
type Code string

// Severity tells whether a fault stops the work.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Position is a place in a source file. Line and Column count from 1, columns in characters; zero means
// that the place is not known. Width is the number of characters that the fault covers, zero meaning one.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Width  int    `json:"width,omitempty"`
}

// QueryFile is the File of a place in the text of a query, which a problem document tells of too.
const QueryFile = "query"

// String is "file:line:column", with what is not known left out.
func (p Position) String() string {
	switch {
	case p.File == "":
		return ""
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error is one fault. It is immutable once made; the With methods return copies.
type Error struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	Position
	Source string `json:"source,omitempty"` // the source line that Position points into
	Text   string `json:"text"`             // what happened, and why
	Remedy string `json:"remedy,omitempty"` // what to do about it
	Cause  error  `json:"-"`                // for the operator's log only
}

// New returns a fault of severity error.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Severity: SeverityError, Text: fmt.Sprintf(format, args...)}
}

// Warn returns a fault of severity warning.
func Warn(code Code, format string, args ...any) *Error {
	e := New(code, format, args...)
	e.Severity = SeverityWarning
	return e
}

// At returns a copy of e that stands at p; source is the whole line there, or "".
func (e *Error) At(p Position, source string) *Error {
	c := *e
	c.Position, c.Source = p, source
	return &c
}

// Fix returns a copy of e with a remedy.
func (e *Error) Fix(format string, args ...any) *Error {
	c := *e
	c.Remedy = fmt.Sprintf(format, args...)
	return &c
}

// Because returns a copy of e with the error behind it, which only operators see.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// Error is the fault in one line, for users: position, text, code.
func (e *Error) Error() string {
	var b strings.Builder
	if p := e.Position.String(); p != "" {
		b.WriteString(p)
		b.WriteString(": ")
	}
	fmt.Fprintf(&b, "%s (%s)", e.Text, e.Code)
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// CodeOf returns the code of the first fault in err's chain, or "".
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// List is several faults; as an error it stands for all of them.
type List []*Error

// Error is every fault, a line each.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// HasErrors tells whether any fault of the list is more than a warning.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(e *Error) bool { return e.Severity == SeverityError })
}

// Err is the list as an error if it holds one that is more than a warning, else nil.
func (l List) Err() error {
	if l.HasErrors() {
		return l
	}
	return nil
}

// Sorted returns the list by file, line, column and code, without doubles.
func (l List) Sorted() List {
	out := slices.Clone(l)
	slices.SortStableFunc(out, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Text, b.Text))
	})
	return slices.CompactFunc(out, func(a, b *Error) bool {
		return a.Code == b.Code && a.Position == b.Position && a.Text == b.Text
	})
}
