// Package smtpd is a small SMTP server (RFC 5321) for development: no authentication, no TLS, every recipient is taken.
//
// # Guarantees
//
// A mail is acknowledged when deliver has returned nil; when it fails, the client is told to come again (451).
//
// # Backpressure and failure
//
// At most Options.MaxConns connections are served; more are told to come again (421). Lines, mails and the time that a
// client may be silent are bounded. When the context ends, connections are told so after the command under way and closed.
package smtpd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/mail"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"github.com/atollhq/atoll/sdk"
)

// Bounds of a conversation.
const (
	maxMail       = 1 << 20
	maxRecipients = 100
	maxLine       = 4096
)

// Delivery is a mail with its envelope.
type Delivery struct {
	From string   `json:"from"`
	To   []string `json:"to"`
	Data string   `json:"data"` // RFC 5322
}

// Deliver takes a mail; when it returns nil, the mail is safe.
type Deliver func(ctx context.Context, d Delivery) error

// Mailbox delivers to the mailbox service.
func Mailbox(mailbox *sdk.Callee) Deliver {
	return func(ctx context.Context, d Delivery) error {
		return mailbox.JSON(ctx, http.MethodPost, "/mails", d, nil)
	}
}

// Options of New. The zero value is good.
type Options struct {
	MaxConns int           // default 100
	Patience time.Duration // for each command of the client; default 1 min
}

// Server is an SMTP server.
type Server struct {
	deliver  Deliver
	log      *slog.Logger
	slots    chan struct{}
	patience time.Duration
}

// New makes a server.
func New(deliver Deliver, log *slog.Logger, opts *Options) *Server {
	o := Options{MaxConns: 100, Patience: time.Minute}
	if opts != nil && opts.MaxConns > 0 {
		o.MaxConns = opts.MaxConns
	}
	if opts != nil && opts.Patience > 0 {
		o.Patience = opts.Patience
	}
	return &Server{deliver: deliver, log: log, slots: make(chan struct{}, o.MaxConns), patience: o.Patience}
}

// Serve serves connections until ctx ends, and returns when all have.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		select {
		case s.slots <- struct{}{}:
			wg.Go(func() {
				defer func() { <-s.slots }()
				s.serve(ctx, conn)
			})
		default:
			_, _ = io.WriteString(conn, "421 too many connections, come again\r\n") // it is closed anyway
			_ = conn.Close()
		}
	}
}

func (s *Server) serve(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }() // all that matters was acknowledged
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	c := &session{server: s, conn: conn, in: bufio.NewReaderSize(conn, maxLine)}
	c.say("220 smtp ready")
	for ctx.Err() == nil && c.err == nil && !c.over {
		line, err := c.line(ctx)
		if err != nil {
			c.end(ctx, err)
			return
		}
		c.command(ctx, line)
	}
	if c.err == nil && !c.over {
		c.say("421 closing, come again")
	}
}

// session is one conversation.
type session struct {
	server *Server
	conn   net.Conn
	in     *bufio.Reader
	err    error // of writing
	over   bool

	greeted bool
	begun   bool // MAIL was said
	mail    Delivery
}

func (c *session) say(text string) {
	if c.err == nil {
		_ = c.conn.SetWriteDeadline(time.Now().Add(c.server.patience))
		_, c.err = io.WriteString(c.conn, text+"\r\n")
	}
}

// wait bounds the time of the client from now on.
func (c *session) wait(ctx context.Context) error {
	_ = c.conn.SetReadDeadline(time.Now().Add(c.server.patience))
	return ctx.Err() // else the line above would have undone the deadline that ends the conversation
}

func (c *session) line(ctx context.Context) (string, error) {
	if err := c.wait(ctx); err != nil {
		return "", err
	}
	line, err := c.in.ReadSlice('\n')
	return strings.TrimRight(string(line), "\r\n"), err
}

func (c *session) end(ctx context.Context, err error) {
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		c.say("500 the line is too long")
	case ctx.Err() != nil:
		c.say("421 closing, come again")
	case !errors.Is(err, io.EOF):
		c.say("421 too slow")
	}
}

func (c *session) command(ctx context.Context, line string) {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		c.reset()
		c.greeted = true
		c.say(fmt.Sprintf("250-smtp\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 SIZE %d", maxMail))
	case "HELO":
		c.reset()
		c.greeted = true
		c.say("250 smtp")
	case "MAIL":
		c.from(rest)
	case "RCPT":
		c.to(rest)
	case "DATA":
		c.data(ctx)
	case "RSET":
		c.reset()
		c.say("250 ok")
	case "NOOP":
		c.say("250 ok")
	case "VRFY":
		c.say("252 send it and see")
	case "QUIT":
		c.over = true
		c.say("221 goodbye")
	default:
		c.say("502 not known here")
	}
}

func (c *session) reset() { c.begun, c.mail = false, Delivery{} }

func (c *session) from(rest string) {
	address, ok := path(rest, "FROM:")
	switch {
	case !c.greeted:
		c.say("503 say EHLO first")
	case !ok:
		c.say("501 should be MAIL FROM:<address>")
	default:
		c.reset()
		c.begun, c.mail.From = true, address
		c.say("250 ok")
	}
}

func (c *session) to(rest string) {
	address, ok := path(rest, "TO:")
	switch {
	case !c.begun:
		c.say("503 say MAIL first")
	case !ok || address == "":
		c.say("501 should be RCPT TO:<address>")
	case len(c.mail.To) == maxRecipients:
		c.say("452 too many recipients")
	default:
		c.mail.To = append(c.mail.To, address)
		c.say("250 ok")
	}
}

// path is the address of MAIL FROM:<address> and its like; parameters after it are ignored. The empty one is that of
// bounces.
func path(text, prefix string) (string, bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return "", false
	}
	text = strings.TrimSpace(text[len(prefix):])
	end := strings.IndexByte(text, '>')
	if !strings.HasPrefix(text, "<") || end < 0 {
		return "", false
	}
	if text = text[1:end]; text == "" {
		return "", true
	}
	a, err := mail.ParseAddress(text)
	return text, err == nil && a.Address == text
}

func (c *session) data(ctx context.Context) {
	if len(c.mail.To) == 0 {
		c.say("503 say RCPT first")
		return
	}
	c.say("354 end with a line of one dot")
	if c.wait(ctx) != nil {
		return // the conversation ends
	}
	body := textproto.NewReader(c.in).DotReader() // undoes the stuffing of dots
	text, err := io.ReadAll(io.LimitReader(body, maxMail+1))
	if err == nil && len(text) > maxMail {
		_, err = io.Copy(io.Discard, body)
		if err == nil {
			c.reset()
			c.say("552 the mail is too large")
			return
		}
	}
	if err != nil {
		c.over = true
		return
	}
	c.mail.Data = string(text)
	// A mail that is there as a whole is delivered, also when the service is told to end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.server.patience)
	defer cancel()
	if err := c.server.deliver(ctx, c.mail); err != nil {
		c.server.log.WarnContext(ctx, "not delivered", slog.Any("error", err))
		c.say("451 not now, come again")
	} else {
		c.say("250 it is in the mailbox")
	}
	c.reset()
}
