package smtpd_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/smtp"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/gtm/services/sink/internal/smtpd"
)

// start runs a server until the test ends, and returns its address.
func start(t *testing.T, deliver smtpd.Deliver, opts *smtpd.Options) (addr string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- smtpd.New(deliver, slog.New(slog.DiscardHandler), opts).Serve(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func nowhere(context.Context, smtpd.Delivery) error { return nil }

func TestAMailArrivesAsItWasSent(t *testing.T) {
	var got smtpd.Delivery
	addr, _ := start(t, func(_ context.Context, d smtpd.Delivery) error { got = d; return nil }, nil)
	text := "Subject: x\r\n\r\n.a line with a dot\r\n..\r\nend\r\n"
	if err := smtp.SendMail(addr, nil, "a@b.example", []string{"c@d.example", "e@f.example"}, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if got.From != "a@b.example" || len(got.To) != 2 || got.Data != strings.ReplaceAll(text, "\r\n", "\n") {
		t.Errorf("got %+v", got)
	}
}

func TestAMailThatCouldNotBeStoredIsNotAcknowledged(t *testing.T) {
	addr, _ := start(t, func(context.Context, smtpd.Delivery) error { return errors.New("the mailbox is away") }, nil)
	err := smtp.SendMail(addr, nil, "a@b.example", []string{"c@d.example"}, []byte("x"))
	if err == nil || !strings.HasPrefix(err.Error(), "451 ") || strings.Contains(err.Error(), "away") {
		t.Errorf("got %v", err)
	}
}

func TestConversationsThatAreOutOfOrderAreRefused(t *testing.T) {
	addr, _ := start(t, nowhere, nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, step := range [][2]string{
		{"", "220"},
		{"MAIL FROM:<a@b.example>", "503"},
		{"HELO x", "250"},
		{"RCPT TO:<a@b.example>", "503"},
		{"DATA", "503"},
		{"MAIL TO:<a@b.example>", "501"},
		{"MAIL FROM:<>", "250"},
		{"RCPT TO:<>", "501"},
		{"RCPT TO:<not an address>", "501"},
		{"rcpt to:<a@b.example> NOTIFY=NEVER", "250"},
		{"RSET", "250"},
		{"DATA", "503"},
		{"AUTH PLAIN", "502"},
		{"QUIT", "221"},
	} {
		if step[0] != "" {
			_, _ = io.WriteString(conn, step[0]+"\r\n")
		}
		line, err := in.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, step[1]) {
			t.Errorf("%s: %q %v, want %s", step[0], line, err, step[1])
		}
	}
}

func TestALineOrAMailWithoutEndIsCutOff(t *testing.T) {
	addr, _ := start(t, nowhere, nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, strings.Repeat("x", 5000))
	if text, _ := io.ReadAll(conn); !strings.Contains(string(text), "500 ") {
		t.Errorf("a long line: %s", text)
	}
	large := []byte(strings.Repeat("x\r\n", 700_000))
	if err := smtp.SendMail(addr, nil, "a@b.example", []string{"c@d.example"}, large); err == nil || !strings.HasPrefix(err.Error(), "552 ") {
		t.Errorf("a large mail: %v", err)
	}
}

func TestAServerThatIsToldToEndLetsNobodyWait(t *testing.T) {
	addr, stop := start(t, nowhere, nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	stop() // returns although the client says nothing
	if text, _ := io.ReadAll(conn); !strings.HasPrefix(string(text), "421 ") {
		t.Errorf("the client is told %q", text)
	}
}

func TestMoreConnectionsThanAllowedAreToldToComeAgain(t *testing.T) {
	addr, _ := start(t, nowhere, &smtpd.Options{MaxConns: 1, Patience: time.Minute})
	first, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	if _, err := smtp.Dial(addr); err == nil || !strings.HasPrefix(err.Error(), "421 ") {
		t.Errorf("got %v", err)
	}
}
