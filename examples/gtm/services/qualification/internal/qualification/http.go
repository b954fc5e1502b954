package qualification

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/atollhq/atoll/sdk"
)

const topicQualified = "lead.qualified"

// Leads is the service that knows all leads; *sdk.Callee is one.
type Leads interface {
	JSON(ctx context.Context, method, path string, in, out any) error
}

// Bus is where events are published; *sdk.Publisher is one.
type Bus interface {
	Publish(ctx context.Context, topic string, events ...sdk.Event) error
}

// Handler answers over HTTP: openapi.yaml is its contract, service.yaml says which events it takes.
func Handler(rules Rules, leads Leads, bus Bus) http.Handler {
	d := &desk{rules, leads, bus}
	mux := http.NewServeMux()
	mux.Handle("POST /events/lead-enriched", sdk.OnEvent(d.enriched))
	mux.Handle("GET /rules", sdk.Handler(func(w http.ResponseWriter, _ *http.Request) error {
		return sdk.WriteJSON(w, http.StatusOK, rules)
	}))
	return mux
}

type desk struct {
	rules Rules
	leads Leads
	bus   Bus
}

// enriched is what this service reads of lead.enriched. The lead and the company go on as they came.
type enriched struct {
	Lead    json.RawMessage `json:"lead"`
	Company json.RawMessage `json:"company"`
	Facts   struct {
		EmailKind struct{ Value string } `json:"email_kind"`
	} `json:"facts"`
}

type qualified struct {
	Lead      json.RawMessage `json:"lead"`
	Company   json.RawMessage `json:"company"`
	Judgement Judgement       `json:"judgement"`
}

// enriched judges a lead and publishes the judgement.
func (d *desk) enriched(ctx context.Context, e sdk.Event) error {
	var in enriched
	var lead struct {
		ID       string
		Country  string
		JobTitle string `json:"job_title"`
		Interest string
		Message  string
		Seats    int
	}
	var company struct{ Domain, Name, Country string }
	if err := e.Decode(&in); err != nil {
		return sdk.Reject(err)
	}
	if err := errors.Join(json.Unmarshal(in.Lead, &lead), json.Unmarshal(in.Company, &company)); err != nil {
		return sdk.Reject(fmt.Errorf("read lead: %w", err))
	}
	contacts, err := d.contacts(ctx, company.Domain)
	if err != nil {
		return err
	}
	out, err := sdk.NewEvent(topicQualified, qualified{in.Lead, in.Company, d.rules.Judge(Subject{
		EmailKind: in.Facts.EmailKind.Value, Company: company.Name, Country: cmp.Or(lead.Country, company.Country),
		JobTitle: lead.JobTitle, Interest: lead.Interest, Message: lead.Message, Seats: lead.Seats,
		AccountContacts: contacts,
	})})
	if err != nil {
		return err
	}
	out.ID, out.Key = "qualified-"+lead.ID, lead.ID // the same again, if this event is delivered again
	return d.bus.Publish(ctx, topicQualified, out)
}

// contacts is how many leads a company has now. It is a call and no event, for a judgement needs it at once.
func (d *desk) contacts(ctx context.Context, domain string) (int, error) {
	if domain == "" {
		return 0, nil
	}
	var out struct{ Contacts int }
	err := d.leads.JSON(ctx, http.MethodGet, "/companies/"+url.PathEscape(domain), nil, &out)
	return out.Contacts, err
}
