package parquet_test

import (
	"encoding/binary"
	"io"

	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
	zstdgo "github.com/klauspost/compress/zstd"
)

// bare is about the least that a layout of our own could do: of each column pages of 8,192 rows, each compressed by itself, codes in
// whole bytes, numbers as differences, and an entry of 12 bytes for a page. It has neither checksums, blooms nor names.
type bare struct {
	columns []parquet.Column
	zstd    *zstdgo.Encoder
	page    []byte
	packed  []byte
}

func newBare(columns []parquet.Column, level zstdgo.EncoderLevel) (*bare, error) {
	z, err := zstdgo.NewWriter(nil, zstdgo.WithEncoderLevel(level), zstdgo.WithEncoderConcurrency(1), zstdgo.WithWindowSize(2<<20), zstdgo.WithEncoderCRC(false))
	return &bare{columns: columns, zstd: z}, err
}

func (b *bare) write(to io.Writer) error {
	for i := range b.columns {
		c := &b.columns[i]
		if c.Dict != nil {
			b.page = b.page[:0]
			for k := range c.Dict.Len() {
				b.page = append(binary.AppendUvarint(b.page, uint64(len(c.Dict.At(k)))), c.Dict.At(k)...)
			}
			if err := b.flush(to); err != nil {
				return err
			}
		}
		for row := 0; row < benchRows; row += 8192 {
			b.page = b.page[:0]
			b.rows(c, row, row+8192)
			if err := b.flush(to); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bare) flush(to io.Writer) error {
	b.packed = b.zstd.EncodeAll(b.page, b.packed[:0])
	b.packed = append(b.packed, make([]byte, 12)...) // where it is, and how long
	_, err := to.Write(b.packed)
	return err
}

func (b *bare) rows(c *parquet.Column, from, to int) {
	if c.Valid != nil {
		for _, valid := range c.Valid[from:to] {
			if valid {
				b.page = append(b.page, 1)
			} else {
				b.page = append(b.page, 0)
			}
		}
	}
	switch {
	case c.Codes != nil:
		for _, code := range c.Codes[from:to] {
			code++ // 0 for None
			switch n := c.Dict.Len(); {
			case n < 255:
				b.page = append(b.page, byte(code))
			case n < 65535:
				b.page = binary.LittleEndian.AppendUint16(b.page, uint16(code))
			default:
				b.page = binary.LittleEndian.AppendUint32(b.page, code)
			}
		}
	case c.Ints != nil:
		last := int64(0)
		for k, v := range c.Ints[from:to] {
			if c.Valid == nil || c.Valid[from+k] {
				b.page = binary.AppendVarint(b.page, v-last)
				last = v
			}
		}
	default:
		width := len(c.Fixed) / benchRows
		for row := from; row < to; row++ {
			if c.Valid == nil || c.Valid[row] {
				b.page = append(b.page, c.Fixed[row*width:row*width+width]...)
			}
		}
	}
}
