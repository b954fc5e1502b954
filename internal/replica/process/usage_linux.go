package process

import (
	"os"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/replica"
)

// usage sums up what each process group uses. All replicas share one look at /proc, which is taken again
// when it is older than usageAge.
type usage struct {
	mu    sync.Mutex // guards what follows
	taken time.Time
	byPID map[int]replica.Usage // by group
}

const (
	usageAge = time.Second
	// clockTick is USER_HZ, which is 100 on every architecture that Go supports.
	clockTick = 10 * time.Millisecond
)

func (u *usage) of(pgid int) replica.Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.byPID[pgid]; !known || time.Since(u.taken) > usageAge {
		u.look()
	}
	return u.byPID[pgid]
}

func (u *usage) look() {
	page := int64(os.Getpagesize())
	u.byPID = map[int]replica.Usage{}
	eachProcess(func(_ int, s stat) {
		sum := u.byPID[s.pgrp]
		sum.MemoryBytes += s.pages * page
		sum.CPU += time.Duration(s.ticks) * clockTick
		u.byPID[s.pgrp] = sum
	})
	u.taken = time.Now()
}
