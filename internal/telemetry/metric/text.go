package metric

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/storage"
)

// maxScrapeSamples is how many samples an exposition has at most.
const maxScrapeSamples = 50_000

// errTooMany is the error of an exposition with more samples than it may have.
var errTooMany = errors.New("too many samples")

// AppendText keeps the samples of an exposition in Prometheus' text format at a time. The labels extra are added to each series;
// a label of the same name that a series has itself becomes exported_NAME. It does not wait until they are on stable storage.
// An exposition that cannot be read is an error, and nothing of it is kept.
func (s *Store) AppendText(ctx context.Context, exposition []byte, extra map[string]string, at time.Time) (dropped int, err error) {
	n, err := s.Text(extra).Append(ctx, exposition, "text/plain; version=0.0.4", at)
	return n.Dropped, err
}

// Text takes expositions of one source, one after the other: a series that an exposition does not have any more is marked
// as ended. It is not for use side by side.
type Text struct {
	s     *Store
	extra labels.Labels
	most  int // samples in one exposition
	seen  map[string]*textSeries
	round uint64
	zero  string    // name's beginning of series that begin from zero; "" for none
	last  time.Time // of the exposition before; zero for none
}

// textSeries is a series of a source by what it is written as.
type textSeries struct {
	ref     storage.SeriesRef
	labels  labels.Labels
	service string
	since   uint64 // the round in which it was first seen
	round   uint64 // the newest in which it was seen
	drop    Cause  // why its samples are not taken, or ""
}

// Taken is what became of the samples of an exposition.
type Taken struct {
	Samples int // in it
	Dropped int // of them
}

// Text returns an intake for one source. Labels are added as in AppendText.
func (s *Store) Text(extra map[string]string) *Text {
	return &Text{s: s, extra: labels.FromMap(extra), most: maxScrapeSamples, seen: map[string]*textSeries{}}
}

// FromZero says that series whose name begins so are of counters that were zero before they were first seen. One that comes after the first
// exposition gets a sample of zero at the time of the one before; without it, rate() and increase() take what it begins with for something that was
// always there: fifty failures within one interval, the first of their kind, would be none.
func (t *Text) FromZero(name string) *Text {
	t.zero = name
	return t
}

// Append keeps the samples of an exposition, which is in the text format of Prometheus or OpenMetrics as its content
// type says. Samples without a time of their own get at.
func (t *Text) Append(ctx context.Context, exposition []byte, contentType string, at time.Time) (Taken, error) {
	w := t.s.writer(ctx)
	t.round++
	taken, err := t.read(w, exposition, contentType, at)
	if err == nil {
		err = t.end(w, t.round, at)
	}
	if err != nil {
		w.undo()
		t.forget(t.round)
		return Taken{Samples: taken}, err
	}
	if err := w.commit(); err != nil {
		return Taken{Samples: taken}, err
	}
	t.last = at
	return Taken{Samples: taken, Dropped: w.dropped}, nil
}

// End marks all series of the source as ended, and others with them.
func (t *Text) End(ctx context.Context, at time.Time) error {
	w := t.s.writer(ctx)
	if err := t.end(w, t.round+1, at); err != nil {
		w.undo()
		return err
	}
	return w.commit()
}

// forget lets the series of a round that was undone be seen anew.
func (t *Text) forget(round uint64) {
	for key, e := range t.seen {
		e.ref = 0
		switch {
		case e.since == round:
			delete(t.seen, key)
		case e.round == round:
			e.round--
		}
	}
}

// end marks series that were not seen in a round as ended, and forgets them.
func (t *Text) end(w *writer, round uint64, at time.Time) error {
	for key, e := range t.seen {
		if e.round == round {
			continue
		}
		delete(t.seen, key)
		if e.drop != "" {
			continue
		}
		if _, err := w.app.Append(e.ref, e.labels, at.UnixMilli(), staleNaN()); err != nil {
			if _, ok := causeOf(err); !ok {
				return fmt.Errorf("end series: %w", err)
			}
		}
	}
	return nil
}

// read parses an exposition and adds its samples.
func (t *Text) read(w *writer, exposition []byte, contentType string, at time.Time) (samples int, err error) {
	p, err := textparse.New(exposition, contentType, labels.NewSymbolTable(), textparse.ParserOptions{FallbackContentType: "text/plain"})
	if p == nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return samples, nil
		}
		if err != nil {
			return samples, fmt.Errorf("read metrics: %w", err)
		}
		switch entry {
		case textparse.EntryType:
			name, kind := p.Type()
			t.s.meta.set(string(name), func(m *Meta) { m.Type = string(kind) })
		case textparse.EntryHelp:
			name, help := p.Help()
			t.s.meta.set(string(name), func(m *Meta) { m.Help = string(help[:min(len(help), 1024)]) })
		case textparse.EntryUnit:
			name, unit := p.Unit()
			t.s.meta.set(string(name), func(m *Meta) { m.Unit = string(unit[:min(len(unit), 64)]) })
		case textparse.EntrySeries:
			if samples++; samples > t.most {
				return samples, errTooMany
			}
			if err := t.sample(w, p, at); err != nil {
				return samples, err
			}
		case textparse.EntryInvalid, textparse.EntryComment, textparse.EntryHistogram:
		}
	}
}

// sample adds the sample that the parser is at.
func (t *Text) sample(w *writer, p textparse.Parser, at time.Time) error {
	text, own, v := p.Series()
	e := t.seen[string(text)]
	if e == nil {
		e = t.series(p)
		if own == nil {
			t.seen[string(text)] = e
		}
	}
	ms := at.UnixMilli()
	if own != nil {
		ms = *own
	} else {
		e.round = t.round
	}
	if e.drop != "" {
		w.drop(e.service, e.drop)
		return nil
	}
	if err := t.begin(w, e, v, own != nil); err != nil {
		return err
	}
	ref, err := w.float(e.ref, e.service, e.labels, ms, v)
	e.ref = ref
	return err
}

// begin adds the zero that a counter had before it was first seen.
func (t *Text) begin(w *writer, e *textSeries, v float64, timed bool) (err error) {
	if t.zero == "" || timed || v == 0 || t.last.IsZero() || e.since != t.round || e.ref != 0 ||
		!strings.HasPrefix(e.labels.Get(model.MetricNameLabel), t.zero) {
		return nil
	}
	e.ref, err = w.float(0, e.service, e.labels, t.last.UnixMilli(), 0)
	return err
}

// series makes the labels of the series that the parser is at.
func (t *Text) series(p textparse.Parser) *textSeries {
	var ls labels.Labels
	p.Labels(&ls)
	b := labels.NewBuilder(ls)
	t.extra.Range(func(l labels.Label) {
		if own := ls.Get(l.Name); own != "" {
			name := l.Name
			for ls.Has(name) {
				name = "exported_" + name
			}
			b.Set(name, own)
		}
		b.Set(l.Name, l.Value)
	})
	e := &textSeries{labels: b.Labels(), since: t.round}
	e.service = strings.Clone(e.labels.Get(LabelService))
	if err := t.s.limits.checkLabels(e.labels); err != nil {
		e.drop = CauseLabels
	}
	return e
}
