package telemetry_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

type diffSpan struct {
	span   telemetry.Span
	inside bool
	weight float64
}

func diffSpanOf(service string, inside bool, attrs ...telemetry.Attr) diffSpan {
	return diffSpan{telemetry.Span{Resource: &telemetry.Resource{Service: service}, Name: "x", Attrs: attrs}, inside, 1}
}

func differ(spans []diffSpan) telemetry.Difference {
	d := telemetry.NewDiffer()
	for i := range spans {
		d.Add(&spans[i].span, spans[i].inside, spans[i].weight)
	}
	return d.Difference(100)
}

func attr(key string, v telemetry.Value) telemetry.Attr { return telemetry.Attr{Key: key, Value: v} }

func fieldOf(d telemetry.Difference, name string) *telemetry.DiffField {
	i := slices.IndexFunc(d.Fields, func(f telemetry.DiffField) bool { return f.Field == name })
	if i < 0 {
		return nil
	}
	return &d.Fields[i]
}

// distance is the total variation distance of a field whose values are all counted, by the definition.
func distance(spans []diffSpan, field string) (float64, map[telemetry.Value]telemetry.Shares) {
	total := telemetry.Shares{}
	shares := map[telemetry.Value]telemetry.Shares{}
	for _, s := range spans {
		v, _ := telemetry.Row{Span: &s.span}.Field(field)
		x := shares[v]
		if s.inside {
			x.Inside += s.weight
			total.Inside += s.weight
		} else {
			x.Outside += s.weight
			total.Outside += s.weight
		}
		shares[v] = x
	}
	sum := 0.0
	for v, x := range shares {
		shares[v] = telemetry.Shares{Inside: x.Inside / total.Inside, Outside: x.Outside / total.Outside}
		sum += math.Abs(x.Inside/total.Inside - x.Outside/total.Outside)
	}
	return sum / 2, shares
}

func TestTheDifferenceOfAFieldIsAsItsDefinitionSays(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	seen := 0
	for range 300 {
		var spans []diffSpan
		for range 20 + rng.IntN(80) {
			s := diffSpanOf(fmt.Sprint("s", rng.IntN(3)), rng.IntN(3) == 0)
			s.weight = float64(1 + rng.IntN(3))
			bias := 0
			if s.inside {
				bias = 1
			}
			if rng.IntN(4) > 0 {
				s.span.Attrs = append(s.span.Attrs, attr("region", telemetry.String(string(rune('a'+rng.IntN(3)+bias)))))
			}
			s.span.Attrs = append(s.span.Attrs, attr("code", telemetry.Int(int64(200+100*(rng.IntN(3)+bias)))))
			spans = append(spans, s)
		}
		for _, f := range differ(spans).Fields {
			want, shares := distance(spans, f.Field)
			if math.Abs(f.Difference-want) > 1e-9 {
				t.Fatalf("%s differs by %v, want %v", f.Field, f.Difference, want)
			}
			if len(f.Values) != len(shares) {
				t.Fatalf("%s has %d values, want %d", f.Field, len(f.Values), len(shares))
			}
			for _, v := range f.Values {
				w := shares[v.Value]
				if math.Abs(v.Inside-w.Inside)+math.Abs(v.Outside-w.Outside) > 1e-9 {
					t.Fatalf("%s = %q: %+v, want %+v", f.Field, v.Value.Text(), v.Shares, w)
				}
			}
			seen++
		}
	}
	if seen < 300 {
		t.Fatalf("only %d fields were compared", seen)
	}
}

func TestTheFieldThatARegionIsAboutComesFirst(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var spans []diffSpan
	for i := range 2000 {
		slow := i%20 == 0
		shard := "b"
		if slow {
			shard = "a"
		}
		spans = append(spans, diffSpanOf(fmt.Sprint("s", rng.IntN(5)), slow,
			attr("shard", telemetry.String(shard)), attr("noise", telemetry.Int(rng.Int64N(10))), attr("user", telemetry.String(fmt.Sprint(rng.IntN(150))))))
	}
	d := differ(spans)
	if len(d.Fields) == 0 || d.Fields[0].Field != "shard" || d.Fields[0].Difference != 1 {
		t.Fatalf("%+v", d.Fields)
	}
	if user := fieldOf(d, "user"); user != nil && user.Difference-user.Chance > 0.1 {
		t.Errorf("many values among few spans differ by more than chance: %+v", user)
	}
}

func TestAFieldOfTooManyValuesIsNamedAndLeftOut(t *testing.T) {
	var spans []diffSpan
	for i := range 5 * telemetry.MaxDiffValues {
		spans = append(spans, diffSpanOf("s", i%2 == 0, attr("id", telemetry.String(fmt.Sprint(i)))))
	}
	if d := differ(spans); !slices.Equal(d.Many, []string{"id"}) || fieldOf(d, "id") != nil {
		t.Errorf("many: %v, fields: %+v", d.Many, d.Fields)
	}
}

func TestNumbersOfManyValuesAreToldInRangesThatDoNotOverlap(t *testing.T) {
	var spans []diffSpan
	for i := range 4000 {
		n := int64(i - 500)
		spans = append(spans, diffSpanOf("s", n > 3000, attr("size", telemetry.Int(n))))
	}
	d := differ(spans)
	f := fieldOf(d, "size")
	if f == nil || len(f.Values) < 4 || len(f.Values) > 9 || f.Difference < 0.8 {
		t.Fatalf("%+v", f)
	}
	inside, outside := 0.0, 0.0
	for i, v := range f.Values {
		if v.Low.Int() > v.High.Int() || i > 0 && v.Low.Int() <= f.Values[i-1].High.Int() {
			t.Errorf("range %d from %v to %v", i, v.Low.Text(), v.High.Text())
		}
		inside, outside = inside+v.Inside, outside+v.Outside
	}
	if math.Abs(inside-1)+math.Abs(outside-1) > 1e-9 {
		t.Errorf("the shares add up to %v and %v", inside, outside)
	}
	if low, high := f.Values[0].Low.Int(), f.Values[len(f.Values)-1].High.Int(); low != -500 || high != 3499 {
		t.Errorf("from %d to %d", low, high)
	}
}

func TestADifferKeepsNoMoreThanItsCaps(t *testing.T) {
	long := strings.Repeat("é", 500)
	var spans []diffSpan
	for i := range 50 {
		s := diffSpanOf("s", i%2 == 0, attr("long", telemetry.String(long+fmt.Sprint(i))))
		for j := range telemetry.MaxDiffFields {
			s.span.Attrs = append(s.span.Attrs, attr(fmt.Sprint("f", j), telemetry.Bool(i%2 == 0)))
		}
		spans = append(spans, s)
	}
	d := differ(spans)
	if !d.More {
		t.Error("more fields than are counted, and nothing says so")
	}
	if f := fieldOf(d, "long"); f != nil {
		t.Errorf("values that begin alike are not one: %+v", f)
	}
	spans[0].span.Attrs[0].Value = telemetry.String("x" + long)
	for i := range spans {
		spans[i].inside = i == 0
	}
	f := fieldOf(differ(spans), "long")
	if f == nil || len(f.Values) != 2 || !f.Values[0].Cut || len(f.Values[0].Value.Text()) > 200 || !strings.HasPrefix(f.Values[0].Value.Text(), "xéé") {
		t.Errorf("%+v", f)
	}
}

func TestWithoutSpansOnBothSidesNothingDiffers(t *testing.T) {
	d := differ([]diffSpan{diffSpanOf("s", true), diffSpanOf("t", true)})
	if d.Inside != 2 || d.Outside != 0 || len(d.Fields) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestTheBoundsOfARegionAreItsFirstMomentInsideAndTheFirstOutside(t *testing.T) {
	at := time.Unix(100, 0)
	region := telemetry.Region{Range: telemetry.Range{From: at, To: at.Add(10)}, Least: 5, Most: 8, Errors: true}
	for _, c := range []struct {
		after, took int64
		status      telemetry.Status
		want        bool
	}{
		{0, 5, telemetry.StatusError, true},
		{9, 7, telemetry.StatusError, true},
		{-1, 5, telemetry.StatusError, false},
		{10, 5, telemetry.StatusError, false},
		{0, 4, telemetry.StatusError, false},
		{0, 8, telemetry.StatusError, false},
		{0, 5, telemetry.StatusOK, false},
	} {
		s := telemetry.Span{Start: at.UnixNano() + c.after, Duration: c.took, Status: c.status}
		if got := region.Contains(&s); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if !(&telemetry.Region{}).Contains(&telemetry.Span{Start: 5}) {
		t.Error("a region without bounds does not hold a span")
	}
}
