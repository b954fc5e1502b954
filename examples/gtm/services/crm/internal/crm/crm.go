// Package crm keeps accounts, contacts and opportunities.
//
// An account is a company, by its domain; a contact is a person, by their address; an opportunity is a deal with
// an account, and has at most one that is open. The people who decide on a deal are its buying committee.
//
// # Guarantees
//
// A call that returned is on disk. A lead is taken once, however often its event is delivered. A stage changes only along
// Transitions; each change is kept with its time and reason, and published as deal.changed by the transaction that makes
// it. The changes of one deal are delivered in order.
package crm

import (
	"slices"
	"strings"
	"time"
)

// Stage is how far an opportunity has come.
type Stage string

// The stages.
const (
	StageNew         Stage = "new"
	StageDiscovery   Stage = "discovery"
	StageProposal    Stage = "proposal"
	StageNegotiation Stage = "negotiation"
	StageClosedWon   Stage = "closed_won"
	StageClosedLost  Stage = "closed_lost"
)

// Transitions are the stages that may follow a stage. A deal that is lost may be taken up again; one that is won
// is won.
func Transitions(from Stage) []Stage {
	switch from {
	case StageNew:
		return []Stage{StageDiscovery, StageClosedLost}
	case StageDiscovery:
		return []Stage{StageProposal, StageClosedLost}
	case StageProposal:
		return []Stage{StageNegotiation, StageDiscovery, StageClosedLost}
	case StageNegotiation:
		return []Stage{StageClosedWon, StageProposal, StageClosedLost}
	case StageClosedLost:
		return []Stage{StageDiscovery}
	case StageClosedWon:
	}
	return []Stage{}
}

// Stages are all stages, in order.
func Stages() []Stage {
	return []Stage{StageNew, StageDiscovery, StageProposal, StageNegotiation, StageClosedWon, StageClosedLost}
}

// Open tells whether a deal in this stage can still be won or lost.
func (s Stage) Open() bool { return s != StageClosedWon && s != StageClosedLost }

// Role is what a person is in a buying committee.
type Role string

// The roles.
const (
	RoleDecisionMaker Role = "decision_maker"
	RoleChampion      Role = "champion"
	RoleInfluencer    Role = "influencer"
	RoleProcurement   Role = "procurement"
	RoleUser          Role = "user"
	RoleBlocker       Role = "blocker"
	RoleUnknown       Role = "unknown"
)

// Roles are all roles.
func Roles() []Role {
	return []Role{RoleDecisionMaker, RoleChampion, RoleInfluencer, RoleProcurement, RoleUser, RoleBlocker, RoleUnknown}
}

// roleOf is a first guess from a job title; people correct it.
func roleOf(title string) Role {
	t := " " + strings.ToLower(title) + " "
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(t, " "+w+" ") })
	}
	switch {
	case title == "":
		return RoleUnknown
	case has("procurement", "purchasing", "buyer"):
		return RoleProcurement
	case has("chief", "ceo", "cto", "cio", "vp", "vice president", "head of", "director"):
		return RoleDecisionMaker
	case has("manager", "architect", "staff", "lead", "principal"):
		return RoleInfluencer
	}
	return RoleUser
}

// Account is a company.
type Account struct {
	ID        int64     `json:"id"`
	Domain    string    `json:"domain"`
	Name      string    `json:"name"`
	Country   string    `json:"country"`
	Owner     string    `json:"owner"`
	CreatedAt time.Time `json:"created_at"`

	Activities []Activity `json:"activities,omitempty"` // only where one account is asked for
}

// Activity is something that people of a company did.
type Activity struct {
	Signal string    `json:"signal"` // the name of the rule that saw it
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
}

// Contact is a person.
type Contact struct {
	ID        int64     `json:"id"`
	AccountID int64     `json:"account_id"` // 0: of no known company
	Email     string    `json:"email"`
	Name      string    `json:"name"`
	JobTitle  string    `json:"job_title"`
	Synthetic bool      `json:"synthetic"` // made up, for demonstration
	CreatedAt time.Time `json:"created_at"`
}

// Opportunity is a deal.
type Opportunity struct {
	ID        int64     `json:"id"`
	AccountID int64     `json:"account_id"` // 0: with a person of no known company
	Account   string    `json:"account"`    // the account's name
	Name      string    `json:"name"`
	Owner     string    `json:"owner"`
	Stage     Stage     `json:"stage"`
	Next      []Stage   `json:"next"` // the stages that may follow
	CreatedAt time.Time `json:"created_at"`
	ChangedAt time.Time `json:"changed_at"`
}

// Member is a person of a buying committee.
type Member struct {
	ContactID int64  `json:"contact_id"`
	Name      string `json:"name"`
	Email     string `json:"email"`
	JobTitle  string `json:"job_title"`
	Role      Role   `json:"role"`
}

// Step is a change of stage.
type Step struct {
	From   Stage     `json:"from"`
	To     Stage     `json:"to"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Deal is an opportunity with everything about it.
type Deal struct {
	Opportunity
	Committee []Member `json:"committee"`
	History   []Step   `json:"history"`
}

// Change says that the stage of the opportunity of some leads is now this: the data of deal.changed.
type Change struct {
	OpportunityID int64    `json:"opportunity_id"`
	Stage         Stage    `json:"stage"`
	Leads         []string `json:"leads"`
}

// Lead is a person whom sales or marketing takes over.
type Lead struct {
	LeadID      string
	Email       string
	Name        string
	JobTitle    string
	Domain      string // the company's; empty for a free-mail address
	Company     string
	Country     string
	Owner       string
	Opportunity bool // whether the lead makes a deal, or is only kept in touch with
	Synthetic   bool
}

// taken is what became of a lead.
type taken struct {
	AccountID     int64
	ContactID     int64
	OpportunityID int64 // 0: none
	Stage         Stage
}
