package console

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// dist is what make builds from web/: index.html and assets, each compressed, and nothing but .keep before.
//
//go:embed all:dist
var dist embed.FS

// page is a file as it is sent.
type page struct {
	kind   string // content type
	packed []byte // by gzip
	lasts  bool   // its name changes with its content
}

// pages serves the files of dist. What is no file is index.html: the page reads the rest of the path itself.
func pages() http.Handler {
	files := load(dist)
	index, built := files["index.html"]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		file, ok := files[name]
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "pages are only read", http.StatusMethodNotAllowed)
			return
		case ok:
		case !built:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "This Atoll was built without its console. Build it with make, which needs Node.\n")
			return
		case strings.HasPrefix(name, "assets/"): // a file of another version; a page in its place would be read as a script
			http.NotFound(w, r)
			return
		default:
			file = index
		}
		file.send(w, r)
	})
}

func (p *page) send(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Type", p.kind)
	head.Set("Vary", "Accept-Encoding")
	head.Set("Cache-Control", "no-cache")
	if p.lasts {
		head.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		head.Set("Content-Encoding", "gzip")
		head.Set("Content-Length", strconv.Itoa(len(p.packed)))
		_, _ = w.Write(p.packed) // the client may be gone
		return
	}
	plain, err := gzip.NewReader(bytes.NewReader(p.packed))
	if err != nil {
		panic("console: a page that is embedded is not compressed: " + err.Error())
	}
	_, _ = io.Copy(w, plain)
}

// load reads the files of dist, which all end in .gz but for .keep.
func load(dist embed.FS) map[string]*page {
	files := map[string]*page{}
	err := fs.WalkDir(dist, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		plain, packed := strings.CutSuffix(strings.TrimPrefix(name, "dist/"), ".gz")
		if !packed {
			return nil
		}
		body, err := dist.ReadFile(name)
		files[plain] = &page{kind: kindOf(plain), packed: body, lasts: strings.HasPrefix(plain, "assets/")}
		return err
	})
	if err != nil {
		panic("console: pages that are embedded cannot be read: " + err.Error())
	}
	return files
}

// kindOf is the content type of a file. The system's own table is not asked for what the console consists of: it may be wrong.
func kindOf(name string) string {
	switch ext := path.Ext(name); ext {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return mime.TypeByExtension(ext)
	}
}
