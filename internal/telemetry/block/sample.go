package block

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/atollhq/atoll/internal/telemetry"
)

// slowShare is the part of the entry spans of an operation that counts as its slowest.
const slowShare = 0.01

// keepRows are the rows of a table in memory that go to blocks: all, or, where traces are sampled, those of traces in which
// something failed, whose entry is among the slowest of its operation, or that are chosen by their id. The decision is made when
// the traces are complete, but for those that are under way at that moment: their spans in two tables are judged apart.
func (t *table) keepRows(m *mem) []uint32 {
	rows := make([]uint32, m.n)
	for i := range rows {
		rows[i] = uint32(i)
	}
	if t.o.Sample >= 1 || m.signal != telemetry.Spans {
		return rows
	}
	s := newSampling(m)
	chosen := uint64(t.o.Sample * math.MaxUint64)
	dropped := make([]int64, len(m.resources))
	rows = slices.DeleteFunc(rows, func(row uint32) bool {
		id := s.trace(row)
		if s.wanted[id] || mix(binary.LittleEndian.Uint64(id[8:])) <= chosen {
			return false
		}
		dropped[m.resource[row]]++
		return true
	})
	for service, n := range byService(m.resources, dropped) {
		t.store.drops.add(service, func(x *telemetry.Drops) { x.Sampled += n })
	}
	return rows
}

// sampling knows which traces of a table are kept whatever the rate.
type sampling struct {
	m      *mem
	wanted map[telemetry.TraceID]bool
}

func newSampling(m *mem) *sampling {
	s := &sampling{m: m, wanted: map[telemetry.TraceID]bool{}}
	status := m.fixed.status
	for i, code := range status.codes {
		if string(status.dict.strings.At(int(code))) == telemetry.StatusError.String() {
			s.wanted[s.trace(status.rows[i])] = true
		}
	}
	s.slowest()
	return s
}

func (s *sampling) trace(row uint32) telemetry.TraceID {
	return telemetry.TraceID(s.m.fixed.trace.fixed[16*row : 16*row+16])
}

// slowest marks the traces whose entry spans, those without a parent in this table, are among the slowest of their service and
// name.
func (s *sampling) slowest() {
	type operation struct{ service, name uint32 }
	m := s.m
	own := make(map[telemetry.SpanID]bool, m.n)
	for row := range m.n {
		own[telemetry.SpanID(m.fixed.span.fixed[8*row:])] = true
	}
	parent := make(map[uint32]telemetry.SpanID, len(m.fixed.parent.rows))
	for i, row := range m.fixed.parent.rows {
		parent[row] = telemetry.SpanID(m.fixed.parent.fixed[8*i:])
	}
	entries := map[operation][]uint32{}
	for row := range uint32(m.n) {
		if p, ok := parent[row]; !ok || !own[p] {
			op := operation{m.resource[row], m.fixed.name.codes[row]}
			entries[op] = append(entries[op], row)
		}
	}
	durations := m.fixed.duration.ints
	for _, rows := range entries {
		slices.SortFunc(rows, func(a, b uint32) int { return cmp.Compare(durations[b], durations[a]) })
		n := int(math.Ceil(slowShare * float64(len(rows))))
		for _, row := range rows[:n] {
			s.wanted[s.trace(row)] = true
		}
	}
}
