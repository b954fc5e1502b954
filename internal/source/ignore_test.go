package source_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/source"
)

// git itself is the oracle: whatever .gitignore files say of whatever path, both decide the same.
func TestIgnoreDecidesAsGitDoes(t *testing.T) {
	t.Parallel()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed, which make test would do: apt-get install git")
	}
	name := rapid.SampledFrom([]string{"a", "b", "ab", "a.go", "b.log", "c", "x y"})
	word := rapid.SampledFrom([]string{"a", "b", "*", "**", "*.go", "a*", "?", "[ab]", "[!a]", "[a-c].log", "\\a", "x y", "c", "ab"})
	line := rapid.Custom(func(t *rapid.T) string {
		text := strings.Join(rapid.SliceOfN(word, 1, 3).Draw(t, "words"), "/")
		return rapid.SampledFrom([]string{"", "", "!", "/"}).Draw(t, "before") + text + rapid.SampledFrom([]string{"", "", "/", " "}).Draw(t, "after")
	})
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		run(rt, git, dir, "", "init", "-q")
		f := &field{t: t, dir: dir}
		for _, at := range []string{"", "a/", "a/b/"} {
			lines := rapid.SliceOfN(line, 0, 4).Draw(rt, "lines in "+at)
			f.write(at+".gitignore", strings.Join(lines, "\n")+"\n")
		}
		paths := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(name, 1, 4).Draw(t, "path"), "/")
		}), 1, 12, rapid.ID).Draw(rt, "paths")
		var files []string
		for _, p := range paths { // a leading name of its own keeps files from being folders as well
			file := p + "/f" + filepath.Base(p)
			f.write(file, "x")
			files = append(files, file)
		}
		said := run(rt, git, dir, strings.Join(files, "\n"), "check-ignore", "--stdin", "--no-index")
		ignored := map[string]bool{}
		for line := range strings.Lines(said) {
			ignored[strings.Trim(strings.TrimSpace(line), `"`)] = true
		}
		for _, file := range files {
			if got := source.Ignored(dir, filepath.Join(dir, file)); got != ignored[file] {
				rt.Fatalf("%s: ignored %t, git says %t", file, got, ignored[file])
			}
		}
	})
}

func run(t *rapid.T, git, dir, input string, args ...string) string {
	cmd := exec.Command(git, args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) {
		t.Fatalf("git %v: %v", args, err)
	}
	return string(out)
}
