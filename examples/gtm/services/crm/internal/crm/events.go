package crm

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

// topicDealChanged is what this service publishes; events/deal.changed.json is its schema.
const topicDealChanged = "deal.changed"

// What this service reads of the events of others; they may hold more.
type (
	qualified struct {
		Lead struct {
			ID        string
			Email     string
			FirstName string `json:"first_name"`
			LastName  string `json:"last_name"`
			JobTitle  string `json:"job_title"`
			Synthetic bool
		}
		Company struct {
			Domain  string
			Name    string
			Country string
		}
		Judgement struct{ Verdict string }
	}
	routed struct {
		qualified
		Assignment struct{ Owner string }
	}
	signal struct {
		Rule    string
		Text    string
		Company string // its domain; empty: not known
		At      time.Time
	}
)

func (q qualified) lead() Lead {
	return Lead{
		LeadID: q.Lead.ID, Email: strings.ToLower(q.Lead.Email), JobTitle: q.Lead.JobTitle, Synthetic: q.Lead.Synthetic,
		Name:   strings.TrimSpace(q.Lead.FirstName + " " + q.Lead.LastName),
		Domain: strings.ToLower(q.Company.Domain), Company: q.Company.Name, Country: q.Company.Country,
	}
}

// qualified takes over who is not for sales, but to be kept in touch with. Who is for sales comes by routed.
func (s *Store) qualified(ctx context.Context, tx *sql.Tx, e qualified) error {
	if e.Judgement.Verdict != "nurture" {
		return nil
	}
	return s.take(ctx, tx, e.lead())
}

func (s *Store) routed(ctx context.Context, tx *sql.Tx, e routed) error {
	lead := e.lead()
	lead.Owner, lead.Opportunity = e.Assignment.Owner, true
	return s.take(ctx, tx, lead)
}

// signal keeps a sign of interest with the company. It may come before the company is an account; of a visitor whose
// company is not known there is nothing to keep it with.
func (s *Store) signal(ctx context.Context, tx *sql.Tx, e signal) error {
	if e.Company == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO activities (domain, signal, text, at) VALUES (?, ?, ?, ?)",
		strings.ToLower(e.Company), e.Rule, e.Text, e.At.UnixMilli())
	return wrap("store activity", err)
}
