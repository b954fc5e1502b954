package platform

import (
	"context"
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
		for ctx.Err() == nil {
			if err := p.watch(ctx); err != nil {
				p.notice("changes of files are not noticed: " + err.Error())
				return
			}
		}
	}()
	p.onEnd("watch", func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}

// watch acts on changes until ctx ends or the files to be watched are others.
func (p *Platform) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	trees, files := watched(p.current())
	changes, err := source.Watch(ctx, trees, &source.Options{Logger: p.log, App: p.o.Dir, Files: files})
	if err != nil {
		return err
	}
	for c := range changes {
		if !c.Manifest && c.Service != "" {
			p.changed(c)
			continue
		}
		if !c.Manifest && !slices.ContainsFunc(c.Files, func(f string) bool { return filepath.Base(f) == manifest.ServiceFile }) {
			continue
		}
		if findings := p.Reload(ctx); findings.HasErrors() {
			continue // said by Reload; what was in force still is
		}
		newTrees, newFiles := watched(p.current())
		if !reflect.DeepEqual(trees, newTrees) || !slices.Equal(files, newFiles) {
			break
		}
	}
	cancel()
	for range changes {
		continue // what is still told belongs to trees that are watched no more
	}
	return nil
}

func (p *Platform) changed(c source.Change) {
	text := c.Service + " is built and started anew, for "
	if len(c.Files) == 1 {
		text += c.Files[0] + " changed"
	} else {
		text += c.Files[0] + " and others changed"
	}
	p.events.add(api.Event{Time: time.Now(), Kind: api.EventReload, Service: c.Service, Text: text})
	p.supervisor.Rebuild(c.Service)
}

// watched lists what an App is made of: a tree for each service, and the whole folder of the application, in which a
// new service may appear.
func watched(app *manifest.App) ([]source.Tree, []string) {
	files := []string{filepath.Join(app.Dir, manifest.AppFile), filepath.Join(app.Dir, manifest.EnvFile)}
	trees := []source.Tree{{Dir: app.Dir}}
	for _, s := range app.Services {
		files = append(files, filepath.Join(s.Dir, manifest.ServiceFile))
		if s.Watch.Off {
			continue
		}
		trees = append(trees, source.Tree{Service: s.Name, Dir: s.Dir, Exclude: s.Watch.Exclude, Also: s.Watch.Also})
	}
	return trees, files
}
