// Package std is the relay's driver on net/http and httputil.ReverseProxy. It is the reference that a faster driver
// is held against: HTTP/1.1 and HTTP/2 (TLS by ALPN, plain text by prior knowledge) in front, a pool of HTTP/1.1
// connections for each endpoint behind, or of HTTP/2 ones for services that speak gRPC.
//
// Bodies are never held back: a response without a length, or of type text/event-stream, is flushed at each write,
// others after 50 ms at the latest. Of a request's body at most 64 KB are kept for sending again.
//
// A request that carries both Transfer-Encoding and Content-Length is read by the former, as RFC 9112, 6.3 allows,
// and goes on with one framing only.
package std
