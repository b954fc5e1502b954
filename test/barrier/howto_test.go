package barrier_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/test/databases"
)

func howTo(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/howto/saga-barrier.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestTheHowToShowsCodeThatIsTested(t *testing.T) {
	code, err := os.ReadFile("stock_test.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, block := range regexp.MustCompile("(?s)```go\n(// .*?)```").FindAllStringSubmatch(howTo(t), -1) {
		shown++
		if !strings.Contains(string(code), block[1]) {
			t.Errorf("test/barrier/stock_test.go has no such code:\n%s", block[1])
		}
	}
	if shown != 2 {
		t.Errorf("%d pieces of code were found", shown)
	}
}

func TestTheHowToShowsTheTableAsItIs(t *testing.T) {
	for _, kind := range databases.Kinds() {
		schema, err := os.ReadFile("../../sdk/schema/barrier_" + kind + ".sql")
		if err != nil || !strings.Contains(howTo(t), "\n"+string(schema)+"```\n") {
			t.Errorf("the page has another table for %s: %v", kind, err)
		}
	}
}

// byHand is a service that runs the statements of the page, as the page says.
type byHand struct {
	db         *sql.DB
	statements map[string][]string
}

func newByHand(t *testing.T, db *databases.Database) *byHand {
	t.Helper()
	s := &byHand{db: db.DB, statements: map[string][]string{}}
	name := map[string]string{databases.Postgres: "PostgreSQL", databases.MySQL: "MySQL", databases.SQLite: "SQLite"}[db.Kind]
	for _, block := range regexp.MustCompile("(?s)```sql\n-- ([A-Za-z]+): (.*?)\n(.*?)```").FindAllStringSubmatch(howTo(t), -1) {
		if block[1] == name || block[1] == "all" {
			s.statements[block[2]] = databases.Statements(block[3])
		}
	}
	if len(s.statements) != 9 {
		t.Fatalf("the page has statements for %d things", len(s.statements))
	}
	return s
}

// run runs the statements of one thing for a branch, the last of them as a query that may find a row of columns.
func (s *byHand) run(ctx context.Context, tx *sql.Tx, what, branch, answer string, columns ...any) (found bool, err error) {
	statements := s.statements[what]
	for i, text := range statements {
		text = strings.ReplaceAll(text, "i-1/reserve", branch)
		text = regexp.MustCompile(`answer = '[^']*'`).ReplaceAllLiteralString(text, "answer = '"+answer+"'")
		if i == len(statements)-1 && columns != nil {
			err := tx.QueryRowContext(ctx, text).Scan(columns...)
			if errors.Is(err, sql.ErrNoRows) {
				return false, nil
			}
			return err == nil, err
		}
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return false, fmt.Errorf("%w: %s", err, text)
		}
	}
	return false, nil
}

// call makes a call of a branch that ends as it is told, and tells whether it ran.
func (s *byHand) call(ctx context.Context, branch, op string, how end) (ran bool, got answer, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, answer{}, err
	}
	defer func() { _ = tx.Rollback() }()
	var asked int
	var state string
	var effect, kept sql.NullString
	if _, err = s.run(ctx, tx, "enter the "+op, branch, "", &asked, &state, &effect, &kept); err != nil {
		return false, answer{}, err
	}
	if op == "do" {
		ran, got, err = s.do(ctx, tx, branch, how, asked, state, kept.String)
	} else {
		ran, got, err = s.undo(ctx, tx, branch, how, asked, effect.String)
	}
	if err != nil || ran && (how == fails || op == "undo" && how == refuses) {
		return ran, got, err
	}
	return ran, got, tx.Commit()
}

func (s *byHand) do(ctx context.Context, tx *sql.Tx, branch string, how end, asked int, state, kept string) (bool, answer, error) {
	switch {
	case asked > 1 && state == "done":
		return false, answer{200, kept}, nil
	case asked > 1 && state == "refused":
		return false, answer{422, kept}, nil
	case asked > 1:
		return false, answer{status: 409}, nil
	}
	_, err := s.run(ctx, tx, "begin the effect", branch, "")
	if err == nil {
		err = s.effect(ctx, tx, branch, 1)
	}
	if err != nil || how == fails {
		return true, answer{status: 500}, err
	}
	got, what := answer{200, `{"by":"hand"}`}, "keep the answer of the do"
	if how == refuses {
		got, what = answer{422, `{"type":"about:blank","title":"no","status":422,"instance":"/step","code":"by-hand"}`}, "refuse the do"
	}
	_, err = s.run(ctx, tx, what, branch, got.body)
	return true, got, err
}

func (s *byHand) undo(ctx context.Context, tx *sql.Tx, branch string, how end, asked int, effect string) (bool, answer, error) {
	nothing := answer{200, "null"}
	if asked == 1 {
		return false, nothing, nil
	}
	switch effect {
	case "none":
		_, err := s.run(ctx, tx, "bar what may come", branch, "")
		return false, nothing, err
	case "undone":
		var kept string
		found, err := s.run(ctx, tx, "look for the answer of the undo", branch, "", &kept)
		if !found {
			return false, nothing, err
		}
		return false, answer{200, kept}, nil
	}
	_, err := s.run(ctx, tx, "begin to undo", branch, "")
	if err == nil {
		err = s.effect(ctx, tx, branch, -1)
	}
	if how != ok {
		return true, answer{status: map[end]int{refuses: 422, fails: 500}[how]}, err
	}
	got := answer{200, `{"undone":"by hand"}`}
	if err == nil {
		_, err = s.run(ctx, tx, "keep the answer of the undo", branch, got.body)
	}
	return true, got, err
}

func (s *byHand) effect(ctx context.Context, tx *sql.Tx, branch string, amount int) error {
	_, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO ledger VALUES ('%s', %d, 0)", branch, amount))
	return err
}

func TestTheSQLOfTheHowToDoesAsTheBarrierDoesBesideIt(t *testing.T) {
	for _, kind := range databases.Kinds() {
		t.Run(kind, func(t *testing.T) {
			db := servers.Fresh(t, kind)
			b := setUp(t, db)
			hand := newByHand(t, db)
			var how end
			s := &step{entry: b, db: db.DB, next: func(string, int) end { return how }}
			branches := 0
			rapid.Check(t, func(rt *rapid.T) {
				branches++
				branch := fmt.Sprintf("i-%d/reserve", branches+1)
				o := &oracle{kept: map[string]answer{}}
				for range rapid.IntRange(1, 8).Draw(rt, "calls") {
					op := rapid.SampledFrom([]string{"do", "undo"}).Draw(rt, "op")
					how = rapid.SampledFrom([]end{ok, ok, refuses, fails}).Draw(rt, "end")
					wantRun, want := o.runs(op)
					before := s.runs
					var got answer
					var ran bool
					if rapid.Bool().Draw(rt, "by hand") {
						var err error
						if ran, got, err = hand.call(t.Context(), branch, op, how); err != nil {
							rt.Fatal(err)
						}
					} else {
						got = call(s, branch+"/"+op)
						ran = s.runs > before
					}
					if ran != wantRun || !ran && (got.status != want.status || want.body != "" && got != want) {
						rt.Fatalf("%s ran: %t, want %t; got %+v, want %+v", op, ran, wantRun, got, want)
					}
					o.note(op, ran, how, got)
					if sum, _ := balance(t, db.DB, branch); (sum == 1) != o.standing || sum < 0 || sum > 1 {
						rt.Fatalf("after %s the ledger has %d", op, sum)
					}
				}
			})
		})
	}
}
