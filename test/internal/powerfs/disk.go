package powerfs

import (
	"sync"
	"syscall"
	"time"
)

// Names is when the medium takes changes of names.
type Names int

// The kinds of medium.
const (
	Strict    Names = iota // by a sync of the folder alone
	Journaled              // in their order, by any sync
)

// Disk is a disk. It is safe for concurrent use.
type Disk struct {
	names Names

	mu      sync.Mutex
	root    *inode        // guarded by mu, with all below it
	inodes  uint64        // guarded by mu: numbers given away
	changes []nameChange  // guarded by mu: those that the medium does not have yet, in order
	ops     int           // guarded by mu: operations that change or sync something
	cutAt   int           // guarded by mu: the operation at which the power goes; 0 for never
	dead    bool          // guarded by mu
	cut     chan struct{} // guarded by mu: closed when the power goes
	lie     bool          // guarded by mu: syncs do nothing
}

// inode is a file or a folder.
type inode struct {
	number uint64
	dir    bool
	mode   uint32

	data   []byte  // as programs see it
	medium []byte  // as the medium has it
	writes []write // between the two, in order

	children       map[string]*inode // of a folder, as programs see it
	mediumChildren map[string]*inode

	changed time.Time // as programs see it
}

// write is a change of a file's data; with truncate, of its size.
type write struct {
	at       int64
	data     []byte
	truncate bool
}

// nameChange is a change of one or two names that the medium takes whole.
type nameChange []nameEdit

type nameEdit struct {
	dir  *inode
	name string
	to   *inode // nil takes the name away
}

// New returns an empty disk.
func New(names Names) *Disk {
	d := &Disk{names: names, cut: make(chan struct{})}
	d.root = d.newInode(true, 0o755)
	return d
}

// newInode makes a file or a folder. The caller holds mu.
func (d *Disk) newInode(dir bool, mode uint32) *inode {
	d.inodes++
	i := &inode{number: d.inodes, dir: dir, mode: mode & 0o7777}
	if dir {
		i.children, i.mediumChildren = map[string]*inode{}, map[string]*inode{}
	}
	return i
}

// CutAfter cuts the power at the n-th operation from now on that changes or syncs something.
func (d *Disk) CutAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt = d.ops + n
}

// Lie makes the disk claim from now on to have synced what it has not.
func (d *Disk) Lie() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lie = true
}

// Cut cuts the power now.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.die()
}

func (d *Disk) die() {
	if !d.dead {
		d.dead = true
		close(d.cut)
	}
}

// Gone is closed when the power goes.
func (d *Disk) Gone() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cut
}

// Revive takes a cut back: it was the programs that were killed, and the system has kept what they wrote.
func (d *Disk) Revive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead, d.cutAt, d.cut = false, 0, make(chan struct{})
}

// Operations is how many operations have changed or synced something.
func (d *Disk) Operations() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// changing counts an operation that changes or syncs something, and fails without power. The caller holds mu.
func (d *Disk) changing() syscall.Errno {
	d.ops++
	if d.cutAt > 0 && d.ops >= d.cutAt {
		d.die()
	}
	return d.alive()
}

func (d *Disk) alive() syscall.Errno {
	if d.dead {
		return syscall.EIO
	}
	return 0
}

// rename changes names, as programs see them.
func (d *Disk) rename(edits ...nameEdit) syscall.Errno {
	if errno := d.changing(); errno != 0 {
		return errno
	}
	for _, e := range edits {
		set(e.dir.children, e.name, e.to)
		e.dir.changed = time.Now()
	}
	d.changes = append(d.changes, edits)
	return 0
}

func set(children map[string]*inode, name string, to *inode) {
	if to == nil {
		delete(children, name)
		return
	}
	children[name] = to
}

// write changes a file, as programs see it.
func (d *Disk) write(i *inode, w write) syscall.Errno {
	if errno := d.changing(); errno != 0 {
		return errno
	}
	i.data, i.changed = w.apply(i.data), time.Now()
	i.writes = append(i.writes, w)
	return 0
}

func (w *write) apply(to []byte) []byte {
	if w.truncate {
		return resize(to, int(w.at))
	}
	if end := int(w.at) + len(w.data); end > len(to) {
		to = resize(to, end)
	}
	copy(to[w.at:], w.data)
	return to
}

// resize grows data with zeros, or cuts it.
func resize(data []byte, size int) []byte {
	if size <= len(data) {
		clear(data[size:])
		return data[:size]
	}
	return append(data, make([]byte, size-len(data))...)
}

// sync brings a file or a folder to the medium.
func (d *Disk) sync(i *inode) syscall.Errno {
	if errno := d.changing(); errno != 0 {
		return errno
	}
	if d.lie {
		return 0
	}
	for _, w := range i.writes {
		i.medium = w.apply(i.medium)
	}
	i.writes = nil
	kept := d.changes[:0]
	for _, c := range d.changes {
		if d.names == Strict && !c.touches(i) {
			kept = append(kept, c)
			continue
		}
		c.reach()
	}
	clear(d.changes[len(kept):])
	d.changes = kept
	return 0
}

func (c nameChange) touches(dir *inode) bool {
	for _, e := range c {
		if e.dir == dir {
			return true
		}
	}
	return false
}

// reach brings the change to the medium.
func (c nameChange) reach() {
	for _, e := range c {
		set(e.dir.mediumChildren, e.name, e.to)
	}
}
