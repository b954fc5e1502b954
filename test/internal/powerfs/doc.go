// Package powerfs is a file system whose power can be cut: what was written and not synced may then be lost, torn, or there
// after all, as chance wants it. kill -9 proves nothing about syncing, since the system keeps what a killed program wrote.
//
// A Disk holds every file twice: as programs see it, and as it is on the medium. A sync of a file brings its data and size to
// the medium, a sync of a folder the names in it. Cut makes every operation fail from then on; After returns the disk as it is
// found when the power is back: what is on the medium, and of everything else what the given source of chance lets survive.
// Writes survive by sectors of 512 bytes, each or not, so that one write may be torn.
//
// Of names there are two kinds of medium. A strict one is as POSIX words it: the name of a new or renamed file is durable
// after a sync of its folder, and each change of a name survives or not by itself. A journalled one is as ext4 and XFS are:
// changes of names survive in their order, and a sync of anything brings all those before it to the medium.
//
// Mount shows a Disk by FUSE, on Linux, to who may mount.
package powerfs
