package telemetry

import (
	"math"
	"math/bits"
	"slices"
)

// sketch counts numbers in buckets that are linear within each power of two: 64 of them, so that the middle of a
// bucket is within 1/128 of all its numbers (as in HdrHistogram). Pages of a power of two are there once they are used.
type sketch struct {
	pages []page // by key
	last  int    // the page that was used last
	total int64
}

type page struct {
	key    int32 // by the order of the numbers in it
	counts *[sketchBuckets]int64
}

const (
	sketchBits    = 6
	sketchBuckets = 1 << sketchBits
	pageBytes     = 8 * sketchBuckets
)

// place is the page of a number and the bucket in it.
func place(f float64) (key int32, bucket int) {
	b := math.Float64bits(math.Abs(f)) >> (52 - sketchBits)
	key, bucket = int32(b>>sketchBits)+1, int(b&(sketchBuckets-1))
	switch {
	case f == 0:
		return 0, 0
	case f < 0:
		return -key, sketchBuckets - 1 - bucket
	}
	return key, bucket
}

// middle is the middle of a bucket.
func middle(key int32, bucket int) float64 {
	switch {
	case key == 0:
		return 0
	case key < 0:
		return -middle(-key, sketchBuckets-1-bucket)
	}
	low := (uint64(key-1)<<sketchBits | uint64(bucket)) << (52 - sketchBits)
	return math.Float64frombits(low | 1<<(51-sketchBits))
}

// add counts a number n times and tells how many bytes that took.
func (s *sketch) add(f float64, n int64) (grown int64) {
	key, bucket := place(f)
	if s.last >= len(s.pages) || s.pages[s.last].key != key {
		grown = s.find(key)
	}
	s.pages[s.last].counts[bucket] += n
	s.total += n
	return grown
}

func (s *sketch) find(key int32) (grown int64) {
	i, ok := slices.BinarySearchFunc(s.pages, key, func(p page, key int32) int { return int(p.key) - int(key) })
	s.last = i
	if ok {
		return 0
	}
	s.pages = slices.Insert(s.pages, i, page{key: key, counts: new([sketchBuckets]int64)})
	return pageBytes
}

func (s *sketch) merge(o *sketch) (grown int64) {
	for _, p := range o.pages {
		grown += s.find(p.key)
		to := s.pages[s.last].counts
		for i, n := range p.counts {
			to[i] += n
		}
	}
	s.total += o.total
	return grown
}

// quantile is the number that a share q of all numbers is not above, by its nearest rank.
func (s *sketch) quantile(q float64) float64 {
	rank := max(int64(math.Ceil(q*float64(s.total))), 1)
	for _, p := range s.pages {
		for i, n := range p.counts {
			if rank -= n; rank <= 0 {
				return middle(p.key, i)
			}
		}
	}
	return math.NaN()
}

// distinct counts different values: by their hashes, and beyond maxExact of them by a HyperLogLog (Flajolet and others,
// 2007) of 2^14 registers, whose standard error is 0.8 %.
type distinct struct {
	exact     map[uint64]struct{}
	registers []uint8
}

const (
	maxExact     = 10_000
	registerBits = 14
	hashBytes    = 16 // that a hash in the map takes, about
)

func (d *distinct) add(h uint64) (grown int64) {
	if d.registers != nil {
		d.register(h)
		return 0
	}
	if d.exact == nil {
		d.exact = map[uint64]struct{}{}
	}
	before := len(d.exact)
	d.exact[h] = struct{}{}
	if len(d.exact) <= maxExact {
		return hashBytes * int64(len(d.exact)-before)
	}
	return d.estimate() + hashBytes
}

// estimate goes over from the hashes to registers.
func (d *distinct) estimate() (grown int64) {
	d.registers = make([]uint8, 1<<registerBits)
	for h := range d.exact {
		d.register(h)
	}
	grown = int64(len(d.registers)) - hashBytes*int64(len(d.exact))
	d.exact = nil
	return grown
}

func (d *distinct) register(h uint64) {
	i := h >> (64 - registerBits)
	rank := uint8(bits.LeadingZeros64(h<<registerBits|1<<(registerBits-1))) + 1
	d.registers[i] = max(d.registers[i], rank)
}

func (d *distinct) merge(o *distinct) (grown int64) {
	for h := range o.exact {
		grown += d.add(h)
	}
	if o.registers == nil {
		return grown
	}
	if d.registers == nil {
		grown += d.estimate()
	}
	for i, r := range o.registers {
		d.registers[i] = max(d.registers[i], r)
	}
	return grown
}

func (d *distinct) count() int64 {
	if d.registers == nil {
		return int64(len(d.exact))
	}
	const m = 1 << registerBits
	sum, empty := 0.0, 0
	for _, r := range d.registers {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			empty++
		}
	}
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if estimate <= 2.5*m && empty > 0 {
		estimate = m * math.Log(m/float64(empty))
	}
	return int64(math.Round(estimate))
}

// hash is FNV-1a over a value's kind and text, mixed (the end of MurmurHash3) so that all its bits may be used.
func hash(v Value) uint64 {
	const prime = 1099511628211
	h := (uint64(14695981039346656037) ^ uint64(v.kind)) * prime
	for i := range len(v.text) {
		h = (h ^ uint64(v.text[i])) * prime
	}
	h ^= v.num
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
