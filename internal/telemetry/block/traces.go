package block

import (
	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// traceNode chooses the rows of some traces.
type traceNode struct {
	vec        vector
	wanted     map[telemetry.TraceID]bool
	hashes     []uint64
	loaded     bool
	dictionary *parquet.Strings
	yes        []bool
	any        bool
	scratch    scratch
}

func (c *compiler) traces(ids telemetry.OfTraces) node {
	v := c.seg.get(colTrace)
	if v == nil {
		return constant(false)
	}
	n := &traceNode{vec: v, wanted: make(map[telemetry.TraceID]bool, len(ids))}
	for _, id := range ids {
		n.wanted[id] = true
		n.hashes = append(n.hashes, parquet.Hash(id[:]))
	}
	return n
}

func (n *traceNode) may() (bool, error) {
	for _, h := range n.hashes {
		ok, err := n.vec.mayHave(h)
		if err != nil {
			return false, err
		}
		if ok {
			if err := n.load(); err != nil {
				return false, err
			}
			return n.dictionary == nil || n.any, nil
		}
	}
	return false, nil
}

func (n *traceNode) load() (err error) {
	if n.loaded {
		return nil
	}
	n.loaded = true
	if n.dictionary, err = n.vec.strings(&n.scratch); err != nil || n.dictionary == nil {
		return err
	}
	n.yes = make([]bool, n.dictionary.Len())
	for i := range n.yes {
		n.yes[i] = n.wanted[telemetry.TraceID(n.dictionary.At(i))]
		n.any = n.any || n.yes[i]
	}
	return nil
}

func (n *traceNode) eval(lo, hi int, out bitmap) error {
	if err := n.load(); err != nil || n.dictionary != nil && !n.any {
		return err
	}
	p, err := n.vec.page(lo, hi, &n.scratch)
	if err != nil {
		return err
	}
	if n.dictionary != nil {
		for row, code := range p.Codes {
			if code != parquet.None && n.yes[code] {
				out.set(row)
			}
		}
		return nil
	}
	for row := range p.Rows {
		if (p.Valid == nil || p.Valid[row]) && n.wanted[telemetry.TraceID(p.Fixed[16*row:])] {
			out.set(row)
		}
	}
	return nil
}
