package tracking

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// watch notes an event that matches a rule, and publishes the signal if that completes a window.
func (b *batchWriter) watch(ctx context.Context, rule Rule, e Event) error {
	part, ok := rule.part(e)
	subject := e.Visitor
	if rule.By == ByCompany {
		subject = e.Company
	}
	if !ok || subject == "" {
		return nil
	}
	_, err := b.tx.ExecContext(ctx, "INSERT INTO hits (rule, subject, at, visitor, id, part) VALUES (?, ?, ?, ?, ?, ?)",
		rule.Name, subject, e.At.UnixMilli(), e.Visitor, e.ID, part)
	if err != nil {
		return fmt.Errorf("store hit: %w", err)
	}
	spent, next, err := b.windows(ctx, rule, subject, e.At)
	if err != nil || spent {
		return err
	}
	hits, err := b.around(ctx, rule, subject, e.At)
	if err != nil {
		return err
	}
	w, ok := rule.detect(hits, e.At, next)
	if !ok {
		return nil
	}
	return b.tell(ctx, rule, subject, e.Company, w)
}

// windows tells whether at lies within a window that has told, and when the next one after it begins.
func (b *batchWriter) windows(ctx context.Context, rule Rule, subject string, at time.Time) (spent bool, next time.Time, err error) {
	var begins int64
	err = b.tx.QueryRowContext(ctx, `SELECT
		EXISTS (SELECT 1 FROM windows WHERE rule = ?1 AND subject = ?2 AND begins <= ?3 AND ends > ?3),
		(SELECT coalesce(min(begins), 0) FROM windows WHERE rule = ?1 AND subject = ?2 AND begins > ?3)`,
		rule.Name, subject, at.UnixMilli()).Scan(&spent, &begins)
	if begins != 0 {
		next = time.UnixMilli(begins).UTC()
	}
	return spent, next, wrap("find windows", err)
}

// around are the hits of a subject less than a span away from at that are not spent, in the order of time; of very many
// those next to at.
func (b *batchWriter) around(ctx context.Context, rule Rule, subject string, at time.Time) ([]hit, error) {
	const unspent = ` AND NOT EXISTS (SELECT 1 FROM windows w WHERE w.rule = h.rule AND w.subject = h.subject
		AND w.begins <= h.at AND w.ends > h.at)`
	span, now := time.Duration(rule.Within).Milliseconds(), at.UnixMilli()
	rows, err := b.tx.QueryContext(ctx, `SELECT at, part FROM (
		SELECT * FROM (SELECT at, part FROM hits h WHERE rule = ?1 AND subject = ?2 AND at > ?3 AND at <= ?4`+unspent+`
			ORDER BY at DESC LIMIT ?6)
		UNION ALL
		SELECT * FROM (SELECT at, part FROM hits h WHERE rule = ?1 AND subject = ?2 AND at > ?4 AND at < ?5`+unspent+`
			ORDER BY at LIMIT ?6)
		) ORDER BY at`, rule.Name, subject, now-span, now, now+span, mostHits)
	if err != nil {
		return nil, wrap("find hits", err)
	}
	return scanHits(rows)
}

func scanHits(rows *sql.Rows) (hits []hit, err error) {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var at int64
		var h hit
		if err := rows.Scan(&at, &h.part); err != nil {
			return nil, wrap("read hit", err)
		}
		h.at = time.UnixMilli(at).UTC()
		hits = append(hits, h)
	}
	return hits, wrap("find hits", rows.Err())
}

// tell keeps the window, so that it tells once, and publishes the signal.
func (b *batchWriter) tell(ctx context.Context, rule Rule, subject, company string, w window) error {
	_, err := b.tx.ExecContext(ctx, "INSERT INTO windows (rule, subject, begins, ends) VALUES (?, ?, ?, ?)",
		rule.Name, subject, w.from.UnixMilli(), w.from.Add(time.Duration(rule.Within)).UnixMilli())
	if err != nil {
		return wrap("store window", err)
	}
	return b.store.db.Add(ctx, b.tx, topicSignal, subject, Signal{
		Rule: rule.Name, Text: rule.Text, By: rule.By, Subject: subject, Company: company, Score: w.score, From: w.from, At: w.last,
	})
}

func wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", operation, err)
}
