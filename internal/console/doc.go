// Package console serves the web console: the pages, which are embedded, and who may use them.
//
// The pages speak to the control API alone, which is served beside them under the same address. Nobody is let through to it without
// the token of a session. A session begins with a link that can be used once, within ten minutes; its token is kept by the page
// and sent as a bearer token, never as a cookie: cookies do not distinguish ports, so every service of the application would be
// sent one, and any page could act with it.
//
// Sessions outlive a restart: what is kept of them, in a file that only the user can read, are hashes of their tokens. There are
// at most 64 of them, of which the one that was used least lately gives way, and each ends after 14 days without use. A link is
// kept in memory alone.
//
// The pages are built by make from web/, and are not in version control. A program that was built without them serves a page
// that says so.
package console
