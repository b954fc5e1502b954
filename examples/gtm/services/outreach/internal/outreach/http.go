package outreach

import (
	"context"
	"database/sql"
	"errors"
	"html/template"
	"net/http"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

// Handler answers over HTTP: openapi.yaml is its contract, service.yaml says which events it takes.
func (d *Desk) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /events/lead-routed", lite.On(d.db, d.routed))
	mux.Handle("POST /events/mail-replied", lite.On(d.db, d.replied))
	mux.Handle("POST /events/step-due", sdk.OnEvent(d.due))
	mux.Handle("GET /api/outreach/leads/{lead}", sdk.Handler(d.show))
	mux.Handle("GET /unsubscribe/{token}", sdk.Handler(d.ask))
	mux.Handle("POST /unsubscribe/{token}", sdk.Handler(d.unsubscribe))
	return mux
}

func (d *Desk) show(w http.ResponseWriter, r *http.Request) error {
	e, err := d.find(r.Context(), r.PathValue("lead"))
	if errors.Is(err, ErrNotFound) {
		return sdk.Error(http.StatusNotFound, "not-found", "There is no sequence with this lead.")
	}
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, e)
}

// ask shows a button. A GET changes nothing: programs that look for malware follow each link of a mail.
func (d *Desk) ask(w http.ResponseWriter, r *http.Request) error {
	address, err := d.address(r)
	if err != nil {
		return err
	}
	return page(w, address, false)
}

// unsubscribe takes an address off: the button of the page, or a mail program's one click after RFC 8058.
func (d *Desk) unsubscribe(w http.ResponseWriter, r *http.Request) error {
	address, err := d.address(r)
	if err != nil {
		return err
	}
	err = d.db.Write(r.Context(), func(ctx context.Context, tx *sql.Tx) error { return suppress(ctx, tx, address, Unsubscribed) })
	if err != nil {
		return err
	}
	return page(w, address, true)
}

func (d *Desk) address(r *http.Request) (string, error) {
	address, ok := d.signer.Address(r.PathValue("token"))
	if !ok {
		return "", sdk.Error(http.StatusNotFound, "bad-link", "This link is not one of ours, or not all of it is there.")
	}
	return address, nil
}

func page(w http.ResponseWriter, address string, done bool) error {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address is in the link
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]any{"Address": address, "Done": done})
}

const pageText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>No more mails</title>
<style>body { font: 16px/1.55 system-ui, sans-serif; max-width: 32rem; margin: 4rem auto; padding: 0 1rem; color-scheme: light dark }
button { font: inherit; padding: .6rem 1.1rem; border: 0; border-radius: 8px; background: #0b7a7c; color: #fff; cursor: pointer }</style></head>
<body>{{if .Done}}<h1>Done.</h1><p>{{.Address}} gets no more of these mails.</p>
{{else}}<h1>No more of these mails?</h1><p>We stop writing to {{.Address}}.</p><form method="post"><button type="submit">Stop writing to me</button></form>{{end}}
</body></html>
`
