// Command words knows how to greet, by language.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	words := map[string]string{"en": "Hello", "fi": "Hei", "pt": "Olá", "sw": "Habari"}
	http.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("GET /word/{language}", func(w http.ResponseWriter, r *http.Request) {
		word, known := words[r.PathValue("language")]
		if !known {
			http.Error(w, "no word in that language", http.StatusNotFound)
			return
		}
		fmt.Fprint(w, word)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
