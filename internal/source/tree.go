package source

import (
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxHash is the largest file whose content is compared.
const maxHash = 8 << 20

// Tree is what one service is built from. One without a service is a folder in which services may appear: of
// its files only those named service.yaml or atoll.yaml matter, and they are told as changes of the manifest.
type Tree struct {
	Service string   // "" for the folder of an application
	Dir     string   // absolute
	Exclude []string // patterns as in .gitignore, relative to Dir
	Also    []string // further folders, absolute or relative to Dir
}

// root is a folder that is watched with all below it, for one service.
type root struct {
	service string
	dir     string
	also    bool
	ignore  *ignorer
}

func rootsOf(trees []Tree, app string) []root {
	var roots []root
	for _, t := range trees {
		dir := filepath.Clean(t.Dir)
		roots = append(roots, root{service: t.Service, dir: dir, ignore: newIgnorer(dir, t.Exclude, app)})
		for _, also := range t.Also {
			if !filepath.IsAbs(also) {
				also = filepath.Join(dir, also)
			}
			also = filepath.Clean(also)
			roots = append(roots, root{service: t.Service, dir: also, also: true, ignore: newIgnorer(also, t.Exclude, app)})
		}
	}
	return roots
}

// below tells whether a path is dir or below it.
func below(dir, file string) bool {
	return file == dir || strings.HasPrefix(file, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// manifestName tells whether a file is a manifest by its name.
func manifestName(file string) bool {
	name := filepath.Base(file)
	return name == "service.yaml" || name == "atoll.yaml"
}

// owners are the roots that a path belongs to and matters to. The folder of a service within that of another
// belongs to the inner one alone. To a root without a service, of all files only manifests matter.
func owners(roots []root, file string, isDir bool) []root {
	var out []root
	for _, r := range roots {
		if r.service == "" && !isDir && !manifestName(file) {
			continue
		}
		if below(r.dir, file) && (r.also || !innerRoot(roots, r, file)) && !r.ignore.ignored(file, isDir) {
			out = append(out, r)
		}
	}
	return out
}

func innerRoot(roots []root, outer root, file string) bool {
	for _, r := range roots {
		if !r.also && r.service != outer.service && len(r.dir) > len(outer.dir) && below(outer.dir, r.dir) && below(r.dir, file) {
			return true
		}
	}
	return false
}

// fingerprint is what is remembered of a file.
type fingerprint struct {
	size  int64
	mtime int64
	hash  uint64
}

// index remembers every file that matters.
type index struct {
	seed  maphash.Seed
	files map[string]fingerprint
}

func newIndex() *index { return &index{seed: maphash.MakeSeed(), files: map[string]fingerprint{}} }

// update looks at a file and tells whether its content is another than remembered. If sure is false, size
// and time being the same is taken for the content being the same.
func (x *index) update(file string, info fs.FileInfo, sure bool) bool {
	old, known := x.files[file]
	now := fingerprint{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if known && !sure && old.size == now.size && old.mtime == now.mtime {
		return false
	}
	now.hash = x.hash(file, now)
	x.files[file] = now
	return !known || old.size != now.size || old.hash != now.hash
}

// hash is that of a file's content, or of its time if the file is large or cannot be read.
func (x *index) hash(file string, p fingerprint) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	if p.size <= maxHash {
		f, err := os.Open(file)
		if err == nil {
			defer f.Close()
			if _, err = io.Copy(&h, f); err == nil {
				return h.Sum64()
			}
			h.Reset()
		}
	}
	maphash.WriteComparable(&h, p.mtime)
	return h.Sum64()
}

// drop forgets a file, or all files below a folder, and returns those that it knew.
func (x *index) drop(file string) []string {
	if _, ok := x.files[file]; ok {
		delete(x.files, file)
		return []string{file}
	}
	var gone []string
	for f := range x.files {
		if below(file, f) {
			gone = append(gone, f)
			delete(x.files, f)
		}
	}
	return gone
}
