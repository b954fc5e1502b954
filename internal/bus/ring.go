package bus

import "sync"

const (
	ringRecords = 16_384
	ringBytes   = 16 << 20
)

// ring holds the latest records of the stream of events, so that subscriptions that keep up need not read them from the log.
// It is safe for concurrent use.
type ring struct {
	mu      sync.Mutex
	records []Record      // guarded by mu: without a gap, in order; a window of ringRecords at most
	bytes   int           // guarded by mu
	end     Offset        // guarded by mu: one past the latest
	grown   chan struct{} // guarded by mu: closed when end grows
}

func newRing(end Offset) *ring { return &ring{end: end, grown: make(chan struct{})} }

// add takes records that follow those before.
func (r *ring) add(records []Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(records) == 0 {
		return
	}
	if records[0].Offset != r.end { // somebody else appended in between: what is held has a gap behind it
		r.records, r.bytes = nil, 0
	}
	for _, rec := range records {
		r.bytes += rec.Event.Size()
	}
	r.records = append(r.records, records...)
	drop := 0
	for len(r.records)-drop > ringRecords || r.bytes > ringBytes {
		r.bytes -= r.records[drop].Event.Size()
		r.records[drop] = Record{}
		drop++
	}
	r.records = r.records[drop:]
	r.grow(records[len(records)-1].Offset + 1)
}

// grow tells those who wait that the stream has grown. The caller holds mu.
func (r *ring) grow(end Offset) {
	r.end = end
	close(r.grown)
	r.grown = make(chan struct{})
}

// see takes note of an end of the stream that came from elsewhere.
func (r *ring) see(end Offset) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if end > r.end {
		r.records, r.bytes = nil, 0
		r.grow(end)
	}
}

// tail returns the end of the stream, and a channel that is closed when it grows.
func (r *ring) tail() (Offset, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end, r.grown
}

// read returns at most limit records from an offset on; ok is false where the ring does not hold that offset.
func (r *ring) read(from Offset, limit, maxBytes int) (records []Record, next Offset, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) == 0 || from < r.records[0].Offset || from >= r.end {
		return nil, from, false
	}
	at := int(from - r.records[0].Offset)
	bytes := 0
	for i := at; i < len(r.records) && i-at < limit && (bytes < maxBytes || i == at); i++ {
		bytes += r.records[i].Event.Size()
		records = append(records, r.records[i])
	}
	return records, from + Offset(len(records)), true
}
