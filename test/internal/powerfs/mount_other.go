//go:build !linux

package powerfs

import "errors"

// Mount shows the disk in a folder, on Linux.
func (d *Disk) Mount(string) (unmount func() error, err error) {
	return nil, errors.New("mount disk: there is no FUSE here")
}
