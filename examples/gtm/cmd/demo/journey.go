package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// journey is one lead on its way through everything.
type journey struct {
	c     *client
	out   io.Writer
	began time.Time
}

// company is whose people look around before one of them leaves an address.
const company = "stripe.com"

type mail struct {
	ID          int64    `json:"id"`
	To          []string `json:"to"`
	Subject     string   `json:"subject"`
	Unsubscribe string   `json:"unsubscribe"`
}

func (j *journey) say(format string, args ...any) {
	fmt.Fprintf(j.out, "%6s  %s\n", time.Since(j.began).Round(100*time.Millisecond), fmt.Sprintf(format, args...))
}

func (j *journey) run(ctx context.Context) error {
	fmt.Fprintln(j.out, "\none lead through everything")
	tag := strings.ToLower(rand.Text()[:8])
	if err := j.visit(ctx, "demo-"+tag); err != nil {
		return fmt.Errorf("visit: %w", err)
	}
	l, err := j.lead(ctx, tag)
	if err != nil {
		return fmt.Errorf("lead: %w", err)
	}
	if err := j.signal(ctx, l); err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	if err := j.answer(ctx, l); err != nil {
		return fmt.Errorf("mails: %w", err)
	}
	return j.unsubscribe(ctx, tag)
}

// visit looks at the prices three times.
func (j *journey) visit(ctx context.Context, visitor string) error {
	now := time.Now()
	var batch []map[string]any
	for i := range 3 {
		batch = append(batch, map[string]any{
			"id": fmt.Sprint(i), "visitor": visitor, "kind": "page", "path": "/pricing", "company": company,
			"at": now.Add(time.Duration(i-3) * time.Minute), "sent_at": now,
		})
	}
	if err := j.c.json(ctx, http.MethodPost, "/track", batch, nil); err != nil {
		return err
	}
	j.say("somebody of %s looks at the prices three times  [tracking]", company)
	return nil
}

// lead leaves an address and follows it to its deal.
func (j *journey) lead(ctx context.Context, tag string) (lead, error) {
	l, err := j.submit(ctx, "Grace", tag)
	if err != nil {
		return l, err
	}
	j.say("%s leaves an address  [leads]", l.Email)
	for _, stage := range []struct {
		reached func(lead) bool
		tell    func(lead) string
	}{
		{func(l lead) bool { return l.Facts != nil }, func(l lead) string {
			return fmt.Sprintf("  enriched: %v, as %s says  [enrichment]", l.Facts["company"].Value, l.Facts["company"].Source)
		}},
		{func(l lead) bool { return l.Verdict != "" }, func(l lead) string {
			return fmt.Sprintf("  qualified: %s with %d points  [qualification]", l.Verdict, l.Score)
		}},
		{func(l lead) bool { return l.Owner != "" }, func(l lead) string { return "  routed: " + l.Owner + "  [routing]" }},
		{func(l lead) bool { return l.Deal != 0 }, func(l lead) string {
			return fmt.Sprintf("  opportunity %d of %s is %s  [crm]", l.Deal, l.Account, l.Stage)
		}},
	} {
		if l, err = await(ctx, func() (lead, error) { return j.ask(ctx, l.ID) }, stage.reached); err != nil {
			return l, err
		}
		j.say("%s", stage.tell(l))
	}
	return l, nil
}

func (j *journey) submit(ctx context.Context, name, tag string) (l lead, err error) {
	email := strings.ToLower(name) + ".demo-" + tag + "@" + company
	err = j.c.json(ctx, http.MethodPost, "/api/leads", map[string]any{
		"email": email, "first_name": name, "last_name": "Okafor", "job_title": "Head of Platform", "country": "IE",
		"seats": 80, "interest": "demo", "source": "demo", "synthetic": true,
	}, &l)
	l.Email = email
	return l, err
}

func (j *journey) ask(ctx context.Context, id string) (l lead, err error) {
	return l, j.c.json(ctx, http.MethodGet, "/api/leads/"+id, nil, &l)
}

// signal finds the visits again, at the account.
func (j *journey) signal(ctx context.Context, l lead) error {
	type account struct {
		Activities []struct{ Text string }
	}
	a, err := await(ctx, func() (a account, err error) {
		var deal struct {
			AccountID int64 `json:"account_id"`
		}
		if err := j.c.json(ctx, http.MethodGet, fmt.Sprint("/api/crm/opportunities/", l.Deal), nil, &deal); err != nil {
			return a, err
		}
		return a, j.c.json(ctx, http.MethodGet, fmt.Sprint("/api/crm/accounts/", deal.AccountID), nil, &a)
	}, func(a account) bool { return len(a.Activities) > 0 })
	if err != nil {
		return err
	}
	j.say("  the account knows: %s  [tracking → crm]", a.Activities[0].Text)
	return nil
}

// answer waits for two mails and answers the second, which ends the sequence.
func (j *journey) answer(ctx context.Context, l lead) error {
	mails, err := j.mails(ctx, l.Email, 1)
	if err != nil {
		return err
	}
	j.say("  mail: %s  [outreach]", mails[0].Subject)
	if mails, err = j.mails(ctx, l.Email, 2); err != nil {
		return err
	}
	j.say("  mail: %s  [outreach]", mails[0].Subject)
	if err := j.c.json(ctx, http.MethodPost, fmt.Sprintf("/api/mailbox/mails/%d/reply", mails[0].ID), nil, nil); err != nil {
		return err
	}
	j.say("Grace answers  [mailbox]")
	return j.state(ctx, l.ID, "replied")
}

// unsubscribe has another lead click on the link of the first mail.
func (j *journey) unsubscribe(ctx context.Context, tag string) error {
	l, err := j.submit(ctx, "Ines", tag)
	if err != nil {
		return fmt.Errorf("second lead: %w", err)
	}
	mails, err := j.mails(ctx, l.Email, 1)
	if err != nil {
		return fmt.Errorf("mails: %w", err)
	}
	link, err := url.Parse(mails[0].Unsubscribe)
	if err != nil {
		return fmt.Errorf("unsubscribe link: %w", err)
	}
	err = j.c.call(ctx, http.MethodPost, link.Path, "application/x-www-form-urlencoded", strings.NewReader("List-Unsubscribe=One-Click"), nil)
	if err != nil {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	j.say("a second lead gets a mail, and unsubscribes by one click  [outreach]")
	return j.state(ctx, l.ID, "unsubscribed")
}

func (j *journey) mails(ctx context.Context, to string, atLeast int) ([]mail, error) {
	return await(ctx, func() ([]mail, error) {
		var page struct {
			Mails []mail `json:"mails"`
		}
		err := j.c.json(ctx, http.MethodGet, "/api/mailbox/mails?to="+url.QueryEscape(to), nil, &page)
		return page.Mails, err
	}, func(m []mail) bool { return len(m) >= atLeast })
}

func (j *journey) state(ctx context.Context, lead, want string) error {
	type sequence struct{ State string }
	_, err := await(ctx, func() (s sequence, err error) {
		return s, j.c.json(ctx, http.MethodGet, "/api/outreach/leads/"+lead, nil, &s)
	}, func(s sequence) bool { return s.State == want })
	if err != nil {
		return err
	}
	j.say("  the sequence has ended: %s  [outreach]", want)
	return nil
}
