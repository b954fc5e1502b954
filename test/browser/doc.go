// Package browser starts the reference application with its console, fills it, and runs scripts against it in Debian's chromium. The
// tests of the console, its pictures (shots) and bench/console use it.
//
// It needs Node with npm, chromium, and the console's pages (make console).
package browser
