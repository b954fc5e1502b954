package block_test

import (
	"testing"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block"
)

func TestWhatIsNotInBlocksYetCountsAsKept(t *testing.T) {
	s, err := block.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	before, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := telemetry.Record{Resource: &telemetry.Resource{Service: "web"}, Body: telemetry.String("a line of a hundred bytes or so, so that it is seen: 0123456789 0123456789 0123456789 0123456789")}
	if err := s.Append(t.Context(), &telemetry.Batch{Records: []telemetry.Record{r}}); err != nil {
		t.Fatal(err)
	}
	after, err := s.Usage(t.Context())
	if err != nil || after.Bytes < before.Bytes+100 {
		t.Errorf("%d bytes are kept, and were before: %d, %v", after.Bytes, before.Bytes, err)
	}
}
