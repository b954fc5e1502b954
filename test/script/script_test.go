package script_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/test/internal/rig"
)

var programs *rig.Programs

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds the programs into a folder with a short name: the address of a unix socket holds about a hundred bytes.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "at")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs, err = rig.Build(context.Background(), dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func TestScripts(t *testing.T) {
	root, err := os.MkdirTemp("", "as") //nolint:usetesting // a short name, for the sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("ATOLL_KEEP") != "" {
			t.Logf("what is left of the scripts is in %s", root)
			return
		}
		_ = os.RemoveAll(root) // the system cleans it up some day
	})
	goEnv := goEnvironment(t)
	tutorial, err := filepath.Abs("../../docs/tutorial/code")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", WorkdirRoot: root, RequireUniqueNames: true, Cmds: commands(),
		UpdateScripts: os.Getenv("ATOLL_UPDATE") != "",
		Condition: func(cond string) (bool, error) {
			return false, fmt.Errorf("there is no condition %q", cond)
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", programs.Dir+string(os.PathListSeparator)+os.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TUTORIAL", tutorial)
			env.Setenv("NO_COLOR", "1")
			env.Setenv("GORACE", "atexit_sleep_ms=0 log_path="+filepath.Join(env.WorkDir, "race"))
			env.Vars = append(env.Vars, goEnv...)
			env.Values[scriptKey{}] = newState()
			env.Defer(func() { finish(env) })
			return nil
		},
	})
}

// goEnvironment lets scripts that build Go use the caches of the one who runs the tests.
func goEnvironment(t *testing.T) []string {
	t.Helper()
	names := []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOROOT"}
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	vars := []string{"GOFLAGS=", "CGO_ENABLED=0", "GOTOOLCHAIN=local"}
	for i, value := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		vars = append(vars, names[i]+"="+value)
	}
	return vars
}

// reporter is what testscript passes as T.
type reporter interface {
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// finish takes down every application of a script, and fails it for what it leaves.
func finish(env *testscript.Env) {
	t, ok := env.T().(reporter)
	if !ok {
		panic("script: testscript passes a T that cannot report errors")
	}
	env.Values[scriptKey{}].(*state).close()
	for _, folder := range stateFolders(env.WorkDir) {
		takeDown(t, env, folder)
	}
	left, err := rig.Services(env.WorkDir)
	if err != nil {
		t.Errorf("look for processes: %v", err)
	}
	for _, p := range left {
		t.Errorf("process %s is left", p)
		if err := p.Kill(); err != nil {
			t.Errorf("kill process %s: %v", p, err)
		}
	}
	races, _ := filepath.Glob(filepath.Join(env.WorkDir, "race.*"))
	for _, name := range races {
		text, _ := os.ReadFile(name)
		t.Errorf("Atoll has a data race:\n%s", text)
	}
}

// stateFolders lists the folders that hold the state of a running application.
func stateFolders(root string) []string {
	var found []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == api.RunFile {
			found = append(found, filepath.Dir(path))
		}
		return nil // what cannot be read holds no state
	})
	return found
}

// takeDown ends the application of a state folder: by atoll down, or else by killing it.
func takeDown(t reporter, env *testscript.Env, folder string) {
	run, err := rig.ReadRun(folder)
	if err != nil {
		return // it has just ended
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, programs.Atoll, "-C", run.App.Dir, "--copy", run.App.Copy, "down")
	cmd.Env = append(env.Vars, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err == nil || strings.Contains(string(out), "(not-running)") {
		return
	}
	t.Errorf("atoll down: %v\n%s", err, out)
	if err := syscall.Kill(run.PID, syscall.SIGKILL); err != nil {
		t.Logf("kill atoll: %v", err)
	}
}
