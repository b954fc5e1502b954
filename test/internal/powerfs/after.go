package powerfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

const sector = 512

// Loss is what a cut has taken.
type Loss struct {
	Writes, Torn int // writes that were not synced: lost, and lost in part
	Names        int // changes of names
	Kept         int // what was not synced and is there all the same
}

// After returns the disk as it is found when the power is back, and what was lost. The disk it came from has no power any more.
func (d *Disk) After(chance *rand.Rand) (*Disk, Loss) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.die()
	var loss Loss
	d.surviveNames(chance, &loss)
	out := New(d.names)
	copies := map[*inode]*inode{d.root: out.root}
	out.take(out.root, d.root, copies, func(i *inode) []byte { return i.survive(chance, &loss) })
	return out, loss
}

// surviveNames brings some of the changes of names that are left to the medium. The caller holds mu.
func (d *Disk) surviveNames(chance *rand.Rand, loss *Loss) {
	all := chance.IntN(3) // none, all, or as it comes
	alive := chance.IntN(len(d.changes) + 1)
	for n, c := range d.changes {
		survives := n < alive
		if d.names == Strict {
			survives = chance.IntN(2) == 0
		}
		if all == 1 || all == 2 && survives {
			c.reach()
			loss.Kept++
		} else {
			loss.Names++
		}
	}
	d.changes = nil
}

// survive is a file's data on the medium, with some of what was written since.
func (i *inode) survive(chance *rand.Rand, loss *Loss) []byte {
	data := slices.Clone(i.medium)
	all := chance.IntN(3)
	for _, w := range i.writes {
		switch {
		case all == 0 || all == 2 && chance.IntN(3) == 0:
			loss.Writes++
		case all == 1 || w.truncate || chance.IntN(2) == 0:
			data = w.apply(data)
			loss.Kept++
		default:
			data = w.tear(chance, data)
			loss.Torn++
		}
	}
	return data
}

// tear applies a write in part: each sector that it touches or not. The size may have grown without the data.
func (w *write) tear(chance *rand.Rand, to []byte) []byte {
	if end := int(w.at) + len(w.data); end > len(to) && chance.IntN(2) == 0 {
		to = resize(to, end)
	}
	for at := 0; at < len(w.data); {
		end := min(len(w.data), at+sector-int(w.at+int64(at))%sector)
		if chance.IntN(2) == 0 {
			part := write{at: w.at + int64(at), data: w.data[at:end]}
			to = part.apply(to)
		}
		at = end
	}
	return to
}

// take fills a folder with what the medium of another disk's folder holds; data is what is there of a file.
func (d *Disk) take(to, from *inode, copies map[*inode]*inode, data func(*inode) []byte) {
	for _, name := range slices.Sorted(maps.Keys(from.mediumChildren)) {
		child := from.mediumChildren[name]
		out, known := copies[child]
		if !known {
			out = d.newInode(child.dir, child.mode)
			copies[child] = out
			if child.dir {
				d.take(out, child, copies, data)
			} else {
				out.medium = data(child)
				out.data = slices.Clone(out.medium)
			}
		}
		to.children[name], to.mediumChildren[name] = out, out
	}
}
