package sdk_test

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/atollhq/atoll/sdk"
)

// A service that answers one path and calls another service, as its whole main.go.
func Example() {
	run := func(ctx context.Context, log *slog.Logger) error {
		stock, err := sdk.Client("stock", nil)
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.Handle("POST /orders", sdk.Handler(func(w http.ResponseWriter, r *http.Request) error {
			var order struct {
				Item string `json:"item"`
			}
			if err := sdk.DecodeJSON(r, &order, 64<<10); err != nil {
				return err
			}
			if order.Item == "" {
				return sdk.Error(http.StatusUnprocessableEntity, "no-item", "The order names no item.")
			}
			if err := stock.JSON(r.Context(), http.MethodPost, "/reservations", order, nil); err != nil {
				return err
			}
			return sdk.WriteJSON(w, http.StatusCreated, order)
		}))
		return sdk.Serve(ctx, mux, &sdk.Options{Logger: log})
	}
	sdk.Main(run)
}
