package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/atollhq/atoll/internal/fault"
)

// Options tune Watch; nil and the zero value are usable.
type Options struct {
	Logger *slog.Logger  // for operators; nil discards
	App    string        // folder of the application: without a repository, .gitignore files up to it count
	Files  []string      // single files, absolute, that make up the manifest: they need not exist yet
	Globs  []string      // absolute patterns of filepath.Match: what they match makes up the manifest too, in folders that are watched
	Quiet  time.Duration // how long it must be quiet before a change is told; 100 ms
	Limit  time.Duration // after which it is told anyway; 2 s
	Poll   time.Duration // how often the trees are looked through where the system cannot notify; 2 s

	// Warn is given, besides the logger, the warning that the trees are looked through instead of watched: at
	// most once by each Watch. It is called by Watch or by its goroutine, so it must not wait for a change.
	// nil is not called.
	Warn func(*fault.Error)
}

// Change is what changed in one service, or in the manifest.
type Change struct {
	Service  string   // "" for the manifest
	Manifest bool     // files of Options.Files or Globs, or a service.yaml or atoll.yaml below a tree without a service
	Files    []string // sorted; of a service relative to its folder if they are in it, else absolute
}

// Watch watches trees until the context ends and then closes the channel. When Watch returns, what the trees
// hold is known: every later change is told. A set of trees is fixed; to watch another, end this one and
// watch anew. The error says that the system gives no notifications at all.
func Watch(ctx context.Context, trees []Tree, o *Options) (<-chan Change, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.Quiet = cmp.Or(opts.Quiet, 100*time.Millisecond)
	opts.Limit = cmp.Or(opts.Limit, 2*time.Second)
	opts.Poll = cmp.Or(opts.Poll, 2*time.Second)
	notify, err := fsnotify.NewBufferedWatcher(1024)
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	w := &watch{
		o: opts, notify: notify, roots: rootsOf(trees, opts.App), index: newIndex(), manifest: map[string]bool{},
		watched: map[string]bool{}, dirty: map[string]bool{}, pending: map[string]map[string]bool{},
		out:   make(chan Change),
		burst: debounce{quiet: opts.Quiet, limit: opts.Limit},
	}
	for _, f := range opts.Files {
		w.manifest[filepath.Clean(f)] = true
	}
	w.rescan()
	clear(w.pending) // all that is there now is where it begins
	go w.run(ctx)
	return w.out, nil
}

// watch is one Watch. All of it belongs to the goroutine of run.
type watch struct {
	o        Options
	notify   *fsnotify.Watcher
	roots    []root
	manifest map[string]bool
	index    *index
	out      chan Change
	burst    debounce

	watched map[string]bool            // folders
	polling bool                       // the system cannot notify of everything
	warned  bool                       // of the limit of watches
	dirty   map[string]bool            // paths to look at
	lost    bool                       // notifications were lost: look at everything
	pending map[string]map[string]bool // service -> files that wait to be told; "" is the manifest
}

func (w *watch) run(ctx context.Context) {
	defer close(w.out)
	defer func() { _ = w.notify.Close() }() // nothing can be done about it
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	poll := time.NewTicker(w.o.Poll)
	defer poll.Stop()
	for {
		if due := w.burst.due(); due.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(due))
		}
		next, out := w.next()
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.notify.Events:
			if !ok {
				return
			}
			w.note(e)
		case err, ok := <-w.notify.Errors:
			if !ok {
				return
			}
			w.noteError(err)
		case <-timer.C:
			w.flush()
		case <-poll.C:
			if w.polling {
				w.lost = true
				w.burst.event(time.Now())
			}
		case out <- next:
			delete(w.pending, next.Service)
		}
	}
}

// next is the change to tell, and the channel to tell it on: nil if there is none.
func (w *watch) next() (Change, chan<- Change) {
	for service, files := range w.pending {
		c := Change{Service: service, Manifest: service == ""}
		for f := range files {
			c.Files = append(c.Files, f)
		}
		slices.Sort(c.Files)
		return c, w.out
	}
	return Change{}, nil
}

// note keeps the path of a notification. What only changed a file's attributes is of no interest.
func (w *watch) note(e fsnotify.Event) {
	if e.Op == fsnotify.Chmod {
		return
	}
	file := filepath.Clean(e.Name)
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		delete(w.watched, file) // a folder that was moved is watched anew where it turns up
	}
	if !w.isManifest(file) && len(owners(w.roots, file, false)) == 0 && len(owners(w.roots, file, true)) == 0 {
		return
	}
	w.dirty[file] = true
	w.burst.event(time.Now())
}

func (w *watch) noteError(err error) {
	if !errors.Is(err, fsnotify.ErrEventOverflow) {
		w.o.Logger.Warn("a notification of a file is wrong", "error", err)
	}
	w.lost = true
	w.burst.event(time.Now())
}

// flush looks at what may have changed.
func (w *watch) flush() {
	w.burst.reset()
	dirty := w.dirty
	w.dirty = map[string]bool{}
	reignore := false
	for file := range dirty {
		reignore = reignore || filepath.Base(file) == ".gitignore"
	}
	if reignore {
		for _, r := range w.roots {
			r.ignore.forget()
		}
	}
	for file := range dirty {
		w.look(file)
	}
	if reignore {
		w.takeIn()
	}
	if w.lost {
		w.lost = false
		w.rescan()
	}
}

// takeIn takes in, without a word, what matters since the .gitignore files say something else.
func (w *watch) takeIn() {
	pending := w.pending
	w.pending = map[string]map[string]bool{}
	w.rescan()
	w.pending = pending
}

// look compares one path with what is remembered.
func (w *watch) look(file string) {
	info, err := os.Lstat(file)
	switch {
	case err != nil:
		for _, gone := range w.index.drop(file) {
			w.changed(gone)
		}
	case info.IsDir():
		w.scan(file, true)
	default:
		w.lookFile(file, info, true)
	}
}

func (w *watch) lookFile(file string, info fs.FileInfo, sure bool) {
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Stat(file)
		if err != nil || target.IsDir() {
			return // links to folders are not followed: they could lead in a circle
		}
		info = target
	}
	if !info.Mode().IsRegular() || filepath.Base(file) == ".gitignore" {
		return
	}
	if !w.isManifest(file) && len(owners(w.roots, file, false)) == 0 {
		return
	}
	if w.index.update(file, info, sure) {
		w.changed(file)
	}
}

// isManifest tells whether a file makes up the manifest.
func (w *watch) isManifest(file string) bool {
	return w.manifest[file] || slices.ContainsFunc(w.o.Globs, func(pattern string) bool {
		matches, _ := filepath.Match(pattern, file) // a bad pattern is the manifest's fault, and matches nothing
		return matches
	})
}

// changed puts a file where it is told from.
func (w *watch) changed(file string) {
	if w.isManifest(file) {
		w.pend("", file)
		return
	}
	for _, r := range owners(w.roots, file, false) {
		name := file
		if rel, err := filepath.Rel(r.dir, file); err == nil && !r.also {
			name = rel
		}
		w.pend(r.service, name)
	}
}

func (w *watch) pend(service, file string) {
	if w.pending[service] == nil {
		w.pending[service] = map[string]bool{}
	}
	w.pending[service][file] = true
}

// rescan looks at everything.
func (w *watch) rescan() {
	for _, r := range w.roots {
		w.scan(r.dir, false)
	}
	for file := range w.manifest {
		w.watchFolder(filepath.Dir(file))
		if info, err := os.Lstat(file); err == nil {
			w.lookFile(file, info, false)
		}
	}
	for file := range w.index.files {
		if _, err := os.Lstat(file); err != nil {
			w.look(file)
		}
	}
}

// scan watches a folder and all below that matter, and looks at their files. A folder is watched before it
// is read, so that nothing falls between.
func (w *watch) scan(dir string, sure bool) {
	if len(owners(w.roots, dir, true)) == 0 {
		return
	}
	w.watchFolder(dir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.o.Logger.Warn("a folder cannot be read", "folder", dir, "error", err)
	}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		if e.IsDir() {
			w.scan(file, sure)
		} else if info, err := e.Info(); err == nil {
			w.lookFile(file, info, sure)
		}
	}
}

func (w *watch) watchFolder(dir string) {
	if w.watched[dir] {
		return
	}
	err := w.notify.Add(dir)
	switch {
	case err == nil:
		w.watched[dir] = true
	case errors.Is(err, fs.ErrNotExist): // the poll or its parent tells when it is there
		w.polling = w.polling || slices.ContainsFunc(w.roots, func(r root) bool { return r.dir == dir })
	default:
		w.polling = true
		w.warn(err)
	}
}

// warn says once that the system cannot notify of everything.
func (w *watch) warn(cause error) {
	if w.warned {
		return
	}
	w.warned = true
	f := fault.Warn(fault.CodeSourceWatchLimit, "not every folder can be watched; Atoll looks at the files every %s instead", w.o.Poll).
		Because(cause).Fix("raise the limit: sudo sysctl fs.inotify.max_user_watches=524288")
	w.o.Logger.Warn(f.Text, "code", string(f.Code), "remedy", f.Remedy, "error", cause)
	if w.o.Warn != nil {
		w.o.Warn(f)
	}
}
