package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/alert"
)

// Email sends a notification as mail, by SMTP: over TLS from the start on port 465, else by STARTTLS. Only a server on loopback may have no
// TLS, so that nothing goes over a network in the clear.
type Email struct {
	Server   string // host:port
	From     string
	To       []string
	User     string // "" for no login
	Password string
	Name     string // of this host, in EHLO and in message ids
	// Refused is told of a recipient whom the server refuses for good while it takes others; nil for nobody.
	Refused func(recipient string, err error)
	TLS     *tls.Config // nil for the system's roots
}

var _ alert.Notifier = (*Email)(nil)

const implicitTLS = "465"

// Notify sends it.
func (m *Email) Notify(ctx context.Context, n *alert.Notification) error {
	host, port, err := net.SplitHostPort(m.Server)
	if err != nil {
		return failed(err, "the server's address cannot be used")
	}
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", m.Server)
	if err != nil {
		return failed(err, "the mail server cannot be reached")
	}
	defer conn.Close()
	bare := conn
	stop := context.AfterFunc(ctx, func() { _ = bare.SetDeadline(time.Unix(1, 0)) }) // whatever waits, ends
	defer stop()
	if port == implicitTLS {
		conn = tls.Client(conn, m.tls(host))
	}
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		return failed(err, "the mail server does not greet")
	}
	if err := m.secure(client, conn, host, port == implicitTLS); err != nil {
		return err
	}
	return m.send(client, n)
}

func (m *Email) tls(host string) *tls.Config {
	c := m.TLS.Clone()
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c.ServerName = host
	return c
}

// secure greets the server, goes over to TLS and logs in.
func (m *Email) secure(client *smtp.Client, conn net.Conn, host string, already bool) error {
	if err := client.Hello(m.Name); err != nil {
		return failed(err, "the mail server refuses the greeting")
	}
	if !already {
		ok, _ := client.Extension("STARTTLS")
		switch {
		case ok:
			if err := client.StartTLS(m.tls(host)); err != nil {
				return failed(err, "there is no TLS with the mail server")
			}
		case !loopback(conn):
			return failed(nil, "the mail server offers no TLS, and is not on this machine")
		}
	}
	if m.User == "" {
		return nil
	}
	if err := client.Auth(&plain{user: m.User, password: m.Password}); err != nil {
		return failed(err, "the mail server refuses the login")
	}
	return nil
}

// plain is the mechanism PLAIN (RFC 4616). That there is TLS, or that the server is on this machine, has been seen to.
type plain struct{ user, password string }

func (p *plain) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "PLAIN", []byte("\x00" + p.user + "\x00" + p.password), nil
}

func (p *plain) Next(_ []byte, more bool) ([]byte, error) {
	if more {
		return nil, errors.New("the server asks for more than PLAIN has")
	}
	return nil, nil
}

func loopback(conn net.Conn) bool {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// send hands the mail over.
func (m *Email) send(client *smtp.Client, n *alert.Notification) error {
	text, from, to, err := m.message(n)
	if err != nil {
		return err
	}
	if err := client.Mail(from); err != nil {
		return failed(err, "the mail server refuses the sender")
	}
	if err := m.recipients(client, to); err != nil {
		return err
	}
	w, err := client.Data()
	if err == nil {
		_, err = w.Write(text)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return failed(err, "the mail server refuses the mail")
	}
	_ = client.Quit() // the mail is taken
	return nil
}

// recipients names who gets the mail. One whom the server refuses for good does not keep it from the others.
func (m *Email) recipients(client *smtp.Client, to []string) error {
	taken := 0
	var last error
	for _, address := range to {
		err := client.Rcpt(address)
		if err == nil {
			taken++
			continue
		}
		if e, ok := errors.AsType[*textproto.Error](err); !ok || e.Code/100 != 5 {
			return failed(err, "the mail server refuses a recipient")
		}
		last = err
		if m.Refused != nil {
			m.Refused(address, err)
		}
	}
	if taken == 0 {
		return failed(last, "the mail server refuses every recipient")
	}
	return nil
}

// message is the mail (RFC 5322), with the bare addresses of its envelope.
func (m *Email) message(n *alert.Notification) (text []byte, from string, to []string, err error) {
	sender, err := mail.ParseAddress(m.From)
	if err != nil {
		return nil, "", nil, failed(err, "the sender's address cannot be used")
	}
	shown := make([]string, len(m.To))
	for i, address := range m.To {
		a, err := mail.ParseAddress(address)
		if err != nil {
			return nil, "", nil, failed(err, "a recipient's address cannot be used")
		}
		shown[i], to = a.String(), append(to, a.Address)
	}
	var b bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", sender.String())
	header("To", strings.Join(shown, ",\r\n "))
	header("Subject", strings.ReplaceAll(mime.QEncoding.Encode("utf-8", subject(n)), "?= =?", "?=\r\n =?")) // folded, since servers bound lines
	header("Date", n.At.Format(time.RFC1123Z))
	header("Message-Id", "<"+n.ID+"@"+m.Name+">")
	header("Auto-Submitted", "auto-generated") // RFC 3834: nobody's holiday answers it
	header("Mime-Version", "1.0")
	header("Content-Type", `text/plain; charset="utf-8"`)
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	_, err = io.WriteString(q, strings.ReplaceAll(body(n), "\n", "\r\n"))
	if err := errors.Join(err, q.Close()); err != nil {
		return nil, "", nil, fmt.Errorf("encode mail: %w", err)
	}
	return b.Bytes(), sender.Address, to, nil
}

// subject is the title on one line, of bounded length.
func subject(n *alert.Notification) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, title(n))
	if runes := []rune(text); len(runes) > 150 {
		text = string(runes[:150])
	}
	return "[" + status(n) + "] " + text
}

func body(n *alert.Notification) string {
	var b strings.Builder
	b.WriteString(title(n) + "\n")
	for i := range n.Alerts {
		a := &n.Alerts[i]
		fmt.Fprintf(&b, "\n%s (%s): %s\n  since %s\n", a.Phase, a.Severity, a.Summary, a.Started.UTC().Format(time.RFC3339))
		if !a.Ended.IsZero() {
			fmt.Fprintf(&b, "  until %s\n", a.Ended.UTC().Format(time.RFC3339))
		}
		fmt.Fprintf(&b, "  %s\n", a.Labels)
	}
	if n.Truncated > 0 {
		fmt.Fprintf(&b, "\n%d more are left out\n", n.Truncated)
	}
	return b.String()
}
