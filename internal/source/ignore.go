package source

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// pattern is one line of a .gitignore file (gitignore(5)).
type pattern struct {
	segments []string // of the path, "**" standing for any number of them
	negated  bool
	dirOnly  bool
	anchored bool // matches the path from the file's folder on, not just a name
}

// rules are the patterns of one file, in order.
type rules struct {
	dir      string // absolute; what anchored patterns count from
	patterns []pattern
}

func parseRules(dir, text string) rules {
	r := rules{dir: dir}
	for line := range strings.Lines(text) {
		if p, ok := parsePattern(strings.TrimRight(line, "\r\n")); ok {
			r.patterns = append(r.patterns, p)
		}
	}
	return r
}

func parsePattern(line string) (pattern, bool) {
	for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
		line = line[:len(line)-1]
	}
	if line == "" || line[0] == '#' {
		return pattern{}, false
	}
	var p pattern
	if line[0] == '!' {
		p.negated, line = true, line[1:]
	}
	if strings.HasSuffix(line, "/") {
		p.dirOnly, line = true, line[:len(line)-1]
	}
	p.anchored = strings.Contains(line, "/")
	line = strings.ReplaceAll(strings.TrimPrefix(line, "/"), "[!", "[^")
	if line == "" {
		return pattern{}, false
	}
	p.segments = strings.Split(line, "/")
	return p, true
}

// match tells whether p matches a path relative to the folder of its file.
func (p pattern) match(rel string, isDir bool) bool {
	if p.dirOnly && !isDir {
		return false
	}
	if !p.anchored {
		return matchSegment(p.segments[0], path.Base(rel))
	}
	return matchSegments(p.segments, strings.Split(rel, "/"))
}

func matchSegments(pattern, segments []string) bool {
	for i, p := range pattern {
		if p == "**" {
			rest := pattern[i+1:]
			if len(rest) == 0 {
				return len(segments) > 0 // "a/**" is what is in a, not a itself
			}
			for j := range len(segments) + 1 {
				if matchSegments(rest, segments[j:]) {
					return true
				}
			}
			return false
		}
		if len(segments) == 0 || !matchSegment(p, segments[0]) {
			return false
		}
		segments = segments[1:]
	}
	return len(segments) == 0
}

// matchSegment matches one name; a pattern that is malformed matches nothing.
func matchSegment(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// verdict is what the rules say of a path: the last pattern that matches decides.
func (r rules) verdict(file string, isDir bool) (ignored, decided bool) {
	rel, err := filepath.Rel(r.dir, file)
	if err != nil || rel == "." || strings.HasPrefix(rel, "..") {
		return false, false
	}
	rel = filepath.ToSlash(rel)
	for _, p := range slices.Backward(r.patterns) {
		if p.match(rel, isDir) {
			return !p.negated, true
		}
	}
	return false, false
}

// always are the names that never make up a service: version control, Atoll's state, installed packages,
// temporary files of editors.
const always = `.git
.hg
.svn
.jj
.atoll
node_modules
.DS_Store
*~
.#*
\#*#
*.sw[a-z]
.*.kate-swp
4913
*___jb_tmp___
*___jb_old___
.goutputstream-*
`

// ignorer decides for one folder and what is below it.
type ignorer struct {
	root  string
	own   []rules // what was said in the manifest, and always; these go first
	files map[string]rules
	top   string // folder of the repository; without one that of the application, or root
}

func newIgnorer(root string, exclude []string, app string) *ignorer {
	g := &ignorer{root: root, top: root, files: map[string]rules{}}
	if app != "" && below(app, root) {
		g.top = app
	}
	g.own = []rules{parseRules(root, strings.Join(exclude, "\n")), parseRules(root, always)}
	for dir := root; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			g.top = dir
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return g
}

// forget makes the files be read again.
func (g *ignorer) forget() { g.files = map[string]rules{} }

// in is the rules of a folder's .gitignore.
func (g *ignorer) in(dir string) rules {
	r, ok := g.files[dir]
	if !ok {
		text, _ := os.ReadFile(filepath.Join(dir, ".gitignore")) // mostly there is none
		r = parseRules(dir, string(text))
		g.files[dir] = r
	}
	return r
}

// ignored tells whether a path below root does not matter. What is in an ignored folder is ignored, whatever
// else is said of it.
func (g *ignorer) ignored(file string, isDir bool) bool {
	rel, err := filepath.Rel(g.root, file)
	if err != nil || rel == "." {
		return false
	}
	at := g.root
	parts := strings.Split(rel, string(filepath.Separator))
	for i, part := range parts {
		at = filepath.Join(at, part)
		if g.ignoredItself(at, isDir || i < len(parts)-1) {
			return true
		}
	}
	return false
}

func (g *ignorer) ignoredItself(file string, isDir bool) bool {
	for _, r := range g.own {
		if ignored, decided := r.verdict(file, isDir); decided {
			return ignored
		}
	}
	for dir := filepath.Dir(file); ; dir = filepath.Dir(dir) {
		if ignored, decided := g.in(dir).verdict(file, isDir); decided {
			return ignored
		}
		if dir == g.top || dir == filepath.Dir(dir) {
			return false
		}
	}
}
