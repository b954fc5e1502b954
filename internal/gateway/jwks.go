package gateway

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// issuerKey is one public key of an issuer, and the algorithms that it may verify.
type issuerKey struct {
	id         string
	public     crypto.PublicKey
	algorithms []string
}

// parseJWKS reads a JSON Web Key Set (RFC 7517, RFC 7518, RFC 8037). Keys of other kinds, for other uses, or too
// weak are left out, as RFC 7517, 5 wants it; private and symmetric keys are never read as such.
func parseJWKS(data []byte) ([]issuerKey, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("parse key set: %w", err)
	}
	var keys []issuerKey
	for _, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		public, algorithms := k.public()
		if k.Alg != "" {
			algorithms = slices.DeleteFunc(algorithms, func(a string) bool { return a != k.Alg })
		}
		if public != nil && len(algorithms) > 0 {
			keys = append(keys, issuerKey{id: k.Kid, public: public, algorithms: algorithms})
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no key that can verify a signature")
	}
	return keys, nil
}

type jwk struct {
	Kty, Kid, Use, Alg, Crv, N, E, X, Y string
}

const minRSABits = 2048

// public is the key and the algorithms that fit its type, or nil.
func (k jwk) public() (crypto.PublicKey, []string) {
	switch {
	case k.Kty == "RSA":
		n, e := decodeInt(k.N), decodeInt(k.E)
		if n == nil || e == nil || n.BitLen() < minRSABits || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || e.Bit(0) == 0 {
			return nil, nil
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case k.Kty == "OKP" && k.Crv == "Ed25519":
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return nil, nil
		}
		return ed25519.PublicKey(x), []string{"EdDSA"}
	case k.Kty == "EC":
		return k.elliptic()
	}
	return nil, nil
}

func (k jwk) elliptic() (crypto.PublicKey, []string) {
	var curve elliptic.Curve
	var algorithm string
	switch k.Crv {
	case "P-256":
		curve, algorithm = elliptic.P256(), "ES256"
	case "P-384":
		curve, algorithm = elliptic.P384(), "ES384"
	case "P-521":
		curve, algorithm = elliptic.P521(), "ES512"
	default:
		return nil, nil
	}
	x, y := decodeInt(k.X), decodeInt(k.Y)
	size := (curve.Params().BitSize + 7) / 8
	if x == nil || y == nil || x.BitLen() > 8*size || y.BitLen() > 8*size {
		return nil, nil
	}
	point := make([]byte, 1+2*size)
	point[0] = 4
	x.FillBytes(point[1 : 1+size])
	y.FillBytes(point[1+size:])
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, nil
	}
	return public, []string{algorithm}
}

func decodeInt(s string) *big.Int {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil || len(b) == 0 {
		return nil
	}
	return new(big.Int).SetBytes(b)
}

// How an issuer's keys are kept.
const (
	keysFresh   = 5 * time.Minute  // then they are fetched anew, while they go on serving
	keysPause   = 10 * time.Second // between two fetches, whatever asks for them
	keysTimeout = 5 * time.Second  // of one fetch
	keysMaxSize = 1 << 20
)

// keyset is an issuer's keys and where they come from. Keys that could not be fetched anew go on serving.
type keyset struct {
	source string
	fetch  func(ctx context.Context, source string) ([]byte, error)
	logger *slog.Logger
	owner  *sync.WaitGroup // waits for fetches
	keys   atomic.Pointer[fetchedKeys]

	mu    sync.Mutex    // guards what follows
	tried time.Time     // when the last fetch began
	done  chan struct{} // closed when the last fetch has ended
}

type fetchedKeys struct {
	keys []issuerKey
	at   time.Time
}

// find returns the keys for a token: those of its key ID, or all if it names none. It fetches the keys anew if they
// are old, without waiting, or if the ID is not among them, waiting for the outcome. It tells false if there have
// never been keys.
func (s *keyset) find(ctx context.Context, id string) ([]issuerKey, bool) {
	now := time.Now()
	have := s.keys.Load()
	found := have.withID(id)
	switch {
	case len(found) > 0 && now.Sub(have.at) < keysFresh:
		return found, true
	case len(found) > 0:
		s.refresh(ctx, now)
		return found, true
	}
	done := s.refresh(ctx, now)
	select {
	case <-done:
	case <-ctx.Done():
	}
	have = s.keys.Load()
	return have.withID(id), have != nil
}

func (f *fetchedKeys) withID(id string) []issuerKey {
	if f == nil || id == "" {
		if f == nil {
			return nil
		}
		return f.keys
	}
	var found []issuerKey
	for _, k := range f.keys {
		if k.id == id || k.id == "" {
			found = append(found, k)
		}
	}
	return found
}

// refresh begins a fetch unless one is under way or was a moment ago. The channel is closed when the last one has
// ended.
func (s *keyset) refresh(ctx context.Context, now time.Time) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil && now.Sub(s.tried) < keysPause {
		return s.done
	}
	done := make(chan struct{})
	s.tried, s.done = now, done
	ctx = context.WithoutCancel(ctx) // the fetch serves others than the request that began it
	s.owner.Go(func() {
		defer close(done)
		if err := s.load(ctx); err != nil {
			s.logger.Warn("an issuer's keys cannot be fetched", slog.String("jwks", s.source), slog.Any("error", err))
		}
	})
	return done
}

// load fetches the keys.
func (s *keyset) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	data, err := s.fetch(ctx, s.source)
	if err != nil {
		return fmt.Errorf("fetch keys: %w", err)
	}
	keys, err := parseJWKS(data)
	if err != nil {
		return err
	}
	s.keys.Store(&fetchedKeys{keys: keys, at: time.Now()})
	return nil
}

// isRemote tells whether a source of keys is a URL.
func isRemote(source string) bool {
	return strings.HasPrefix(source, "https://") || strings.HasPrefix(source, "http://")
}

// checkSource tells why keys must not come from a source: whoever can change them can sign.
func checkSource(source string) error {
	u, err := url.Parse(source)
	if err != nil {
		return fmt.Errorf("parse URL: %w", err)
	}
	if u.Scheme == "https" {
		return nil
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if u.Hostname() == "localhost" || err == nil && addr.IsLoopback() {
		return nil
	}
	return errors.New("keys come by https only, or by http from this machine")
}

// fetchKeys reads a source of keys.
func fetchKeys(ctx context.Context, source string) ([]byte, error) {
	if !isRemote(source) {
		return os.ReadFile(source)
	}
	if err := checkSource(source); err != nil {
		return nil, err
	}
	client := http.Client{CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 {
			return errors.New("too many redirects")
		}
		return checkSource(r.URL.String())
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true // once in five minutes is not worth a connection
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the issuer answered %s", res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, keysMaxSize+1))
	if err == nil && len(data) > keysMaxSize {
		err = errors.New("the key set is larger than 1 MiB")
	}
	return data, err
}
