package parquet

import "encoding/binary"

// slack is how many bytes must be readable behind packed values: unpacking loads whole words.
const slack = 16

// pack appends values of w bits each, least significant bit first (Parquet's BIT_PACKED order of the hybrid and of deltas). The count is a multiple
// of eight.
func pack(b []byte, values []uint32, w uint) []byte {
	switch {
	case w == 0:
		return b
	case w <= 8:
		return packBytes(b, values, w)
	case w <= 16:
		return packPairs(b, values, w)
	}
	acc, n := uint64(0), uint(0)
	for _, v := range values {
		acc |= uint64(v) << n
		n += w
		for n >= 8 {
			b = append(b, byte(acc))
			acc >>= 8
			n -= 8
		}
	}
	return b
}

func packBytes(b []byte, values []uint32, w uint) []byte {
	for ; len(values) >= 8; values = values[8:] {
		v := (*[8]uint32)(values)
		acc := uint64(v[0]) | uint64(v[1])<<(w&63) | uint64(v[2])<<(2*w&63) | uint64(v[3])<<(3*w&63) |
			uint64(v[4])<<(4*w&63) | uint64(v[5])<<(5*w&63) | uint64(v[6])<<(6*w&63) | uint64(v[7])<<(7*w&63)
		b = binary.LittleEndian.AppendUint64(b, acc)
		b = b[:len(b)-8+int(w)]
	}
	return b
}

func packPairs(b []byte, values []uint32, w uint) []byte {
	for ; len(values) >= 8; values = values[8:] {
		v := (*[8]uint32)(values)
		low := uint64(v[0]) | uint64(v[1])<<(w&63) | uint64(v[2])<<(2*w&63) | uint64(v[3])<<(3*w&63)
		high := uint64(v[4]) | uint64(v[5])<<(w&63) | uint64(v[6])<<(2*w&63) | uint64(v[7])<<(3*w&63)
		b = binary.LittleEndian.AppendUint64(b, low|high<<(4*w))
		b = binary.LittleEndian.AppendUint64(b, high>>(64-4*w))
		b = b[:len(b)-16+int(w)]
	}
	return b
}

// unpack reads len(out) values, a multiple of eight, of w bits each. b is readable for slack bytes behind them.
func unpack(out []uint32, b []byte, w uint) {
	switch {
	case w == 0:
		clear(out)
	case w == 8:
		b = b[:len(out)]
		for i := range out {
			out[i] = uint32(b[i])
		}
	case w < 8:
		unpackBytes(out, b, w)
	case w <= 16:
		unpackPairs(out, b, w)
	default:
		mask := uint64(1)<<w - 1
		for ; len(out) >= 8; out, b = out[8:], b[w:] {
			for i := range uint(8) {
				out[i] = uint32(binary.LittleEndian.Uint64(b[i*w>>3:]) >> (i * w & 7) & mask)
			}
		}
	}
}

func unpackBytes(out []uint32, b []byte, w uint) {
	mask := uint64(1)<<w - 1
	for ; len(out) >= 8; out, b = out[8:], b[w:] {
		v, o := binary.LittleEndian.Uint64(b), (*[8]uint32)(out)
		o[0] = uint32(v & mask)
		o[1] = uint32(v >> (w & 63) & mask)
		o[2] = uint32(v >> (2 * w & 63) & mask)
		o[3] = uint32(v >> (3 * w & 63) & mask)
		o[4] = uint32(v >> (4 * w & 63) & mask)
		o[5] = uint32(v >> (5 * w & 63) & mask)
		o[6] = uint32(v >> (6 * w & 63) & mask)
		o[7] = uint32(v >> (7 * w & 63) & mask)
	}
}

func unpackPairs(out []uint32, b []byte, w uint) {
	mask := uint64(1)<<w - 1
	half, odd := 4*w>>3, 4*w&7
	for ; len(out) >= 8; out, b = out[8:], b[w:] {
		low, high := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[half:])>>(odd&63)
		o := (*[8]uint32)(out)
		o[0] = uint32(low & mask)
		o[1] = uint32(low >> (w & 63) & mask)
		o[2] = uint32(low >> (2 * w & 63) & mask)
		o[3] = uint32(low >> (3 * w & 63) & mask)
		o[4] = uint32(high & mask)
		o[5] = uint32(high >> (w & 63) & mask)
		o[6] = uint32(high >> (2 * w & 63) & mask)
		o[7] = uint32(high >> (3 * w & 63) & mask)
	}
}

// pack64 appends 32 values of w bits, w at most 64.
func pack64(b []byte, values *[32]uint64, w uint) []byte {
	acc, n := uint64(0), uint(0)
	for _, v := range values {
		acc |= v << n
		if n += w; n >= 64 {
			b = binary.LittleEndian.AppendUint64(b, acc)
			n -= 64
			acc = v >> (w - n)
		}
	}
	for ; n > 0; n -= 8 { // 32 values end at a byte
		b = append(b, byte(acc))
		acc >>= 8
	}
	return b
}

// unpack64 reads 32 values of w bits. b is readable for slack bytes behind them.
func unpack64(out *[32]uint64, b []byte, w uint) {
	if w == 0 {
		clear(out[:])
		return
	}
	mask := ^uint64(0) >> (64 - w)
	if w <= 56 {
		for i := range uint(32) {
			out[i] = binary.LittleEndian.Uint64(b[i*w>>3:]) >> (i * w & 7) & mask
		}
		return
	}
	for i := range uint(32) {
		p, s := i*w>>3, i*w&7
		v := binary.LittleEndian.Uint64(b[p:]) >> s
		if s+w > 64 {
			v |= uint64(b[p+8]) << (64 - s)
		}
		out[i] = v & mask
	}
}
