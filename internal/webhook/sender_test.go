package webhook_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback is what lets the tests' receivers be sent to.
func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

func sender(t *testing.T, o webhook.SenderOptions) *webhook.Sender {
	t.Helper()
	s := webhook.NewSender(&o)
	t.Cleanup(s.Close)
	return s
}

// receiver serves TLS on loopback.
func receiver(t *testing.T, h http.HandlerFunc) (url string, roots *x509.CertPool) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots = x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return srv.URL, roots
}

// endpointAt is an endpoint of a registry that lets it be anywhere.
func endpointAt(t *testing.T, url string) (e webhook.Endpoint, secret string) {
	t.Helper()
	r := registry(t, &cabinet{}, &webhook.RegistryOptions{Allow: loopback()})
	return create(t, r, spec(func(s *webhook.Spec) { s.URL = url }))
}

func message() webhook.Message {
	return webhook.Message{
		ID: webhook.MessageID("/services/orders", "o.1"), Timestamp: noon(), Topic: "order.placed",
		Body: []byte(`{"specversion":"1.0"}`), Attempt: 2,
	}
}

func TestAReceiverGetsASignedEventThatItCanVerify(t *testing.T) {
	var body []byte
	var got *http.Request
	url, roots := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		got = r
		fmt.Fprint(w, strings.Repeat("thanks", 10_000))
	})
	e, secret := endpointAt(t, url+"/hooks?a=b")
	m := message()
	r := sender(t, webhook.SenderOptions{Allow: loopback(), Roots: roots}).Send(t.Context(), e, m)
	if r.Status != 200 || r.Class != webhook.ClassNone || r.Err != nil || len(r.Answer) != webhook.MaxAnswer || r.Duration <= 0 || !r.At.Equal(noon()) {
		t.Fatalf("%+v", r)
	}
	k := keys(t, webhook.Settings{Scheme: webhook.SchemeStandard, Secret: secret})
	if err := k.Verify(noon(), got.Header, body); err != nil || string(body) != string(m.Body) {
		t.Errorf("%v, body %q", err, body)
	}
	if got.Method != http.MethodPost || got.RequestURI != "/hooks?a=b" || got.ProtoMajor != 2 || got.Header.Get("Webhook-Id") != m.ID ||
		got.Header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8" || got.Header.Get("Atoll-Topic") != "order.placed" ||
		got.Header.Get("Atoll-Attempt") != "2" || got.Header.Get("User-Agent") != "Atoll-Webhooks" {
		t.Errorf("%s %s %s %v", got.Method, got.RequestURI, got.Proto, got.Header)
	}
}

func TestDuringARotationBothSecretsVerify(t *testing.T) {
	var header http.Header
	url, roots := receiver(t, func(_ http.ResponseWriter, r *http.Request) { header = r.Header })
	reg := registry(t, &cabinet{}, &webhook.RegistryOptions{Allow: loopback()})
	e, first := create(t, reg, spec(func(s *webhook.Spec) { s.URL = url }))
	e, second, err := reg.Rotate(t.Context(), e.ID, noon())
	if err != nil {
		t.Fatal(err)
	}
	m := message()
	for at, want := range map[time.Duration][2]bool{time.Hour: {true, true}, webhook.Overlap: {false, true}} {
		m.Timestamp = noon().Add(at)
		if r := sender(t, webhook.SenderOptions{Allow: loopback(), Roots: roots}).Send(t.Context(), e, m); r.Status != 200 {
			t.Fatalf("%+v", r)
		}
		for i, secret := range []string{first, second} {
			err := keys(t, webhook.Settings{Scheme: webhook.SchemeStandard, Secret: secret}).Verify(m.Timestamp, header, m.Body)
			if (err == nil) != want[i] {
				t.Errorf("after %s secret %d: %v", at, i+1, err)
			}
		}
	}
}

func TestNoRedirectIsFollowedAndEveryFailureHasItsClass(t *testing.T) {
	release := make(chan struct{})
	url, roots := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect)
		case "/ok":
			t.Error("a redirect was followed")
		case "/busy":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/date":
			w.Header().Set("Retry-After", noon().Add(time.Minute).Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/years":
			w.Header().Set("Retry-After", "2000000000")
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/hangs":
			<-release
		case "/breaks":
			panic(http.ErrAbortHandler)
		}
	})
	defer close(release)
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "https://" + closed.Addr().String()
	closed.Close()
	good := sender(t, webhook.SenderOptions{Allow: loopback(), Roots: roots})
	hasty := sender(t, webhook.SenderOptions{Allow: loopback(), Roots: roots, Timeout: 50 * time.Millisecond})
	distrustful := sender(t, webhook.SenderOptions{Allow: loopback()})
	strict := sender(t, webhook.SenderOptions{Roots: roots})
	for name, c := range map[string]struct {
		sender  *webhook.Sender
		url     string
		status  int
		class   webhook.Class
		after   time.Duration
		verdict webhook.Verdict
	}{
		"redirect":       {good, url + "/redirect", 307, webhook.ClassStatus, 0, webhook.VerdictRetry},
		"busy":           {good, url + "/busy", 429, webhook.ClassStatus, 2 * time.Minute, webhook.VerdictRetry},
		"busy until":     {good, url + "/date", 503, webhook.ClassStatus, time.Minute, webhook.VerdictRetry},
		"busy for years": {good, url + "/years", 503, webhook.ClassStatus, 24 * time.Hour, webhook.VerdictRetry},
		"gone":           {good, url + "/gone", 410, webhook.ClassStatus, 0, webhook.VerdictGone},
		"breaks":         {good, url + "/breaks", 0, webhook.ClassBroken, 0, webhook.VerdictRetry},
		"nobody":         {good, nobody, 0, webhook.ClassConnect, 0, webhook.VerdictRetry},
		"hangs":          {hasty, url + "/hangs", 0, webhook.ClassTimeout, 0, webhook.VerdictRetry},
		"no proof":       {distrustful, url + "/ok2", 0, webhook.ClassTLS, 0, webhook.VerdictRetry},
		"inside":         {strict, url + "/ok2", 0, webhook.ClassAddress, 0, webhook.VerdictRetry},
		"success":        {good, url + "/ok2", 200, webhook.ClassNone, 0, webhook.VerdictDone},
	} {
		e, _ := endpointAt(t, c.url)
		r := c.sender.Send(t.Context(), e, message())
		if r.Status != c.status || r.Class != c.class || r.RetryAfter != c.after || webhook.Judge(r) != c.verdict || (r.Status == 0) != (r.Err != nil) {
			t.Errorf("%s: %+v, %s", name, r, webhook.Judge(r))
		}
	}
}

func TestAStopOfTheSenderIsNoFailureOfTheReceiver(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{})
	url, roots := receiver(t, func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	e, _ := endpointAt(t, url)
	if r := sender(t, webhook.SenderOptions{Allow: loopback(), Roots: roots}).Send(ctx, e, message()); r.Class != webhook.ClassAborted {
		t.Errorf("%+v", r)
	}
}

// raw serves one answer as it stands on the wire, and then says nothing more.
func raw(t *testing.T, answer string) (url string) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		if req, err := http.ReadRequest(r); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
		}
		_, _ = io.WriteString(c, answer)
		_, _ = io.Copy(io.Discard, r) // until the sender ends it
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return "http://" + ln.Addr().String()
}

func TestAReceiverThatSaysItsStatusAndThenNothingHoldsNobody(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		status int
		class  webhook.Class
	}{
		"a body without an end": {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nso f", 200, webhook.ClassNone},
		"another protocol":      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 101, webhook.ClassStatus},
		"a head without an end": {"HTTP/1.1 200 OK\r\nX: y", 0, webhook.ClassTimeout},
		"rubbish":               {"220 mail.example ESMTP\r\n", 0, webhook.ClassBroken},
	} {
		r := registry(t, &cabinet{}, nil)
		e, _ := create(t, r, spec(func(s *webhook.Spec) { s.URL, s.AllowPrivate = raw(t, c.answer), true }))
		s := webhook.NewSender(&webhook.SenderOptions{Timeout: 200 * time.Millisecond})
		if r := s.Send(t.Context(), e, message()); r.Status != c.status || r.Class != c.class {
			t.Errorf("%s: %+v", name, r)
		}
		s.Close()
	}
}

func TestAMessageThatCannotBeSignedIsNotSent(t *testing.T) {
	e, _ := endpointAt(t, "https://192.0.2.1.example/")
	s := sender(t, webhook.SenderOptions{})
	for _, id := range []string{"", "a.b", "two words", "new\nline"} {
		m := message()
		m.ID = id
		if r := s.Send(t.Context(), e, m); r.Class != webhook.ClassInvalid || fault.CodeOf(r.Err) != fault.CodeWebhookInvalid {
			t.Errorf("%q: %+v", id, r)
		}
	}
	if r := s.Send(t.Context(), webhook.Endpoint{URL: e.URL}, message()); r.Class != webhook.ClassInvalid {
		t.Errorf("without secrets: %+v", r)
	}
	if webhook.MessageID("a", "bc") == webhook.MessageID("ab", "c") || webhook.MessageID("/a", "b") != "msg_l9mf85h80tab2s2857llkcf6dc" {
		t.Error("an event's message has no name of its own")
	}
}

// names is a resolver for which every name has one address.
func names(t *testing.T, addr netip.Addr) *net.Resolver {
	t.Helper()
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		mine, theirs := net.Pipe()
		go func() {
			defer mine.Close()
			var err error
			for err == nil {
				err = answer(mine, addr)
			}
		}()
		return theirs, nil
	}}
}

// answer reads one question, in DNS's form for streams, and answers it.
func answer(c net.Conn, addr netip.Addr) error {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return err
	}
	text := make([]byte, int(size[0])<<8|int(size[1]))
	if _, err := io.ReadFull(c, text); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(text); err != nil || len(m.Questions) != 1 {
		return errors.Join(err, errors.New("no question"))
	}
	q := m.Questions[0]
	m.Response, m.Authoritative, m.RecursionAvailable, m.Additionals = true, true, true, nil
	h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
	switch {
	case q.Type == dnsmessage.TypeA && addr.Is4():
		m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}}}
	case q.Type == dnsmessage.TypeAAAA && addr.Is6():
		m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}}}
	}
	packed, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = c.Write(append([]byte{byte(len(packed) >> 8), byte(len(packed))}, packed...))
	return err
}

func TestANameThatLeadsInsideIsRefusedWhenItIsConnectedTo(t *testing.T) {
	for _, inside := range []string{
		"127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "0.0.0.0",
	} {
		e, _ := endpointAt(t, "https://partner.example/")
		s := sender(t, webhook.SenderOptions{Resolver: names(t, netip.MustParseAddr(inside))})
		if r := s.Send(t.Context(), e, message()); r.Class != webhook.ClassAddress || fault.CodeOf(r.Err) != fault.CodeWebhookAddress {
			t.Errorf("%s: %s %v", inside, r.Class, r.Err)
		}
	}
}

func TestANameThatDoesNotResolveIsAMatterOfDNS(t *testing.T) {
	e, _ := endpointAt(t, "https://partner.example/")
	s := sender(t, webhook.SenderOptions{Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server")
	}}})
	if r := s.Send(t.Context(), e, message()); r.Class != webhook.ClassDNS {
		t.Errorf("%+v", r)
	}
}

// The library reads the environment once for a process, so the test is a process of its own.
func TestNoProxyOfTheEnvironmentIsUsed(t *testing.T) {
	if os.Getenv("TEST_BEHIND_PROXY") != "" {
		e, _ := endpointAt(t, "https://partner.example:1/")
		s := sender(t, webhook.SenderOptions{Allow: loopback(), Resolver: names(t, netip.MustParseAddr("127.0.0.1"))})
		if r := s.Send(t.Context(), e, message()); r.Class != webhook.ClassConnect {
			t.Errorf("%+v", r)
		}
		return
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	t.Cleanup(proxy.Close)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoProxyOfTheEnvironmentIsUsed$")
	cmd.Env = append(os.Environ(), "TEST_BEHIND_PROXY=1", "HTTPS_PROXY="+proxy.URL, "https_proxy="+proxy.URL)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
