package shipping_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/gtm/internal/servicetest"
	"example.com/gtm/services/shipping/internal/shipping"
)

func open(t *testing.T, path string, stock ...shipping.Seed) *shipping.Store {
	t.Helper()
	s, err := shipping.Open(t.Context(), path, stock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// serve is a service with ten boxes and three books in its shelf.
func serve(t *testing.T) *servicetest.Service {
	t.Helper()
	s := open(t, filepath.Join(t.TempDir(), "s.db"),
		shipping.Seed{SKU: "box", Name: "Box", OnHand: 10}, shipping.Seed{SKU: "book", Name: "Book", OnHand: 3})
	return servicetest.Serve(t, shipping.Handler(s), "../../openapi.yaml")
}

type (
	order struct {
		Order string          `json:"order"`
		Lines []shipping.Line `json:"lines,omitempty"`
	}
	gone struct {
		Order     string
		Cancelled bool
	}
)

func want(name string, lines ...any) order {
	o := order{Order: name}
	for i := 0; i < len(lines); i += 2 {
		o.Lines = append(o.Lines, shipping.Line{SKU: lines[i].(string), Quantity: int64(lines[i+1].(int))})
	}
	return o
}

// shelf is what lies in the shelf: on hand and, of that, reserved.
func shelf(t *testing.T, s *servicetest.Service) string {
	t.Helper()
	var stock struct{ Items []shipping.Item }
	if got := s.Call("GET", "/api/shipping/stock", nil, &stock); got != "200" {
		t.Fatal(got)
	}
	var all []string
	for _, i := range stock.Items {
		if i.Available != i.OnHand-i.Reserved {
			t.Errorf("%d are available of %+v", i.Available, i)
		}
		all = append(all, fmt.Sprintf("%s %d/%d", i.SKU, i.OnHand, i.Reserved))
	}
	return strings.Join(all, ", ")
}

func is(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func TestAnOrderIsReservedAsAWholeOrNotAtAll(t *testing.T) {
	s := serve(t)
	var r shipping.Reservation
	is(t, "reserve", s.Do("/reservations", "1/reserve", want("a", "box", 2, "book", 1, "box", 3), &r), "200")
	if len(r.Lines) != 2 || r.Lines[0].Quantity != 5 || r.State != shipping.StateReserved {
		t.Errorf("got %+v", r)
	}
	is(t, "one line of two is short", s.Do("/reservations", "2/reserve", want("b", "box", 1, "book", 3), nil), "409 out-of-stock")
	is(t, "two lines are short together", s.Do("/reservations", "3/reserve", want("c", "book", 1, "book", 2), nil), "409 out-of-stock")
	is(t, "shelf", shelf(t, s), "book 3/1, box 10/5")
}

func TestWhatCannotBeReservedIsRefusedForGood(t *testing.T) {
	s := serve(t)
	is(t, "the first", s.Do("/reservations", "1/reserve", want("a", "box", 1), nil), "200")
	for name, test := range map[string]struct {
		in   order
		want string
	}{
		"unknown goods":     {want("b", "ship", 1), "422 unknown-sku"},
		"nothing":           {want("b"), "422 bad-reservation"},
		"no order":          {want("", "box", 1), "422 bad-reservation"},
		"none of something": {want("b", "box", 0), "422 bad-reservation"},
		"less than none":    {want("b", "box", -1), "422 bad-reservation"},
		"too many":          {want("b", "box", 1_000_001), "422 bad-reservation"},
		"by another saga":   {want("a", "box", 1), "409 reserved-already"},
	} {
		is(t, name, s.Do("/reservations", name+"/reserve", test.in, nil), test.want)
	}
	is(t, "no key", s.Call("POST", "/reservations", want("b", "box", 1), nil), "400 step-key-missing")
	is(t, "shelf", shelf(t, s), "book 3/0, box 10/1")
}

func TestAStepThatComesAgainHasNoSecondEffect(t *testing.T) {
	s := serve(t)
	var first, again shipping.Shipment
	for range 3 {
		is(t, "reserve", s.Do("/reservations", "1/reserve", want("a", "box", 2), nil), "200")
	}
	is(t, "shelf", shelf(t, s), "book 3/0, box 10/2")
	is(t, "ship", s.Do("/shipments", "1/ship", want("a"), &first), "200")
	is(t, "ship again", s.Do("/shipments", "1/ship", want("a"), &again), "200")
	if first.ID == "" || first.ID != again.ID || !first.ShippedAt.Equal(again.ShippedAt) {
		t.Errorf("got %+v and %+v", first, again)
	}
	is(t, "ship by another key", s.Do("/shipments", "1/ship2", want("a"), &again), "200")
	if first.ID != again.ID {
		t.Errorf("a second shipment %+v", again)
	}
	is(t, "shelf", shelf(t, s), "book 3/0, box 8/0")
}

func TestARefusalStaysOneAlthoughTheGoodsHaveCome(t *testing.T) {
	s := serve(t)
	is(t, "reserve", s.Do("/reservations", "1/reserve", want("a", "book", 4), nil), "409 out-of-stock")
	is(t, "count", s.Call("PUT", "/api/shipping/stock/book", map[string]int{"on_hand": 9}, nil), "200")
	is(t, "the same again", s.Do("/reservations", "1/reserve", want("a", "book", 4), nil), "409 out-of-stock")
	is(t, "undo of what was refused", s.Undo("/reservations/cancel", "1/reserve", want("a"), nil), "200")
	is(t, "shelf", shelf(t, s), "book 9/0, box 10/0")
}

func TestWhatIsCancelledIsAvailableAgainOnce(t *testing.T) {
	s := serve(t)
	is(t, "reserve", s.Do("/reservations", "1/reserve", want("a", "book", 3), nil), "200")
	is(t, "reserve", s.Do("/reservations", "2/reserve", want("b", "box", 1), nil), "200")
	for range 3 {
		var out gone
		is(t, "cancel", s.Undo("/reservations/cancel", "1/reserve", want("a"), &out), "200")
		if !out.Cancelled || out.Order != "a" {
			t.Errorf("got %+v", out)
		}
	}
	is(t, "shelf", shelf(t, s), "book 3/0, box 10/1")
	is(t, "ship what is cancelled", s.Do("/shipments", "1/ship", want("a"), nil), "409 not-reserved")
	is(t, "reserve for another saga of the order", s.Do("/reservations", "3/reserve", want("a", "book", 3), nil), "200")
}

func TestAnUndoingWithoutItsStepIsDoneAndBarsTheStep(t *testing.T) {
	s := serve(t)
	var out *gone
	is(t, "undo", s.Undo("/reservations/cancel", "1/reserve", want("a"), &out), "200")
	if out != nil {
		t.Errorf("got %+v", out)
	}
	is(t, "the step that was late", s.Do("/reservations", "1/reserve", want("a", "box", 1), nil), "409 step-too-late")
	is(t, "undo again", s.Undo("/reservations/cancel", "1/reserve", want("a"), nil), "200")
	is(t, "shelf", shelf(t, s), "book 3/0, box 10/0")
}

func TestWhatIsOnItsWayIsNotCancelled(t *testing.T) {
	s := serve(t)
	is(t, "reserve", s.Do("/reservations", "1/reserve", want("a", "box", 1), nil), "200")
	is(t, "ship", s.Do("/shipments", "1/ship", want("a"), nil), "200")
	is(t, "cancel", s.Undo("/reservations/cancel", "1/reserve", want("a"), nil), "409 shipped")
	is(t, "shelf", shelf(t, s), "book 3/0, box 9/0")
}

func TestNoMoreIsReservedThanLiesInTheShelf(t *testing.T) {
	s := serve(t)
	var took atomic.Int32
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			if s.Do("/reservations", fmt.Sprint(i, "/reserve"), want(fmt.Sprint(i), "box", 3), nil) == "200" {
				took.Add(1)
			}
		})
	}
	wg.Wait()
	if took.Load() != 3 {
		t.Errorf("%d orders took three of ten boxes each", took.Load())
	}
	is(t, "shelf", shelf(t, s), "book 3/0, box 10/9")
	is(t, "count less than is reserved", s.Call("PUT", "/api/shipping/stock/box", map[string]int{"on_hand": 8}, nil), "409 reserved")
}

func TestAStockFileFillsTheShelfOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s := open(t, path, shipping.Seed{SKU: "box", OnHand: 10})
	if _, err := s.Count(t.Context(), "box", 4); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, shipping.Seed{SKU: "box", OnHand: 10}, shipping.Seed{SKU: "pen", OnHand: 2})
	stock, err := s.Stock(t.Context())
	if err != nil || len(stock) != 2 || stock[0].OnHand != 4 || stock[1].OnHand != 2 {
		t.Errorf("got %+v %v", stock, err)
	}
}

func TestAStockFileThatIsWrongIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"items":[{"sku":"a","on_hand":1},{"sku":"a","on_hand":1}]}`: "twice",
		`{"items":[{"name":"a","on_hand":1}]}`:                        "has no sku",
		`{"items":[{"sku":"a","on_hand":-1}]}`:                        "on_hand must be",
		`{"goods":[]}`:                                                "unknown field",
	} {
		if _, err := shipping.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	text, err := os.ReadFile("../../stock.json")
	if err != nil {
		t.Fatal(err)
	}
	if stock, err := shipping.Parse(text); err != nil || len(stock) == 0 {
		t.Errorf("the file that is shipped: %v %v", stock, err)
	}
}

func TestTheContractIsTrue(t *testing.T) {
	s := serve(t)
	for i := range 3 {
		name := fmt.Sprint("o", i)
		is(t, "reserve", s.Do("/reservations", name+"/reserve", want(name, "box", 1), nil), "200")
		is(t, "ship", s.Do("/shipments", name+"/ship", want(name), nil), "200")
	}
	is(t, "cancel", s.Undo("/reservations/cancel", "x/reserve", want("x"), nil), "200")
	is(t, "count", s.Call("PUT", "/api/shipping/stock/pen", map[string]int{"on_hand": 1}, nil), "404 unknown-sku")
	is(t, "count", s.Call("PUT", "/api/shipping/stock/box", map[string]int{"on_hand": -1}, nil), "400 bad-number")
	var page struct {
		Shipments []shipping.Shipment
		Next      string
	}
	is(t, "page", s.Call("GET", "/api/shipping/shipments?limit=2", nil, &page), "200")
	if len(page.Shipments) != 2 || page.Shipments[0].Order != "o2" || page.Next == "" {
		t.Fatalf("got %+v", page)
	}
	is(t, "next page", s.Call("GET", "/api/shipping/shipments?limit=2&cursor="+page.Next, nil, &page), "200")
	if len(page.Shipments) != 1 || page.Shipments[0].Order != "o0" {
		t.Errorf("got %+v", page)
	}
	is(t, "one order", s.Call("GET", "/api/shipping/shipments?order=o1", nil, &page), "200")
	if len(page.Shipments) != 1 || page.Shipments[0].Order != "o1" {
		t.Errorf("got %+v", page)
	}
	is(t, "no cursor", s.Call("GET", "/api/shipping/shipments?cursor=x", nil, nil), "400 bad-cursor")
	is(t, "no limit", s.Call("GET", "/api/shipping/shipments?limit=0", nil, nil), "400 bad-number")
	shelf(t, s)
	s.AllSeen()
}
