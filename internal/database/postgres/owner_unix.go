//go:build unix

package postgres

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// giveToOwnerOf gives a file to the owner of what info describes.
func giveToOwnerOf(info fs.FileInfo, name string) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := os.Chown(name, int(stat.Uid), int(stat.Gid)); err != nil {
		return fmt.Errorf("give file to PostgreSQL's user: %w", err)
	}
	return nil
}
