package notify_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/alert"
	"github.com/atollhq/atoll/internal/alert/notify"
	"github.com/atollhq/atoll/internal/fault"
)

// post is a mail server on loopback that takes one connection.
type post struct {
	address string
	tls     *tls.Config // nil: it offers no STARTTLS
	refuses string      // the command that it refuses
	unknown string      // the recipient whom it refuses
	mute    bool        // it says nothing

	commands []string
	secure   bool // DATA came over TLS
	mail     string
	done     chan struct{}
}

// certificate is one of 127.0.0.1, and who trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func (p *post) serve(t *testing.T) *post {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address, p.done = l.Addr().String(), make(chan struct{})
	t.Cleanup(func() { l.Close(); <-p.done })
	go func() {
		defer close(p.done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		p.talk(conn)
	}()
	return p
}

func (p *post) talk(conn net.Conn) {
	if p.mute {
		_, _ = conn.Read(make([]byte, 1))
		return
	}
	r, say := bufio.NewReader(conn), func(s string) { _, _ = io.WriteString(conn, s+"\r\n") }
	say("220 here")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		p.commands = append(p.commands, line)
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch {
		case verb == p.refuses, verb == "RCPT" && p.unknown != "" && strings.Contains(line, p.unknown):
			say("550 no")
		case verb == "EHLO" && p.tls != nil && !p.secure:
			say("250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN")
		case verb == "EHLO":
			say("250-here\r\n250 AUTH PLAIN")
		case verb == "STARTTLS":
			say("220 go")
			conn, p.secure = tls.Server(conn, p.tls), true
			r = bufio.NewReader(conn)
		case verb == "AUTH":
			say("235 in")
		case verb == "DATA":
			say("354 go")
			for {
				line, err := r.ReadString('\n')
				if err != nil || line == ".\r\n" {
					break
				}
				p.mail += strings.TrimPrefix(line, ".")
			}
			say("250 taken")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func email(address string) *notify.Email {
	return &notify.Email{Server: address, From: "Atoll <atoll@example.com>", To: []string{"ops@example.com", "Größe <b@example.com>"}, Name: "host.example"}
}

func TestMailGoesOverTLSWithItsLoginAndHoldsNoCommands(t *testing.T) {
	server, client := certificate(t)
	p := (&post{tls: server}).serve(t)
	m := email(p.address)
	m.User, m.Password, m.TLS = "ann", "secret", client
	if err := m.Notify(t.Context(), notification()); err != nil {
		t.Fatal(err)
	}
	<-p.done
	all := strings.Join(p.commands, "\n")
	login := base64.StdEncoding.EncodeToString([]byte("\x00ann\x00secret"))
	for _, want := range []string{"EHLO host.example", "STARTTLS", "AUTH PLAIN " + login, "MAIL FROM:<atoll@example.com>", "RCPT TO:<ops@example.com>", "RCPT TO:<b@example.com>"} {
		if !strings.Contains(all, want) {
			t.Errorf("the server heard no %q in:\n%s", want, all)
		}
	}
	if !p.secure || strings.Index(all, "STARTTLS") > strings.Index(all, "AUTH") {
		t.Errorf("the password went in the clear:\n%s", all)
	}
	got, err := mail.ReadMessage(strings.NewReader(p.mail))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	if err != nil || subject != "[firing] 2 firing, 1 resolved: latency" {
		t.Errorf("the subject is %q (%v)", subject, err)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(got.Body))
	if err != nil || !strings.Contains(string(text), "QUIT") || !strings.Contains(string(text), "größer & more") || !strings.Contains(string(text), "1 more are left out") {
		t.Errorf("the mail is %s (%v)", text, err)
	}
	if got.Header.Get("Auto-Submitted") != "auto-generated" || got.Header.Get("Message-Id") != "<alert_1@host.example>" {
		t.Errorf("the headers are %v", got.Header)
	}
}

func TestALabelCannotAddAHeader(t *testing.T) {
	p := (&post{}).serve(t)
	n := notification()
	n.Group = map[string]string{"alert": "x\r\nBcc: all@example.com"}
	if err := email(p.address).Notify(t.Context(), n); err != nil { // on loopback, without TLS
		t.Fatal(err)
	}
	<-p.done
	got, err := mail.ReadMessage(strings.NewReader(p.mail))
	if err != nil || got.Header.Get("Bcc") != "" {
		t.Errorf("the headers are %v (%v)", got.Header, err)
	}
}

func TestMailThatIsNotTakenIsAnErrorWithoutThePassword(t *testing.T) {
	server, _ := certificate(t)
	for name, p := range map[string]*post{
		"a sender that is refused":    {refuses: "MAIL"},
		"a recipient that is refused": {refuses: "RCPT"},
		"a login that is refused":     {refuses: "AUTH"},
		"data that is refused":        {refuses: "DATA"},
		"a certificate of nobody":     {tls: server},
		"a server that says nothing":  {mute: true},
	} {
		t.Run(name, func(t *testing.T) {
			p.serve(t)
			m := email(p.address)
			m.User, m.Password = "ann", "secret"
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if p.mute {
				cancel()
			}
			err := m.Notify(ctx, notification())
			if fault.CodeOf(err) != fault.CodeAlertUntold || strings.Contains(err.Error(), "secret") {
				t.Errorf("it gives %v", err)
			}
			if p.mail != "" {
				t.Error("the mail was taken")
			}
			if p.mute { // a dial that never came must not leave the server waiting
				if conn, err := net.Dial("tcp", p.address); err == nil {
					conn.Close()
				}
			}
		})
	}
}

// TestARecipientWhoIsGoneKeepsNoMailFromTheOthers has one address that the server does not know, as that of somebody who has left.
func TestARecipientWhoIsGoneKeepsNoMailFromTheOthers(t *testing.T) {
	p := (&post{unknown: "ops@example.com"}).serve(t)
	m := email(p.address)
	var refused []string
	m.Refused = func(to string, _ error) { refused = append(refused, to) }
	if err := m.Notify(t.Context(), notification()); err != nil {
		t.Fatal(err)
	}
	if <-p.done; p.mail == "" || len(refused) != 1 || refused[0] != "ops@example.com" {
		t.Errorf("refused are %v, the mail is %q", refused, p.mail)
	}
	p = (&post{refuses: "RCPT"}).serve(t)
	if err := email(p.address).Notify(t.Context(), notification()); fault.CodeOf(err) != fault.CodeAlertUntold {
		t.Errorf("nobody is taken, and it gives %v", err)
	}
}

func TestNoLineOfAMailIsLongerThanServersTake(t *testing.T) {
	p := (&post{}).serve(t)
	n := notification()
	n.Group = alert.Labels{"alert": strings.Repeat("€", 200), "service": "z"}
	if err := email(p.address).Notify(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	<-p.done
	for line := range strings.SplitSeq(p.mail, "\n") {
		if len(line) > 990 {
			t.Errorf("a line has %d bytes: %.80s", len(line), line)
		}
	}
	read, err := mail.ReadMessage(strings.NewReader(p.mail))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
	if err != nil || !strings.HasSuffix(subject, "€€€") {
		t.Errorf("the subject is %q (%v)", subject, err)
	}
}
