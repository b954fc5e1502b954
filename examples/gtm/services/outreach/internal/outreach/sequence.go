package outreach

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"strings"
	texttemplate "text/template"
	"time"
)

// Sequence is a series of mails.
type Sequence struct{ steps []step }

type step struct {
	name    string
	after   time.Duration // the step before
	subject *texttemplate.Template
	text    *texttemplate.Template
	html    *htmltemplate.Template
}

// recipient is what a template may say of the one who is written to.
type recipient struct {
	FirstName   string
	Company     string
	OwnerName   string
	Unsubscribe string
}

// content is a mail without its headers.
type content struct{ subject, text, html string }

// Load reads sequence.json and the templates that it names. A day may be shorter than 24 hours, for demonstration.
func Load(files fs.FS, day time.Duration) (Sequence, error) {
	text, err := fs.ReadFile(files, "sequence.json")
	if err != nil {
		return Sequence{}, fmt.Errorf("read sequence: %w", err)
	}
	var file struct {
		Steps []struct {
			Name      string  `json:"name"`
			AfterDays float64 `json:"after_days"`
			Subject   string  `json:"subject"`
			Text      string  `json:"text"`
			HTML      string  `json:"html"`
		} `json:"steps"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return Sequence{}, fmt.Errorf("sequence.json: %w", err)
	}
	var s Sequence
	seen := map[string]bool{}
	for i, f := range file.Steps {
		if f.Name == "" || seen[f.Name] || f.AfterDays < 0 {
			return Sequence{}, fmt.Errorf("sequence.json: steps[%d]: a name of its own is needed, and after_days of 0 or more", i)
		}
		seen[f.Name] = true
		st := step{name: f.Name, after: time.Duration(f.AfterDays * float64(day))}
		var errs [3]error
		st.subject, errs[0] = texttemplate.New(f.Name).Option("missingkey=error").Parse(f.Subject)
		st.text, errs[1] = texttemplate.ParseFS(files, f.Text)
		st.html, errs[2] = htmltemplate.ParseFS(files, f.HTML)
		if err := errors.Join(errs[:]...); err != nil {
			return Sequence{}, fmt.Errorf("step %s: %w", f.Name, err)
		}
		if _, err := st.content(recipient{}); err != nil { // better now than at the first lead
			return Sequence{}, fmt.Errorf("step %s: %w", f.Name, err)
		}
		s.steps = append(s.steps, st)
	}
	if len(s.steps) == 0 {
		return Sequence{}, errors.New("sequence.json: there is no step")
	}
	return s, nil
}

func (s step) content(to recipient) (content, error) {
	if to.FirstName == "" {
		to.FirstName = "there"
	}
	var subject, text, html strings.Builder
	err := errors.Join(s.subject.Execute(&subject, to), s.text.Execute(&text, to), s.html.Execute(&html, to))
	if err != nil {
		return content{}, fmt.Errorf("write mail: %w", err)
	}
	return content{subject.String(), text.String(), html.String()}, nil
}
