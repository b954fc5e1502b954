// Package engines tests saga engines that share a PostgreSQL: processes that are stopped for longer than their lease and go on, killed,
// and cut off from the database, while sagas are started at all of them by the same keys. It needs Linux and PostgreSQL's programs.
package engines
