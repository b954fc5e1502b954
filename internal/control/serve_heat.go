package control

import (
	"net/http"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/telemetry"
)

func (s *server) heat(w http.ResponseWriter, r *http.Request) error {
	from, to, _, err := asked(r)
	if err != nil {
		return err
	}
	columns, err := upTo(r, "columns", telemetry.MaxHeatColumns)
	if err != nil {
		return err
	}
	rows, err := upTo(r, "rows", telemetry.MaxHeatRows)
	if err != nil {
		return err
	}
	return answer(w)(s.app.Heat(r.Context(), &api.HeatQuery{Query: r.URL.Query().Get("query"), From: from, To: to, Columns: columns, Rows: rows}))
}

// upTo reads a number that may not be above most.
func upTo(r *http.Request, name string, most int64) (int, error) {
	n, err := number(r, name, 0)
	if err == nil && n > most {
		err = fault.New(fault.CodeBadRequest, "%s=%d is too many", name, n).Fix("ask for %d at most", most)
	}
	return int(min(n, most)), err
}

func (s *server) difference(w http.ResponseWriter, r *http.Request) error {
	from, to, _, err := asked(r)
	if err != nil {
		return err
	}
	v := r.URL.Query()
	q := &api.DifferenceQuery{Query: v.Get("query"), From: from, To: to, Errors: v.Get("errors") == "true"}
	if q.InsideFrom, err = moment(r, "inside_from"); err != nil {
		return err
	}
	if q.InsideTo, err = moment(r, "inside_to"); err != nil {
		return err
	}
	if q.Least, err = number(r, "least_ns", 0); err != nil {
		return err
	}
	if q.Most, err = number(r, "most_ns", 0); err != nil {
		return err
	}
	return answer(w)(s.app.Difference(r.Context(), q))
}
