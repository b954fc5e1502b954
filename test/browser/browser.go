package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/test/internal/rig"
)

// chromium is where Debian has it; CHROMIUM names another.
const chromium = "/usr/bin/chromium"

// ErrMissing is what a program that is needed and not there comes with.
var ErrMissing = errors.New("not there")

// App is a running copy of the reference application.
type App struct {
	Root  string // of the project
	Dir   string // of the application
	Atoll string // the program
	Copy  string
	Run   *api.Run

	scripts string // folder of the scripts with what they need
}

// Need says what is missing on this machine, and how to get it.
func Need() error {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is %w: install Node 20", tool, ErrMissing)
		}
	}
	if _, err := os.Stat(browserPath()); err != nil {
		return fmt.Errorf("chromium is %w: apt-get install chromium, or name one by CHROMIUM", ErrMissing)
	}
	return nil
}

func browserPath() string {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	return chromium
}

// Start builds Atoll, whose console must be built, and starts the reference application as a copy of its own, in temp. With demo it
// is filled with leads and orders, one of which stays parked.
func Start(ctx context.Context, temp string, demo bool) (_ *App, err error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(root, "internal/console/dist/index.html.gz")); err != nil {
		return nil, fmt.Errorf("the console's pages are %w: make console", ErrMissing)
	}
	a := &App{Root: root, Dir: filepath.Join(root, "examples/gtm"), Atoll: filepath.Join(temp, "atoll"), scripts: filepath.Join(temp, "js")}
	if err := a.install(ctx); err != nil {
		return nil, err
	}
	if err := run(ctx, root, "go", "build", "-o", a.Atoll, "./cmd/atoll"); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, a.Atoll, "-C", a.Dir, "up", "--isolated", "--no-watch", "-d")
	cmd.Env = append(os.Environ(), "OUTREACH_DAY=200ms")
	out, err := cmd.CombinedOutput()
	m := regexp.MustCompile(`copy +(\w+)`).FindSubmatch(out)
	if err != nil || m == nil {
		return nil, fmt.Errorf("atoll up: %w\n%s", err, out)
	}
	a.Copy = string(m[1])
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if a.Run, err = rig.ReadRun(filepath.Join(a.Dir, ".atoll", "copies", a.Copy)); err != nil {
		return nil, err
	}
	if demo {
		err = a.fill(ctx)
	}
	return a, err
}

// fill sends leads and orders. The last of the orders waits for a person, and the demo for that person: whom there is none.
func (a *App) fill(ctx context.Context) error {
	if err := run(ctx, a.Dir, "go", "run", "./cmd/demo", "-only", "leads", a.Run.App.Gateway); err != nil {
		return err
	}
	err := run(ctx, a.Dir, "go", "run", "./cmd/demo", "-only", "orders", "-wait", "20s", a.Run.App.Gateway)
	if err != nil && strings.Contains(err.Error(), "parked: charge") {
		return nil
	}
	return err
}

// Stop ends the application and removes what it kept.
func (a *App) Stop(ctx context.Context) error {
	return run(ctx, a.Dir, a.Atoll, "--copy", a.Copy, "down", "--remove")
}

// Node runs node on scripts of js, which find the application by their environment.
func (a *App) Node(ctx context.Context, out io.Writer, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = a.scripts, out, out
	cmd.Env = append(os.Environ(), "ATOLL="+a.Atoll, "APP="+a.Dir, "COPY="+a.Copy, "CONTROL=http://"+a.Run.Addr, "TOKEN="+a.Run.Token,
		"GATEWAY="+a.Run.App.Gateway, "CONSOLE="+a.Run.App.Console, "CHROMIUM="+browserPath(), "ROOT="+a.Root)
	cmd.Env = append(cmd.Env, env...)
	return cmd.Run()
}

// install copies the scripts and installs what they need.
func (a *App) install(ctx context.Context) error {
	if err := os.CopyFS(a.scripts, os.DirFS(filepath.Join(a.Root, "test/browser/js"))); err != nil {
		return fmt.Errorf("copy scripts: %w", err)
	}
	if err := run(ctx, a.scripts, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"); err != nil {
		return fmt.Errorf("what the scripts need is %w, where a registry of npm can be reached it is: %w", ErrMissing, err)
	}
	return nil
}

func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return nil
}

// findRoot is the folder of the project's go.mod, above the present one.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(text), "module github.com/atollhq/atoll\n") {
			return dir, nil
		}
	}
	return "", errors.New("this is not a folder of the project")
}
