package metric

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// finishTruncation removes what a power cut has left of a truncation of a log. The database removes the segments that a checkpoint
// or blocks have taken the place of one after the other, and a disk may keep the removal of a later one and not of an earlier. The
// database does not open a log with such a gap; what lies before it is not needed.
func finishTruncation(dir string) error {
	entries, err := os.ReadDir(dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var segments []int
	gap := 0 // how many segments lie before the last one
	checkpoint := -1
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name(), "checkpoint."); ok {
			if n, err := strconv.Atoi(name); err == nil {
				checkpoint = max(checkpoint, n)
			}
			continue
		}
		n, err := strconv.Atoi(e.Name())
		if err != nil || e.IsDir() || len(e.Name()) != 8 {
			continue
		}
		if len(segments) > 0 && n != segments[len(segments)-1]+1 {
			gap = len(segments)
		}
		segments = append(segments, n)
	}
	for _, n := range segments[:gap] {
		if filepath.Base(dir) == "wal" && n > checkpoint {
			return nil // this is no truncation, and not for us to mend
		}
		if err := os.Remove(filepath.Join(dir, fmt.Sprintf("%08d", n))); err != nil {
			return err
		}
	}
	if gap == 0 {
		return nil
	}
	return syncDir(dir)
}
