package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/platform"
)

// upFlags are the flags of atoll up.
type upFlags struct {
	detach      bool
	isolated    bool
	noWatch     bool
	environment string
	background  bool // this process is the one that --detach started
}

func (a *app) upCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up [SERVICE...]",
		Short: "Build and run the application",
		Long: "Builds every service, starts all side by side, and opens the gateway. A service is rebuilt and replaced when its\n" +
			"files change; atoll.yaml and service.yaml are read again when they do. Ctrl-C ends everything.\n\n" +
			"With names, only these services run, and those that they call.",
		ValidArgsFunction: a.completeServices,
		Args:              cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.detach {
				return a.upDetached(cmd.Context(), &f, args)
			}
			return a.up(cmd.Context(), &f, args)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.detach, "detach", "d", false, "return when all is ready, and let the application run on")
	flags.BoolVar(&f.isolated, "isolated", false, "run a copy beside others, on free ports, with data of its own")
	flags.BoolVar(&f.noWatch, "no-watch", false, "do not rebuild or reload when files change")
	flags.StringVar(&f.environment, "environment", "", "lay this environment over")
	flags.BoolVar(&f.background, "background", false, "")
	if err := flags.MarkHidden("background"); err != nil {
		panic("cli: the flag background is not there: " + err.Error())
	}
	return cmd
}

// newCopyName is a name for an isolated copy.
func newCopyName() string {
	b := make([]byte, 3)
	if _, err := rand.Read(b); err != nil {
		panic("cli: the system has no random numbers: " + err.Error())
	}
	return hex.EncodeToString(b)
}

// prepare finds the application and says what is wrong with it; warnings do not keep it from starting.
func (a *app) prepare(f *upFlags) (dir string, err error) {
	dir, err = a.folder()
	if err != nil {
		return "", err
	}
	if f.isolated && a.copyName == "" {
		a.copyName = newCopyName()
	}
	if f.background {
		return dir, nil // said by the process that started this one
	}
	_, faults := platform.Load(dir, &manifest.Options{Environment: f.environment, Environ: a.Environ})
	if err := faults.Err(); err != nil {
		return "", err
	}
	return dir, faults.Render(a.Err, a.color(a.Err))
}

// up runs the application until ctx ends or somebody stops it.
func (a *app) up(ctx context.Context, f *upFlags, services []string) error {
	began := time.Now()
	dir, err := a.prepare(f)
	if err != nil {
		return err
	}
	operator, err := platform.OpenOperatorLog(platform.StateDir(dir, a.copyName))
	if err != nil {
		return err
	}
	defer func() { _ = operator.Close() }() // every line was written when it was logged
	log := slog.New(slog.NewJSONHandler(operator, nil))
	p, err := platform.Start(ctx, platform.Options{
		Dir: dir, Environment: f.environment, Environ: a.Environ, Copy: a.copyName, Services: services,
		Watch: !f.noWatch, Version: a.Version, Guard: []string{a.Executable, "guard"}, Logger: log,
	})
	if err != nil {
		logCause(log, err)
		return err
	}
	shown := a.watchUp(ctx, p, f, began)
	p.Wait(ctx)
	if !f.background {
		fmt.Fprintln(a.Err, "ending … (again to end at once)")
	}
	closed := p.Close(context.WithoutCancel(ctx))
	return errors.Join(<-shown, closed)
}

// logCause writes what lies behind a fault into the operator's log.
func logCause(log *slog.Logger, err error) {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Cause != nil {
		log.Error("cannot start", "code", e.Code, "cause", e.Cause)
		return
	}
	log.Error("cannot start", "error", err)
}

// watchUp shows how the application becomes ready and goes on, until ctx ends. It stops the application when
// something cannot start; the reason comes through the channel, nil otherwise, once the view has ended.
func (a *app) watchUp(ctx context.Context, p *platform.Platform, f *upFlags, began time.Time) <-chan error {
	shown := make(chan error, 1)
	go func() {
		defer p.Stop()
		if f.background {
			p.Wait(ctx) // the process that started this one watches
			shown <- nil
			return
		}
		err := a.view(ctx, p.StateDir(), began)
		if ctx.Err() != nil || p.Stopped() {
			err = nil // the user has had enough; what the view could not ask for any more does not matter
		}
		shown <- err
	}()
	return shown
}

// view shows the application whose state folder is given until it or ctx ends.
func (a *app) view(ctx context.Context, stateDir string, began time.Time) error {
	c, err := client.Dial(ctx, stateDir)
	if err != nil {
		return err
	}
	defer c.Close()
	view := a.newView(c, began)
	if err := view.untilReady(ctx); err != nil {
		return err
	}
	return view.follow(ctx)
}

// upDetached starts this program again as a process of its own and returns when all is ready.
func (a *app) upDetached(ctx context.Context, f *upFlags, services []string) error {
	began := time.Now()
	dir, err := a.prepare(f)
	if err != nil {
		return err
	}
	state := platform.StateDir(dir, a.copyName)
	if c, err := client.Dial(ctx, state); err == nil {
		c.Close()
		return fault.New(fault.CodeAlreadyRunning, "the application runs already").
			Fix("use the one that runs (atoll ps), end it with atoll down, or start a copy beside it with atoll up --isolated")
	}
	child, said, err := a.spawn(dir, state, f, services)
	if err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { defer close(exited); _ = child.Wait() }() // ends with the child, or with this command
	c, err := awaitControl(ctx, state, child.Process.Pid, exited)
	if ctx.Err() != nil {
		return endChild(child, exited)
	}
	if err != nil {
		return a.sayStart(said, err)
	}
	defer c.Close()
	err = a.newView(c, began).untilReady(ctx)
	if ctx.Err() != nil {
		return endChild(child, exited)
	}
	if err != nil {
		if stopErr := c.Stop(ctx); stopErr == nil {
			<-exited // how it ended does not matter: it was told to
		}
	}
	return err
}

// endChild ends the background process of an up that was interrupted, and waits for it.
func endChild(child *exec.Cmd, exited <-chan struct{}) error {
	interrupted := fault.New(fault.CodeCannotStart, "the start was interrupted, and what had begun was ended").
		Fix("run atoll up -d again and let it come to its end")
	if err := child.Process.Signal(os.Interrupt); err != nil {
		err = child.Process.Kill() // where there is no such signal; the guard ends the rest
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			return interrupted.Because(err)
		}
	}
	<-exited
	return interrupted
}

// spawn starts the background process. What it says before it can be asked goes to a file, whose name is returned.
func (a *app) spawn(dir, state string, f *upFlags, services []string) (*exec.Cmd, string, error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, "", fmt.Errorf("make state folder: %w", err)
	}
	args := []string{"-C", dir, "up", "--background", "--environment", f.environment}
	if a.copyName != "" {
		args = append(args, "--isolated", "--copy", a.copyName)
	}
	if f.noWatch {
		args = append(args, "--no-watch")
	}
	said := filepath.Join(state, "start.out")
	out, err := os.Create(said)
	if err != nil {
		return nil, "", fmt.Errorf("open file for what up says: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(a.Executable, append(args, services...)...) //nolint:noctx // it outlives this command
	cmd.Env, cmd.Stdout, cmd.Stderr = a.Environ, out, out
	cmd.SysProcAttr = detached()
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start background process: %w", err)
	}
	return cmd, said, nil
}

// awaitControl connects to the background process as soon as it can be asked.
func awaitControl(ctx context.Context, state string, pid int, exited <-chan struct{}) (*client.Client, error) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		if c, err := client.Dial(ctx, state); err == nil && c.PID() == pid {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-exited:
			return nil, errors.New("the background process ended before it could be asked")
		case <-ticker.C:
		}
	}
}

// sayStart writes what the background process said before it ended, which tells more than err.
func (a *app) sayStart(said string, err error) error {
	text, readErr := os.ReadFile(said)
	if readErr != nil || len(text) == 0 {
		return err
	}
	if _, err := a.Err.Write(text); err != nil {
		return err
	}
	return errSaid
}

// summary is what up says once all is ready.
func (a *app) summary(ctx context.Context, c *client.Client, took time.Duration) ([]string, error) {
	info, err := c.App(ctx)
	if err != nil {
		return nil, err
	}
	services, err := c.Services(ctx)
	if err != nil {
		return nil, err
	}
	p := paint(a.color(a.Out))
	lines := []string{fmt.Sprintf("%s %s: %s ready after %s", p.green("✓"), p.bold(info.App), plural(len(services), "service"), durationText(took))}
	if info.Copy != "" {
		lines = append(lines, fmt.Sprintf("  copy     %s (atoll --copy %s ps)", info.Copy, info.Copy))
	}
	lines = append(lines, "  gateway  "+p.bold(info.Gateway))
	if info.Console != "" {
		link, err := c.ConsoleLink(ctx)
		if err != nil {
			return nil, err
		}
		lines = append(lines, "  console  "+p.bold(link.URL)+" (once; another: atoll console)")
	}
	if parked, _ := parkedSagas(ctx, c); parked != "" {
		lines = append(lines, "  sagas    "+p.yellow(parked)+" (atoll saga ls --state parked)")
	}
	if path := tryPath(info.Dir, services); path != "" {
		lines = append(lines, fmt.Sprintf("  try      curl %s%s", info.Gateway, path))
	}
	return lines, nil
}

// readyAll tells whether every replica is ready, and each service that wants replicas has them.
func readyAll(services []api.Service, replicas []api.Replica) bool {
	count := map[string]int{}
	for _, r := range replicas {
		if r.State != "ready" {
			return false
		}
		count[r.Service]++
	}
	for _, s := range services {
		if count[s.Service] < s.Replicas {
			return false
		}
	}
	return true
}
