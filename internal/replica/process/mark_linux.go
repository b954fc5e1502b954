package process

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// maxEnviron is how much of a process's environment is read.
const maxEnviron = 4 << 20

// eachMarked calls f with every process but this one whose mark matches and that was not started before
// since. The start time is the same before and after the mark was read: the pid stands for one process.
func eachMarked(match func(value string) bool, since uint64, f func(pid int)) {
	self := os.Getpid()
	eachProcess(func(pid int, s stat) {
		if pid <= 1 || pid == self || s.start < since || s.pages == 0 { // kernel threads and zombies have no memory
			return
		}
		if value, ok := markOf(pid); ok && match(value) && runs(pid, s.start) {
			f(pid)
		}
	})
}

// markOf reads the mark of a process. One of another user, whose environment may not be read, has none.
func markOf(pid int) (string, bool) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return "", false
	}
	defer file.Close()
	env, _ := io.ReadAll(io.LimitReader(file, maxEnviron)) // what was read before an error still counts
	for kv := range bytes.SplitSeq(env, []byte{0}) {
		if value, ok := bytes.CutPrefix(kv, []byte(markName+"=")); ok {
			return string(value), true
		}
	}
	return "", false
}
