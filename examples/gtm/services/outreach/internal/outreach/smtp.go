package outreach

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"net/url"
	"time"
)

// Relay takes mails; it is an SMTP server.
type Relay struct {
	addr, host string
	tls        bool // from the first byte; else when the server offers it
	auth       smtp.Auth
	patience   time.Duration
}

// ErrRefused says that the server will never take a mail.
var ErrRefused = errors.New("the mail server refuses this mail for good")

// NewRelay reads a URL such as smtp://user:password@mail.example:587 or smtps://mail.example. patience is how long one mail
// may take from the connection to its acknowledgement.
func NewRelay(raw string, patience time.Duration) (*Relay, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
		return nil, errors.New("SMTP_URL is no URL of the form smtp://user:password@host:port") // it may hold a password: not shown
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"smtp": "587", "smtps": "465"}[u.Scheme]
	}
	r := &Relay{
		addr: net.JoinHostPort(u.Hostname(), port), host: u.Hostname(), tls: u.Scheme == "smtps", patience: patience,
	}
	if password, ok := u.User.Password(); ok {
		r.auth = smtp.PlainAuth("", u.User.Username(), password, r.host) // which insists on TLS, but to this machine
	}
	return r, nil
}

// Send hands a mail over and returns when the server has taken responsibility for it. An error that is ErrRefused will be
// the same the next time.
func (r *Relay) Send(ctx context.Context, m Mail) error {
	text, err := m.Bytes()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.addr)
	if err != nil {
		return fmt.Errorf("connect to mail server: %w", err)
	}
	defer func() { _ = conn.Close() }() // after Quit it is closed already
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := r.converse(conn, m, text); err != nil {
		if reply, ok := errors.AsType[*textproto.Error](err); ok && reply.Code >= 500 {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return fmt.Errorf("send mail: %w", err)
	}
	return nil
}

func (r *Relay) converse(conn net.Conn, m Mail, text []byte) error {
	if r.tls {
		conn = tls.Client(conn, &tls.Config{ServerName: r.host})
	}
	c, err := smtp.NewClient(conn, r.host)
	if err != nil {
		return err
	}
	if offered, _ := c.Extension("STARTTLS"); offered && !r.tls {
		if err := c.StartTLS(&tls.Config{ServerName: r.host}); err != nil {
			return err
		}
	}
	if r.auth != nil {
		if err := c.Auth(r.auth); err != nil {
			return err
		}
	}
	if err := c.Mail(m.From.Address); err != nil {
		return err
	}
	if err := c.Rcpt(m.To.Address); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil { // the acknowledgement
		return err
	}
	_ = c.Quit() // the mail is theirs, whatever becomes of the goodbye
	return nil
}
