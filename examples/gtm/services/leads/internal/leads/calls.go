package leads

import (
	"context"
	"fmt"
	"net/http"

	"github.com/atollhq/atoll/sdk"
)

// Calls are the services that the pipeline needs. Each call takes the same lead twice without harm.
type Calls interface {
	// Enrich finds facts about the company behind the lead's address.
	Enrich(ctx context.Context, lead *Lead) (map[string]Fact, error)
	// Qualify judges the lead; contacts is how many leads its company has.
	Qualify(ctx context.Context, lead *Lead, contacts int) (Judgement, error)
	// Route gives the lead its owner.
	Route(ctx context.Context, lead *Lead) (Assignment, error)
	// Record takes the lead over into the CRM.
	Record(ctx context.Context, lead *Lead) (Recorded, error)
	// Changes waits some seconds for changes of stages after the given number.
	Changes(ctx context.Context, after int64) ([]StageChange, error)
}

// Judgement is what qualification answers.
type Judgement struct {
	Verdict string   `json:"verdict"`
	Score   int      `json:"score"`
	Fit     int      `json:"fit"`
	Intent  int      `json:"intent"`
	Reasons []string `json:"reasons"`
}

// Assignment is what routing answers.
type Assignment struct {
	Owner     string   `json:"owner"`
	OwnerName string   `json:"owner_name"`
	Territory string   `json:"territory"`
	Segment   string   `json:"segment"`
	Reasons   []string `json:"reasons"`
}

// Recorded is what the CRM answers.
type Recorded struct {
	OpportunityID int64  `json:"opportunity_id"`
	Stage         string `json:"stage"`
}

type remote struct{ enrichment, qualification, routing, crm *sdk.Callee }

var _ Calls = (*remote)(nil)

// Dial finds the declared calls.
func Dial(opts *sdk.ClientOptions) (Calls, error) {
	var r remote
	for name, callee := range map[string]**sdk.Callee{
		"enrichment": &r.enrichment, "qualification": &r.qualification, "routing": &r.routing, "crm": &r.crm,
	} {
		c, err := sdk.Client(name, opts)
		if err != nil {
			return nil, err
		}
		*callee = c
	}
	return &r, nil
}

func (r *remote) Enrich(ctx context.Context, lead *Lead) (map[string]Fact, error) {
	var out struct {
		Facts map[string]Fact `json:"facts"`
	}
	err := r.enrichment.JSON(ctx, http.MethodPost, "/enrich", map[string]string{"email": lead.Email}, &out)
	return out.Facts, err
}

func (r *remote) Qualify(ctx context.Context, lead *Lead, contacts int) (j Judgement, err error) {
	err = r.qualification.JSON(ctx, http.MethodPost, "/qualify", map[string]any{
		"lead_id": lead.ID, "email_kind": lead.Text("email_kind"), "company": lead.companyName(),
		"country": lead.country(), "job_title": lead.JobTitle, "interest": lead.Interest, "message": lead.Message,
		"seats": lead.Seats, "account_contacts": contacts,
	}, &j)
	return j, err
}

func (r *remote) Route(ctx context.Context, lead *Lead) (a Assignment, err error) {
	err = r.routing.JSON(ctx, http.MethodPost, "/api/routing/assignments", map[string]any{
		"lead_id": lead.ID, "account": lead.Account, "country": lead.country(), "seats": lead.Seats,
	}, &a)
	return a, err
}

func (r *remote) Record(ctx context.Context, lead *Lead) (rec Recorded, err error) {
	err = r.crm.JSON(ctx, http.MethodPost, "/intake", map[string]any{
		"lead_id": lead.ID, "email": lead.Email, "name": lead.name(), "job_title": lead.JobTitle,
		"domain": lead.Account, "company": lead.companyName(), "country": lead.Text("country"), "owner": lead.Owner,
		"opportunity": lead.Owner != "", "synthetic": lead.Synthetic,
	}, &rec)
	return rec, err
}

func (r *remote) Changes(ctx context.Context, after int64) ([]StageChange, error) {
	var out struct {
		Changes []StageChange `json:"changes"`
	}
	err := r.crm.JSON(ctx, http.MethodGet, fmt.Sprintf("/changes?after=%d&wait=20", after), nil, &out)
	return out.Changes, err
}
