package control

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

// telemetryOperations are those of traces, logs and load.
func (s *server) telemetryOperations() map[string]handlerFunc {
	return map[string]handlerFunc{
		"GET /v1/logs":            s.logs,
		"GET /v1/records":         s.records,
		"GET /v1/traces":          s.traces,
		"GET /v1/traces/{trace}":  s.trace,
		"GET /v1/export/{signal}": s.export,
		"GET /v1/complete":        s.complete,
		"GET /v1/heatmap":         s.heat,
		"GET /v1/difference":      s.difference,
		"GET /v1/map":             s.serviceMap,
		"GET /v1/top":             s.top,
		"GET /v1/telemetry":       s.telemetryUsage,
	}
}

func (s *server) logs(w http.ResponseWriter, r *http.Request) error {
	q, err := parseLogQuery(r)
	if err != nil {
		return err
	}
	write := stream(w, r)
	return s.app.Logs(r.Context(), q, func(line *telemetry.Line) error { return write(line) })
}

func parseLogQuery(r *http.Request) (*telemetry.LineQuery, error) {
	v := r.URL.Query()
	q := &telemetry.LineQuery{Services: v["service"], Follow: v.Get("follow") == "true"}
	var err error
	if q.Since, err = moment(r, "since"); err != nil {
		return nil, err
	}
	if text := v.Get("level"); text != "" {
		level, err := telemetry.ParseLevel(text)
		if err != nil {
			return nil, err
		}
		q.Level = level
	}
	if text := v.Get("grep"); text != "" {
		re, err := regexp.Compile(text)
		if err != nil {
			return nil, fault.New(fault.CodeBadRequest, "grep=%q is not a regular expression: %s", text, err).
				Fix("write it in RE2 syntax; a literal bracket or dot needs a backslash")
		}
		q.Grep = re
	}
	if text := v.Get("query"); text != "" {
		if q.Query, err = telemetry.ParseQuery(text, telemetry.Logs); err != nil {
			return nil, err
		}
		if q.Query.Tell != nil || len(q.Query.Sort) > 0 {
			return nil, fault.New(fault.CodeBadRequest, "lines cannot be counted or sorted here").Fix("ask /v1/records, or leave out what stands behind the bar")
		}
	}
	last, err := number(r, "last", 0)
	if last > telemetry.MaxSorted {
		return nil, fault.New(fault.CodeBadRequest, "%d lines are too many to be sorted", last).Fix("ask for %d at most, or by time: since=1h here, atoll logs --since 1h", telemetry.MaxSorted)
	}
	q.Last = int(last)
	return q, err
}

// asked reads the range of time and the limit of a question.
func asked(r *http.Request) (from, to time.Time, limit int, err error) {
	if from, err = moment(r, "from"); err != nil {
		return from, to, 0, err
	}
	if to, err = moment(r, "to"); err != nil {
		return from, to, 0, err
	}
	n, err := number(r, "limit", 0)
	return from, to, int(min(n, telemetry.MaxSorted)), err
}

func (s *server) traces(w http.ResponseWriter, r *http.Request) error {
	from, to, limit, err := asked(r)
	if err != nil {
		return err
	}
	v := r.URL.Query()
	return answer(w)(s.app.Traces(r.Context(), &api.TracesQuery{Query: v.Get("query"), From: from, To: to, Limit: limit, Spans: v.Get("spans") == "true"}))
}

func (s *server) trace(w http.ResponseWriter, r *http.Request) error {
	id := strings.ToLower(r.PathValue("trace"))
	return answer(w)(s.app.Trace(r.Context(), id, r.URL.Query().Get("records") == "true"))
}

func (s *server) records(w http.ResponseWriter, r *http.Request) error {
	from, to, limit, err := asked(r)
	if err != nil {
		return err
	}
	return answer(w)(s.app.Records(r.Context(), &api.RecordsQuery{Query: r.URL.Query().Get("query"), From: from, To: to, Limit: limit}))
}

func (s *server) export(w http.ResponseWriter, r *http.Request) error {
	from, to, limit, err := asked(r)
	if err != nil {
		return err
	}
	q := &api.ExportQuery{Signal: r.PathValue("signal"), Query: r.URL.Query().Get("query"), From: from, To: to, Limit: limit}
	w.Header().Set("Content-Type", "application/x-ndjson")
	return s.app.Export(r.Context(), q, func(request []byte) error {
		_, err := w.Write(append(request, '\n'))
		return err
	})
}

func (s *server) complete(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	q := &api.CompleteQuery{Signal: v.Get("signal"), Text: v.Get("text")}
	cursor, err := number(r, "cursor", int64(len([]rune(q.Text))))
	if err != nil {
		return err
	}
	q.Cursor = int(min(cursor, 1<<20))
	list, err := s.app.Complete(r.Context(), q)
	if list == nil {
		list = []telemetry.Completion{}
	}
	return answer(w)(map[string]any{"completions": list}, err)
}

func (s *server) serviceMap(w http.ResponseWriter, r *http.Request) error {
	from, to, _, err := asked(r)
	if err != nil {
		return err
	}
	return answer(w)(s.app.ServiceMap(r.Context(), from, to))
}

func (s *server) top(w http.ResponseWriter, r *http.Request) error {
	return answer(w)(s.app.Top(r.Context()))
}

func (s *server) telemetryUsage(w http.ResponseWriter, r *http.Request) error {
	return answer(w)(s.app.TelemetryUsage(r.Context()))
}
