package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/platform"
)

// diagnosis is one check of doctor.
type diagnosis struct {
	Group  string `json:"group"`
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warning, failure
	Text   string `json:"text"`
	Fix    string `json:"fix,omitempty"`
}

// The statuses of a diagnosis.
const (
	statusOK      = "ok"
	statusWarning = "warning"
	statusFailure = "failure"
)

func (a *app) doctorCommand() *cobra.Command {
	return a.withFormat(&cobra.Command{
		Use:   "doctor",
		Short: "Check what the application needs of this machine",
		Long: "Checks the machine, the programs that the services need, and the application itself. Each failure comes with its\n" +
			"fix. The exit code is 1 if there is one. With --format json each line has group, check, status, text and fix.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context()) },
	})
}

func (a *app) doctor(ctx context.Context) error {
	found := machineChecks()
	dir, err := a.folder()
	if err != nil {
		found = append(found, diagnosis{"application", "manifest", statusWarning, "there is no atoll.yaml here", "go to an application, or begin one with atoll init"})
	} else {
		found = append(found, a.applicationChecks(ctx, dir)...)
	}
	failed := false
	for _, d := range found {
		failed = failed || d.Status == statusFailure
		if a.json() {
			if err := writeJSON(a.Out, d); err != nil {
				return err
			}
		}
	}
	if !a.json() {
		a.sayDiagnoses(found)
	}
	if failed {
		return errSaid
	}
	return nil
}

func (a *app) sayDiagnoses(found []diagnosis) {
	p, group := paint(a.color(a.Out)), ""
	for _, d := range found {
		if d.Group != group {
			group = d.Group
			fmt.Fprintln(a.Out, p.bold(group))
		}
		sign := map[string]string{statusOK: p.green("✓"), statusWarning: p.yellow("!"), statusFailure: p.red("✗")}[d.Status]
		fmt.Fprintf(a.Out, "  %s %s: %s\n", sign, d.Check, clean(d.Text))
		if d.Fix != "" {
			fmt.Fprintf(a.Out, "    %s %s\n", p.green("="), clean(d.Fix))
		}
	}
}

func machineChecks() []diagnosis {
	found := []diagnosis{{"machine", "system", statusOK, runtime.GOOS + "/" + runtime.GOARCH + ", " + plural(runtime.NumCPU(), "processor"), ""}}
	if runtime.GOOS != "linux" {
		found = append(found, diagnosis{
			"machine", "limits", statusWarning, "limits of memory and CPU are enforced on Linux only",
			"run on Linux where a service must not take more than its limits",
		})
	}
	for _, c := range platform.Capabilities() {
		d := diagnosis{Group: "machine", Check: c.Name, Status: statusOK, Text: c.Text, Fix: c.Fix}
		if c.Fix != "" {
			d.Status = statusWarning
		}
		found = append(found, d)
	}
	return found
}

func (a *app) applicationChecks(ctx context.Context, dir string) []diagnosis {
	app, faults := platform.Load(dir, &manifest.Options{Environ: a.Environ})
	const group = "application"
	found := []diagnosis{{group, "manifest", statusOK, filepath.Join(dir, manifest.AppFile), ""}}
	if len(faults) > 0 {
		found[0].Status, found[0].Text, found[0].Fix = statusWarning, plural(len(faults), "finding"), "see atoll check"
		if faults.HasErrors() {
			found[0].Status = statusFailure
		}
	}
	found = append(found, stateFolderCheck(dir))
	c, err := client.Dial(ctx, platform.StateDir(dir, a.copyName))
	if err == nil {
		found = append(found, diagnosis{group, "running", statusOK, fmt.Sprintf("yes, pid %d", c.PID()), ""})
		found = append(found, sagaChecks(ctx, c)...)
		found = append(found, telemetryChecks(ctx, c)...)
		c.Close()
	} else if app != nil {
		found = append(found, portCheck(ctx, app.Gateway.Listen))
	}
	if app != nil {
		found = append(found, a.programChecks(app)...)
		found = append(found, databaseChecks(app)...)
	}
	return found
}

// sagaChecks tells of instances that wait for a person.
func sagaChecks(ctx context.Context, c *client.Client) []diagnosis {
	text, defined := parkedSagas(ctx, c)
	switch {
	case text != "":
		return []diagnosis{{"application", "sagas", statusWarning, text, "see them with atoll saga ls --state parked, and what frees one with atoll saga show ID"}}
	case defined:
		return []diagnosis{{"application", "sagas", statusOK, "none is parked", ""}}
	}
	return nil
}

func stateFolderCheck(dir string) diagnosis {
	d := diagnosis{"application", "state folder", statusOK, platform.StateDir(dir, ""), ""}
	f, err := os.CreateTemp(dir, ".atoll-doctor-*")
	if err != nil {
		d.Status, d.Text, d.Fix = statusFailure, "nothing can be written in "+dir, "give your user the right to write there"
		return d
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		d.Status, d.Text, d.Fix = statusWarning, "nothing can be removed in "+dir, "give your user the right to write there"
	}
	return d
}

func portCheck(ctx context.Context, listen string) diagnosis {
	d := diagnosis{"application", "gateway", statusOK, listen + " is free", ""}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		d.Status, d.Text, d.Fix = statusFailure, listen+" cannot be listened on", "end the program that does, choose another address in atoll.yaml, or use atoll up --isolated"
		return d
	}
	ln.Close()
	return d
}

// programChecks looks for the programs that build and run the services.
func (a *app) programChecks(app *manifest.App) []diagnosis {
	needs := map[string][]string{}
	var programs []string
	for _, s := range app.Services {
		for _, command := range []string{s.Build, s.Run} {
			word := firstProgram(command)
			if word == "" || strings.ContainsAny(word, "/\\$") {
				continue // its own, or known only at its start
			}
			if needs[word] == nil {
				programs = append(programs, word)
			}
			if users := needs[word]; len(users) == 0 || users[len(users)-1] != s.Name {
				needs[word] = append(users, s.Name)
			}
		}
	}
	var found []diagnosis
	for _, program := range programs {
		d := diagnosis{"programs", program, statusOK, "", ""}
		path, err := exec.LookPath(program)
		d.Text = path
		if err != nil {
			d.Status = statusFailure
			d.Text = "not found, and needed by " + strings.Join(needs[program], ", ")
			d.Fix = "install " + program + ", or correct build and run of " + strings.Join(needs[program], ", ")
		}
		found = append(found, d)
	}
	return found
}

// firstProgram is the program that a command begins with, after variables that are set for it.
func firstProgram(command string) string {
	for word := range strings.FieldsSeq(command) {
		if name, _, ok := strings.Cut(word, "="); ok && name != "" {
			continue
		}
		switch word {
		case "exec", "env", "cd", "set", "test", "[", ".", ":":
			return ""
		}
		return word
	}
	return ""
}

func databaseChecks(app *manifest.App) []diagnosis {
	var users []string
	for _, s := range app.Services {
		if s.Database.Kind == manifest.DatabasePostgres {
			users = append(users, s.Name)
		}
	}
	if len(users) == 0 {
		return nil
	}
	d := diagnosis{"programs", "PostgreSQL", statusOK, "", ""}
	switch where, err := platform.FindPostgres(app); {
	case err != nil:
		d.Status, d.Text = statusFailure, "not found, and needed by "+strings.Join(users, ", ")
		d.Fix = "install PostgreSQL, or name a server by postgres: in atoll.yaml or by ATOLL_POSTGRES"
	default:
		d.Text = where
	}
	return []diagnosis{d}
}
