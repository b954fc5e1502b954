package routing

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/atollhq/atoll/sdk"
)

// topicRouted is what this service publishes; events/lead.routed.json is its schema.
const topicRouted = "lead.routed"

// qualified is what this service reads of lead.qualified. Lead, company and judgement go on as they came.
type qualified struct {
	Lead      json.RawMessage `json:"lead"`
	Company   json.RawMessage `json:"company"`
	Judgement json.RawMessage `json:"judgement"`
}

type routed struct {
	qualified
	Assignment Assignment `json:"assignment"`
}

// qualified gives a lead its owner. A lead that nobody in sales should get is none of routing's business.
func (d *Desk) qualified(ctx context.Context, tx *sql.Tx, e qualified) error {
	r, wanted, err := e.request()
	if err != nil {
		return sdk.Reject(err)
	}
	if !wanted {
		return nil
	}
	if had, err := assigned(ctx, tx, r.LeadID); err != nil || had {
		return err // the event of another id, such as one that somebody wrote by hand
	}
	a, err := d.decide(ctx, tx, r)
	if err != nil {
		return err
	}
	if err := insert(ctx, tx, a); err != nil {
		return err
	}
	return d.db.Add(ctx, tx, topicRouted, r.LeadID, routed{e, a})
}

func (q qualified) request() (r request, wanted bool, err error) {
	var lead struct {
		ID      string
		Country string
		Seats   int
	}
	var company struct{ Domain, Country string }
	var judgement struct{ Verdict string }
	for _, part := range []struct {
		from json.RawMessage
		to   any
	}{{q.Lead, &lead}, {q.Company, &company}, {q.Judgement, &judgement}} {
		if err := json.Unmarshal(part.from, part.to); err != nil {
			return r, false, fmt.Errorf("read lead: %w", err)
		}
	}
	r = request{LeadID: lead.ID, Account: company.Domain, Country: lead.Country, Seats: lead.Seats}
	if r.Country == "" {
		r.Country = company.Country
	}
	return r, judgement.Verdict == "MQL" || judgement.Verdict == "MQA", nil
}
