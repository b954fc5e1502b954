package block

import (
	"encoding/binary"
	"math/bits"
)

// wordsSection is the section of a file of log records that has a filter for each page of text: which words are in it. The
// section is a table of the filters' ends (4 bytes each, by row group and page), then the filters.
const wordsSection = "atoll.words"

// A filter is a split-block Bloom filter as Parquet has it (https://parquet.apache.org/docs/file-format/bloomfilter/): blocks of
// eight words of 32 bits, of which each hash sets one bit in each.
const blockBytes = 32

func salts() [8]uint32 {
	return [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}
}

// appendFilter appends a filter of hashes, at about 9 bits each, so that one in 50 words is thought to be there that is not.
func appendFilter(b []byte, hashes []uint64) []byte {
	const bitsEach = 9
	blocks := max(1, (len(hashes)*bitsEach+8*blockBytes-1)/(8*blockBytes))
	begin := len(b)
	b = append(b, make([]byte, blocks*blockBytes)...)
	filter := b[begin:]
	salts := salts()
	for _, h := range hashes {
		block := filter[blockOf(h, blocks)*blockBytes:]
		for i, salt := range salts {
			at := block[4*i:]
			binary.LittleEndian.PutUint32(at, binary.LittleEndian.Uint32(at)|1<<((uint32(h)*salt)>>27))
		}
	}
	return b
}

func blockOf(h uint64, blocks int) int {
	hi, _ := bits.Mul64(h>>32<<32, uint64(blocks))
	return int(hi)
}

// filterHas tells whether a filter may have a hash.
func filterHas(filter []byte, h uint64) bool {
	blocks := len(filter) / blockBytes
	if blocks == 0 {
		return true
	}
	block := filter[blockOf(h, blocks)*blockBytes:]
	for i, salt := range salts() {
		if binary.LittleEndian.Uint32(block[4*i:])&(1<<((uint32(h)*salt)>>27)) == 0 {
			return false
		}
	}
	return true
}

// wordHash is the hash of a word that is in lower case already: FNV-1a, mixed so that all of its bits count.
func wordHash(word string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(word) {
		h = (h ^ uint64(word[i])) * 1099511628211
	}
	return mix(h)
}

func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// wordSet gathers the hashes of a page's words.
type wordSet struct {
	table []uint64 // open addressing; 0 is free
	list  []uint64
}

// addWords adds the words of a text: runs of letters, digits, underscores and bytes beyond ASCII, ASCII in lower case. It
// agrees with telemetry.Words, and is apart from it since it makes no strings.
func (w *wordSet) addWords(text []byte) {
	const offset, prime = uint64(14695981039346656037), 1099511628211
	h, n := offset, 0
	for _, c := range text {
		if c = wordByte(c); c != 0 {
			if n < maxWord {
				h = (h ^ uint64(c)) * prime
			}
			n++
			continue
		}
		if n > 0 {
			w.add(mix(h))
			h, n = offset, 0
		}
	}
	if n > 0 {
		w.add(mix(h))
	}
}

// maxWord is how many bytes of a word count.
const maxWord = 64

// wordByte is a byte of a word in lower case, or 0.
func wordByte(c byte) byte {
	switch {
	case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c >= 0x80:
		return c
	case c >= 'A' && c <= 'Z':
		return c | 0x20
	}
	return 0
}

func (w *wordSet) add(h uint64) {
	h |= 1 // 0 is free
	if 2*len(w.list) >= len(w.table) {
		w.grow()
	}
	mask := uint64(len(w.table) - 1)
	for at := (h >> 1) & mask; ; at = (at + 1) & mask {
		switch w.table[at] {
		case h:
			return
		case 0:
			w.table[at] = h
			w.list = append(w.list, h)
			return
		}
	}
}

func (w *wordSet) grow() {
	const first = 1 << 12
	w.table = make([]uint64, max(first, 2*len(w.table)))
	mask := uint64(len(w.table) - 1)
	for _, h := range w.list {
		at := (h >> 1) & mask
		for w.table[at] != 0 {
			at = (at + 1) & mask
		}
		w.table[at] = h
	}
}

func (w *wordSet) reset() {
	clear(w.table)
	w.list = w.list[:0]
}

// probe is the hash of a word as wordSet keeps it.
func probe(word string) uint64 { return wordHash(word) | 1 }
