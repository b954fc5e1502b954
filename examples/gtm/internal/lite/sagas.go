package lite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/atollhq/atoll/sdk"
)

const (
	// parked is how long the barrier knows a step; longer than anybody leaves an instance that waits for a person.
	parked = 365 * 24 * time.Hour

	largestStep = 1 << 20 // bytes of the body of a step
)

func (db *DB) setupSagas(ctx context.Context) (err error) {
	if db.barrier, err = sdk.NewBarrier(&sdk.TableOptions{Dialect: sdk.SQLite}); err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	if err := db.barrier.Setup(ctx, db.write); err != nil {
		return err
	}
	_, err = db.barrier.Purge(ctx, db.write, parked)
	return err
}

// Step makes a handler of a saga's step, or of its undoing: the request's Idempotency-Key says which of the two it is. The body
// becomes an In, and fn makes the effect in a transaction that notes the step too. What fn returns is the answer; the step that
// comes again gets it again, and has no second effect. An *sdk.Problem of 4xx refuses the step for good. An undoing without its
// step is answered with null, and a step that comes after its undoing is refused; fn hears of neither.
func Step[In, Out any](db *DB, fn func(ctx context.Context, tx *sql.Tx, in In) (Out, error)) http.Handler {
	return sdk.Handler(func(w http.ResponseWriter, r *http.Request) error {
		var in In
		if err := sdk.DecodeJSON(r, &in, largestStep); err != nil {
			return err
		}
		var passed sdk.Passage
		err := db.Write(r.Context(), func(ctx context.Context, tx *sql.Tx) (err error) {
			passed, err = db.step(ctx, tx, r.Header.Get(sdk.HeaderIdempotencyKey), func() (any, error) { return fn(ctx, tx, in) })
			return err
		})
		if err != nil {
			return err
		}
		if passed.Refusal != nil {
			return passed.Refusal
		}
		return sdk.WriteJSON(w, http.StatusOK, passed.Answer)
	})
}

// step is the passage of a step with the answer or the refusal that it gets.
func (db *DB) step(ctx context.Context, tx *sql.Tx, key string, run func() (any, error)) (sdk.Passage, error) {
	passage, err := db.barrier.Enter(ctx, tx, key)
	if err != nil || !passage.Run {
		return passage, err
	}
	out, err := run()
	if problem, ok := errors.AsType[*sdk.Problem](err); ok && sdk.Refusal(problem.Status) {
		passage.Refusal = problem
		return passage, db.barrier.Refuse(ctx, tx, key, problem)
	}
	if err != nil {
		return passage, err
	}
	if passage.Answer, err = json.Marshal(out); err != nil {
		return passage, fmt.Errorf("encode the answer: %w", err)
	}
	return passage, db.barrier.Leave(ctx, tx, key, passage.Answer)
}
