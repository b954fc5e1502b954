// Package database gives each service a database of its own, of which nobody else has the address.
//
// A Provisioner makes what is missing and leaves what is there: it is asked at every start, and answers the
// same database for the same service, with all its data. The URL that it answers goes into DATABASE_URL of that
// service and nowhere else.
package database

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Provisioner makes databases. It is safe for concurrent use by different services; a *fault.Error is for users.
type Provisioner interface {
	// Provision returns the URL of the service's database, which exists and answers when it returns.
	Provision(ctx context.Context, service string) (url string, err error)
}

// Name is the name of a service's database and role: app and service behind a prefix (PostgreSQL keeps names that
// begin with pg_ to itself), at most 63 bytes (its limit), with a hash in the place of what is too long.
func Name(app, service string) string {
	const prefix, limit = "atoll_", 63
	name := prefix + strings.ReplaceAll(app+"_"+service, "-", "_")
	if prefix+app+"_"+service == name && len(name) <= limit {
		return name
	}
	// Hyphens became underscores or the end was cut: the hash keeps what was different apart.
	sum := sha256.Sum256([]byte(app + "\x00" + service))
	suffix := "_" + hex.EncodeToString(sum[:4])
	return name[:min(len(name), limit-len(suffix))] + suffix
}

// NewPassword is 192 random bits as text.
func NewPassword() string {
	b := make([]byte, 24)
	if _, err := rand.Read(b); err != nil {
		panic("database: the system has no random numbers: " + err.Error())
	}
	return hex.EncodeToString(b)
}
