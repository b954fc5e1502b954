package sdk

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// The states of an operation, and what stands of a step.
const (
	stateDone    = "done"
	stateRefused = "refused"
	stateBarred  = "barred" // of a do: an undo or an alternative came first

	effectNone   = "none"
	effectDone   = "done"
	effectUndone = "undone"
)

// branchKey is what stands in the table for a branch, which may be longer than an index takes, or no text.
func branchKey(s string) string {
	if len(s) <= 1024 && utf8.ValidString(s) && !strings.ContainsRune(s, 0) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// barrierRow is a row of atoll_barrier. The one of a branch's do, its head, is there first and is locked by every call of the
// branch, so that they take turns; what a call decides by stands in it.
type barrierRow struct {
	asked         int64
	state, effect string
	answer        json.RawMessage
}

// touch locks the head of a branch, which it makes, with a state and an effect, if it is missing.
//
// That is an insert that turns into an update, since this one statement waits for another transaction that has inserted the same
// row, sees what that committed whatever the isolation, and locks it. (On MySQL a plain insert that fails leaves a shared lock,
// and two who have that and want the row for themselves are a deadlock.) The count tells which of the two it was.
func (b *Barrier) touch(ctx context.Context, tx *sql.Tx, k stepKey, state, effect string) (barrierRow, error) {
	const insert = "INSERT INTO atoll_barrier (branch, op, state, effect) VALUES (?, 'do', ?, ?) "
	if b.dialect == MySQL {
		_, err := tx.ExecContext(ctx, insert+"ON DUPLICATE KEY UPDATE asked = asked + 1, asked_at = CURRENT_TIMESTAMP(6)", k.branch, state, effect)
		if err != nil {
			return barrierRow{}, err
		}
		row, _, err := b.read(ctx, tx, k.branch, opDo)
		return row, err
	}
	now := "now()"
	if b.dialect == SQLite {
		now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
	}
	text := insert + "ON CONFLICT (branch, op) DO UPDATE SET asked = atoll_barrier.asked + 1, asked_at = " + now +
		" RETURNING asked, state, effect, answer"
	return scanBarrier(tx.QueryRowContext(ctx, b.dialect.query(text), k.branch, state, effect))
}

// read reads and locks a row as it is now: a plain read might see it as it was when the transaction began.
func (b *Barrier) read(ctx context.Context, tx *sql.Tx, branch, op string) (row barrierRow, found bool, err error) {
	text := "SELECT asked, state, effect, answer FROM atoll_barrier WHERE branch = ? AND op = ?"
	if b.dialect != SQLite {
		text += " FOR UPDATE"
	}
	row, err = scanBarrier(tx.QueryRowContext(ctx, b.dialect.query(text), branch, op))
	if errors.Is(err, sql.ErrNoRows) {
		return row, false, nil
	}
	return row, err == nil, err
}

func scanBarrier(r *sql.Row) (row barrierRow, err error) {
	var effect, answer sql.NullString
	err = r.Scan(&row.asked, &row.state, &effect, &answer)
	row.effect, row.answer = effect.String, json.RawMessage("null")
	if answer.Valid {
		row.answer = json.RawMessage(answer.String)
	}
	return row, err
}

func (b *Barrier) enterDo(ctx context.Context, tx *sql.Tx, k stepKey) (Passage, error) {
	head, err := b.touch(ctx, tx, k, stateDone, effectDone)
	if err != nil {
		return Passage{}, err
	}
	if head.asked == 1 {
		return Passage{Run: true}, nil
	}
	return head.passage()
}

func (b *Barrier) enterUndo(ctx context.Context, tx *sql.Tx, k stepKey) (Passage, error) {
	nothing := Passage{Why: NothingToUndo, Answer: json.RawMessage("null")}
	head, err := b.touch(ctx, tx, k, stateBarred, effectUndone)
	if err != nil || head.asked == 1 {
		return nothing, err
	}
	switch head.effect {
	case effectNone:
		return nothing, b.setEffect(ctx, tx, k, effectUndone)
	case effectUndone:
		row, found, err := b.read(ctx, tx, k.branch, k.op)
		if err != nil || !found {
			return nothing, err
		}
		return row.passage()
	}
	return Passage{Run: true}, b.begin(ctx, tx, k, effectUndone)
}

func (b *Barrier) enterAlternative(ctx context.Context, tx *sql.Tx, k stepKey) (Passage, error) {
	head, err := b.touch(ctx, tx, k, stateBarred, effectNone)
	if err != nil {
		return Passage{}, err
	}
	if head.asked > 1 {
		row, found, err := b.read(ctx, tx, k.branch, k.op)
		if err != nil {
			return Passage{}, err
		}
		if found {
			return row.passage()
		}
	}
	switch head.effect {
	case effectDone:
		return Passage{Why: DoneElse, Refusal: doneElse()}, nil
	case effectUndone:
		return Passage{Why: TooLate, Refusal: tooLate()}, nil
	}
	return Passage{Run: true}, b.begin(ctx, tx, k, effectDone)
}

// passage is the answer to a call that came before.
func (r barrierRow) passage() (Passage, error) {
	switch r.state {
	case stateDone:
		return Passage{Why: DoneBefore, Answer: r.answer}, nil
	case stateBarred:
		return Passage{Why: TooLate, Refusal: tooLate()}, nil
	case stateRefused:
		p := &Problem{}
		if err := json.Unmarshal(r.answer, p); err != nil || !Refusal(p.Status) {
			return Passage{}, fmt.Errorf("the refusal that is kept is no problem document: %s", r.answer)
		}
		return Passage{Why: RefusedBefore, Refusal: p}, nil
	}
	return Passage{}, fmt.Errorf("the row in atoll_barrier has the state %q", r.state)
}

func tooLate() *Problem {
	p := Error(http.StatusConflict, "step-too-late", "This step is undone, or another call came in its place, so it is not done any more.")
	p.Remedy = "nothing is to be done: the call had no effect"
	return p
}

func doneElse() *Problem {
	p := Error(http.StatusConflict, "step-done", "This step was done by another call, so the alternative is not.")
	p.Remedy = "call again with the key of the first call, whose answer is kept"
	return p
}

// begin makes the row of an operation that is not the head, and says in the head what is to stand of the step.
func (b *Barrier) begin(ctx context.Context, tx *sql.Tx, k stepKey, effect string) error {
	_, err := tx.ExecContext(ctx, b.dialect.query("INSERT INTO atoll_barrier (branch, op, state) VALUES (?, ?, 'done')"), k.branch, k.op)
	if err != nil {
		return err
	}
	return b.setEffect(ctx, tx, k, effect)
}

func (b *Barrier) setEffect(ctx context.Context, tx *sql.Tx, k stepKey, effect string) error {
	return b.one(ctx, tx, "UPDATE atoll_barrier SET effect = ? WHERE branch = ? AND op = 'do'", effect, k.branch)
}

func (b *Barrier) leave(ctx context.Context, tx *sql.Tx, key string, answer json.RawMessage) error {
	step, err := parseStepKey(key)
	if err != nil {
		return err
	}
	const text = "UPDATE atoll_barrier SET answer = ? WHERE branch = ? AND op = ? AND state = 'done' AND answer IS NULL"
	if err := b.one(ctx, tx, text, string(answer), step.branch, step.op); err != nil {
		return fmt.Errorf("leave barrier: %w", err)
	}
	return nil
}

func (b *Barrier) keepRefusal(ctx context.Context, tx *sql.Tx, k stepKey, refusal json.RawMessage) error {
	const text = "UPDATE atoll_barrier SET state = 'refused', answer = ? WHERE branch = ? AND op = ? AND state = 'done' AND answer IS NULL"
	if err := b.one(ctx, tx, text, string(refusal), k.branch, k.op); err != nil {
		return err
	}
	return b.setEffect(ctx, tx, k, effectNone)
}

func (b *Barrier) forgetUndo(ctx context.Context, tx *sql.Tx, k stepKey) error {
	if err := b.one(ctx, tx, "DELETE FROM atoll_barrier WHERE branch = ? AND op = ? AND answer IS NULL", k.branch, k.op); err != nil {
		return err
	}
	return b.setEffect(ctx, tx, k, effectDone)
}

// one runs a statement that has to change one row. It finds none if the call did not enter or has left, and if the database has
// rolled back without the service's taking notice, as MySQL does after a deadlock.
func (b *Barrier) one(ctx context.Context, tx *sql.Tx, text string, args ...any) error {
	result, err := tx.ExecContext(ctx, b.dialect.query(text), args...)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return errors.New("this transaction has not entered with this key, has left already, or was rolled back")
	}
	return nil
}

func (b *Barrier) purgeText() string {
	const old = "SELECT branch FROM atoll_barrier WHERE op = 'do' AND asked_at < @ ORDER BY asked_at LIMIT 1000"
	switch b.dialect {
	case SQLite:
		return "DELETE FROM atoll_barrier WHERE branch IN (" + old + ")"
	case MySQL: // which does not delete by a query of the same table that has a limit
		return "DELETE t FROM atoll_barrier t JOIN (" + old + ") old ON t.branch = old.branch"
	default: // PostgreSQL: a branch that a call has just locked is not old
		return "DELETE FROM atoll_barrier WHERE branch IN (" + old + " FOR UPDATE SKIP LOCKED)"
	}
}
