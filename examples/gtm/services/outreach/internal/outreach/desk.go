package outreach

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"strings"
	"time"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

// Mailer sends mails; *Relay is one.
type Mailer interface {
	// Send returns nil when the mail will be delivered, an error that is ErrRefused when it never will.
	Send(ctx context.Context, m Mail) error
}

// Config is what a desk needs. All is needed.
type Config struct {
	Path     string // of the database
	Sequence Sequence
	Mailer   Mailer
	Signer   Signer
	From     mail.Address
	Public   string // URL by which people reach the gateway
	Logger   *slog.Logger
}

// Desk writes to leads. It is safe for concurrent use.
type Desk struct {
	db       *lite.DB
	sequence Sequence
	mailer   Mailer
	signer   Signer
	from     mail.Address
	public   string
	log      *slog.Logger
}

// Open opens a desk.
func Open(ctx context.Context, c Config) (*Desk, error) {
	db, err := open(ctx, c.Path)
	if err != nil {
		return nil, err
	}
	return &Desk{
		db: db, sequence: c.Sequence, mailer: c.Mailer, signer: c.Signer, from: c.From,
		public: strings.TrimSuffix(c.Public, "/"), log: c.Logger,
	}, nil
}

// Close closes the desk's file.
func (d *Desk) Close() error { return d.db.Close() }

// Ping tells whether the desk can work.
func (d *Desk) Ping(ctx context.Context) error { return d.db.Ping(ctx) }

// What this service reads of the events of others; they may hold more.
type (
	routed struct {
		Lead struct {
			ID        string
			Email     string
			FirstName string `json:"first_name"`
			LastName  string `json:"last_name"`
		}
		Company    struct{ Name string }
		Assignment struct {
			OwnerName string `json:"owner_name"`
		}
	}
	replied struct {
		InReplyTo string `json:"in_reply_to"`
	}
)

// routed begins a sequence.
func (d *Desk) routed(ctx context.Context, tx *sql.Tx, e routed) error {
	if e.Lead.ID == "" || e.Lead.Email == "" {
		return sdk.Reject(errors.New("the lead has no id or no address"))
	}
	return d.enroll(ctx, tx, Enrollment{
		Lead: e.Lead.ID, Email: strings.ToLower(e.Lead.Email), firstName: e.Lead.FirstName, lastName: e.Lead.LastName,
		company: e.Company.Name, owner: e.Assignment.OwnerName,
	})
}

// replied ends the sequence that an answer belongs to.
func (d *Desk) replied(ctx context.Context, tx *sql.Tx, e replied) error {
	var lead string
	err := tx.QueryRowContext(ctx, "SELECT lead FROM sent WHERE message_id = ?", e.InReplyTo).Scan(&lead)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // an answer to somebody else's mail
	}
	if err != nil {
		return fmt.Errorf("find step: %w", err)
	}
	return setState(ctx, tx, "lead = ?", lead, Replied)
}

// due takes a step: it sends the mail, then notes that and makes the next appointment.
func (d *Desk) due(ctx context.Context, e sdk.Event) error {
	var at due
	if err := e.Decode(&at); err != nil {
		return sdk.Reject(err)
	}
	if at.Step < 0 || at.Step >= len(d.sequence.steps) {
		return nil // the sequence has become shorter
	}
	lead, wanted, err := d.wanted(ctx, at)
	if err != nil || !wanted {
		return err
	}
	m, err := d.write(lead, d.sequence.steps[at.Step])
	if err != nil {
		return err
	}
	err = d.mailer.Send(ctx, m)
	if errors.Is(err, ErrRefused) {
		d.log.WarnContext(ctx, "mail refused", slog.String("lead", at.Lead), slog.Any("error", err))
		return d.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error { return suppress(ctx, tx, lead.Email, Refused) })
	}
	if err != nil {
		return err
	}
	return d.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error { return d.took(ctx, tx, e, at, m.MessageID) })
}

// wanted tells whether a step is still to be taken.
func (d *Desk) wanted(ctx context.Context, at due) (lead Enrollment, wanted bool, err error) {
	lead, err = d.find(ctx, at.Lead)
	if errors.Is(err, ErrNotFound) {
		return lead, false, sdk.Reject(fmt.Errorf("there is no sequence with the lead %q", at.Lead))
	}
	if err != nil || lead.State != Active || len(lead.Sent) > at.Step {
		return lead, false, err
	}
	gone, err := suppressed(ctx, d.db.Read(), lead.Email)
	return lead, !gone, err
}

// write makes the mail of a step. The same step makes the same Message-ID.
func (d *Desk) write(lead Enrollment, s step) (Mail, error) {
	link := d.public + "/unsubscribe/" + d.signer.Token(lead.Email)
	body, err := s.content(recipient{
		FirstName: lead.firstName, Company: lead.company, OwnerName: cmp.Or(lead.owner, "Your contact"), Unsubscribe: link,
	})
	if err != nil {
		return Mail{}, err
	}
	_, domain, _ := strings.Cut(d.from.Address, "@")
	return Mail{
		From: d.from, To: mail.Address{Name: strings.TrimSpace(lead.firstName + " " + lead.lastName), Address: lead.Email},
		MessageID: fmt.Sprintf("<%s.%s@%s>", lead.Lead, s.name, domain), Unsubscribe: link, Date: time.Now(), content: body,
	}, nil
}
