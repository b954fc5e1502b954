package replica

import "sync"

// tail keeps the last lines of an output.
type tail struct {
	mu    sync.Mutex // guards lines and next
	lines []Line
	next  int // where the next line goes, once lines is full
	size  int
}

func newTail(size int) *tail { return &tail{size: size} }

func (t *tail) add(l Line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) < t.size {
		t.lines = append(t.lines, l)
		return
	}
	t.lines[t.next] = l
	t.next = (t.next + 1) % t.size
}

// last is the lines kept, oldest first.
func (t *tail) last() []Line {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append(append([]Line(nil), t.lines[t.next:]...), t.lines[:t.next]...)
}
