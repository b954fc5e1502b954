package fault

import (
	"embed"
	"strings"
)

//go:embed pages/*.md
var pages embed.FS

// Page explains a code: pages/CODE.md, whose first line is "# " and the title.
type Page struct {
	Code  Code
	Title string
	Body  string // Markdown, without the title line
}

// PageOf returns the page of a code.
func PageOf(code Code) (Page, bool) {
	text, err := pages.ReadFile("pages/" + string(code) + ".md")
	if err != nil {
		return Page{}, false
	}
	title, body, _ := strings.Cut(string(text), "\n")
	return Page{
		Code: code, Title: strings.TrimPrefix(title, "# "), Body: strings.TrimSpace(body) + "\n",
	}, true
}

// Codes returns every code that has a page, sorted.
func Codes() []Code {
	entries, err := pages.ReadDir("pages")
	if err != nil {
		panic("fault: the embedded pages cannot be listed: " + err.Error())
	}
	codes := make([]Code, len(entries))
	for i, e := range entries {
		codes[i] = Code(strings.TrimSuffix(e.Name(), ".md"))
	}
	return codes
}
