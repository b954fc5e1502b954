package platform

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Capabilities tells what this machine can do for services.
func Capabilities() []Capability {
	return []Capability{openFiles(), watches()}
}

// openFiles checks how many files and connections a process may have open.
func openFiles() Capability {
	const enough = 4096
	var limit unix.Rlimit
	c := Capability{Name: "open files"}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		c.Text = "not known"
		return c
	}
	c.Text = fmt.Sprintf("at most %d", limit.Max)
	if limit.Max < enough {
		c.Fix = fmt.Sprintf("raise the limit: ulimit -n %d", enough)
	}
	return c
}

// watches checks how many folders can be watched for changes.
func watches() Capability {
	const enough = 8192
	c := Capability{Name: "watched folders", Text: "not known"}
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_watches")
	if err != nil {
		return c
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return c
	}
	c.Text = fmt.Sprintf("at most %d", n)
	if n < enough {
		c.Fix = fmt.Sprintf("raise the limit: sysctl fs.inotify.max_user_watches=%d", 8*enough)
	}
	return c
}
