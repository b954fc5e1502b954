// Package web renders the pages that people open: the landing form, and the list of leads as they change.
//
// The pages work without JavaScript; with it, the list follows the events of the leads service. What a lead says
// of itself is text and stays text: html/template escapes it on the server, textContent on the page, and the
// Content-Security-Policy allows no script but ours.
package web

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/sdk"
)

//go:embed templates static
var files embed.FS

// Leads is the service that knows the leads; *sdk.Callee is one.
type Leads interface {
	JSON(ctx context.Context, method, path string, in, out any) error
}

// lead is what the pages show of a lead.
type lead struct {
	ID            string          `json:"id"`
	Email         string          `json:"email"`
	FirstName     string          `json:"first_name"`
	LastName      string          `json:"last_name"`
	JobTitle      string          `json:"job_title"`
	Company       string          `json:"company"`
	Country       string          `json:"country"`
	Seats         int             `json:"seats"`
	Interest      string          `json:"interest"`
	Message       string          `json:"message"`
	Source        string          `json:"source"`
	Synthetic     bool            `json:"synthetic"`
	State         string          `json:"state"`
	Account       string          `json:"account"`
	Verdict       string          `json:"verdict"`
	Score         int             `json:"score"`
	Fit           int             `json:"fit"`
	Intent        int             `json:"intent"`
	Reasons       []string        `json:"reasons"`
	Owner         string          `json:"owner"`
	OwnerName     string          `json:"owner_name"`
	Territory     string          `json:"territory"`
	Segment       string          `json:"segment"`
	RoutedBecause []string        `json:"routed_because"`
	OpportunityID int64           `json:"opportunity_id"`
	Stage         string          `json:"stage"`
	TraceID       string          `json:"trace_id"`
	CreatedAt     time.Time       `json:"created_at"`
	Arrival       int64           `json:"arrival"`
	Facts         map[string]fact `json:"facts"`
	Later         []later         `json:"later"`
}

// later is what the person sent since.
type later struct {
	Interest  string    `json:"interest"`
	Message   string    `json:"message"`
	Source    string    `json:"source"`
	CreatedAt time.Time `json:"created_at"`
}

type fact struct {
	Value  json.RawMessage `json:"value"`
	Source string          `json:"source"`
}

// Text is the fact's value for people.
func (f fact) Text() string {
	var text string
	if json.Unmarshal(f.Value, &text) == nil {
		return text
	}
	var texts []string
	if json.Unmarshal(f.Value, &texts) == nil {
		return strings.Join(texts, ", ")
	}
	return ""
}

// Name is the person's name, or the address.
func (l lead) Name() string {
	return cmp.Or(strings.TrimSpace(l.FirstName+" "+l.LastName), l.Email)
}

// CompanyName is what enrichment found, what the person says, or the domain.
func (l lead) CompanyName() string {
	return cmp.Or(l.Facts["company"].Text(), l.Company, l.Account)
}

// Judged tells whether there is a score to show.
func (l lead) Judged() bool { return l.Verdict != "" }

// Scored tells whether the score says something; who is disqualified has none.
func (l lead) Scored() bool { return l.Judged() && l.Verdict != "disqualified" }

// Progress is where the lead stands: the stage of its deal, else the state in the pipeline.
func (l lead) Progress() string {
	switch {
	case l.Stage != "":
		return strings.ReplaceAll(l.Stage, "_", " ")
	case l.State == "done" && l.Verdict == "disqualified":
		return "closed"
	case l.State == "done":
		return "in touch"
	}
	return l.State
}

// Steps are the stages that a lead goes through, each told by an event of the service that did it. Who is not for sales
// goes no further than the verdict.
func (l lead) Steps() []step {
	known := []step{
		{"captured", "leads", true}, {"enriched", "enrichment", l.Facts != nil}, {"qualified", "qualification", l.Judged()},
	}
	if l.Judged() && l.Verdict != "MQL" && l.Verdict != "MQA" {
		return known
	}
	return append(known, step{"routed", "routing", l.Owner != ""}, step{"deal", "crm", l.Stage != ""})
}

// step is a stage of the pipeline, and whether the lead has come there.
type step struct {
	Name    string
	Service string
	Done    bool
}

type pages struct {
	leads     Leads
	log       *slog.Logger
	templates *template.Template
}

// Handler answers over HTTP; openapi.yaml is its contract.
func Handler(leads Leads, log *slog.Logger) (http.Handler, error) {
	templates, err := template.ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse templates: %w", err)
	}
	static, err := fs.Sub(files, "static")
	if err != nil {
		return nil, fmt.Errorf("find static files: %w", err)
	}
	p := &pages{leads: leads, log: log, templates: templates}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", p.page(p.landing))
	mux.Handle("POST /{$}", p.page(p.submit))
	mux.Handle("GET /thanks", p.page(p.thanks))
	mux.Handle("GET /leads", p.page(p.list))
	mux.Handle("GET /leads/{id}", p.page(p.show))
	mux.Handle("GET /static/", http.StripPrefix("/static", cached(http.FileServerFS(static))))
	mux.Handle("/", p.page(func(http.ResponseWriter, *http.Request) error {
		return sdk.Error(http.StatusNotFound, "not-found", "There is no such page.")
	}))
	return http.NewCrossOriginProtection().Handler(secure(mux)), nil
}

// secure sets what every page has: no script, style, frame or target but our own.
func secure(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "same-origin")
		h.ServeHTTP(w, r)
	})
}

// cached lets browsers ask whether a file changed; the files are small and change with a release.
func cached(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		h.ServeHTTP(w, r)
	})
}

// page serves a page; an error becomes a page as well.
func (p *pages) page(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return sdk.Handler(func(w http.ResponseWriter, r *http.Request) error {
		err := h(w, r)
		problem, ok := errors.AsType[*sdk.Problem](err)
		if err == nil {
			return nil
		}
		if !ok || problem.Status >= 500 {
			// The log gets the error, the person a page that helps.
			p.log.ErrorContext(r.Context(), "page failed", "path", r.URL.Path, "error", err)
			problem = sdk.Error(http.StatusServiceUnavailable, "", "Something behind this page does not answer. Nothing was lost; please try again in a moment.")
		}
		return p.render(w, problem.Status, "error.html", problem)
	})
}

// render writes a page when it is complete.
func (p *pages) render(w http.ResponseWriter, status int, name string, data any) error {
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that has gone needs no answer
	return nil
}

// form is the landing page's form as it was filled in, and what was wrong with it.
type form struct {
	Values  url.Values
	Trouble string
}

func (p *pages) landing(w http.ResponseWriter, _ *http.Request) error {
	return p.render(w, http.StatusOK, "landing.html", form{Values: url.Values{}})
}

// submit hands the form to the leads service. What it refuses is shown above the form, which keeps its values.
func (p *pages) submit(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		return sdk.Error(http.StatusBadRequest, "bad-form", "The form cannot be read.")
	}
	in := map[string]any{"source": "landing page"}
	for _, name := range []string{"email", "first_name", "last_name", "job_title", "company", "country", "interest", "message"} {
		in[name] = r.PostForm.Get(name)
	}
	if text := strings.TrimSpace(r.PostForm.Get("seats")); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return p.render(w, http.StatusUnprocessableEntity, "landing.html",
				form{Values: r.PostForm, Trouble: "The number of seats must be a whole number."})
		}
		in["seats"] = n
	}
	var accepted struct {
		ID string `json:"id"`
	}
	err := p.leads.JSON(r.Context(), http.MethodPost, "/api/leads", in, &accepted)
	if problem, ok := errors.AsType[*sdk.Problem](err); ok && problem.Status < 500 {
		return p.render(w, problem.Status, "landing.html", form{Values: r.PostForm, Trouble: problem.Detail})
	}
	if err != nil {
		p.log.ErrorContext(r.Context(), "leads did not take the form", "error", err)
		return p.render(w, http.StatusServiceUnavailable, "landing.html",
			form{Values: r.PostForm, Trouble: "This could not be sent right now. What you wrote is still here: please send it again in a moment."})
	}
	http.Redirect(w, r, "/thanks", http.StatusSeeOther)
	return nil
}

func (p *pages) thanks(w http.ResponseWriter, _ *http.Request) error {
	return p.render(w, http.StatusOK, "thanks.html", nil)
}

// listing is a page of the list.
type listing struct {
	Leads   []lead `json:"leads"`
	Number  int64  `json:"number"`
	Next    string `json:"next"`
	Search  string `json:"-"`
	Verdict string `json:"-"`
	Live    bool   `json:"-"` // the first page without a filter follows the events
}

// More is the address of the next page.
func (l listing) More() string {
	return "/leads?" + url.Values{"q": {l.Search}, "verdict": {l.Verdict}, "cursor": {l.Next}}.Encode()
}

// Verdicts are the choices of the filter.
func (l listing) Verdicts() []string { return []string{"MQA", "MQL", "nurture", "disqualified"} }

func (p *pages) list(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	page := listing{Search: q.Get("q"), Verdict: q.Get("verdict")}
	page.Live = page.Search == "" && page.Verdict == "" && q.Get("cursor") == ""
	ask := url.Values{"q": {page.Search}, "verdict": {page.Verdict}, "cursor": {q.Get("cursor")}, "limit": {"50"}}
	if err := p.leads.JSON(r.Context(), http.MethodGet, "/api/leads?"+ask.Encode(), nil, &page); err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "leads.html", page)
}

func (p *pages) show(w http.ResponseWriter, r *http.Request) error {
	var l lead
	err := p.leads.JSON(r.Context(), http.MethodGet, "/api/leads/"+url.PathEscape(r.PathValue("id")), nil, &l)
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "lead.html", l)
}
