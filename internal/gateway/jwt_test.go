package gateway_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/gateway"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

func jwtAuth(j manifest.JWT) func(*manifest.Gateway) {
	return func(m *manifest.Gateway) {
		m.Auth = map[string]manifest.Auth{"staff": {JWT: &j}}
		m.Routes[0].Auth = []string{"staff"}
	}
}

// signer is a private key with what its issuer publishes of it.
type signer struct {
	key crypto.Signer
	jwk map[string]string
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func newSigner(t *testing.T, kind, kid string) signer {
	t.Helper()
	switch kind {
	case "RSA":
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return signer{k, map[string]string{"kty": "RSA", "kid": kid, "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}}
	case "Ed25519":
		public, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return signer{k, map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(public)}}
	}
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[kind]
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	n := (len(point) - 1) / 2
	return signer{k, map[string]string{"kty": "EC", "crv": kind, "kid": kid, "x": b64(point[1 : 1+n]), "y": b64(point[1+n:])}}
}

func keySet(t *testing.T, signers ...signer) []byte {
	t.Helper()
	keys := make([]map[string]string, len(signers))
	for i, s := range signers {
		keys[i] = s.jwk
	}
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func claims(change func(jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{"iss": "https://id.example", "aud": []string{"other", "gtm"}, "sub": "u1", "exp": time.Now().Add(time.Hour).Unix()}
	if change != nil {
		change(c)
	}
	return c
}

func sign(t *testing.T, method, kid string, key any, c jwt.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(method), c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// issuer serves a key set that tests change.
type issuer struct {
	mu      sync.Mutex // guards what follows
	keys    []byte
	err     error
	fetches int
}

func (i *issuer) fetch(context.Context, string) ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetches++
	return i.keys, i.err
}

func (i *issuer) set(keys []byte, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys, i.err = keys, err
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

var staff = manifest.JWT{Issuer: "https://id.example", Audience: "gtm", JWKS: "https://id.example/keys", Leeway: manifest.Duration(30 * time.Second)}

// guarded is a gateway whose /crm wants a token of the issuer.
func guarded(t *testing.T, i *issuer, j manifest.JWT) *gateway.Gateway {
	t.Helper()
	return open(t, &gateway.Options{FetchKeys: i.fetch}, app(jwtAuth(j)), nil)
}

// prove presents a token and returns the subject, or the code of the refusal.
func prove(t *testing.T, g *gateway.Gateway, token string) (string, fault.Code) {
	t.Helper()
	d, _ := ask(t, g, "GET", "/crm/x", "Authorization", "Bearer "+token)
	_, code := refusal(d)
	return upstream(d, relay.SubjectHeader), code
}

func TestTokensOfEveryAllowedAlgorithmAreTaken(t *testing.T) {
	rsaKey, edKey := newSigner(t, "RSA", "r"), newSigner(t, "Ed25519", "e")
	p256, p384, p521 := newSigner(t, "P-256", "2"), newSigner(t, "P-384", "3"), newSigner(t, "P-521", "5")
	i := &issuer{keys: keySet(t, rsaKey, edKey, p256, p384, p521)}
	g := guarded(t, i, staff)
	for method, s := range map[string]signer{
		"RS256": rsaKey, "RS384": rsaKey, "RS512": rsaKey, "PS256": rsaKey, "PS384": rsaKey, "PS512": rsaKey,
		"ES256": p256, "ES384": p384, "ES512": p521, "EdDSA": edKey,
	} {
		for _, kid := range []string{s.jwk["kid"], ""} {
			if sub, code := prove(t, g, sign(t, method, kid, s.key, claims(nil))); sub != "u1" {
				t.Errorf("%s, key ID %q: %s", method, kid, code)
			}
		}
	}
}

func TestAlgorithmsCannotBeConfused(t *testing.T) {
	s, weak := newSigner(t, "RSA", "r"), newSigner(t, "P-256", "w")
	pinned := newSigner(t, "RSA", "pinned")
	pinned.jwk["alg"] = "PS256"
	g := guarded(t, &issuer{keys: keySet(t, s, weak, pinned)}, staff)
	public := []byte(s.jwk["n"])
	none := b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(`{"iss":"https://id.example","aud":"gtm","sub":"u1","exp":99999999999}`)) + "."
	good := sign(t, "RS256", "r", s.key, claims(nil))
	parts := strings.Split(good, ".")
	critical := jwt.NewWithClaims(jwt.SigningMethodRS256, claims(nil))
	critical.Header["crit"] = []string{"exp"}
	crit, err := critical.SignedString(s.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"HMAC with the public key":    sign(t, "HS256", "r", public, claims(nil)),
		"none":                        none,
		"None":                        strings.Replace(none, b64([]byte(`{"alg":"none"}`)), b64([]byte(`{"alg":"None"}`)), 1),
		"a key's ID with another key": sign(t, "ES256", "r", weak.key, claims(nil)),
		"RS256 on a key for PS256":    sign(t, "RS256", "pinned", pinned.key, claims(nil)),
		"a signature that is cut":     parts[0] + "." + parts[1] + "." + parts[2][:20],
		"no signature":                parts[0] + "." + parts[1] + ".",
		"claims of another token":     parts[0] + "." + b64([]byte(`{"iss":"https://id.example","aud":"gtm","sub":"admin","exp":99999999999}`)) + "." + parts[2],
		"critical extension":          crit,
		"a stranger's key":            sign(t, "RS256", "r", newSigner(t, "RSA", "r").key, claims(nil)),
		"rubbish":                     "a.b.c",
		"too long":                    good + strings.Repeat("a", 20_000),
		"wrong issuer":                sign(t, "RS256", "r", s.key, claims(func(c jwt.MapClaims) { c["iss"] = "https://id.example/" })),
		"wrong audience":              sign(t, "RS256", "r", s.key, claims(func(c jwt.MapClaims) { c["aud"] = "gtm2" })),
		"no audience":                 sign(t, "RS256", "r", s.key, claims(func(c jwt.MapClaims) { delete(c, "aud") })),
		"expired":                     sign(t, "RS256", "r", s.key, claims(func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-31 * time.Second).Unix() })),
		"no expiry":                   sign(t, "RS256", "r", s.key, claims(func(c jwt.MapClaims) { delete(c, "exp") })),
		"not yet":                     sign(t, "RS256", "r", s.key, claims(func(c jwt.MapClaims) { c["nbf"] = time.Now().Add(time.Minute).Unix() })),
		"a subject with a line end":   sign(t, "RS256", "r", s.key, claims(func(c jwt.MapClaims) { c["sub"] = "a\r\nb" })),
	} {
		if sub, code := prove(t, g, token); code != fault.CodeAuthRefused || sub != "" {
			t.Errorf("%s: subject %q, code %q", name, sub, code)
		}
	}
	if sub, code := prove(t, g, good); sub != "u1" {
		t.Errorf("the good one: %s", code)
	}
	if d, _ := ask(t, g, "GET", "/crm/x", "Authorization", "Bearer "+good, "Authorization", "Bearer x"); d.Reply == nil {
		t.Error("two Authorization fields are taken")
	}
	for _, bad := range []string{"HS256", "none", "RS1"} {
		j := staff
		j.Algorithms = []string{bad}
		if err := apply(t.Context(), g, app(jwtAuth(j)), nil); fault.CodeOf(err.(fault.List)[0]) != fault.CodeGatewayAuth { //nolint:errorlint // what Apply promises
			t.Errorf("%s can be allowed: %v", bad, err)
		}
	}
	j := staff
	j.Algorithms = []string{"ES256"}
	if _, code := prove(t, guarded(t, &issuer{keys: keySet(t, s)}, j), good); code != fault.CodeAuthRefused {
		t.Error("an algorithm that is not in the list is taken")
	}
}

func TestKeysRotateAndSurviveAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newSigner(t, "P-256", "1"), newSigner(t, "P-256", "2")
		i := &issuer{keys: keySet(t, first)}
		g := guarded(t, i, staff)
		synctest.Wait()
		token := func(s signer) string { return sign(t, "ES256", s.jwk["kid"], s.key, claims(nil)) }
		if sub, code := prove(t, g, token(first)); sub != "u1" || i.count() != 1 {
			t.Fatalf("%s after %d fetches", code, i.count())
		}
		i.set(keySet(t, first, second), nil)
		elapse(11 * time.Second)
		if sub, code := prove(t, g, token(second)); sub != "u1" || i.count() != 2 {
			t.Errorf("a new key: %s after %d fetches", code, i.count())
		}
		i.set(nil, errors.New("outage"))
		for range 100 {
			elapse(time.Minute)
			if sub, code := prove(t, g, token(first)); sub != "u1" {
				t.Fatalf("during the outage: %s", code)
			}
			synctest.Wait()
		}
		i.set(keySet(t, second), nil)
		elapse(11 * time.Second)
		prove(t, g, token(second)) // begins the fetch, and does not wait for it
		synctest.Wait()
		if sub, code := prove(t, g, token(first)); code != fault.CodeAuthRefused {
			t.Errorf("a key that was withdrawn: subject %q, %s", sub, code)
		}
	})
}

func TestUnknownKeyIDsCannotFloodTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t, "P-256", "1")
		i := &issuer{keys: keySet(t, s)}
		g := guarded(t, i, staff)
		var callers sync.WaitGroup
		for n := range 100 {
			callers.Go(func() {
				if _, code := prove(t, g, sign(t, "ES256", fmt.Sprint("unknown ", n), s.key, claims(nil))); code != fault.CodeAuthRefused {
					t.Errorf("code %s", code)
				}
			})
			elapse(time.Second)
		}
		callers.Wait()
		if n := i.count(); n > 11 {
			t.Errorf("%d fetches in 100 s", n)
		}
	})
}

func TestTokensAreRefusedButNotForgottenWhileNoKeysWereEverFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t, "P-256", "1")
		i := &issuer{err: errors.New("outage")}
		g := guarded(t, i, staff)
		token := sign(t, "ES256", "1", s.key, claims(nil))
		if _, code := prove(t, g, token); code != fault.CodeAuthUnavailable {
			t.Errorf("code %s", code)
		}
		i.set(keySet(t, s), nil)
		elapse(11 * time.Second)
		if sub, code := prove(t, g, token); sub != "u1" {
			t.Errorf("after the outage: %s", code)
		}
	})
}

func TestKeysSurviveAReload(t *testing.T) {
	s := newSigner(t, "P-256", "1")
	i := &issuer{keys: keySet(t, s)}
	g := guarded(t, i, staff)
	token := sign(t, "ES256", "1", s.key, claims(nil))
	prove(t, g, token)
	i.set(nil, errors.New("outage"))
	if err := apply(t.Context(), g, app(jwtAuth(staff)), nil); err != nil {
		t.Fatal(err)
	}
	if sub, code := prove(t, g, token); sub != "u1" || i.count() != 1 {
		t.Errorf("%s after %d fetches", code, i.count())
	}
}

func TestConcurrentProofsKeepTheirSubjects(t *testing.T) {
	s := newSigner(t, "P-256", "1")
	g := guarded(t, &issuer{keys: keySet(t, s)}, staff)
	var wrong atomic.Int64
	var clients sync.WaitGroup
	for n := range 16 {
		want := fmt.Sprint("user ", n)
		token := sign(t, "ES256", "1", s.key, claims(func(c jwt.MapClaims) { c["sub"] = want }))
		clients.Go(func() {
			for range 20 {
				if sub, _ := prove(t, g, token); sub != want {
					wrong.Add(1)
				}
			}
		})
	}
	clients.Wait()
	if wrong.Load() > 0 {
		t.Errorf("%d requests got another's subject", wrong.Load())
	}
}

func FuzzKeySet(f *testing.F) {
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":"AA"},{"kty":"oct","k":"AA"}]}`)
	f.Add(`{"keys":null}`)
	f.Fuzz(func(t *testing.T, set string) {
		g := gateway.New(relay.NewUpstreams(nil, nil), &gateway.Options{
			FetchKeys: func(context.Context, string) ([]byte, error) { return []byte(set), nil },
		})
		j := staff
		j.JWKS = "file.json"
		_ = apply(t.Context(), g, app(jwtAuth(j)), nil) // whatever it says, it does not panic
	})
}

// elapse lets time pass in a synctest bubble.
func elapse(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // only in bubbles
