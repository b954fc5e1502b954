package sdk

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// HeaderIdempotencyKey names a request, the same in every attempt. A step of a saga has INSTANCE/STEP/do or
// INSTANCE/STEP/undo there.
const HeaderIdempotencyKey = "Idempotency-Key"

// MaxStepAnswer is how many bytes the answer of a step may have as JSON, since the barrier keeps it.
const MaxStepAnswer = 256 << 10

// Barrier makes the effect of a saga's step once, and undoes it once, in whatever order and however often the calls come: the
// transaction that makes the effect also notes the call in the table atoll_barrier.
//
//   - A call that comes again has no second effect, and gets the answer of the first.
//   - An undo without its do has nothing to undo, and is done.
//   - A do that comes after its undo is refused with 409.
//   - A refused do stays refused: its answer is kept too, its effects are not. An undo that was refused is asked again, since
//     it has to succeed at some time.
//
// An alternative call of an operator (INSTANCE/STEP/do/alt1) belongs to the same branch, INSTANCE/STEP: it has its effect if
// no other do of the branch had one, and then no other do has; the undo undoes whichever of them was done.
//
// Calls of one branch wait for each other's transactions. Those of different branches do not, but on SQLite.
type Barrier struct{ dialect Dialect }

// NewBarrier returns the barrier of the service's database.
func NewBarrier(opts *TableOptions) (*Barrier, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Barrier{o.Dialect}, nil
}

// Setup makes the table atoll_barrier where it is missing.
func (b *Barrier) Setup(ctx context.Context, db *sql.DB) error {
	if err := b.dialect.setup(ctx, db, "barrier"); err != nil {
		return fmt.Errorf("set up barrier: %w", err)
	}
	return nil
}

// Handler makes a handler of a step's do, or of its undo, around what runs in a transaction of db:
//
//	mux.Handle("POST /reservations", barrier.Handler(db, reserve))
//	mux.Handle("POST /reservations/cancel", barrier.Handler(db, cancel))
//
// What run returns is the answer: 200 with it as JSON. A *Problem error with a status of 4xx refuses, as [Refusal] says; after
// any other error nothing is kept, and the saga calls again. run uses tx alone, and makes no effect but in tx. It does not run
// for a call that has its answer already.
func (b *Barrier) Handler(db *sql.DB, run func(ctx context.Context, tx *sql.Tx, r *http.Request) (answer any, err error)) http.Handler {
	return Handler(func(w http.ResponseWriter, r *http.Request) error {
		key := r.Header.Get(HeaderIdempotencyKey)
		body := &brokenBody{ReadCloser: r.Body}
		r = r.WithContext(r.Context())
		r.Body = body
		answer, err := b.Run(r.Context(), db, key, func(ctx context.Context, tx *sql.Tx) (any, error) {
			answer, err := run(ctx, tx, r)
			if body.err != nil { // run may take half a body for a bad one, and refuse it for ever
				return nil, fmt.Errorf("run step: read the body: %w", body.err)
			}
			return answer, err
		})
		if err != nil {
			return err
		}
		return WriteJSON(w, http.StatusOK, answer)
	})
}

// brokenBody remembers that a body ended before it was complete.
type brokenBody struct {
	io.ReadCloser
	err error
}

func (b *brokenBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); err != nil && !tooLarge && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// Run is what Handler does, for calls that come in another way: it runs run in a transaction of db if the call that key names
// is to have its effect, and returns the answer, be it a new one or one that was kept. A refusal is a *Problem error.
func (b *Barrier) Run(ctx context.Context, db *sql.DB, key string, run func(ctx context.Context, tx *sql.Tx) (answer any, err error)) (json.RawMessage, error) {
	if _, err := parseStepKey(key); err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("run step: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	passage, err := b.Enter(ctx, tx, key)
	if err != nil {
		return nil, err
	}
	answer, refusal := passage.Answer, passage.Refusal
	if passage.Run {
		if answer, refusal, err = b.runEntered(ctx, tx, key, run); err != nil {
			return nil, err
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("run step: %w", err)
	}
	if refusal != nil {
		return nil, refusal
	}
	return answer, nil
}

func (b *Barrier) runEntered(ctx context.Context, tx *sql.Tx, key string, run func(ctx context.Context, tx *sql.Tx) (any, error)) (json.RawMessage, *Problem, error) {
	result, err := run(ctx, tx)
	if err == nil {
		answer, err := encodeAnswer(result)
		if err != nil {
			return nil, nil, err
		}
		return answer, nil, b.leave(ctx, tx, key, answer)
	}
	refusal, ok := errors.AsType[*Problem](err)
	if !ok || !Refusal(refusal.Status) {
		return nil, nil, err
	}
	kept := *refusal
	if kept.TraceID == "" {
		kept.TraceID = TraceID(ctx)
	}
	return nil, &kept, b.Refuse(ctx, tx, key, &kept)
}

// Refusal tells whether a saga takes an answer with this status for a refusal, after which it does not call again: every 4xx
// but 408, 421, 425 and 429, unless its definition says otherwise.
func Refusal(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status < 500
}

// Passage is what the barrier says to a call: run, or what to answer.
type Passage struct {
	// Run says: make the effect now, in this transaction, then call Leave or Refuse and commit. If it is false, commit and
	// answer 200 with Answer, or with Refusal if there is one.
	Run bool

	// Why says why not.
	Why Why

	// Answer is that of the same call when it came first; null if there is nothing to undo.
	Answer json.RawMessage

	// Refusal is that of the same call when it came first, or of a do that comes too late.
	Refusal *Problem
}

// Why is a reason for which a call has no effect.
type Why string

// The reasons.
const (
	DoneBefore    Why = "done-before"     // the same call was done: Answer is its answer
	RefusedBefore Why = "refused-before"  // the same call was refused: Refusal is that
	NothingToUndo Why = "nothing-to-undo" // an undo of what was never done, was refused, or is undone
	TooLate       Why = "too-late"        // a do of what is undone, or in whose place an alternative came
	DoneElse      Why = "done-else"       // an alternative for a do that was done
)

// Enter notes in tx the call that the Idempotency-Key names, and tells whether it is to have its effect. It is the first
// statement of the transaction, which enters one key only: what was read before may be of the time before another call of the
// same branch ended. While such a call is in its transaction, Enter waits for its end. After an error, roll back.
//
// A key that does not end as one of a saga is a *Problem error with status 400.
func (b *Barrier) Enter(ctx context.Context, tx *sql.Tx, key string) (Passage, error) {
	step, err := parseStepKey(key)
	if err != nil {
		return Passage{}, err
	}
	var p Passage
	switch {
	case step.undo():
		p, err = b.enterUndo(ctx, tx, step)
	case step.op == opDo:
		p, err = b.enterDo(ctx, tx, step)
	default:
		p, err = b.enterAlternative(ctx, tx, step)
	}
	if err == nil && p.Run {
		_, err = tx.ExecContext(ctx, "SAVEPOINT atoll_step")
	}
	if err != nil {
		return Passage{}, fmt.Errorf("enter barrier: %w", err)
	}
	return p, nil
}

// Leave keeps the answer of a call that Enter let run, as JSON of at most MaxStepAnswer bytes.
func (b *Barrier) Leave(ctx context.Context, tx *sql.Tx, key string, answer any) error {
	encoded, err := encodeAnswer(answer)
	if err != nil {
		return err
	}
	return b.leave(ctx, tx, key, encoded)
}

func encodeAnswer(answer any) (json.RawMessage, error) {
	encoded, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("leave barrier: encode the answer: %w", err)
	}
	if len(encoded) > MaxStepAnswer {
		return nil, fmt.Errorf("leave barrier: the answer has %d bytes, more than the %d that can be kept", len(encoded), MaxStepAnswer)
	}
	return encoded, nil
}

// Refuse undoes what tx did since Enter let the call run, and keeps the refusal of a do, for which the caller commits then
// and answers with it. A late duplicate is refused alike, so that it cannot have an effect that the saga does not know of. Of
// a refused undo nothing is kept: it runs again when it comes again.
func (b *Barrier) Refuse(ctx context.Context, tx *sql.Tx, key string, refusal *Problem) error {
	step, err := parseStepKey(key)
	if err != nil {
		return err
	}
	encoded, err := encodeAnswer(refusal)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT atoll_step"); err != nil {
		return fmt.Errorf("refuse at barrier: %w", err)
	}
	if step.undo() {
		err = b.forgetUndo(ctx, tx, step)
	} else {
		err = b.keepRefusal(ctx, tx, step, encoded)
	}
	if err != nil {
		return fmt.Errorf("refuse at barrier: %w", err)
	}
	return nil
}

// Purge forgets the branches of which no call came for that long, a thousand at a time, and tells how many rows they had. Keep
// them longer than the longest saga may take, compensation and parking included: an undo whose do is forgotten finds nothing
// to undo, and a duplicate has its effect again.
func (b *Barrier) Purge(ctx context.Context, db *sql.DB, olderThan time.Duration) (removed int64, err error) {
	before := b.dialect.time(time.Now().Add(-olderThan))
	for {
		result, err := db.ExecContext(ctx, b.dialect.query(b.purgeText()), before)
		if err != nil {
			return removed, fmt.Errorf("purge barrier: %w", err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return removed, fmt.Errorf("purge barrier: %w", err)
		}
		removed += n
		if n < 1000 { // each branch has a row at least
			return removed, nil
		}
	}
}

// StepBranch is the branch of an Idempotency-Key, which a step's do and undo have in common: INSTANCE/STEP. Keep it beside what
// the do makes: it is by this that the undo finds it, whatever became of the do's answer. A key that does not end as one of a
// saga is a *Problem error with status 400.
func StepBranch(key string) (string, error) {
	step, err := parseStepKey(key)
	return step.name, err
}

const (
	opDo   = "do"
	opUndo = "undo"
)

// stepKey is an Idempotency-Key of a saga, taken apart.
type stepKey struct {
	name   string // as it came
	branch string // as it stands in the table
	op     string // do, undo, do/alt1, undo/alt1
}

func (k stepKey) undo() bool { return k.op == opUndo || strings.HasPrefix(k.op, opUndo+"/") }

// parseStepKey looks at the end of a key alone: names of instances and steps may be anything, and have slashes too.
func parseStepKey(key string) (stepKey, error) {
	if key == "" {
		p := Error(http.StatusBadRequest, "step-key-missing", "The request has no Idempotency-Key, so it cannot be told from one that comes again.")
		p.Remedy = "send the header Idempotency-Key: INSTANCE/STEP/do, or /undo, as sagas do; for a call by hand, a name of its own and /do"
		return stepKey{}, p
	}
	rest, alternative := key, ""
	if i := strings.LastIndexByte(key, '/'); i >= 0 && isAlternative(key[i+1:]) {
		rest, alternative = key[:i], key[i:]
	}
	i := strings.LastIndexByte(rest, '/')
	if op := rest[i+1:]; i > 0 && (op == opDo || op == opUndo) {
		return stepKey{name: rest[:i], branch: branchKey(rest[:i]), op: op + alternative}, nil
	}
	p := Error(http.StatusBadRequest, "step-key-invalid", "The Idempotency-Key does not say whether to do or to undo.")
	p.Remedy = "let it end with /do or /undo after the name of the step, as in INSTANCE/STEP/do; an alternative with /do/alt1"
	return stepKey{}, p
}

// isAlternative tells whether s is alt and a number of at most six digits.
func isAlternative(s string) bool {
	number, ok := strings.CutPrefix(s, "alt")
	return ok && number != "" && len(number) <= 6 && strings.Trim(number, "0123456789") == ""
}
