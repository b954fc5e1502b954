package leads_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"example.com/gtm/services/leads/internal/leads"
)

func readAll(t *testing.T, r io.Reader) (good []leads.Submission, bad []string) {
	t.Helper()
	rows, err := leads.ReadRows(r)
	if err != nil {
		t.Fatal(err)
	}
	for {
		row, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return good, bad
		}
		if err != nil {
			t.Fatal(err)
		}
		if row.Err != nil {
			bad = append(bad, fmt.Sprintf("%d: %v", row.Line, row.Err))
		} else {
			good = append(good, row.Submission)
		}
	}
}

func TestEveryBadLineIsReportedWithItsNumberAndEveryGoodOneKept(t *testing.T) {
	file, err := os.Open("../../../../data/broken.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	good, bad := readAll(t, iotest.OneByteReader(file))
	var emails []string
	for _, s := range good {
		emails = append(emails, s.Email)
	}
	if want := "one.synthetic@stripe.com six.synthetic+tag@gitlab.com six.synthetic@gitlab.com"; strings.Join(emails, " ") != want {
		t.Errorf("kept %s", emails)
	}
	if good[0].Company != `Stripe, "payments"` || good[0].LastName != "Two lines" || good[0].Seats != 8 {
		t.Errorf("quotes and line breaks: %+v", good[0])
	}
	want := []string{
		"4: email: is missing",
		`5: email: "not-an-address" is no email address`,
		"6: has 4 fields, the header has 6",
		`7: seats: "many" is no whole number`,
		`9: interest: "everything" is none of demo, pricing, trial, webinar, whitepaper, newsletter, job, other`,
		"10: at column 9: bare \" in non-quoted-field",
		"13: a quote is not closed",
	}
	if fmt.Sprint(bad) != fmt.Sprint(want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(bad, "\n"), strings.Join(want, "\n"))
	}
}

func TestAnOpenQuoteCostsOneLineAndNotTheFile(t *testing.T) {
	var b strings.Builder
	b.WriteString("email;last name\n\"open@a.example;x\n")
	for i := range 500 {
		fmt.Fprintf(&b, "p%d@a.example;y\n", i)
	}
	good, bad := readAll(t, strings.NewReader(b.String()))
	if len(good) != 500 || len(bad) != 1 || !strings.HasPrefix(bad[0], "2: ") {
		t.Errorf("%d good, bad %v", len(good), bad)
	}
}

func TestALineThatIsTooLongCostsItselfOnly(t *testing.T) {
	text := "email\n" + strings.Repeat("x", 200<<10) + "\na@b.example\n"
	good, bad := readAll(t, strings.NewReader(text))
	if len(good) != 1 || len(bad) != 1 || bad[0] != "2: the line is longer than 65536 bytes" {
		t.Errorf("%v, bad %v", good, bad)
	}
}

func TestHeadersAreUnderstoodInTheUsualSpellings(t *testing.T) {
	good, _ := readAll(t, strings.NewReader("E-Mail Address\tGIVEN_NAME\tWebsite\tLicenses\tunknown\na@b.example\tAda\thttps://www.shop.example.co.uk/x\t7\t?\n"))
	if len(good) != 1 || good[0].FirstName != "Ada" || good[0].Domain != "example.co.uk" || good[0].Seats != 7 {
		t.Errorf("got %+v", good)
	}
	for _, bad := range []string{"", "name,company\nx,y\n", "\"email\n"} {
		if _, err := leads.ReadRows(strings.NewReader(bad)); !errors.Is(err, leads.ErrHeader) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzRowsNeverLosesALineItCouldKeep(f *testing.F) {
	for _, seed := range []string{"", "a,b", "\"", "\"\"\n\"", "x\"y\n", "\r\n\r\n", "\"a\nb\"@c.example", "\ufeff,", "\x00\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, middle string) {
		// What stands between cannot hide a good line that follows it, unless it opened a quote that the line's
		// own fields close; the line has none.
		rows, err := leads.ReadRows(strings.NewReader("email\n" + middle + "\nlast@good.example\n"))
		if err != nil {
			t.Fatal(err)
		}
		var last leads.Row
		for {
			row, err := rows.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if row.Line < last.Line {
				t.Fatalf("line %d comes after %d", row.Line, last.Line)
			}
			last = row
		}
		if last.Err != nil || last.Submission.Email != "last@good.example" {
			t.Errorf("the last line is lost: %+v", last)
		}
	})
}
