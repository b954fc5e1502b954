// Command hello greets whoever comes, in the language that the path names.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("GET /hello/{language}", func(w http.ResponseWriter, r *http.Request) {
		word, err := get(r, os.Getenv("WORDS_URL")+"/word/"+r.PathValue("language"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		name, err := get(r, os.Getenv("NAMES_URL")+"/name")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, "%s, %s!\n", word, name)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

// get calls a service that service.yaml declares, as a part of the request r.
func get(r *http.Request, url string) (string, error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("traceparent", r.Header.Get("traceparent")) // so that atoll trace shows one tree
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", url, resp.Status, text)
	}
	return string(text), err
}
