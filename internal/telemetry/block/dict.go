package block

import (
	"hash/maphash"

	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// dict gives each distinct string a code, from 0 up. It is append-only: what a reader took with view stays true while a
// writer goes on.
type dict struct {
	seed    maphash.Seed
	strings parquet.Strings
	hashes  []uint32 // of each code, for growing
	table   []uint32 // open addressing: code+1, or 0
	last    []byte   // the string asked for last; lies in strings
	code    uint32   // of last
}

func newDict(seed maphash.Seed) *dict {
	const first = 16
	return &dict{seed: seed, table: make([]uint32, first)}
}

// add returns the code of s, which is copied if it is new.
func (d *dict) add(s string) uint32 {
	if len(d.hashes) > 0 && string(d.last) == s {
		return d.code
	}
	h := uint32(maphash.String(d.seed, s))
	mask := uint32(len(d.table) - 1)
	for at := h & mask; ; at = (at + 1) & mask {
		slot := d.table[at]
		if slot == 0 {
			return d.insert(s, h, at)
		}
		if code := slot - 1; d.hashes[code] == h && string(d.strings.At(int(code))) == s {
			d.remember(code)
			return code
		}
	}
}

func (d *dict) insert(s string, h, at uint32) uint32 {
	code := uint32(d.strings.Len())
	d.strings.AppendString(s)
	d.hashes = append(d.hashes, h)
	d.table[at] = code + 1
	if 2*len(d.hashes) > len(d.table) {
		d.grow()
	}
	d.remember(code)
	return code
}

func (d *dict) remember(code uint32) {
	d.last, d.code = d.strings.At(int(code)), code
}

func (d *dict) grow() {
	table := make([]uint32, 4*len(d.table))
	mask := uint32(len(table) - 1)
	for code, h := range d.hashes {
		at := h & mask
		for table[at] != 0 {
			at = (at + 1) & mask
		}
		table[at] = uint32(code) + 1
	}
	d.table = table
}

// size is about how many bytes the dictionary takes.
func (d *dict) size() int {
	return len(d.strings.Bytes) + 4*len(d.strings.Ends) + 4*len(d.hashes) + 4*len(d.table)
}
