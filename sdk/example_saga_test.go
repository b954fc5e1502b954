package sdk_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/atollhq/atoll/sdk"
)

// A definition that go generate writes to sagas/order-to-cash.yaml with WriteFile.
func ExampleNewSaga() {
	text, err := sdk.NewSaga("order-to-cash").Owner("finance").
		Step("reserve",
			sdk.Do("POST shipping/reservations", sdk.Body{"order": sdk.Expr("input.order")}),
			sdk.Undo("POST shipping/reservations/cancel", sdk.DoneOn(http.StatusNotFound))).
		Step("charge", sdk.Pivot(), sdk.Do("POST billing/charges"), sdk.AttemptTimeout(10*time.Second)).
		Step("ship", sdk.Do("POST shipping/shipments")).
		JSON()
	fmt.Fprintf(os.Stdout, "%s %v\n", text, err)
	// Output:
	// {"saga":"order-to-cash","owner":"finance","steps":[{"step":"reserve","do":{"call":"POST shipping/reservations","body":{"order":"${input.order}"}},"undo":{"call":"POST shipping/reservations/cancel","done":[404]}},{"step":"charge","do":"POST billing/charges","pivot":true,"timeout":"10s"},{"step":"ship","do":"POST shipping/shipments"}]} <nil>
}

// A service that starts a saga for each order and waits up to 10 s for its end.
func ExampleSagas_Start() {
	sagas, err := sdk.NewSagas(nil)
	if err != nil {
		return
	}
	http.NewServeMux().Handle("POST /orders", sdk.Handler(func(w http.ResponseWriter, r *http.Request) error {
		var order struct {
			ID string `json:"id"`
		}
		if err := sdk.DecodeJSON(r, &order, 64<<10); err != nil {
			return err
		}
		instance, err := sagas.Start(r.Context(), "order-to-cash", order, &sdk.StartOptions{Key: order.ID, Wait: 10 * time.Second})
		if err != nil {
			return err
		}
		if !instance.HasEnded() {
			return sdk.WriteJSON(w, http.StatusAccepted, instance)
		}
		return sdk.WriteJSON(w, http.StatusOK, instance)
	}))
}

// The do and the undo of a step, each of which has its effect once.
func ExampleBarrier_Handler() {
	handlers := func(ctx context.Context, db *sql.DB) (http.Handler, error) {
		barrier, err := sdk.NewBarrier(nil)
		if err != nil {
			return nil, err
		}
		if err := barrier.Setup(ctx, db); err != nil {
			return nil, err
		}
		mux := http.NewServeMux()
		mux.Handle("POST /invoices", barrier.Handler(db, func(ctx context.Context, tx *sql.Tx, r *http.Request) (any, error) {
			branch, err := sdk.StepBranch(r.Header.Get(sdk.HeaderIdempotencyKey))
			if err != nil {
				return nil, err
			}
			_, err = tx.ExecContext(ctx, "INSERT INTO invoices (branch) VALUES ($1)", branch)
			return map[string]string{"invoice": branch}, err
		}))
		mux.Handle("POST /invoices/void", barrier.Handler(db, func(ctx context.Context, tx *sql.Tx, r *http.Request) (any, error) {
			branch, err := sdk.StepBranch(r.Header.Get(sdk.HeaderIdempotencyKey))
			if err != nil {
				return nil, err
			}
			_, err = tx.ExecContext(ctx, "DELETE FROM invoices WHERE branch = $1", branch)
			return nil, err
		}))
		return mux, nil
	}
	_ = handlers
}
