package metric

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/atollhq/atoll/internal/fault"
)

// The shapes are those of https://prometheus.io/docs/prometheus/latest/querying/api/.
type envelope struct {
	Status    string   `json:"status"`
	Data      any      `json:"data,omitempty"`
	ErrorType string   `json:"errorType,omitempty"`
	Error     string   `json:"error,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
	Infos     []string `json:"infos,omitempty"`
}

func writeData(w http.ResponseWriter, query string, data any, notes annotations.Annotations) {
	e := envelope{Status: "success", Data: data}
	e.Warnings, e.Infos = notes.AsStrings(query, 10, 10)
	writeJSON(w, http.StatusOK, e)
}

func writeError(w http.ResponseWriter, err error) {
	kind, status := kindOf(err)
	e := envelope{Status: "error", ErrorType: kind, Error: textOf(err)}
	if kind == "internal" {
		e.Error = "the metrics cannot be read" // what lies behind is not for whoever asks
	}
	writeJSON(w, status, e)
}

// textOf is what Prometheus would say of an error: the place first, without a code.
func textOf(err error) string {
	if p, ok := errors.AsType[*badParameter](err); ok {
		return p.Error()
	}
	f, ok := errors.AsType[*fault.Error](err)
	switch {
	case !ok:
		return err.Error()
	case f.Line > 0:
		return fmt.Sprintf("%d:%d: parse error: %s", f.Line, f.Column, f.Text)
	}
	return f.Text
}

// kindOf is Prometheus' type of an error and its status of HTTP.
func kindOf(err error) (kind string, status int) {
	if _, ok := errors.AsType[*badParameter](err); ok {
		return "bad_data", http.StatusBadRequest
	}
	if errors.Is(err, context.Canceled) {
		return "canceled", 499
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout", http.StatusServiceUnavailable
	}
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return "internal", http.StatusInternalServerError
	}
	if _, ok := errors.AsType[promql.ErrQueryTimeout](err); ok {
		return "timeout", http.StatusServiceUnavailable
	}
	switch {
	case f.Code == fault.CodeMetricBusy:
		return "unavailable", http.StatusServiceUnavailable
	case f.Cause != nil && f.Code != fault.CodeMetricQuery:
		return "execution", http.StatusUnprocessableEntity
	}
	return "bad_data", http.StatusBadRequest
}

func writeJSON(w http.ResponseWriter, status int, e envelope) {
	body, err := json.Marshal(e)
	if err != nil {
		status = http.StatusInternalServerError
		body = []byte(`{"status":"error","errorType":"internal","error":"the answer cannot be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // who asked is gone
}

// encodeResult writes a result as JSON by hand, since an answer may hold millions of numbers.
func encodeResult(v parser.Value) json.RawMessage {
	b := []byte(`{"resultType":"`)
	b = append(b, v.Type()...)
	b = append(b, `","result":`...)
	switch v := v.(type) {
	case promql.Scalar:
		b = appendFloatPoint(b, v.T, v.V)
	case promql.String:
		b = append(b, '[')
		b = appendTime(b, v.T)
		b = append(b, ',')
		b = appendText(b, v.V)
		b = append(b, ']')
	case promql.Vector:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"metric":`...)
			b = appendLabels(b, s.Metric)
			if s.H != nil {
				b = append(b, `,"histogram":`...)
				b = appendHistogramPoint(b, s.T, s.H)
			} else {
				b = append(b, `,"value":`...)
				b = appendFloatPoint(b, s.T, s.F)
			}
			b = append(b, '}')
		}
		b = append(b, ']')
	case promql.Matrix:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendSeries(b, s)
		}
		b = append(b, ']')
	default:
		b = append(b, "null"...)
	}
	return append(b, '}')
}

func appendSeries(b []byte, s promql.Series) []byte {
	b = append(b, `{"metric":`...)
	b = appendLabels(b, s.Metric)
	if len(s.Floats) > 0 {
		b = append(b, `,"values":[`...)
		for i, p := range s.Floats {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendFloatPoint(b, p.T, p.F)
		}
		b = append(b, ']')
	}
	if len(s.Histograms) > 0 {
		b = append(b, `,"histograms":[`...)
		for i, p := range s.Histograms {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendHistogramPoint(b, p.T, p.H)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendLabels(b []byte, ls labels.Labels) []byte {
	b = append(b, '{')
	first := true
	ls.Range(func(l labels.Label) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendText(b, l.Name)
		b = append(b, ':')
		b = appendText(b, l.Value)
	})
	return append(b, '}')
}

func appendText(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...) // strings are always written
	}
	return append(b, quoted...)
}

func appendFloatPoint(b []byte, ms int64, v float64) []byte {
	b = append(b, '[')
	b = appendTime(b, ms)
	b = append(b, ',')
	b = appendFloat(b, v)
	return append(b, ']')
}

// appendTime writes seconds, with three digits of fraction if there is one.
func appendTime(b []byte, ms int64) []byte {
	if ms < 0 {
		b = append(b, '-')
		ms = -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if frac := ms % 1000; frac != 0 {
		b = append(b, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
	}
	return b
}

// appendFloat writes a number in quotes, since JSON has no NaN and no infinity.
func appendFloat(b []byte, v float64) []byte {
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	b = append(b, '"')
	b = strconv.AppendFloat(b, v, format, -1, 64)
	return append(b, '"')
}

// appendHistogramPoint writes a native histogram. The first number of a bucket says which of its ends belong to it: 0 the
// upper, 1 the lower, 2 none, 3 both.
func appendHistogramPoint(b []byte, ms int64, h *histogram.FloatHistogram) []byte {
	b = append(b, '[')
	b = appendTime(b, ms)
	b = append(b, `,{"count":`...)
	b = appendFloat(b, h.Count)
	b = append(b, `,"sum":`...)
	b = appendFloat(b, h.Sum)
	first := true
	for it := h.AllBucketIterator(); it.Next(); {
		bucket := it.At()
		if bucket.Count == 0 {
			continue
		}
		if first {
			b = append(b, `,"buckets":[`...)
		} else {
			b = append(b, ',')
		}
		first = false
		ends := byte('2')
		switch {
		case bucket.LowerInclusive && bucket.UpperInclusive:
			ends = '3'
		case bucket.LowerInclusive:
			ends = '1'
		case bucket.UpperInclusive:
			ends = '0'
		}
		b = append(b, '[', ends, ',')
		b = appendFloat(b, bucket.Lower)
		b = append(b, ',')
		b = appendFloat(b, bucket.Upper)
		b = append(b, ',')
		b = appendFloat(b, bucket.Count)
		b = append(b, ']')
	}
	if !first {
		b = append(b, ']')
	}
	return append(b, `}]`...)
}
