package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/atollhq/atoll/internal/manifest"
)

// The controllers that limits need.
const (
	controlMemory = "memory"
	controlCPU    = "cpu"
)

// cpuPeriod is the period in which CPU time is measured out, in microseconds (the kernel's default).
const cpuPeriod = 100_000

// hierarchies is where Atoll's own cgroups are: in version 2 one folder, in version 1 one for each
// controller. On a hybrid system, where the controllers are in version 1, v2 has none of them.
type hierarchies struct {
	v2 string
	v1 map[string]string // controller -> folder
}

// locate reads /proc/self/mountinfo and /proc/self/cgroup (cgroups(7)).
func locate(mountinfo, self []byte) hierarchies {
	own := map[string]string{} // controller -> path within its hierarchy; "" for version 2
	for line := range strings.Lines(string(self)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 {
			for controller := range strings.SplitSeq(parts[1], ",") {
				own[controller] = parts[2]
			}
		}
	}
	h := hierarchies{v1: map[string]string{}}
	for lines := bufio.NewScanner(bytes.NewReader(mountinfo)); lines.Scan(); {
		mount, tail, ok := strings.Cut(lines.Text(), " - ")
		fields, kind := strings.Fields(mount), strings.Fields(tail)
		if !ok || len(fields) < 5 || len(kind) < 3 {
			continue
		}
		root, point := fields[3], fields[4]
		switch kind[0] {
		case "cgroup2":
			h.v2 = within(point, root, own[""])
		case "cgroup":
			for option := range strings.SplitSeq(kind[2], ",") {
				if path, ok := own[option]; ok && option != "" && (option == controlMemory || option == controlCPU) {
					h.v1[option] = within(point, root, path)
				}
			}
		}
	}
	return h
}

// within is the folder of a cgroup path below a mount whose root is the given part of the hierarchy.
func within(point, root, path string) string {
	if rel, err := filepath.Rel(root, path); err == nil && !strings.HasPrefix(rel, "..") {
		return filepath.Join(point, rel)
	}
	return point
}

// cgroups makes the cgroups of replicas, all in a folder of this Atoll's own below the cgroup that it is in,
// so that limits set on Atoll hold for them as well.
type cgroups struct {
	h    hierarchies
	name string

	mu    sync.Mutex         // guards what follows
	bases map[string]baseDir // controller -> where replicas' cgroups are made
}

type baseDir struct {
	dir string
	v2  bool
	err error
}

func newCgroups() *cgroups {
	mountinfo, _ := os.ReadFile("/proc/self/mountinfo") // without them there are no hierarchies
	self, _ := os.ReadFile("/proc/self/cgroup")
	return &cgroups{h: locate(mountinfo, self), name: fmt.Sprintf("atoll-%d", os.Getpid()), bases: map[string]baseDir{}}
}

// make makes the cgroup of one replica; an error means that the limits cannot be enforced.
func (c *cgroups) make(id string, l manifest.Limits) (*cgroup, error) {
	g := &cgroup{}
	if l.Memory > 0 {
		if err := g.limitMemory(c, id, int64(l.Memory)); err != nil {
			g.remove()
			return nil, fmt.Errorf("limit memory: %w", err)
		}
	}
	if l.CPU > 0 {
		if err := g.limitCPU(c, id, l.CPU); err != nil {
			g.remove()
			return nil, fmt.Errorf("limit CPU: %w", err)
		}
	}
	return g, g.open()
}

// base is the folder for a controller, made at first use.
func (c *cgroups) base(controller string) (baseDir, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.bases[controller]
	if !ok {
		b = c.makeBase(controller)
		c.bases[controller] = b
	}
	return b, b.err
}

func (c *cgroups) makeBase(controller string) baseDir {
	if dir, ok := c.h.v1[controller]; ok {
		b := baseDir{dir: filepath.Join(dir, c.name)}
		b.err = mkdir(b.dir)
		return b
	}
	if c.h.v2 == "" {
		return baseDir{err: errors.New("no cgroups are mounted")}
	}
	b := baseDir{dir: filepath.Join(c.h.v2, c.name), v2: true}
	b.err = errors.Join(c.delegate(c.h.v2, controller), mkdir(b.dir))
	if b.err == nil {
		b.err = enable(b.dir, controller)
	}
	return b
}

// delegate passes a controller on to the cgroups below dir. Version 2 allows that only where no process is
// in dir itself (unless it is the root), so if Atoll and what it started are alone there they move down.
func (c *cgroups) delegate(dir, controller string) error {
	err := enable(dir, controller)
	if err == nil {
		return nil
	}
	pids, readErr := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if readErr != nil || strings.TrimSpace(string(pids)) != strconv.Itoa(os.Getpid()) {
		return err
	}
	own := filepath.Join(dir, c.name+"-self")
	if err := mkdir(own); err != nil {
		return err
	}
	if err := put(own, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	return enable(dir, controller)
}

func enable(dir, controller string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err == nil && slices.Contains(strings.Fields(string(have)), controller) {
		return nil
	}
	return put(dir, "cgroup.subtree_control", "+"+controller)
}

// close removes the folders; what cannot be removed holds processes still.
func (c *cgroups) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.bases {
		if b.err == nil {
			_ = os.Remove(b.dir) // the next boot forgets it at the latest
		}
	}
	c.bases = map[string]baseDir{}
}

func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func put(dir, file, value string) error {
	return os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644)
}

// cgroup is the cgroup of one replica: one folder in version 2, one for each controller in version 1. A nil
// cgroup limits nothing.
type cgroup struct {
	v2     string
	v1     []string
	memory string // the folder that knows of memory
	before int    // how often memory had run out there when it was taken
	fd     *os.File
}

func (g *cgroup) limitMemory(c *cgroups, id string, limit int64) error {
	dir, v2, err := g.dir(c, controlMemory, id)
	if err != nil {
		return err
	}
	g.memory, g.before = dir, outOfMemoryCount(dir)
	if !v2 {
		if err := put(dir, "memory.limit_in_bytes", strconv.FormatInt(limit, 10)); err != nil {
			return err
		}
		_ = put(dir, "memory.memsw.limit_in_bytes", strconv.FormatInt(limit, 10)) // absent without swap accounting
		return nil
	}
	_ = put(dir, "memory.swap.max", "0")  // absent without swap
	_ = put(dir, "memory.oom.group", "1") // absent before Linux 4.19
	return put(dir, "memory.max", strconv.FormatInt(limit, 10))
}

func (g *cgroup) limitCPU(c *cgroups, id string, cpus float64) error {
	dir, v2, err := g.dir(c, controlCPU, id)
	if err != nil {
		return err
	}
	quota := max(int64(cpus*cpuPeriod), 1000) // the kernel takes no less than a millisecond
	if v2 {
		return put(dir, "cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod))
	}
	if err := put(dir, "cpu.cfs_period_us", strconv.Itoa(cpuPeriod)); err != nil {
		return err
	}
	return put(dir, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10))
}

// dir makes the folder of a controller for this cgroup.
func (g *cgroup) dir(c *cgroups, controller, id string) (dir string, v2 bool, err error) {
	b, err := c.base(controller)
	if err != nil {
		return "", false, err
	}
	dir = filepath.Join(b.dir, id)
	if err := mkdir(dir); err != nil {
		return "", false, err
	}
	if b.v2 {
		g.v2 = dir
	} else if !slices.Contains(g.v1, dir) {
		g.v1 = append(g.v1, dir)
	}
	return dir, b.v2, nil
}

// open opens the folder of version 2, into which a process can be forked.
func (g *cgroup) open() error {
	if g.v2 == "" {
		return nil
	}
	var err error
	g.fd, err = os.Open(g.v2)
	return err
}

// descriptor is that of the folder to fork into, if there is one.
func (g *cgroup) descriptor() (int, bool) {
	if g == nil || g.fd == nil {
		return 0, false
	}
	return int(g.fd.Fd()), true
}

// add puts a process into the folders of version 1. What it started in the moment before stays outside.
func (g *cgroup) add(pid int) error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, dir := range g.v1 {
		errs = append(errs, put(dir, "cgroup.procs", strconv.Itoa(pid)))
	}
	return errors.Join(errs...)
}

// outOfMemory tells whether the kernel killed a process here at the memory limit.
func (g *cgroup) outOfMemory() bool {
	return g != nil && g.memory != "" && outOfMemoryCount(g.memory) > g.before
}

// outOfMemoryCount is how many processes of a cgroup were killed at its memory limit.
func outOfMemoryCount(dir string) int {
	for _, file := range []string{"memory.events", "memory.oom_control"} { // of version 2, of version 1
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
				n, _ := strconv.Atoi(f[1]) // what is no number is no kill
				return n
			}
		}
	}
	return 0
}

// remove removes the folders. One that still holds a process stays; it is used again by the next run of the
// replica.
func (g *cgroup) remove() {
	if g == nil {
		return
	}
	if g.fd != nil {
		g.fd.Close()
	}
	if g.v2 != "" {
		_ = os.Remove(g.v2) // see above
	}
	for _, dir := range g.v1 {
		_ = os.Remove(dir) // see above
	}
}
