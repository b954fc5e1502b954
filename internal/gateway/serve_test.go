package gateway_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/gateway"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
	"github.com/atollhq/atoll/internal/relay/std"
)

// serve runs a gateway before one service that answers with what it saw, and returns the gateway's address.
func serve(t *testing.T, o *gateway.Options, a *manifest.App) (*gateway.Gateway, string) {
	t.Helper()
	return serveWith(t, o, a, nil)
}

// serveWith is serve with secrets.
func serveWith(t *testing.T, o *gateway.Options, a *manifest.App, secrets map[string]string) (*gateway.Gateway, string) {
	t.Helper()
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Method, " ", r.RequestURI, " ", r.Host, " ", r.Header.Get("X-Forwarded-Proto"))
	}))
	t.Cleanup(behind.Close)
	up := relay.NewUpstreams(std.New(), nil)
	up.Declare(map[string]manifest.Protocol{"crm": "", "web": "", "website": ""})
	for _, name := range []string{"crm", "web", "website"} {
		up.Set(name, []relay.Endpoint{{ID: name + "-1", Service: name, Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", behind.Listener.Addr().String())
		}}})
	}
	g := gateway.New(up, o)
	if err := apply(t.Context(), g, a, secrets); err != nil {
		t.Fatal(err)
	}
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = up.Close()
	})
	return g, ln.Addr().String()
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// certificate writes a certificate for 127.0.0.1 into dir.
func certificate(t *testing.T, dir string) (pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

func TestTLSIsServedWithBothVersionsOfHTTP(t *testing.T) {
	a := app(func(m *manifest.Gateway) { m.TLS = &manifest.TLS{Cert: "cert.pem", Key: "key.pem"} })
	a.Dir = t.TempDir()
	pool := certificate(t, a.Dir)
	_, addr := serve(t, nil, a)
	for _, h2 := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(!h2)
		tr.Protocols.SetHTTP2(h2)
		res, text := get(t, &http.Client{Transport: tr}, "https://"+addr+"/crm/x")
		if (res.ProtoMajor == 2) != h2 || text != "GET /crm/x "+addr+" https" || res.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: %q, header %v", res.Proto, text, res.Header)
		}
		tr.CloseIdleConnections()
	}
}

func TestEachRequestIsInTheAccessLogAndOnOnHop(t *testing.T) {
	var mu sync.Mutex
	var log bytes.Buffer
	hops := make(chan relay.Hop, 2)
	_, addr := serve(t, &gateway.Options{
		AccessLog: slog.New(slog.NewJSONHandler(writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(p)
		}), nil)),
		OnHop: func(h relay.Hop) { hops <- h },
	}, app(nil))
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	get(t, c, "http://"+addr+"/crm/x?secret=1")
	hop := <-hops
	if hop.Kind != relay.KindGateway || hop.Route != "/crm/**" || hop.Service != "crm" || hop.Endpoint != "crm-1" || hop.Status != 200 ||
		hop.Tries != 1 || hop.Path != "/crm/x" || hop.BytesOut == 0 || hop.Remote != "127.0.0.1" {
		t.Errorf("hop %+v", hop)
	}
	mu.Lock()
	defer mu.Unlock()
	if line := log.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, hop.Trace.ID.String()) || strings.Contains(line, "secret") {
		t.Errorf("access log %q", line)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestAHeadBeyondTheLimitIsRefusedAsAProblemAndFarBeyondAtOnce(t *testing.T) {
	_, addr := serve(t, nil, app(func(m *manifest.Gateway) { m.Headers = 10_000 }))
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	for size, problem := range map[int]bool{12_000: true, 1_000_000: false} {
		res, _ := get(t, c, "http://"+addr+"/crm/"+strings.Repeat("a", size))
		if res.StatusCode != 431 || (res.Header.Get("Content-Type") == "application/problem+json") != problem {
			t.Errorf("%d bytes: %d %v", size, res.StatusCode, res.Header)
		}
	}
}

func TestReloadsUnderLoadFailNoRequest(t *testing.T) {
	g, addr := serve(t, nil, app(nil))
	stop := make(chan struct{})
	sent := make(chan struct{}, 64)
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			c := &http.Client{Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				case sent <- struct{}{}:
				}
				res, text := get(t, c, "http://"+addr+"/crm/x")
				if res.StatusCode != 200 {
					t.Errorf("%d %s", res.StatusCode, text)
					return
				}
			}
		})
	}
	for i := range 200 {
		for range 5 {
			<-sent
		}
		err := apply(t.Context(), g, app(func(m *manifest.Gateway) {
			if i%2 == 0 {
				m.Routes[0].To = "web"
			}
			m.Routes = append(m.Routes, manifest.Route{Path: fmt.Sprint("/extra/", i), To: "crm"})
		}), nil)
		if err != nil {
			t.Error(err)
		}
	}
	close(stop)
	clients.Wait()
}
