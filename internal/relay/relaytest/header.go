package relaytest

import (
	"iter"
	"net/http"

	"github.com/atollhq/atoll/internal/relay"
)

// Header is a relay.Header for tests of policies.
type Header http.Header

var _ relay.Header = Header{}

// Get implements relay.Header.
func (h Header) Get(name string) string { return http.Header(h).Get(name) }

// Values implements relay.Header.
func (h Header) Values(name string) []string { return http.Header(h).Values(name) }

// Set implements relay.Header.
func (h Header) Set(name, value string) { http.Header(h).Set(name, value) }

// Add implements relay.Header.
func (h Header) Add(name, value string) { http.Header(h).Add(name, value) }

// Del implements relay.Header.
func (h Header) Del(name string) {
	http.Header(h).Del(name)
	delete(h, name)
}

// All implements relay.Header.
func (h Header) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for name, values := range h {
			for _, v := range values {
				if !yield(name, v) {
					return
				}
			}
		}
	}
}
