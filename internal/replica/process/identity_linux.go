package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// stat is what /proc/PID/stat says (proc_pid_stat(5)).
type stat struct {
	state string
	pgrp  int
	ticks uint64 // user and system time
	start uint64 // since boot, in ticks
	pages int64  // resident
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(text)
}

// parseStat reads the fields after the name, which stands in parentheses and may hold any character.
func parseStat(text []byte) (stat, error) {
	end := bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	if end < 0 || len(fields) < 22 {
		return stat{}, fmt.Errorf("parse stat: %q is short", text)
	}
	var s stat
	s.state = fields[0]
	var errs [5]error
	var utime, stime uint64
	s.pgrp, errs[0] = strconv.Atoi(fields[2])
	utime, errs[1] = strconv.ParseUint(fields[11], 10, 64)
	stime, errs[2] = strconv.ParseUint(fields[12], 10, 64)
	s.start, errs[3] = strconv.ParseUint(fields[19], 10, 64)
	s.pages, errs[4] = strconv.ParseInt(fields[21], 10, 64)
	s.ticks = utime + stime
	for _, err := range errs {
		if err != nil {
			return stat{}, fmt.Errorf("parse stat: %w", err)
		}
	}
	return s, nil
}

// startTime is when a process started, in a unit of the system's own; false if there is no such process (one
// that waits to be reaped counts as gone).
func startTime(pid int) (uint64, bool) {
	s, err := readStat(pid)
	return s.start, err == nil && s.state != "Z" && s.state != "X"
}

// bootID names this boot of the system: start times of another mean nothing.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// eachProcess calls f with every process.
func eachProcess(f func(pid int, s stat)) {
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read before an error still counts
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil {
			f(pid, s)
		}
	}
}

// strays are the processes of a group whose first process is gone, and that were started as the given
// replica: their environment says so.
func strays(pgid int, replicaID string) []int {
	var pids []int
	eachProcess(func(pid int, s stat) {
		if s.pgrp != pgid || pid == pgid || replicaID == "" {
			return
		}
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && bytes.Contains(append([]byte{0}, env...), []byte("\x00ATOLL_REPLICA="+replicaID+"\x00")) {
			pids = append(pids, pid)
		}
	})
	return pids
}
