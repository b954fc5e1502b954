package telemetry

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// SeriesTable is what a query of metrics found.
type SeriesTable struct {
	Series []Series `json:"series"`
	Notes  []string `json:"notes,omitempty"` // what the engine has to say of the query or of its answer
}

// Series is a metric with one set of labels over time.
type Series struct {
	Labels map[string]string `json:"labels"`
	Points []Sample          `json:"points"`
}

// Sample is a value of a series. As JSON it is [T, "V"], since JSON has no NaN and no infinity.
type Sample struct {
	T int64 // milliseconds since 1970 UTC
	V float64
}

// MarshalJSON writes [T, "V"].
func (s Sample) MarshalJSON() ([]byte, error) {
	b := strconv.AppendInt([]byte{'['}, s.T, 10)
	b = append(b, `,"`...)
	b = strconv.AppendFloat(b, s.V, 'g', -1, 64)
	return append(b, `"]`...), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Sample) UnmarshalJSON(b []byte) error {
	var value string
	if err := json.Unmarshal(b, &[]any{&s.T, &value}); err != nil {
		return fmt.Errorf("read sample: %w", err)
	}
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return fmt.Errorf("read sample: %w", err)
	}
	s.V = v
	return nil
}
