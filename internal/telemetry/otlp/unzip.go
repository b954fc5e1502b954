package otlp

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/atollhq/atoll/internal/telemetry"
)

// maxWindow is the memory at most that a body in zstd makes its reader keep; encoders use at most 8 MiB unless told.
const maxWindow = 8 << 20

// unzippers keep readers of gzip and zstd, which are costly to make.
type unzippers struct {
	gzip, zstd *sync.Pool
}

func newUnzippers(limit int64) unzippers {
	return unzippers{
		gzip: &sync.Pool{New: func() any { return new(gzip.Reader) }},
		zstd: &sync.Pool{New: func() any {
			// With one decoder there are no goroutines, so a reader can be left to the garbage collector.
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxMemory(uint64(limit)+1), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				panic(fmt.Sprintf("options of zstd: %v", err)) // They are ours and constant.
			}
			return z
		}},
	}
}

var errEncoding = errors.New("unknown content encoding")

// reader reads from body what was encoded; done puts the reader back.
func (u unzippers) reader(encoding string, body io.Reader) (r io.Reader, done func(), err error) {
	switch encoding {
	case "", "identity":
		return body, func() {}, nil
	case "gzip", "x-gzip":
		z, _ := u.gzip.Get().(*gzip.Reader)
		done = func() { u.gzip.Put(z) }
		if err := z.Reset(body); err != nil {
			done()
			return nil, nil, err
		}
		return z, done, nil
	case "zstd":
		z, _ := u.zstd.Get().(*zstd.Decoder)
		done = func() {
			if z.Reset(nil) == nil {
				u.zstd.Put(z)
			}
		}
		if err := z.Reset(body); err != nil {
			done()
			return nil, nil, err
		}
		return z, done, nil
	}
	return nil, nil, errEncoding
}

// readAll appends what comes from r to buf[:0], at most limit bytes. It leases memory as it grows.
func readAll(r io.Reader, buf []byte, hint, limit int64, held *lease) ([]byte, error) {
	buf = buf[:0]
	if err := held.more(int64(cap(buf))); err != nil {
		return buf, err
	}
	for {
		if len(buf) == cap(buf) {
			grown := min(max(hint+1, 2*int64(cap(buf)), 16<<10), limit+1)
			if err := held.more(grown - int64(cap(buf))); err != nil {
				return buf, err
			}
			buf = append(make([]byte, 0, grown), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return buf, &TooLarge{"the request is larger than " + size(limit)}
		}
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// isOurs tells whether an error of readAll is one of ours, not of the body.
func isOurs(err error) bool {
	var (
		large *TooLarge
		busy  *telemetry.Busy
	)
	return errors.As(err, &large) || errors.As(err, &busy)
}
