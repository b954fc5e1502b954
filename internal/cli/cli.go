// Package cli is the command line. Every command but up and what needs no running application speaks only to
// the control API.
//
// Commands write data to Out and everything else to Err. With --format json data are JSON, one object a line,
// whose fields are those of the control API and stay. Exit codes: 0 done, 1 not done, 2 a command that cannot be
// understood.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/platform"
)

// World is what a command has to do with: the streams, the environment, and Atoll's own program.
type World struct {
	In         io.Reader
	Out, Err   io.Writer
	Environ    []string
	Version    string
	Executable string
	// Size is the size of the terminal that a stream goes to or comes from, in characters, or 0 where it is none.
	Size func(stream any) (width, height int)
}

// Width is the width of the terminal that a stream goes to, or 0 where it is none.
func (w World) Width(out io.Writer) int {
	width, _ := w.Size(out)
	return width
}

// OS is the world of this process.
func OS(version string) World {
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	return World{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Version: version, Executable: exe,
		Size: func(stream any) (width, height int) {
			f, ok := stream.(*os.File)
			if !ok || !term.IsTerminal(int(f.Fd())) {
				return 0, 0
			}
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil || width < 20 || height < 5 {
				return 80, 24
			}
			return width, height
		},
	}
}

// color tells whether a stream is shown with colours: on a terminal, unless NO_COLOR is set.
func (w World) color(out io.Writer) bool {
	for _, entry := range w.Environ {
		if name, value, _ := strings.Cut(entry, "="); name == "NO_COLOR" && value != "" || entry == "TERM=dumb" {
			return false
		}
	}
	return w.Width(out) > 0
}

// The exit codes.
const (
	exitDone  = 0
	exitNot   = 1
	exitUsage = 2
)

// Run runs a command line and returns the exit code. What went wrong has been written to Err.
func Run(ctx context.Context, w World, args []string) int {
	root := newRoot(w) //nolint:contextcheck // the commands get ctx from ExecuteContext
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if !errors.Is(err, errSaid) {
		sayError(w, err)
	}
	if fault.CodeOf(err) == fault.CodeUsage {
		return exitUsage
	}
	return exitNot
}

// errSaid is the error of a command that has said already what is wrong.
var errSaid = errors.New("said already")

// sayError writes an error as users read it.
func sayError(w World, err error) {
	color := w.color(w.Err)
	var render interface {
		Render(out io.Writer, color bool) error
	}
	list, isList := errors.AsType[fault.List](err)
	one, isOne := errors.AsType[*fault.Error](err)
	switch {
	case isList:
		render = list
	case isOne:
		render = one
	default:
		fmt.Fprintf(w.Err, "error: %s\n", err)
		return
	}
	if err := render.Render(w.Err, color); err != nil {
		return
	}
	if isOne && one.Cause != nil && one.Code == fault.CodeInternal {
		fmt.Fprintf(w.Err, "  %s\n", one.Cause)
	}
}

// app is the application that commands work on, by the global flags.
type app struct {
	World
	dir      string // -C
	copyName string // --copy
	format   string // --format
}

func newRoot(w World) *cobra.Command {
	a := &app{World: w}
	root := &cobra.Command{
		Use:   "atoll",
		Short: "Run an application made of small services",
		Long: "Atoll builds, runs, connects and watches an application made of small services.\n\n" +
			"All commands work on the application whose atoll.yaml is in this folder or above it.",
		SilenceErrors: true, SilenceUsage: true, Version: w.Version,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkFormat() },
	}
	root.SetOut(w.Out)
	root.SetErr(w.Err)
	root.SetIn(w.In)
	root.SetVersionTemplate("atoll {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%s", err) })
	flags := root.PersistentFlags()
	flags.StringVarP(&a.dir, "directory", "C", ".", "work on the application of this folder")
	flags.StringVar(&a.copyName, "copy", "", "work on this isolated copy of the application")
	root.AddCommand(
		a.initCommand(), a.checkCommand(), a.upCommand(), a.downCommand(), a.psCommand(), a.logsCommand(),
		a.tracesCommand(), a.traceCommand(), a.metricsCommand(), a.exportCommand(), a.topCommand(), a.mapCommand(), a.consoleCommand(), a.restartCommand(), a.scaleCommand(), a.describeCommand(), a.doctorCommand(),
		a.eventsCommand(), a.sagaCommand(), a.alertsCommand(), a.schemaCommand(), a.explainCommand(), a.versionCommand(), a.guardCommand(),
	)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.InitDefaultCompletionCmd()
	checkArguments(root)
	return root
}

// checkArguments makes a command's complaint about its arguments a fault.
func checkArguments(cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		cmd.Args, cmd.SuggestionsMinimumDistance = unknownCommand, 2
		if cmd.RunE == nil {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
		for _, sub := range cmd.Commands() {
			checkArguments(sub)
		}
		return
	}
	check := cmd.Args
	if check == nil {
		check = cobra.NoArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage(cmd, "%s", err)
		}
		return nil
	}
}

// unknownCommand refuses what is no command, with those that may have been meant.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := usage(cmd, "there is no command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		path := cmd.CommandPath()
		err = err.Fix("write %s %s, or see %s --help", path, strings.Join(near, " or "+path+" "), path)
	}
	return err
}

// usage is a fault of the command line itself.
func usage(cmd *cobra.Command, format string, args ...any) *fault.Error {
	return fault.New(fault.CodeUsage, format, args...).Fix("see %s --help", cmd.CommandPath())
}

// withFormat gives a command that prints data the flag --format.
func (a *app) withFormat(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&a.format, "format", "text", "text, or json: one object a line")
	return cmd
}

func (a *app) checkFormat() error {
	if a.format != "" && a.format != "text" && a.format != "json" {
		return fault.New(fault.CodeUsage, "there is no format %q", a.format).Fix("write --format text or --format json")
	}
	return nil
}

func (a *app) json() bool { return a.format == "json" }

// folder is the folder of the application's atoll.yaml.
func (a *app) folder() (string, error) { return manifest.Find(a.dir) }

// connect reaches the running application, or the one of its copies that runs alone.
func (a *app) connect(ctx context.Context) (*client.Client, error) {
	dir, err := a.folder()
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(ctx, platform.StateDir(dir, a.copyName))
	if err == nil || a.copyName != "" || fault.CodeOf(err) != fault.CodeNotRunning {
		return c, err
	}
	var running []string
	for _, name := range platform.Copies(dir) {
		copied, dialErr := client.Dial(ctx, platform.StateDir(dir, name))
		if dialErr != nil {
			continue
		}
		running = append(running, name)
		if c != nil {
			c.Close()
		}
		c = copied
	}
	switch len(running) {
	case 0:
		return nil, err
	case 1:
		a.copyName = running[0]
		return c, nil
	}
	c.Close()
	return nil, fault.New(fault.CodeNotRunning, "several isolated copies of the application run").
		Fix("name one: --copy %s", strings.Join(running, ", --copy "))
}

// completeServices completes the names of services.
func (a *app) completeServices(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	dir, err := a.folder()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	loaded, _ := manifest.Load(dir, &manifest.Options{Environ: a.Environ})
	var names []string
	if loaded != nil {
		for _, s := range loaded.Services {
			names = append(names, s.Name+"\t"+s.Summary)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
