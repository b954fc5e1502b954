package std

import (
	"iter"
	"net/http"
	"net/url"
	"strings"
)

// header is an http.Header as policies see it.
type header struct{ h http.Header }

func (h header) Get(name string) string      { return h.h.Get(name) }
func (h header) Values(name string) []string { return h.h.Values(name) }
func (h header) Set(name, value string)      { h.h.Set(name, value) }
func (h header) Add(name, value string)      { h.h.Add(name, value) }

// Del deletes the field in the canonical and in the given spelling.
func (h header) Del(name string) {
	h.h.Del(name)
	delete(h.h, name)
}

func (h header) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for name, values := range h.h {
			for _, v := range values {
				if !yield(name, v) {
					return
				}
			}
		}
	}
}

func unescape(escaped string) string {
	p, err := url.PathUnescape(escaped)
	if err != nil {
		return escaped
	}
	return p
}

// dropUpgrade makes a plain request of one that asks for another protocol than WebSocket. What is upgraded is tunnelled
// unseen: over h2c, say, requests would come through that no policy decided on.
func dropUpgrade(r *http.Request) {
	to := r.Header["Upgrade"]
	if len(to) == 1 && strings.EqualFold(to[0], "websocket") && r.Method == http.MethodGet &&
		r.ProtoMajor == 1 && r.ProtoMinor == 1 && r.ContentLength == 0 {
		return
	}
	delete(r.Header, "Upgrade") // without it, that Connection names it counts for nothing
	delete(r.Header, "Http2-Settings")
}

// sameUpgrade tells whether a service switches to the protocol that it was asked for.
func sameUpgrade(asked, got http.Header) bool {
	to := asked.Get("Upgrade")
	return to != "" && strings.EqualFold(to, got.Get("Upgrade"))
}

// webSocketNames are spelled by RFC 6455 as net/http does not spell them. Programs that mind the case are wrong, and
// are in use.
func webSocketNames() [5][2]string {
	return [5][2]string{
		{"Sec-Websocket-Key", "Sec-WebSocket-Key"},
		{"Sec-Websocket-Version", "Sec-WebSocket-Version"},
		{"Sec-Websocket-Protocol", "Sec-WebSocket-Protocol"},
		{"Sec-Websocket-Extensions", "Sec-WebSocket-Extensions"},
		{"Sec-Websocket-Accept", "Sec-WebSocket-Accept"},
	}
}

func spellWebSocket(h http.Header) { moveWebSocket(h, h) }

// moveWebSocket moves the fields of a handshake from one header to another, spelled as RFC 6455 does.
func moveWebSocket(from, to http.Header) {
	for _, n := range webSocketNames() {
		if v, ok := from[n[0]]; ok {
			delete(from, n[0])
			to[n[1]] = v
		}
	}
}
