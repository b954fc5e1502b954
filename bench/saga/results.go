package main

import (
	"fmt"
	"slices"

	"github.com/atollhq/atoll/bench/internal/report"
)

// times is how many times as many sagas Atoll is to do, by peer and by where Atoll keeps them.
func times(subject, peer string) float64 {
	switch peer {
	case nameDBOS:
		return map[string]float64{nameSQLite: 3, namePostgres: 2}[subject]
	case nameDTM:
		return map[string]float64{nameSQLite: 4}[subject]
	case nameTemporal:
		return map[string]float64{nameSQLite: 50}[subject]
	}
	return 0
}

const (
	goalRate = 1000 // sagas a second, on two processors
	goalP99  = 150  // ms
	goalCPU  = 300  // µs a saga, besides the calls
)

func (b *bench) results() []report.Result {
	var out []report.Result
	for _, s := range b.subjects {
		out = append(out, b.resultsOf(s)...)
	}
	out = append(out, b.ratios()...)
	out = append(out, b.extra...)
	return append(out, b.absent...)
}

func (b *bench) named(name string) *subject {
	if i := slices.IndexFunc(b.subjects, func(s *subject) bool { return s.name == name }); i >= 0 {
		return b.subjects[i]
	}
	return nil
}

func (b *bench) name() string { return fmt.Sprintf("five steps, %d at once", b.shape.clients) }

func (b *bench) rate(s *subject) report.Result {
	return report.Result{Case: b.name(), Subject: s.name, Metric: "sagas", Value: report.Median(s.rate), Unit: "sagas/s"}
}

func (b *bench) resultsOf(s *subject) []report.Result {
	line := func(metric string, values []float64, unit string) report.Result {
		return report.Result{Case: b.name(), Subject: s.name, Metric: metric, Value: report.Median(values), Unit: unit}
	}
	ours := s.name == nameSQLite || s.name == namePostgres
	rate, p99 := b.rate(s), line("end after start, p99", s.p99, "ms")
	if ours {
		p99 = p99.AtMost(goalP99)
	}
	if s.name == nameSQLite {
		rate = rate.AtLeast(goalRate)
	}
	out := []report.Result{rate, line("end after start, p50", s.p50, "ms"), p99}
	for _, part := range []string{partEngine, partPostgres, partService, partLoad} {
		if used := s.used[part]; used != nil {
			out = append(out, line("CPU, "+part, used, "µs/saga"))
		}
	}
	if calls := b.named(nameCallsPaced); ours && calls != nil {
		besides := make([]float64, len(s.used[partEngine]))
		for i, used := range s.used[partEngine] {
			besides[i] = used - calls.used[partEngine][i] // of the same round
		}
		r := line("CPU, engine besides the calls", besides, "µs/saga")
		if s.name == nameSQLite {
			r = r.AtMost(goalCPU)
		}
		out = append(out, r)
	}
	if s.bytes != nil {
		out = append(out, line("kept", s.bytes, "B/saga"))
	}
	return out
}

// ratios compares Atoll with each peer.
func (b *bench) ratios() []report.Result {
	var out []report.Result
	for _, name := range []string{nameSQLite, namePostgres} {
		s := b.named(name)
		if s == nil {
			continue
		}
		for _, peer := range b.subjects {
			if peer.name == nameSQLite || peer.name == namePostgres || peer.name == nameCalls || peer.name == nameCallsPaced {
				continue
			}
			r := b.rate(s).Against(b.rate(peer))
			if least := times(name, peer.name); least > 0 {
				r = r.Times(least)
			}
			out = append(out, r)
		}
	}
	return out
}
