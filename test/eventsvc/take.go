package main

import (
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"os"
	"time"
)

// taker takes events as its role wants it.
type taker struct {
	role   string
	ledger *ledger
}

// ServeHTTP implements http.Handler.
func (t *taker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("Ce-Id")
	wild := !t.ledger.told("calm")
	switch t.role {
	case "slow":
		<-time.After(time.Duration(5+rand.IntN(25)) * time.Millisecond)
	case "crashes":
		if wild && rand.IntN(300) == 0 {
			os.Exit(1)
		}
		if wild && rand.IntN(300) == 0 {
			t.ledger.write("A " + id)
			os.Exit(1) // between taking it and saying so
		}
	case "stalls":
		if wild && rand.IntN(100) == 0 {
			<-r.Context().Done()
			return
		}
	case "fails":
		if rand.IntN(10) == 0 {
			http.Error(w, "not now", http.StatusInternalServerError)
			return
		}
	case "refuses":
		if isOneOfHundred(id) {
			t.ledger.write("R " + id)
			http.Error(w, "never", http.StatusUnprocessableEntity)
			return
		}
	}
	t.ledger.write("A " + id)
	w.WriteHeader(http.StatusNoContent)
}

// isOneOfHundred picks one event of a hundred, always the same.
func isOneOfHundred(id string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // which never fails
	return h.Sum32()%100 == 0
}
