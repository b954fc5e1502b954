package cli

import (
	"fmt"
	"os/exec"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/fault"
)

func (a *app) consoleCommand() *cobra.Command {
	var open bool
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Print a link that logs in to the web console",
		Long: "Prints the address of the web console with a code that logs in once, within ten minutes. The browser stays logged in for\n" +
			"14 days after it was used last.",
		Example: "  atoll console --open",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(c *client.Client) error {
				link, err := c.ConsoleLink(cmd.Context())
				if err != nil {
					return err
				}
				if a.json() {
					return writeJSON(a.Out, link)
				}
				fmt.Fprintln(a.Out, link.URL)
				if !open {
					fmt.Fprintf(a.Err, "opens the console once, within %s\n", time.Until(link.Expires).Round(time.Minute))
					return nil
				}
				return openBrowser(link.URL)
			})
		},
	}
	cmd.Flags().BoolVar(&open, "open", false, "open it in the browser")
	return a.withFormat(cmd)
}

// openBrowser opens a page in the user's browser, as the system does it.
func openBrowser(url string) error {
	name, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	if err := exec.Command(name, args...).Start(); err != nil { //nolint:noctx // the browser outlives this command
		return fault.New(fault.CodeUsage, "no browser can be opened here").Fix("open the link yourself").Because(err)
	}
	return nil
}
