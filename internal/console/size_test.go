package console_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// firstLoad is what may be transferred before home is shown, in bytes.
const firstLoad = 120 << 10

// TestTheFirstLoadIsSmall adds up index.html, what it names, and home's part with all that it needs, as they are sent.
func TestTheFirstLoadIsSmall(t *testing.T) {
	if _, err := os.Stat("dist/index.html.gz"); err != nil {
		t.Skip("the console is not built: make console")
	}
	b := bundle{sizes: map[string]int64{}}
	index := b.read(t, "index.html")
	b.read(t, "icon.svg")
	var scripts []string
	for _, m := range regexp.MustCompile(`(?:src|href)="/(assets/[^"]+)"`).FindAllStringSubmatch(index, -1) {
		b.take(t, m[1])
		if strings.HasSuffix(m[1], ".js") {
			scripts = append(scripts, m[1])
		}
	}
	if len(scripts) != 1 {
		t.Fatalf("index.html names the scripts %q: this test knows of one", scripts)
	}
	for _, name := range needs(t, b.read(t, scripts[0]), "home") {
		b.take(t, name)
	}
	var total int64
	for name, size := range b.sizes {
		total += size
		t.Logf("%6d %s", size, name)
	}
	if len(b.sizes) < 6 {
		t.Errorf("the first load is of %d files only: this test does not find them", len(b.sizes))
	}
	if total > firstLoad {
		t.Errorf("the first load takes %d bytes, of %d that it may: load more of it when it is needed, by import()", total, firstLoad)
	}
}

// bundle is the files that were taken so far, with their sizes.
type bundle struct{ sizes map[string]int64 }

// read takes a file, and returns its text.
func (b *bundle) read(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("dist", filepath.FromSlash(name)+".gz")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b.sizes[name] = info.Size()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var static = regexp.MustCompile("(?:from|import)[\"'`]\\./([\\w.-]+\\.js)[\"'`]")

// take takes a file and what it imports at once.
func (b *bundle) take(t *testing.T, name string) {
	t.Helper()
	if _, had := b.sizes[name]; had {
		return
	}
	for _, m := range static.FindAllStringSubmatch(b.read(t, name), -1) {
		b.take(t, "assets/"+m[1])
	}
}

// needs are the files that Vite loads for a screen: a call with their numbers in a list at the beginning of the script.
func needs(t *testing.T, script, screen string) (files []string) {
	t.Helper()
	_, list, _ := strings.Cut(script, "m.f=[")
	list, _, _ = strings.Cut(list, "]")
	all := strings.Split(list, ",")
	m := regexp.MustCompile(fmt.Sprintf("import\\([\"'`]\\./%s-[\\w-]+\\.js[\"'`]\\),__vite__mapDeps\\(\\[([\\d,]+)\\]\\)", screen)).FindStringSubmatch(script)
	if m == nil {
		t.Fatalf("the script does not load %s as this test knows it", screen)
	}
	for number := range strings.SplitSeq(m[1], ",") {
		i, err := strconv.Atoi(number)
		if err != nil || i >= len(all) {
			t.Fatalf("file %s of %d", number, len(all))
		}
		name, err := strconv.Unquote(all[i])
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	return files
}
