package browser_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/atollhq/atoll/test/browser"
)

// TestConsole runs all of js/*.test.mjs against the running reference application.
func TestConsole(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs all services, and a browser: run without -short, as make test does")
	}
	if err := browser.Need(); err != nil {
		t.Skipf("%v; make test installs it", err)
	}
	app, err := browser.Start(t.Context(), t.TempDir(), true)
	if errors.Is(err, browser.ErrMissing) {
		t.Skipf("%v; make test does so", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	// What is said comes as it is said, so that a run that is cut off shows how far it came.
	if err := app.Node(t.Context(), os.Stdout, nil, "run.mjs"); err != nil {
		t.Error(err)
	}
}
