// Package source watches the files that services are made of and tells which service a change belongs to.
//
// A file belongs to the service whose folder is the nearest one above it, and to every service that names a
// folder above it under watch: {also: …}. What .gitignore files name (nested ones, and those above up to the
// folder of the repository, or of the application where there is none) does not matter, nor what the service excludes, nor version control, Atoll's own
// state, node_modules, and the temporary files of editors.
//
// Of a tree without a service, which is the folder of a whole application, only files named service.yaml or
// atoll.yaml matter: that a new service appears is told as a change of the manifest, any other file below it
// that belongs to no service is not told at all.
//
// # Guarantees
//
// A change is told when a file's content has become another, never because it was merely touched or written
// as it was. Several changes close together are told as one, per service: after a quiet moment (100 ms), or
// after 2 s of unrest at the latest. New folders are watched from the moment they appear. When the system
// drops notifications, or has none to give, the trees are looked through instead, so that nothing is missed
// for good.
//
// A file whose content changes and changes back within one such moment is not told. Of a file larger than
// 8 MiB only size and time are compared.
//
// # Ordering, backpressure, failure
//
// Changes of one service are told in order. While the receiver is busy, further changes of a service join
// the one that waits: there is one for each service at most. The channel is closed when the context ends.
// A folder that cannot be read is logged and watched no further. That not every folder can be watched is
// logged and given to Options.Warn.
package source
