package process

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/fault"
)

// command makes the exec.Cmd of a manifest's command. Key is the key of the manifest that it stands in.
func command(service, key, dir, line string, env []string) (*exec.Cmd, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fault.New(fault.CodeReplicaFolderMissing, "the folder of %s is not there: %s", service, dir).Because(err).
			Fix("correct the entry of %s under services: in atoll.yaml, or create the folder", service)
	}
	words, simple, err := shellWords(line)
	if err != nil {
		return nil, fault.New(fault.CodeReplicaCommand, "%s: of %s cannot be read: %s", key, service, err).
			Fix("close every quote in %q", line)
	}
	if len(words) == 0 {
		return nil, fault.New(fault.CodeReplicaCommand, "%s: of %s is empty", key, service).
			Fix("say in the manifest of %s what to %s", service, key)
	}
	if !simple {
		if first := firstProgram(line); first != "" {
			if _, err := findProgram(first, dir, env); err != nil {
				return nil, missingProgram(service, key, dir, first, err)
			}
		}
		words = shell(line)
	}
	path, err := findProgram(words[0], dir, env)
	if err != nil {
		return nil, missingProgram(service, key, dir, words[0], err)
	}
	cmd := &exec.Cmd{Path: path, Args: words, Dir: dir, Env: env}
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would mean Atoll's own
	}
	return cmd, nil
}

var programForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]*$|^\.{1,2}/[A-Za-z0-9_./-]+$`)

// firstProgram is the program that a shell would look for first, or "" where only the shell can tell.
func firstProgram(line string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	builtins := []string{
		"alias", "bg", "break", "case", "cd", "command", "continue", "eval", "exec", "exit", "export", "fg", "for", "if", "local",
		"readonly", "read", "return", "set", "shift", "source", "trap", "type", "ulimit", "umask", "unset", "until", "wait", "while",
	}
	if runtime.GOOS == "windows" || !programForm.MatchString(first) || slices.Contains(builtins, first) {
		return ""
	}
	return first
}

func shell(line string) []string {
	if runtime.GOOS == "windows" {
		return []string{"cmd.exe", "/C", line}
	}
	return []string{"/bin/sh", "-c", line}
}

func missingProgram(service, key, dir, program string, cause error) error {
	f := fault.New(fault.CodeReplicaProgramMissing, "the program %q of %s: of %s is not there", program, key, service).Because(cause)
	switch {
	case errors.Is(cause, fs.ErrPermission):
		f = fault.New(fault.CodeReplicaProgramMissing, "the program %q of %s: of %s is not executable", program, key, service).Because(cause)
		return f.Fix("make it executable: chmod +x %s", filepath.Join(dir, program))
	case strings.ContainsRune(program, '/') && key == "run":
		return f.Fix("it is looked for at %s; set build: to the command that makes it, or correct run:", resolve(dir, program))
	case strings.ContainsRune(program, '/'):
		return f.Fix("it is looked for at %s; correct build:", resolve(dir, program))
	default:
		return f.Fix("install %s, or write the path of a program in the service's folder, such as ./%s", program, program)
	}
}

func resolve(dir, program string) string {
	if filepath.IsAbs(program) {
		return program
	}
	return filepath.Join(dir, program)
}

// findProgram looks a program up as a shell in dir with that environment would.
func findProgram(program, dir string, env []string) (string, error) {
	if strings.ContainsRune(program, '/') || filepath.IsAbs(program) {
		return exec.LookPath(resolve(dir, program))
	}
	var path string
	for _, kv := range env {
		if name, value, _ := strings.Cut(kv, "="); name == "PATH" || runtime.GOOS == "windows" && strings.EqualFold(name, "PATH") {
			path = value
		}
	}
	found := error(fs.ErrNotExist)
	for _, folder := range filepath.SplitList(path) {
		file, err := exec.LookPath(resolve(dir, filepath.Join(folder, program)))
		if err == nil {
			return file, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			found = err
		}
	}
	return "", found
}

// errQuote is an unclosed quote.
var errQuote = errors.New("a quote is not closed")

// shellWords splits a command into words as a POSIX shell does (quotes, backslashes). It is not simple if it
// uses anything else of the shell: variables, redirections, pipes, lists, globs, assignments.
func shellWords(line string) (words []string, simple bool, err error) {
	s := splitter{simple: true}
	for _, r := range strings.TrimSpace(line) {
		s.add(r)
	}
	if s.quote != 0 || s.escaped {
		return nil, false, errQuote
	}
	s.flush()
	if len(s.words) > 0 && strings.ContainsRune(s.words[0], '=') {
		s.simple = false
	}
	return s.words, s.simple, nil
}

type splitter struct {
	words   []string
	word    strings.Builder
	open    bool // a word has begun
	quote   rune // the quote that is open, or 0
	escaped bool
	simple  bool
}

func (s *splitter) add(r rune) {
	switch {
	case s.escaped:
		s.escaped = false
		if s.quote == '"' && !strings.ContainsRune("\"\\$`", r) {
			s.word.WriteRune('\\')
		}
		s.write(r)
	case s.quote == '\'' && r != '\'', s.quote == '"' && !strings.ContainsRune("\"\\$`", r):
		s.write(r)
	case r == '\\' && runtime.GOOS != "windows":
		s.escaped = true
		s.open = true
	case s.quote != 0 && r == s.quote:
		s.quote = 0
	case s.quote != 0: // $ or ` within double quotes
		s.simple = false
		s.write(r)
	case r == '\'' || r == '"':
		s.quote, s.open = r, true
	case r == ' ' || r == '\t':
		s.flush()
	default:
		if strings.ContainsRune("|&;<>()$`*?[]{}!~#\n", r) {
			s.simple = false
		}
		s.write(r)
	}
}

func (s *splitter) write(r rune) {
	s.open = true
	s.word.WriteRune(r)
}

func (s *splitter) flush() {
	if s.open {
		s.words = append(s.words, s.word.String())
		s.word.Reset()
		s.open = false
	}
}
