package powerfs

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount shows the disk in a folder until unmount is called, which does not wait for who still uses it. An error says that this
// machine does not let us mount.
func (d *Disk) Mount(dir string) (unmount func() error, err error) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return nil, fmt.Errorf("mount disk: %w", err)
	}
	timeout := time.Second // names change by this mount alone
	server, err := fs.Mount(dir, &node{disk: d, i: d.root}, &fs.Options{
		EntryTimeout: &timeout, AttrTimeout: &timeout, RootStableAttr: &fs.StableAttr{Ino: d.root.number},
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "powerfs", Name: "powerfs", MaxWrite: 128 << 10},
	})
	if err != nil {
		return nil, fmt.Errorf("mount disk: %w", err)
	}
	return func() error {
		if err := syscall.Unmount(dir, syscall.MNT_FORCE|syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount disk: %w", err)
		}
		server.Wait()
		return nil
	}, nil
}

// node is a file or a folder as FUSE sees it.
type node struct {
	fs.Inode
	disk *Disk
	i    *inode
}

// handle is an open file or folder.
type handle struct {
	*node
	always bool // each write is synced
}

var (
	_ fs.NodeLookuper       = (*node)(nil)
	_ fs.NodeGetattrer      = (*node)(nil)
	_ fs.NodeSetattrer      = (*node)(nil)
	_ fs.NodeCreater        = (*node)(nil)
	_ fs.NodeMkdirer        = (*node)(nil)
	_ fs.NodeUnlinker       = (*node)(nil)
	_ fs.NodeRmdirer        = (*node)(nil)
	_ fs.NodeRenamer        = (*node)(nil)
	_ fs.NodeOpener         = (*node)(nil)
	_ fs.NodeOpendirHandler = (*node)(nil)
	_ fs.NodeReaddirer      = (*node)(nil)
	_ fs.NodeReader         = (*node)(nil)
	_ fs.NodeWriter         = (*node)(nil)
	_ fs.NodeFsyncer        = (*node)(nil)
	_ fs.NodeFlusher        = (*node)(nil)
	_ fs.NodeStatfser       = (*node)(nil)
)

// lock locks the disk, and returns what unlocks it.
func (n *node) lock() func() {
	n.disk.mu.Lock()
	return n.disk.mu.Unlock
}

func (i *inode) attr(out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink, out.Size = i.number, i.mode|syscall.S_IFREG, 1, uint64(len(i.data))
	if i.dir {
		out.Mode = i.mode | syscall.S_IFDIR
	}
	out.SetTimes(nil, &i.changed, &i.changed)
	out.Blocks = (out.Size + sector - 1) / sector
}

// show makes FUSE know an inode. The caller holds the disk's lock.
func (n *node) show(ctx context.Context, i *inode, out *fuse.EntryOut) *fs.Inode {
	i.attr(&out.Attr)
	return n.NewInode(ctx, &node{disk: n.disk, i: i}, fs.StableAttr{Mode: out.Mode & syscall.S_IFMT, Ino: i.number})
}

// Lookup implements fs.NodeLookuper.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	defer n.lock()()
	if errno := n.disk.alive(); errno != 0 {
		return nil, errno
	}
	i := n.i.children[name]
	if i == nil {
		return nil, syscall.ENOENT
	}
	return n.show(ctx, i, out), 0
}

// Getattr implements fs.NodeGetattrer.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	defer n.lock()()
	n.i.attr(&out.Attr)
	return n.disk.alive()
}

// Setattr implements fs.NodeSetattrer: sizes are kept, the rest is taken and forgotten.
func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	defer n.lock()()
	if size, ok := in.GetSize(); ok {
		if errno := n.disk.write(n.i, write{at: int64(size), truncate: true}); errno != 0 {
			return errno
		}
	}
	n.i.attr(&out.Attr)
	return n.disk.alive()
}

func (n *node) add(ctx context.Context, name string, dir bool, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	defer n.lock()()
	i := n.disk.newInode(dir, mode)
	if errno := n.disk.rename(nameEdit{n.i, name, i}); errno != 0 {
		return nil, errno
	}
	return n.show(ctx, i, out), 0
}

// Create implements fs.NodeCreater.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	shown, errno := n.add(ctx, name, false, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	child := shown.Operations().(*node)
	return shown, &handle{child, flags&syscall.O_DSYNC != 0}, 0, 0
}

// Mkdir implements fs.NodeMkdirer.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.add(ctx, name, true, mode, out)
}

// Unlink implements fs.NodeUnlinker.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	defer n.lock()()
	return n.disk.rename(nameEdit{n.i, name, nil})
}

// Rmdir implements fs.NodeRmdirer.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	defer n.lock()()
	if i := n.i.children[name]; i != nil && len(i.children) > 0 {
		return syscall.ENOTEMPTY
	}
	return n.disk.rename(nameEdit{n.i, name, nil})
}

// Rename implements fs.NodeRenamer.
func (n *node) Rename(_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	defer n.lock()()
	if flags != 0 {
		return syscall.EINVAL
	}
	to := newParent.(*node).i
	return n.disk.rename(nameEdit{n.i, name, nil}, nameEdit{to, newName, n.i.children[name]})
}

// Open implements fs.NodeOpener.
func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	defer n.lock()()
	if flags&syscall.O_TRUNC != 0 {
		if errno := n.disk.write(n.i, write{truncate: true}); errno != 0 {
			return nil, 0, errno
		}
	}
	return &handle{n, flags&syscall.O_DSYNC != 0}, 0, n.disk.alive()
}

// Read implements fs.NodeReader.
func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	defer n.lock()()
	if errno := n.disk.alive(); errno != 0 {
		return nil, errno
	}
	if at >= int64(len(n.i.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, n.i.data[at:])]), 0
}

// Write implements fs.NodeWriter.
func (n *node) Write(_ context.Context, h fs.FileHandle, data []byte, at int64) (uint32, syscall.Errno) {
	defer n.lock()()
	errno := n.disk.write(n.i, write{at: at, data: slices.Clone(data)})
	if open, ok := h.(*handle); ok && open.always && errno == 0 {
		errno = n.disk.sync(n.i)
	}
	if errno != 0 {
		return 0, errno
	}
	return uint32(len(data)), 0
}

// Fsync implements fs.NodeFsyncer.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	defer n.lock()()
	return n.disk.sync(n.i)
}

// Flush implements fs.NodeFlusher. Closing a file syncs nothing.
func (n *node) Flush(context.Context, fs.FileHandle) syscall.Errno { return 0 }

// Statfs implements fs.NodeStatfser.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const blocks = 4 << 20
	out.Bsize, out.Frsize, out.Blocks, out.Bfree, out.Bavail, out.NameLen = 4096, 4096, blocks, blocks, blocks, 255
	return 0
}

// Readdir implements fs.NodeReaddirer.
func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	defer n.lock()()
	if errno := n.disk.alive(); errno != 0 {
		return nil, errno
	}
	var list []fuse.DirEntry
	for _, name := range slices.Sorted(maps.Keys(n.i.children)) {
		var a fuse.Attr
		n.i.children[name].attr(&a)
		list = append(list, fuse.DirEntry{Name: name, Ino: a.Ino, Mode: a.Mode})
	}
	return fs.NewListDirStream(list), 0
}

// folder is an open folder, which can be synced.
type folder struct {
	fs.DirStream
	n *node
}

// OpendirHandle implements fs.NodeOpendirHandler.
func (n *node) OpendirHandle(ctx context.Context, _ uint32) (fs.FileHandle, uint32, syscall.Errno) {
	list, errno := n.Readdir(ctx)
	return &folder{list, n}, 0, errno
}

// Readdirent implements fs.FileReaddirenter.
func (f *folder) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if !f.HasNext() {
		return nil, 0
	}
	e, errno := f.Next()
	return &e, errno
}

// Fsyncdir implements fs.FileFsyncdirer.
func (f *folder) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	return f.n.Fsync(ctx, nil, flags)
}
