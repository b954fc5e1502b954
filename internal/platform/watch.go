package platform

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/source"
)

// startWatch watches the files of the services and the manifests until the application ends. That it cannot is
// said and stops nothing.
func (p *Platform) startWatch(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.watch(ctx); err != nil {
			p.log.Error("watch files", "error", err)
			p.notice("changes of files are not noticed from here on: start atoll again to have them noticed")
		}
	}()
	p.onEnd("watch", func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}

// watch acts on changes until ctx ends or the files to be watched are others. The next watch has begun by then, so that
// no change falls between the two.
func (p *Platform) watch(ctx context.Context) error {
	w, err := p.beginWatch(ctx)
	for err == nil {
		c, ok := <-w.changes
		if !ok {
			break
		}
		if c.Service != "" {
			p.changed(c)
			continue
		}
		p.restless = restless{}
		if findings := p.Reload(ctx); findings.HasErrors() || w.stillRight(p.current()) {
			continue
		}
		var next *watching
		if next, err = p.beginWatch(ctx); err == nil {
			p.endWatch(w)
			w = next
		}
	}
	if w != nil {
		w.end()
	}
	return err
}

// watching is one set of trees that is watched.
type watching struct {
	trees   []source.Tree
	files   []string
	globs   []string
	changes <-chan source.Change
	end     context.CancelFunc
}

func (p *Platform) beginWatch(ctx context.Context) (*watching, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watching{end: cancel}
	w.trees, w.files, w.globs = watched(p.current())
	changes, err := source.Watch(ctx, w.trees, &source.Options{Logger: p.log, App: p.o.Dir, Files: w.files, Globs: w.globs, Warn: p.warn})
	if err != nil {
		cancel()
		return nil, err
	}
	w.changes = changes
	return w, nil
}

func (w *watching) stillRight(app *manifest.App) bool {
	trees, files, globs := watched(app)
	return reflect.DeepEqual(trees, w.trees) && slices.Equal(files, w.files) && slices.Equal(globs, w.globs)
}

// endWatch ends a watch whose successor has begun, after it has told what came before that.
func (p *Platform) endWatch(w *watching) {
	const quiet = 300 * time.Millisecond // a change is told after a quiet moment of 100 ms
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for waiting := true; waiting; {
		select {
		case c, ok := <-w.changes:
			waiting = ok
			if ok && c.Service != "" {
				p.changed(c)
			}
		case <-timer.C:
			waiting = false
		}
	}
	w.end()
	for c := range w.changes {
		if c.Service != "" {
			p.changed(c)
		}
	}
}

// changed builds and starts a service anew, unless the files that changed do so all the time.
func (p *Platform) changed(c source.Change) {
	now := time.Now()
	files, muted := p.restless.filter(c.Service, c.Files, now)
	for _, file := range muted {
		p.notice(fmt.Sprintf("%s of %s changes all the time and is watched no more until atoll.yaml or a service.yaml changes: "+
			"name it in .gitignore or in watch: {exclude: [%s]}", file, c.Service, file))
	}
	if len(files) == 0 || p.current().Service(c.Service) == nil {
		return
	}
	text := c.Service + " is started anew"
	if p.current().Service(c.Service).Build != "" {
		text = c.Service + " is built and started anew"
	}
	text += ", for " + files[0]
	if len(files) > 1 {
		text += " and others"
	}
	p.events.add(api.Event{Time: now, Kind: api.EventReload, Service: c.Service, Text: text + " changed"})
	p.supervisor.Rebuild(c.Service)
}

// The times after which a file counts as one that changes all the time: a service that writes into its own folder would
// else be replaced for ever. Under steady unrest source tells of a file every 2 s, so the window holds that many.
const (
	restlessTimes  = 8
	restlessWindow = 30 * time.Second
)

// restless knows which files changed when. It belongs to the goroutine that watches.
type restless struct {
	times map[string][]time.Time // by service and file
	muted map[string]bool
}

// filter is the files that are worth a rebuild, and those of them that have just been found to be none any more.
func (r *restless) filter(service string, files []string, now time.Time) (worth, muted []string) {
	const most = 4096 // files that are remembered
	if r.times == nil || len(r.times) > most {
		r.times = map[string][]time.Time{}
	}
	if r.muted == nil {
		r.muted = map[string]bool{}
	}
	for _, file := range files {
		key := service + "\x00" + file
		if r.muted[key] {
			continue
		}
		recent := slices.DeleteFunc(append(r.times[key], now), func(t time.Time) bool { return now.Sub(t) > restlessWindow })
		r.times[key] = recent
		if len(recent) >= restlessTimes {
			r.muted[key] = true
			delete(r.times, key)
			muted = append(muted, file)
			continue
		}
		worth = append(worth, file)
	}
	return worth, muted
}

// watched lists what an App is made of: a tree for each service, and the whole folder of the application, in which a
// new service may appear, or a new saga.
func watched(app *manifest.App) (trees []source.Tree, files, globs []string) {
	files = []string{filepath.Join(app.Dir, manifest.AppFile), filepath.Join(app.Dir, manifest.EnvFile)}
	trees = []source.Tree{{Dir: app.Dir}}
	for _, pattern := range app.SagaFiles {
		globs = append(globs, filepath.Join(app.Dir, filepath.FromSlash(pattern)))
	}
	for _, s := range app.Services {
		files = append(files, filepath.Join(s.Dir, manifest.ServiceFile))
		if s.Watch.Off {
			continue
		}
		trees = append(trees, source.Tree{Service: s.Name, Dir: s.Dir, Exclude: s.Watch.Exclude, Also: s.Watch.Also})
	}
	return trees, files, globs
}
