package cli

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/replica/process"
)

func (a *app) checkCommand() *cobra.Command {
	var environment string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Report every problem of the application's manifests",
		Long: "Reads atoll.yaml, each service.yaml and .env and reports every problem at once, with its place, cause and\n" +
			"remedy. The exit code is 1 if one of them is more than a warning.",
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.folder()
			if err != nil {
				return err
			}
			return a.check(dir, environment)
		},
	}
	cmd.Flags().StringVar(&environment, "environment", "", "lay this environment over")
	return a.withFormat(cmd)
}

func (a *app) check(dir, environment string) error {
	app, faults := platform.Load(dir, &manifest.Options{Environment: environment, Environ: a.Environ})
	if a.json() {
		for _, f := range faults {
			if err := writeJSON(a.Out, f); err != nil {
				return err
			}
		}
	} else {
		if err := faults.Render(a.Out, a.color(a.Out)); err != nil {
			return err
		}
		errors := 0
		for _, f := range faults {
			if f.Severity == fault.SeverityError {
				errors++
			}
		}
		switch {
		case len(faults) > 0:
			fmt.Fprintf(a.Out, "\n%s, %s; atoll explain CODE tells more\n", plural(errors, "error"), plural(len(faults)-errors, "warning"))
		case app != nil:
			parts := []string{plural(len(app.Services), "service"), plural(len(app.Gateway.Routes), "route")}
			if len(app.Sagas) > 0 {
				parts = append(parts, plural(len(app.Sagas), "saga"))
			}
			fmt.Fprintf(a.Out, "%s: %s, no problem found\n", app.Name, strings.Join(parts, ", "))
		}
	}
	if faults.HasErrors() {
		return errSaid
	}
	return nil
}

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "schema [app|service|saga]",
		Short:     "Print the JSON Schema of atoll.yaml, service.yaml or the files of sagas, for editors",
		ValidArgs: []string{"app", "service", "saga"},
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		RunE: func(_ *cobra.Command, args []string) error {
			file := manifest.AppFile
			if len(args) == 1 {
				file = map[string]string{"app": manifest.AppFile, "service": manifest.ServiceFile, "saga": manifest.SagaFile}[args[0]]
			}
			_, err := a.Out.Write(manifest.Schema(file))
			return err
		},
	}
}

func (a *app) explainCommand() *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use:   "explain [CODE]",
		Short: "Explain an error code, or list them all",
		Args:  cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var words []string
			for _, code := range fault.Codes() {
				page, _ := fault.PageOf(code)
				words = append(words, string(code)+"\t"+page.Title)
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listCodes()
			}
			page, ok := fault.PageOf(fault.Code(args[0]))
			if !ok || strings.ContainsAny(args[0], "/\\") {
				return fault.New(fault.CodeCodeUnknown, "there is no error code %q", args[0]).Fix("list them all with atoll explain")
			}
			if a.json() {
				return writeJSON(a.Out, map[string]string{"code": args[0], "title": page.Title, "text": page.Body})
			}
			p := paint(a.color(a.Out))
			fmt.Fprintf(a.Out, "%s %s\n\n%s", p.bold(page.Title), p.dim("("+args[0]+")"), page.Body)
			return nil
		},
	})
}

func (a *app) listCodes() error {
	t := table{}
	for _, code := range fault.Codes() {
		page, _ := fault.PageOf(code)
		if a.json() {
			if err := writeJSON(a.Out, map[string]string{"code": string(code), "title": page.Title}); err != nil {
				return err
			}
			continue
		}
		t.add(string(code), page.Title)
	}
	t.write(a.Out, a.Width(a.Out))
	return nil
}

func (a *app) versionCommand() *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use:   "version",
		Short: "Print the version of Atoll",
		RunE: func(*cobra.Command, []string) error {
			if a.json() {
				return writeJSON(a.Out, map[string]string{
					"version": a.Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
				})
			}
			fmt.Fprintf(a.Out, "atoll %s (%s, %s/%s)\n", a.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	})
}

// guardCommand is the process that ends what Atoll started, should Atoll be killed.
func (a *app) guardCommand() *cobra.Command {
	return &cobra.Command{
		Use: "guard", Hidden: true, Short: "End what is left when Atoll is killed (started by Atoll itself)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A signal to the terminal's group must not end the guard before Atoll.
			return process.GuardMain(context.WithoutCancel(cmd.Context()), a.In)
		},
	}
}
