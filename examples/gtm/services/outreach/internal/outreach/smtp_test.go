package outreach_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"example.com/gtm/services/outreach/internal/outreach"
)

// server answers one SMTP conversation: verb by verb from the script, 250 to what is not in it, and nothing at all to "-".
func server(t *testing.T, script map[string]string) (url string, said <-chan string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "220 hello\r\n")
		in, body := bufio.NewScanner(conn), false
		for in.Scan() {
			line := in.Text()
			lines <- line
			verb, _, _ := strings.Cut(line, " ")
			if body && line != "." {
				continue
			}
			answer, known := script[verb]
			switch {
			case !known && verb == "DATA":
				answer = "354 go on"
			case !known:
				answer = "250 ok"
			case answer == "-":
				continue
			}
			body = strings.HasPrefix(answer, "354")
			fmt.Fprint(conn, answer+"\r\n")
		}
	}()
	return "smtp://" + ln.Addr().String(), lines
}

func send(t *testing.T, url string, patience time.Duration) error {
	t.Helper()
	relay, err := outreach.NewRelay(url, patience)
	if err != nil {
		t.Fatal(err)
	}
	return relay.Send(t.Context(), outreach.Mail{
		From: mail.Address{Address: "a@b.example"}, To: mail.Address{Address: "c@d.example"}, MessageID: "<x@b.example>", Date: time.Now(),
	})
}

func TestAMailIsSentWithItsEnvelope(t *testing.T) {
	url, said := server(t, map[string]string{"QUIT": "221 bye"})
	if err := send(t, url, time.Minute); err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range said {
		all = append(all, line)
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{"MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "Message-ID: <x@b.example>", "\n.\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the server did not hear %q:\n%s", want, text)
		}
	}
}

func TestRefusedForNowIsTriedAgainAndRefusedForGoodIsNot(t *testing.T) {
	for name, test := range map[string]struct {
		script map[string]string
		good   bool
	}{
		"greylisted":   {map[string]string{"RCPT": "451 later"}, false},
		"no such user": {map[string]string{"RCPT": "550 nobody"}, true},
		"spam":         {map[string]string{".": "554 no"}, true},
		"disk full":    {map[string]string{".": "452 later"}, false},
	} {
		url, _ := server(t, test.script)
		if err := send(t, url, time.Minute); err == nil || errors.Is(err, outreach.ErrRefused) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAServerThatSaysNothingIsGivenUp(t *testing.T) {
	url, _ := server(t, map[string]string{"MAIL": "-"})
	if err := send(t, url, 50*time.Millisecond); err == nil || errors.Is(err, outreach.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestAURLThatIsNoneIsRefusedWithoutItsPassword(t *testing.T) {
	for _, bad := range []string{"", "http://x", "smtp://", "smtp://u:secret@:bad"} {
		if _, err := outreach.NewRelay(bad, time.Minute); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
