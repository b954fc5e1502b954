package leads

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

// topicCaptured is what this service publishes; events/lead.captured.json is its schema.
const topicCaptured = "lead.captured"

// capturedLead is the lead that all topics of the pipeline carry along, so that no service has to ask for it.
type capturedLead struct {
	ID            string `json:"id"`
	Email         string `json:"email"`
	FirstName     string `json:"first_name"`
	LastName      string `json:"last_name"`
	JobTitle      string `json:"job_title"`
	Company       string `json:"company"` // as the person says
	Country       string `json:"country"`
	Seats         int    `json:"seats"`
	Interest      string `json:"interest"`
	Message       string `json:"message"`
	Synthetic     bool   `json:"synthetic"`
	CompanyDomain string `json:"company_domain"` // as the person says, else that of the address
	AddressDomain string `json:"address_domain"` // registered domain of the address
}

func captured(id string, s Submission) any {
	return map[string]capturedLead{"lead": {
		ID: id, Email: s.Email, FirstName: s.FirstName, LastName: s.LastName, JobTitle: s.JobTitle,
		Company: s.Company, Country: s.Country, Seats: s.Seats, Interest: s.Interest, Message: s.Message,
		Synthetic: s.Synthetic, CompanyDomain: s.company(), AddressDomain: s.addressDomain(),
	}}
}

// What this service reads of the events of others; they may hold more.
type (
	leadRef  struct{ ID string }
	enriched struct {
		Lead    leadRef
		Company struct{ Domain string }
		Facts   map[string]Fact
	}
	qualified struct {
		Lead      leadRef
		Judgement struct {
			Verdict string
			Score   int
			Fit     int
			Intent  int
			Reasons []string
		}
	}
	routed struct {
		Lead       leadRef
		Assignment struct {
			Owner     string
			OwnerName string `json:"owner_name"`
			Territory string
			Segment   string
			Reasons   []string
		}
	}
	dealChanged struct {
		OpportunityID int64 `json:"opportunity_id"`
		Stage         string
		Leads         []string
	}
)

// deliveries are the handlers of the events that tell how far a lead has come, as service.yaml names their paths.
func (s *Store) deliveries() map[string]http.Handler {
	return map[string]http.Handler{
		"POST /events/lead-enriched":  lite.On(s.db, s.enriched),
		"POST /events/lead-qualified": lite.On(s.db, s.qualified),
		"POST /events/lead-routed":    lite.On(s.db, s.routed),
		"POST /events/deal-changed":   lite.On(s.db, s.dealChanged),
	}
}

func (s *Store) enriched(ctx context.Context, tx *sql.Tx, e enriched) error {
	return s.update(ctx, tx, e.Lead.ID, StateEnriched, func(l *Lead) {
		l.Facts, l.Account = e.Facts, e.Company.Domain
	})
}

func (s *Store) qualified(ctx context.Context, tx *sql.Tx, e qualified) error {
	state := StateQualified
	if j := e.Judgement; j.Verdict != "MQL" && j.Verdict != "MQA" {
		state = StateDone // nobody in sales gets it
	}
	return s.update(ctx, tx, e.Lead.ID, state, func(l *Lead) {
		j := e.Judgement
		l.Verdict, l.Score, l.Fit, l.Intent, l.Reasons = j.Verdict, j.Score, j.Fit, j.Intent, j.Reasons
	})
}

func (s *Store) routed(ctx context.Context, tx *sql.Tx, e routed) error {
	return s.update(ctx, tx, e.Lead.ID, StateRouted, func(l *Lead) {
		a := e.Assignment
		l.Owner, l.OwnerName, l.Territory, l.Segment, l.RoutedBecause = a.Owner, a.OwnerName, a.Territory, a.Segment, a.Reasons
	})
}

func (s *Store) dealChanged(ctx context.Context, tx *sql.Tx, e dealChanged) error {
	for _, id := range e.Leads {
		err := s.update(ctx, tx, id, StateDone, func(l *Lead) { l.OpportunityID, l.Stage = e.OpportunityID, e.Stage })
		if err != nil {
			return err
		}
	}
	return nil
}

// update changes a lead. Topics have no order among each other: each fills in what it knows, and the state is that of
// the furthest.
func (s *Store) update(ctx context.Context, tx *sql.Tx, id string, state State, change func(*Lead)) error {
	lead := Lead{ID: id}
	var result []byte
	var done sql.NullInt64
	err := tx.QueryRowContext(ctx, "SELECT result, state, stage, done FROM leads WHERE id = ?", id).
		Scan(&result, &lead.State, &lead.Stage, &done)
	if errors.Is(err, sql.ErrNoRows) {
		return sdk.Reject(fmt.Errorf("the lead %q is not known here", id))
	}
	if err != nil {
		return wrap("find lead", err)
	}
	stage := lead.Stage
	if err := json.Unmarshal(result, &lead.Result); err != nil {
		return wrap("read lead", err)
	}
	lead.Stage = stage
	change(&lead)
	if slices.Index(States(), state) > slices.Index(States(), lead.State) {
		lead.State = state
	}
	now := time.Now().UnixMilli()
	if lead.State == StateDone && !done.Valid {
		done = sql.NullInt64{Int64: now, Valid: true}
	}
	return store(ctx, tx, &lead, done, now)
}

func store(ctx context.Context, tx *sql.Tx, lead *Lead, done sql.NullInt64, now int64) error {
	result, err := json.Marshal(lead.Result)
	if err != nil {
		return wrap("encode lead", err)
	}
	number, err := nextNumber(ctx, tx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE leads SET result = ?, state = ?, verdict = ?, owner = ?, stage = ?, changed = ?,
		done = ?, number = ? WHERE id = ?`, string(result), lead.State, lead.Verdict, lead.Owner, lead.Stage,
		now, done, number, lead.ID)
	return wrap("store lead", err)
}
