package outbox_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/bus/outbox"
	"github.com/atollhq/atoll/test/databases"
)

func howTo(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/howto/outbox-and-inbox.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestTheHowToShowsCodeThatIsTested(t *testing.T) {
	code, err := os.ReadFile("orders_test.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, block := range regexp.MustCompile("(?s)```go\n(// .*?)```").FindAllStringSubmatch(howTo(t), -1) {
		shown++
		if !strings.Contains(string(code), block[1]) {
			t.Errorf("test/outbox/orders_test.go has no such code:\n%s", block[1])
		}
	}
	if shown != 3 {
		t.Errorf("%d pieces of code were found", shown)
	}
}

func TestTheHowToShowsSQLThatRuns(t *testing.T) {
	for _, kind := range databases.Kinds() {
		t.Run(kind, func(t *testing.T) {
			db := servers.Fresh(t, kind)
			for _, statement := range databases.Statements(outbox.Schema(outbox.Dialect(kind))) {
				mustExec(t, db.DB, statement)
			}
			ran := 0
			for _, block := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(howTo(t), -1) {
				text := block[1]
				if strings.HasPrefix(text, "-- MySQL") != (kind == databases.MySQL) && strings.HasPrefix(text, "-- ") {
					continue
				}
				ran++
				mustExec(t, db.DB, text)
			}
			if ran != 3 || count(t, db.DB, "atoll_outbox") != 2 || count(t, db.DB, "atoll_inbox") != 1 {
				t.Errorf("of %d statements, the outbox has %d rows", ran, count(t, db.DB, "atoll_outbox"))
			}
			if e := forward(t, db.URL, 2)[1]; e.ID != "placed-o-1" || e.Key() != "o-1" || e.Extension("traceparent") != trace || e.DataType != "application/json" {
				t.Errorf("got %+v", e)
			}
		})
	}
}
