package parquet

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Split-block bloom filters (https://github.com/apache/parquet-format/blob/master/BloomFilter.md): blocks of eight words of 32 bits; a value sets one
// bit in each word of one block.
const (
	bloomBlock = 32   // bytes
	bloomPiece = 4096 // bytes of a bloom that have one checksum in the footer, so that a look reads and checks no more
	bloomBits  = 10   // a value: about one false answer in a hundred
)

// Hash is the hash of a value's plain bytes, as bloom filters use it: XXH64 with seed zero.
func Hash(value []byte) uint64 { return xxhash.Sum64(value) }

// bloomSize is the length of the filter for n values. Any number of blocks does.
func bloomSize(n int) int { return max((n*bloomBits+bloomBlock*8-1)/(bloomBlock*8), 1) * bloomBlock }

// bloomAt is the offset of a hash's block in a filter of the given length.
func bloomAt(hash uint64, size int) int {
	return int((hash>>32)*uint64(size/bloomBlock)>>32) * bloomBlock
}

func bloomSalt() [8]uint32 {
	return [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}
}

func bloomAdd(filter []byte, hash uint64) {
	block := filter[bloomAt(hash, len(filter)):]
	for i, salt := range bloomSalt() {
		bit := uint32(hash) * salt >> 27
		word := block[i*4:]
		binary.LittleEndian.PutUint32(word, binary.LittleEndian.Uint32(word)|1<<bit)
	}
}

func bloomHas(block []byte, hash uint64) bool {
	for i, salt := range bloomSalt() {
		bit := uint32(hash) * salt >> 27
		if binary.LittleEndian.Uint32(block[i*4:])>>bit&1 == 0 {
			return false
		}
	}
	return true
}
