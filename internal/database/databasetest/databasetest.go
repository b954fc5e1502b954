// Package databasetest is the suite that every driver of package database passes.
package databasetest

import (
	"net/url"
	"sync"
	"testing"

	"github.com/atollhq/atoll/internal/database"
)

// Suite is what a driver gives to be tested.
type Suite struct {
	New   func(t *testing.T) database.Provisioner        // on the same place each time
	Write func(t *testing.T, url, text string) error     // keeps a text in the database at url
	Read  func(t *testing.T, url string) (string, error) // reads it again
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	t.Helper()
	t.Run("AServiceFindsItsDataAgainAfterARestart", func(t *testing.T) {
		first := provision(t, s.New(t), "orders")
		if err := s.Write(t, first, "kept"); err != nil {
			t.Fatal(err)
		}
		again := provision(t, s.New(t), "orders")
		if got, err := s.Read(t, again); err != nil || got != "kept" {
			t.Errorf("got %q (%v)", got, err)
		}
	})
	t.Run("TwoServicesHaveDatabasesOfTheirOwn", func(t *testing.T) {
		p := s.New(t)
		a, b := provision(t, p, "a-b"), provision(t, p, "a_b")
		if a == b {
			t.Fatalf("both have %s", a)
		}
		if err := s.Write(t, a, "of a"); err != nil {
			t.Fatal(err)
		}
		if err := s.Write(t, b, "of b"); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Read(t, a); err != nil || got != "of a" {
			t.Errorf("a has %q (%v)", got, err)
		}
	})
	t.Run("ManyServicesAreProvisionedAtOnce", func(t *testing.T) {
		p := s.New(t)
		var wait sync.WaitGroup
		for _, name := range []string{"one", "two", "three", "four", "one", "two"} {
			wait.Go(func() {
				if _, err := p.Provision(t.Context(), name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		wait.Wait()
	})
}

func provision(t *testing.T, p database.Provisioner, service string) string {
	t.Helper()
	text, err := p.Provision(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	if u, err := url.Parse(text); err != nil || u.Scheme == "" {
		t.Fatalf("%q is no URL (%v)", text, err)
	}
	return text
}
