package block

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// The write-ahead log of a table is a folder of segments: a line that names the format, then records of a length (4 bytes,
// little endian), a CRC-32C of what follows, and that. A table in memory has segments of its own; they are removed when
// it lies in blocks.

const (
	walMagic   = "atoll wal 1\n"
	walSuffix  = ".wal"
	walHead    = 8
	maxPayload = 64 << 20
)

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// wal writes segments. It has one user.
type wal struct {
	dir  string
	seq  uint64   // of the segment that is written
	file *os.File // nil after an error: the next append begins another segment
	size int64
}

// next begins another segment. What was written before is durable already.
func (w *wal) next() error {
	if w.file != nil {
		if err := w.file.Close(); err != nil {
			return fmt.Errorf("close segment: %w", err)
		}
		w.file = nil
	}
	path := w.path(w.seq + 1)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	// A number counts only with its file, since a block that is named by it is believed unfinished while the file is there. What
	// could not be begun goes, lest a full disk gather empty files.
	_, err = file.WriteString(walMagic)
	if err = errors.Join(err, file.Sync(), syncDir(w.dir)); err != nil {
		gone := os.Remove(path)
		if gone != nil {
			w.seq++
		}
		return fmt.Errorf("begin segment: %w", errors.Join(err, file.Close(), gone))
	}
	w.seq++
	w.file, w.size = file, int64(len(walMagic))
	return nil
}

// append writes payloads and syncs them. After an error none of them counts, and nothing more goes to this segment: what is
// known of a file whose sync has failed is nothing.
func (w *wal) append(payloads [][]byte) error {
	if w.file == nil {
		if err := w.next(); err != nil {
			return err
		}
	}
	buffers := make([]byte, 0, walHead*len(payloads))
	var err error
	n := int64(0)
	for _, p := range payloads {
		at := len(buffers)
		buffers = binary.LittleEndian.AppendUint32(buffers, uint32(len(p)))
		buffers = binary.LittleEndian.AppendUint32(buffers, castagnoli(p))
		if _, err = w.file.Write(buffers[at:]); err != nil {
			break
		}
		if _, err = w.file.Write(p); err != nil {
			break
		}
		n += int64(walHead + len(p))
	}
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		// Best effort: the tail that was not acknowledged goes, lest a replay bring it back.
		err = errors.Join(err, w.file.Truncate(w.size), w.file.Close())
		w.file = nil
		return fmt.Errorf("write segment: %w", err)
	}
	w.size += n
	return nil
}

func (w *wal) close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return fmt.Errorf("close segment: %w", err)
	}
	return nil
}

func (w *wal) path(seq uint64) string {
	return filepath.Join(w.dir, fmt.Sprintf("%010d%s", seq, walSuffix))
}

// segments lists the numbers of segments, rising.
func (w *wal) segments() ([]uint64, error) {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var out []uint64
	for _, e := range entries {
		text, ok := strings.CutSuffix(e.Name(), walSuffix)
		if n, err := strconv.ParseUint(text, 10, 64); ok && err == nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// bytes is what the segments take. It may be called at any time.
func (w *wal) bytes() int64 {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return 0
	}
	n := int64(0)
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it was removed just now
			n += info.Size()
		}
	}
	return n
}

// remove removes segments up to a number.
func (w *wal) remove(upTo uint64) error {
	list, err := w.segments()
	for _, seq := range list {
		if seq <= upTo {
			err = errors.Join(err, os.Remove(w.path(seq)))
		}
	}
	return errors.Join(err, syncDir(w.dir))
}

// replay calls yield with the payloads of a segment. It ends at the first that is torn or rotten; whole tells whether there
// was none.
func (w *wal) replay(seq uint64, yield func([]byte) error) (whole bool, err error) {
	file, err := os.Open(w.path(seq))
	if err != nil {
		return false, fmt.Errorf("open segment: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return false, fmt.Errorf("open segment: %w", err)
	}
	left := info.Size()
	in := bufio.NewReaderSize(file, 1<<20)
	// read tells whether there were enough bytes. An error of the disk is none of the end: what cannot be read now may be later.
	read := func(b []byte) (bool, error) {
		left -= int64(len(b))
		_, err := io.ReadFull(in, b)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return false, nil
		}
		return false, fmt.Errorf("read segment: %w", err)
	}
	head := make([]byte, len(walMagic))
	if ok, err := read(head); !ok || string(head) != walMagic {
		return false, err
	}
	for left > 0 {
		var lead [walHead]byte
		if ok, err := read(lead[:]); !ok {
			return false, err
		}
		// No record is empty: zeros, of which files that were torn are often full, would be records without end.
		n := binary.LittleEndian.Uint32(lead[:])
		if n == 0 || n > maxPayload || int64(n) > left {
			return false, nil
		}
		payload := make([]byte, n)
		if ok, err := read(payload); !ok || castagnoli(payload) != binary.LittleEndian.Uint32(lead[4:]) {
			return false, err
		}
		if err := yield(payload); err != nil {
			return false, err
		}
	}
	return true, nil
}

// syncDir makes names in a folder durable, where the system has that notion.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
