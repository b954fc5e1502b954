package block

import (
	"slices"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// text makes the node that asks a predicate of the text of rows. The probes are words that must be there.
func (c *compiler) text(pred func([]byte) bool, probes []uint64) node {
	if c.signal == telemetry.Logs {
		n := &textNode{seg: c.seg, pred: pred, probes: probes}
		for _, s := range sources(c.seg, c.signal, colText) {
			n.sources = append(n.sources, textSource{fieldSource: fieldSource{source: s}})
		}
		return n
	}
	n := &spanTextNode{pred: pred, seen: map[[3]uint32]bool{}}
	for i, name := range []string{colName, colMessage, colEvents} {
		n.parts[i].vec = c.seg.get(name)
	}
	return n
}

// textNode asks the bodies of records.
type textNode struct {
	seg     segment
	pred    func([]byte) bool
	probes  []uint64
	sources []textSource
}

type textSource struct {
	fieldSource
	yes []uint8 // of the dictionary's values: verdicts, 0 where nobody has asked
}

func (n *textNode) may() (bool, error) {
	if len(n.probes) == 0 {
		return len(n.sources) > 0, nil
	}
	for lo := 0; lo < n.seg.rows(); lo += pageRows {
		if n.seg.words(lo / pageRows).may(n.probes) {
			return len(n.sources) > 0, nil
		}
	}
	// The filters know nothing of bodies that are JSON.
	return slices.ContainsFunc(n.sources, func(s textSource) bool { return s.vec.typ() == parquet.JSON }), nil
}

func (n *textNode) eval(lo, hi int, out bitmap) error {
	may := len(n.probes) == 0 || n.seg.words(lo/pageRows).may(n.probes)
	for i := range n.sources {
		s := &n.sources[i]
		if s.vec.typ() == parquet.Text && !may {
			continue
		}
		if err := s.load(); err != nil {
			return err
		}
		p, err := s.vec.page(lo, hi, &s.scratch)
		if err != nil {
			return err
		}
		for row, code := range p.Codes {
			if code != parquet.None && s.ask(n.pred, &p, code) {
				out.set(row)
			}
		}
	}
	return nil
}

func (s *textSource) load() (err error) {
	if s.loaded {
		return nil
	}
	s.loaded = true
	if s.dictionary, err = s.vec.strings(&s.scratch); s.dictionary != nil {
		s.yes = make([]uint8, s.dictionary.Len())
	}
	return err
}

// ask asks the predicate of a text, once for each value of a dictionary.
func (s *textSource) ask(pred func([]byte) bool, p *parquet.Page, code uint32) bool {
	if s.dictionary == nil {
		return pred(p.Values.At(int(code)))
	}
	if s.yes[code] == 0 {
		s.yes[code] = yesNo(pred(s.dictionary.At(int(code))))
	}
	return s.yes[code] == verdictYes
}

// spanTextNode asks the text of spans, which is made of three columns.
type spanTextNode struct {
	pred  func([]byte) bool
	parts [3]struct {
		vec        vector
		dictionary *parquet.Strings
		scratch    scratch
		page       parquet.Page
	}
	loaded bool
	seen   map[[3]uint32]bool // by the codes of the three
	text   []byte
}

func (n *spanTextNode) may() (bool, error) { return true, nil }

func (n *spanTextNode) eval(lo, hi int, out bitmap) (err error) {
	coded := true
	for i := range n.parts {
		p := &n.parts[i]
		if p.vec == nil {
			continue
		}
		if !n.loaded {
			if p.dictionary, err = p.vec.strings(&p.scratch); err != nil {
				return err
			}
		}
		if p.page, err = p.vec.page(lo, hi, &p.scratch); err != nil {
			return err
		}
		coded = coded && p.dictionary != nil
	}
	n.loaded = true
	if !coded {
		clear(n.seen) // codes of a page mean nothing in the next
	}
	for row := range hi - lo {
		key := [3]uint32{parquet.None, parquet.None, parquet.None}
		for i := range n.parts {
			if n.parts[i].vec != nil {
				key[i] = n.parts[i].page.Codes[row]
			}
		}
		yes, ok := n.seen[key]
		if !ok {
			yes = n.pred(n.assemble(key))
			n.seen[key] = yes
		}
		if yes {
			out.set(row)
		}
	}
	return nil
}

// assemble is the text of a span, as telemetry.Span.AppendText has it.
func (n *spanTextNode) assemble(key [3]uint32) []byte {
	var s telemetry.Span
	for i, code := range key {
		if code == parquet.None {
			continue
		}
		p := &n.parts[i]
		values := p.dictionary
		if values == nil {
			values = &p.page.Values
		}
		b := values.At(int(code))
		switch i {
		case 0:
			s.Name = alias(b)
		case 1:
			s.StatusText = alias(b)
		default:
			s.Events, _ = parseEvents(b)
		}
	}
	n.text = s.AppendText(n.text[:0])
	return n.text
}
