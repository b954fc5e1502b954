package parquet

import (
	"encoding/binary"
	"math/bits"
)

// The block of DELTA_BINARY_PACKED: 128 deltas in four parts of 32, as everybody writes it.
const (
	deltaBlock = 128
	deltaParts = 4
)

// appendDelta appends values in DELTA_BINARY_PACKED.
func appendDelta(b []byte, values []int64) []byte {
	b = binary.AppendUvarint(b, deltaBlock)
	b = append(b, deltaParts)
	b = binary.AppendUvarint(b, uint64(len(values)))
	if len(values) == 0 {
		return append(b, 0)
	}
	last := values[0]
	b = binary.AppendVarint(b, last)
	var deltas [deltaBlock]uint64
	for values = values[1:]; len(values) > 0; {
		n := min(len(values), deltaBlock)
		least := int64(0)
		for i, v := range values[:n] {
			d := v - last // wraps around, as the format wants it
			last = v
			deltas[i] = uint64(d)
			if i == 0 || d < least {
				least = d
			}
		}
		for i := range deltas[:n] {
			deltas[i] -= uint64(least)
		}
		clear(deltas[n:])
		b = binary.AppendVarint(b, least)
		b = appendDeltaParts(b, &deltas)
		values = values[n:]
	}
	return b
}

func appendDeltaParts(b []byte, deltas *[deltaBlock]uint64) []byte {
	widths := len(b)
	b = append(b, 0, 0, 0, 0)
	for p := range deltaParts {
		part := (*[32]uint64)(deltas[p*32:])
		all := uint64(0)
		for _, d := range part {
			all |= d
		}
		w := bits.Len64(all)
		b[widths+p] = byte(w)
		b = pack64(b, part, uint(w))
	}
	return b
}

// readDelta decodes len(out) values and gives the bytes behind them. b has slack.
func readDelta(out []int64, b []byte) (rest []byte, bad string) {
	for i, want := range []uint64{deltaBlock, deltaParts, uint64(len(out))} {
		v, n := binary.Uvarint(b)
		if n <= 0 || v != want {
			return nil, [...]string{"another block size", "another part size", "another count of values"}[i]
		}
		b = b[n:]
	}
	last, n := binary.Varint(b)
	if n <= 0 {
		return nil, "no first value"
	}
	b = b[n:]
	if len(out) == 0 {
		return b, ""
	}
	out[0] = last
	var deltas [32]uint64
	for out = out[1:]; len(out) > 0; {
		least, n := binary.Varint(b)
		if n <= 0 || len(b)-n < deltaParts {
			return nil, "block ends early"
		}
		widths := b[n : n+deltaParts]
		b = b[n+deltaParts:]
		for _, w := range widths {
			if w > 64 || len(b) < int(w)*4 {
				return nil, "block ends early"
			}
			unpack64(&deltas, b[:int(w)*4+slack], uint(w))
			b = b[int(w)*4:]
			n := min(len(out), len(deltas))
			for i, d := range deltas[:n] {
				last += int64(d) + least
				out[i] = last
			}
			out = out[n:]
		}
	}
	return b, ""
}
