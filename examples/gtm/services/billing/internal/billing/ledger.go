package billing

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Account is where money stands in the ledger.
type Account string

// The accounts. Debits are positive and credits negative, so that what one account gains others lose.
const (
	AccountReceivable  Account = "receivable"  // asset: what customers owe
	AccountCash        Account = "cash"        // asset: what came in
	AccountUndelivered Account = "undelivered" // liability: what was invoiced and is not delivered
	AccountDeferred    Account = "deferred"    // liability: subscriptions that are paid for
	AccountRevenue     Account = "revenue"     // income
)

// Accounts are all accounts.
func Accounts() []Account {
	return []Account{AccountReceivable, AccountCash, AccountUndelivered, AccountDeferred, AccountRevenue}
}

// Entry is one line of the ledger. The entries of one posting add up to zero.
type Entry struct {
	ID       int64     `json:"id"`
	Posting  int64     `json:"posting"`
	Order    string    `json:"order"`
	Text     string    `json:"text"`
	Account  Account   `json:"account"`
	Currency string    `json:"currency"`
	Amount   int64     `json:"amount"` // debits are positive
	At       time.Time `json:"at"`
}

// Balance is what stands on an account.
type Balance struct {
	Account  Account `json:"account"`
	Currency string  `json:"currency"`
	Amount   int64   `json:"amount"`
}

// posting is one event of business in the ledger.
type posting struct {
	order, text, currency string
	sides                 []side
}

type side struct {
	account Account
	amount  int64 // debits are positive
}

func invoiced(i Invoice) posting {
	return posting{i.Order, "invoice " + i.ID, i.Currency, []side{{AccountReceivable, i.Total}, {AccountUndelivered, -i.Total}}}
}

func voided(i Invoice) posting {
	return posting{i.Order, "void " + i.ID, i.Currency, []side{{AccountUndelivered, i.Total}, {AccountReceivable, -i.Total}}}
}

func paid(i Invoice) posting {
	return posting{i.Order, "payment of " + i.ID, i.Currency, []side{{AccountCash, i.Total}, {AccountReceivable, -i.Total}}}
}

func delivered(i Invoice) posting {
	goods, subscriptions := i.split()
	return posting{i.Order, "revenue of " + i.ID, i.Currency, []side{
		{AccountUndelivered, i.Total}, {AccountRevenue, -goods}, {AccountDeferred, -subscriptions},
	}}
}

// post puts a posting into the ledger; one that does not add up to zero is a mistake of this program, and is not put there.
func (s *Store) post(ctx context.Context, tx *sql.Tx, p posting) error {
	var sum int64
	for _, side := range p.sides {
		sum += side.amount
	}
	if sum != 0 {
		return fmt.Errorf("post %s: the entries add up to %d", p.text, sum)
	}
	var number int64
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(posting), 0) + 1 FROM entries").Scan(&number); err != nil {
		return fmt.Errorf("post %s: %w", p.text, err)
	}
	for _, side := range p.sides {
		if side.amount == 0 {
			continue
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO entries (posting, order_id, text, account, currency, amount, at)
			VALUES (?, ?, ?, ?, ?, ?, ?)`, number, p.order, p.text, side.account, p.currency, side.amount, s.now().UnixMilli())
		if err != nil {
			return fmt.Errorf("post %s: %w", p.text, err)
		}
	}
	return nil
}
