package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/relay"
)

// identity is who a client proved to be.
type identity struct {
	auth    string // name of the entry of gateway.auth
	subject string
	key     string // name of the API key, or ""
}

// authenticator is one entry of gateway.auth.
type authenticator interface {
	// prove returns who the client is. It tells false if the request holds nothing for it to look at.
	prove(ctx context.Context, h relay.Header) (identity, bool, error)
	challenge() string // for WWW-Authenticate
}

var (
	errRefused     = errors.New("the proof of identity is refused")
	errUnavailable = errors.New("the issuer's keys have not been fetched yet")
)

// supportedAlgorithms are the signature algorithms that can be allowed. None is symmetric, and "none" is not there.
func supportedAlgorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// tokenAuth takes bearer tokens (RFC 6750) that are JSON Web Tokens (RFC 7519), after RFC 8725.
type tokenAuth struct {
	name   string
	keys   *keyset
	parser *jwt.Parser
}

const maxToken = 16 << 10

func newTokenAuth(name string, m *manifest.JWT, keys *keyset) (*tokenAuth, *fault.Error) {
	allowed := m.Algorithms
	if len(allowed) == 0 {
		allowed = supportedAlgorithms()
	}
	for _, a := range allowed {
		if !slices.Contains(supportedAlgorithms(), a) {
			return nil, fault.New(fault.CodeGatewayAuth, "auth %q: algorithm %q is not taken", name, a).
				Fix("use one of %s", strings.Join(supportedAlgorithms(), ", "))
		}
	}
	if m.Issuer == "" || m.Audience == "" {
		return nil, fault.New(fault.CodeGatewayAuth, "auth %q: a token is taken only with an issuer and an audience", name).
			Fix("set issuer and audience")
	}
	return &tokenAuth{name: name, keys: keys, parser: jwt.NewParser(
		jwt.WithValidMethods(allowed), jwt.WithIssuer(m.Issuer), jwt.WithAudience(m.Audience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(m.Leeway.Std()),
	)}, nil
}

func (a *tokenAuth) challenge() string { return "Bearer" }

func (a *tokenAuth) prove(ctx context.Context, h relay.Header) (identity, bool, error) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return identity{}, len(values) > 0, fmt.Errorf("%w: Authorization comes more than once", errRefused)
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return identity{}, false, nil
	}
	token = strings.TrimSpace(token)
	if len(token) > maxToken {
		return identity{}, true, fmt.Errorf("%w: the token is too long", errRefused)
	}
	var claims jwt.RegisteredClaims
	if _, err := a.parser.ParseWithClaims(token, &claims, a.keyFor(ctx)); err != nil {
		if errors.Is(err, errUnavailable) {
			return identity{}, true, errUnavailable
		}
		return identity{}, true, fmt.Errorf("%w: %w", errRefused, err)
	}
	if strings.ContainsFunc(claims.Subject, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return identity{}, true, fmt.Errorf("%w: the subject holds control characters", errRefused)
	}
	return identity{auth: a.name, subject: claims.Subject}, true, nil
}

// keyFor finds the keys that may verify a token: its key ID must match, and its algorithm must be one that fits the
// key's own type, so that a token cannot choose how a key is used.
func (a *tokenAuth) keyFor(ctx context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		if _, critical := t.Header["crit"]; critical {
			return nil, errors.New("the token has critical extensions, of which none is known")
		}
		id, _ := t.Header["kid"].(string) // a key ID that is no string is none
		keys, have := a.keys.find(ctx, id)
		if !have {
			return nil, errUnavailable
		}
		var set jwt.VerificationKeySet
		for _, k := range keys {
			if slices.Contains(k.algorithms, t.Method.Alg()) {
				set.Keys = append(set.Keys, k.public)
			}
		}
		if len(set.Keys) == 0 {
			return nil, errors.New("no key of the issuer fits the token's key ID and algorithm")
		}
		return set, nil
	}
}

// keyAuth takes API keys. It keeps their hashes only.
type keyAuth struct {
	name   string
	header string
	keys   []apiKey
}

type apiKey struct {
	name string
	hash [sha256.Size]byte
}

// newKeyAuth reads the keys out of the secret: NAME:KEY or NAME:sha256:HEX, one a line or separated by commas.
func newKeyAuth(name string, m *manifest.APIKey, secret string) (*keyAuth, *fault.Error) {
	a := &keyAuth{name: name, header: m.Header}
	if a.header == "" {
		a.header = "X-Api-Key"
	}
	for i, entry := range strings.FieldsFunc(secret, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		key, ok := parseKey(entry)
		if !ok {
			return nil, fault.New(fault.CodeGatewaySecret, "entry %d of secret %q is no API key", i+1, m.Keys).
				Fix("write each as NAME:KEY or NAME:sha256:HEX")
		}
		a.keys = append(a.keys, key)
	}
	if len(a.keys) == 0 {
		return nil, fault.New(fault.CodeGatewaySecret, "secret %q holds no API key", m.Keys).
			Fix("write each as NAME:KEY or NAME:sha256:HEX, one a line")
	}
	return a, nil
}

func parseKey(entry string) (apiKey, bool) {
	name, key, ok := strings.Cut(entry, ":")
	if !ok || name == "" || key == "" {
		return apiKey{}, false
	}
	digits, hashed := strings.CutPrefix(key, "sha256:")
	if !hashed {
		return apiKey{name: name, hash: sha256.Sum256([]byte(key))}, true
	}
	k := apiKey{name: name}
	n, err := hex.Decode(k.hash[:], []byte(digits[:min(len(digits), 2*sha256.Size)]))
	return k, err == nil && n == sha256.Size && len(digits) == 2*sha256.Size
}

func (a *keyAuth) challenge() string { return `ApiKey header="` + a.header + `"` }

func (a *keyAuth) prove(_ context.Context, h relay.Header) (identity, bool, error) {
	values := h.Values(a.header)
	if len(values) == 0 {
		return identity{}, false, nil
	}
	hash := sha256.Sum256([]byte(values[0]))
	found := -1
	for i := range a.keys { // all of them, so that the time does not tell which came near
		if subtle.ConstantTimeCompare(hash[:], a.keys[i].hash[:]) == 1 {
			found = i
		}
	}
	if found < 0 || len(values) > 1 {
		return identity{}, true, fmt.Errorf("%w: the key is not known", errRefused)
	}
	h.Del(a.header) // the service has no need of it
	name := a.keys[found].name
	return identity{auth: a.name, subject: name, key: name}, true, nil
}

// authenticate lets one of the ways succeed, or says why none did.
func authenticate(ctx context.Context, ways []authenticator, h relay.Header) (identity, *relay.Reply) {
	var refused error
	var challenges []relay.Field
	for _, way := range ways {
		who, present, err := way.prove(ctx, h)
		switch {
		case !present:
		case err == nil:
			return who, nil
		case errors.Is(err, errUnavailable):
			return identity{}, relay.Refuse(503,
				fault.New(fault.CodeAuthUnavailable, "the token cannot be checked, since its issuer cannot be reached").
					Fix("try again in a moment").Because(err), relay.Field{Name: "Retry-After", Value: "10"})
		default:
			refused = err
		}
		challenge := way.challenge()
		if present && challenge == "Bearer" {
			challenge = `Bearer error="invalid_token"`
		}
		challenges = append(challenges, relay.Field{Name: "WWW-Authenticate", Value: challenge})
	}
	if refused != nil {
		return identity{}, relay.Refuse(401, fault.New(fault.CodeAuthRefused, "the proof of identity is not valid here").
			Fix("get a new token or key for this application").Because(refused), challenges...)
	}
	return identity{}, relay.Refuse(401, fault.New(fault.CodeAuthMissing, "this request needs a proof of identity").
		Fix("send one as WWW-Authenticate says"), challenges...)
}
