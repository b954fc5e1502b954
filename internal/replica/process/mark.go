package process

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// markName is the variable by which whatever a driver started is known, in whatever group or session it is.
// Its value is FOLDER-PID-START/WHO: a digest of the driver's folder, the Atoll that started it, and the
// replica, or build:SERVICE. FOLDER-PID-START is the mark of one driver.
const markName = "ATOLL_RUN"

// newMark makes the mark of a driver of this process.
func newMark(dir string) (string, error) {
	folder := strings.ToLower(rand.Text())[:folderDigest] // without a folder, nobody looks for it later
	if dir != "" {
		var err error
		if folder, err = markFolder(dir); err != nil {
			return "", err
		}
	}
	start, _ := startTime(os.Getpid())
	return fmt.Sprintf("%s-%d-%d", folder, os.Getpid(), start), nil
}

// folderDigest is the number of characters of a folder's digest.
const folderDigest = 16

func markFolder(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("resolve the driver's folder: %w", err)
	}
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:])[:folderDigest], nil
}

// marked is an environment with the mark of who a process belongs to. It comes last: what an Atoll that runs
// below another passes on does not stand against it.
func marked(env []string, mark, who string) []string {
	return append(slices.Clone(env), markName+"="+mark+"/"+who)
}

// ofDriver matches everything that one driver started, ofOne what belongs to one replica or build of it.
func ofDriver(mark string) func(string) bool {
	return func(value string) bool { return strings.HasPrefix(value, mark+"/") }
}

func ofOne(mark, who string) func(string) bool {
	return func(value string) bool { return value == mark+"/"+who }
}

// ofTheDead matches everything that was started with a folder by an Atoll that runs no more.
func ofTheDead(folder string) func(string) bool {
	return func(value string) bool {
		rest, ours := strings.CutPrefix(value, folder+"-")
		mark, _, _ := strings.Cut(rest, "/")
		number, began, ok := strings.Cut(mark, "-")
		pid, err := strconv.Atoi(number)
		start, err2 := strconv.ParseUint(began, 10, 64)
		return ours && ok && err == nil && err2 == nil && !runs(pid, start)
	}
}

// sweepRounds bounds how often sweep looks again for what was forked while it looked.
const sweepRounds = 4

// sweep kills every process whose mark matches and that was not started before since, and returns their pids.
// It looks at all processes once, and again only as long as it finds some that it has not killed yet.
func sweep(match func(value string) bool, since uint64) map[int]bool {
	killed := map[int]bool{}
	for range sweepRounds {
		before := len(killed)
		eachMarked(match, since, func(pid int) {
			killPID(pid)
			killed[pid] = true
		})
		if len(killed) == before {
			break
		}
	}
	return killed
}

// sweepLeftovers sweeps until nothing that matches is left, or the context has ended, and returns how many
// processes it killed.
func sweepLeftovers(ctx context.Context, match func(value string) bool) int {
	killed := map[int]bool{}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		found := sweep(match, 0)
		for pid := range found {
			killed[pid] = true
		}
		if len(found) == 0 {
			return len(killed)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return len(killed)
		}
	}
}
