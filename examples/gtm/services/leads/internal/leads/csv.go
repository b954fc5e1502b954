package leads

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of a CSV file.
const (
	longestLine   = 64 << 10 // bytes of one record
	longestRecord = 50       // lines of one record: a quoted field may hold line breaks
)

// Row is one record of a CSV file: a submission, or why there is none.
type Row struct {
	Line       int // of its first line, from 1
	Submission Submission
	Err        error
}

// Rows reads submissions from CSV: UTF-8 with or without a byte order mark, any line ends, separated by comma,
// semicolon or tab, with a header. A record that is bad is reported and costs no other one: a quote that is never
// closed costs its own line and not the rest of the file.
type Rows struct {
	lines  lineReader
	fields []func(*Submission, string) error
	comma  rune
}

// ErrHeader says that the first line cannot be used.
var ErrHeader = errors.New("the header cannot be used")

// ReadRows reads the header.
func ReadRows(r io.Reader) (*Rows, error) {
	rows := &Rows{lines: lineReader{r: bufio.NewReaderSize(r, 32<<10)}}
	first, err := rows.lines.next()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: the file is empty", ErrHeader)
	}
	if err != nil {
		return nil, err
	}
	text := strings.TrimPrefix(first.text, "\ufeff")
	rows.comma = separator(text)
	names, err := rows.split(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	hasEmail := false
	for _, name := range names {
		field, set := column(name)
		hasEmail = hasEmail || field == "email"
		rows.fields = append(rows.fields, set)
	}
	if !hasEmail {
		return nil, fmt.Errorf("%w: no column is called email", ErrHeader)
	}
	return rows, nil
}

func separator(header string) rune {
	best := ','
	for _, c := range []rune{';', '\t'} {
		if strings.Count(header, string(c)) > strings.Count(header, string(best)) {
			best = c
		}
	}
	return best
}

// column is the field that a header means, whatever its spelling, and how to set it. Unknown ones are ignored.
func column(name string) (string, func(*Submission, string) error) {
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -_.", r) {
			return -1
		}
		return r
	}, strings.ToLower(strings.TrimSpace(name)))
	text := func(field string, at func(*Submission) *string) (string, func(*Submission, string) error) {
		return field, func(s *Submission, v string) error { *at(s) = v; return nil }
	}
	switch plain {
	case "email", "mail", "emailaddress", "workemail":
		return text("email", func(s *Submission) *string { return &s.Email })
	case "firstname", "givenname", "first":
		return text("first_name", func(s *Submission) *string { return &s.FirstName })
	case "lastname", "surname", "familyname", "last":
		return text("last_name", func(s *Submission) *string { return &s.LastName })
	case "jobtitle", "title", "position":
		return text("job_title", func(s *Submission) *string { return &s.JobTitle })
	case "company", "companyname", "organization", "organisation", "account":
		return text("company", func(s *Submission) *string { return &s.Company })
	case "domain", "website", "url", "companydomain":
		return text("domain", func(s *Submission) *string { return &s.Domain })
	case "country", "countrycode":
		return text("country", func(s *Submission) *string { return &s.Country })
	case "interest":
		return text("interest", func(s *Submission) *string { return &s.Interest })
	case "message", "comment", "notes":
		return text("message", func(s *Submission) *string { return &s.Message })
	case "source", "leadsource":
		return text("source", func(s *Submission) *string { return &s.Source })
	case "seats", "users", "licenses", "licences":
		return "seats", setSeats
	case "synthetic":
		return "synthetic", func(s *Submission, v string) error {
			v = strings.ToLower(strings.TrimSpace(v))
			s.Synthetic = v == "yes" || v == "true" || v == "1"
			return nil
		}
	}
	return "", func(*Submission, string) error { return nil }
}

func setSeats(s *Submission, v string) error {
	v = strings.TrimSpace(v)
	if v == "" {
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return invalid("seats", "%.40q is no whole number", v)
	}
	s.Seats = n
	return nil
}

// Next is the next record; its error is io.EOF at the end, or that of the reader underneath.
func (r *Rows) Next() (Row, error) {
	for {
		first, err := r.lines.next()
		if err != nil {
			return Row{}, err
		}
		if strings.TrimSpace(first.text) == "" && !first.tooLong {
			continue
		}
		row := Row{Line: first.number}
		if first.tooLong {
			row.Err = fmt.Errorf("the line is longer than %d bytes", longestLine)
			return row, nil
		}
		values, err := r.record(first)
		if err != nil {
			if _, bad := errors.AsType[*badRecord](err); !bad {
				return Row{}, err
			}
			row.Err = err
			return row, nil
		}
		row.Submission, row.Err = r.submission(values)
		return row, nil
	}
}

// badRecord says what is wrong with a record, as opposed to the reader underneath.
type badRecord struct{ text string }

func (b *badRecord) Error() string { return b.text }

// record completes a record that begins with first. Lines that turn out not to belong to it are given back.
func (r *Rows) record(first line) ([]string, error) {
	text := first.text
	var taken []line
	for strings.Count(text, `"`)%2 == 1 {
		if len(taken) == longestRecord || len(text) > longestLine {
			r.lines.unread(taken)
			return nil, &badRecord{"a quote is not closed"}
		}
		more, err := r.lines.next()
		if errors.Is(err, io.EOF) || (err == nil && more.tooLong) {
			if err == nil {
				taken = append(taken, more)
			}
			r.lines.unread(taken)
			return nil, &badRecord{"a quote is not closed"}
		}
		if err != nil {
			return nil, err
		}
		taken = append(taken, more)
		text += "\n" + more.text
	}
	values, err := r.split(text)
	if err != nil {
		r.lines.unread(taken)
		return nil, err
	}
	return values, nil
}

func (r *Rows) split(text string) ([]string, error) {
	reader := csv.NewReader(strings.NewReader(text))
	reader.Comma = r.comma
	reader.FieldsPerRecord = -1
	values, err := reader.Read()
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, &badRecord{fmt.Sprintf("at column %d: %v", parse.Column, parse.Err)}
	}
	return values, err
}

func (r *Rows) submission(values []string) (Submission, error) {
	if len(values) != len(r.fields) {
		return Submission{}, fmt.Errorf("has %d fields, the header has %d", len(values), len(r.fields))
	}
	var s Submission
	for i, set := range r.fields {
		if err := set(&s, values[i]); err != nil {
			return Submission{}, err
		}
	}
	if s.Source == "" {
		s.Source = "csv"
	}
	return s.Normal()
}

type line struct {
	number  int
	text    string
	tooLong bool // the text is cut off
}

// lineReader reads lines of bounded length, which can be given back.
type lineReader struct {
	r      *bufio.Reader
	number int
	back   []line
}

func (l *lineReader) unread(lines []line) { l.back = append(lines, l.back...) }

func (l *lineReader) next() (line, error) {
	if len(l.back) > 0 {
		first := l.back[0]
		l.back = l.back[1:]
		return first, nil
	}
	var text []byte
	cut := false
	for {
		part, err := l.r.ReadSlice('\n')
		if room := longestLine - len(text); len(part) > room {
			part, cut = part[:room], true
		}
		text = append(text, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(text) == 0:
			return line{}, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return line{}, err
		}
		l.number++
		return line{number: l.number, text: string(bytes.TrimRight(text, "\r\n")), tooLong: cut}, nil
	}
}
