package block

import (
	"encoding/binary"
	"errors"
	"math"
	"unsafe"

	"github.com/atollhq/atoll/internal/telemetry"
)

// The write-ahead log keeps batches in a form of its own: counts and numbers as varints, strings with their length, resources
// and scopes once for each batch. Nothing is believed that is read: lengths are compared with what is there.

var errShort = errors.New("the record ends too early")

// encoder writes batches.
type encoder struct {
	b         []byte
	resources index[telemetry.Resource]
	scopes    index[telemetry.Scope]
}

// index numbers things by their pointers, in the order in which they come. The one asked for last is most often asked for
// again.
type index[T any] struct {
	list   []*T
	number map[*T]uint64
	last   uint64
}

func (x *index[T]) of(p *T) uint64 {
	if len(x.list) > 0 && x.list[x.last] == p {
		return x.last
	}
	n, ok := x.number[p]
	if !ok {
		n = uint64(len(x.list))
		x.list = append(x.list, p)
		x.number[p] = n
	}
	x.last = n
	return n
}

func (x *index[T]) reset() {
	if x.number == nil {
		x.number = map[*T]uint64{}
	}
	clear(x.number)
	clear(x.list)
	x.list, x.last = x.list[:0], 0
}

// encodeSpans appends the spans. The resources and scopes stand behind them, since they are known only then.
func (e *encoder) encodeSpans(spans []telemetry.Span) []byte {
	e.reset()
	e.uint(uint64(len(spans)))
	for i := range spans {
		s := &spans[i]
		e.head(s.Resource, s.Scope)
		e.b = append(append(append(e.b, s.TraceID[:]...), s.SpanID[:]...), s.Parent[:]...)
		e.b = binary.LittleEndian.AppendUint64(e.b, uint64(s.Start))
		e.uint(uint64(s.Duration))
		e.b = append(e.b, byte(s.Kind), byte(s.Status))
		e.string(s.Name)
		e.string(s.StatusText)
		e.string(s.State)
		e.attrs(s.Attrs)
		e.uint(uint64(len(s.Events)))
		for j := range s.Events {
			e.b = binary.LittleEndian.AppendUint64(e.b, uint64(s.Events[j].Time))
			e.string(s.Events[j].Name)
			e.attrs(s.Events[j].Attrs)
		}
		e.uint(uint64(len(s.Links)))
		for j := range s.Links {
			e.b = append(append(e.b, s.Links[j].TraceID[:]...), s.Links[j].SpanID[:]...)
			e.attrs(s.Links[j].Attrs)
		}
	}
	return e.tail()
}

func (e *encoder) encodeRecords(records []telemetry.Record) []byte {
	e.reset()
	e.uint(uint64(len(records)))
	for i := range records {
		r := &records[i]
		e.head(r.Resource, r.Scope)
		e.b = append(append(e.b, r.TraceID[:]...), r.SpanID[:]...)
		e.b = binary.LittleEndian.AppendUint64(e.b, uint64(r.Time))
		e.b = append(e.b, r.Severity)
		e.string(r.Name)
		e.value(r.Body)
		e.attrs(r.Attrs)
	}
	return e.tail()
}

// attrBytes is what an attribute takes in memory beside its text; in the log it is two bytes at least.
const attrBytes = int(unsafe.Sizeof(telemetry.Attr{}))

// size is how many bytes what was encoded takes, with what resources take beyond them in memory.
func (e *encoder) size() int {
	n := len(e.b)
	for _, r := range e.resources.list {
		n += attrBytes * len(r.Attrs)
	}
	return n
}

func (e *encoder) reset() {
	e.b = e.b[:0]
	e.resources.reset()
	e.scopes.reset()
}

func (e *encoder) head(r *telemetry.Resource, s *telemetry.Scope) {
	e.uint(e.resources.of(r))
	if s == nil {
		e.uint(0)
		return
	}
	e.uint(1 + e.scopes.of(s))
}

// tail appends resources and scopes, and where they begin.
func (e *encoder) tail() []byte {
	begin := len(e.b)
	e.uint(uint64(len(e.resources.list)))
	for _, r := range e.resources.list {
		e.string(r.Service)
		e.string(r.Replica)
		e.attrs(r.Attrs)
	}
	e.uint(uint64(len(e.scopes.list)))
	for _, s := range e.scopes.list {
		e.string(s.Name)
		e.string(s.Version)
	}
	e.b = binary.LittleEndian.AppendUint32(e.b, uint32(begin))
	return e.b
}

func (e *encoder) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }

func (e *encoder) string(s string) {
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) attrs(attrs []telemetry.Attr) {
	e.uint(uint64(len(attrs)))
	for i := range attrs {
		e.string(attrs[i].Key)
		e.value(attrs[i].Value)
	}
}

func (e *encoder) value(v telemetry.Value) {
	e.b = append(e.b, byte(v.Kind()))
	switch v.Kind() {
	case telemetry.KindString, telemetry.KindJSON:
		e.string(v.Str())
	case telemetry.KindInt:
		e.b = binary.AppendVarint(e.b, v.Int())
	case telemetry.KindFloat:
		f, _ := v.Number()
		e.b = binary.LittleEndian.AppendUint64(e.b, math.Float64bits(f))
	case telemetry.KindBool:
		if v.Bool() {
			e.b = append(e.b, 1)
		} else {
			e.b = append(e.b, 0)
		}
	case telemetry.KindNone:
	}
}

// decoder reads what an encoder wrote. Its strings alias the bytes.
type decoder struct {
	b         []byte
	bad       bool
	resources []telemetry.Resource
	scopes    []telemetry.Scope
}

func (d *decoder) begin(b []byte) error {
	const end = 4
	if len(b) < end {
		return errShort
	}
	at := binary.LittleEndian.Uint32(b[len(b)-end:])
	if uint64(at) > uint64(len(b)-end) {
		return errShort
	}
	d.b = b[at : len(b)-end]
	d.resources = make([]telemetry.Resource, d.count(3))
	for i := range d.resources {
		d.resources[i] = telemetry.Resource{Service: d.string(), Replica: d.string(), Attrs: d.attrs()}
	}
	d.scopes = make([]telemetry.Scope, d.count(2))
	for i := range d.scopes {
		d.scopes[i] = telemetry.Scope{Name: d.string(), Version: d.string()}
	}
	if d.bad {
		return errShort
	}
	d.b = b[:at]
	return nil
}

func decodeSpans(b []byte) ([]telemetry.Span, error) {
	var d decoder
	if err := d.begin(b); err != nil {
		return nil, err
	}
	const least = 48
	spans := make([]telemetry.Span, d.count(least))
	for i := range spans {
		s := &spans[i]
		s.Resource, s.Scope = d.head()
		d.bytes(s.TraceID[:])
		d.bytes(s.SpanID[:])
		d.bytes(s.Parent[:])
		s.Start, s.Duration = d.int64(), int64(d.uint())
		s.Kind, s.Status = telemetry.SpanKind(d.byte()), telemetry.Status(d.byte())
		s.Name, s.StatusText, s.State = d.string(), d.string(), d.string()
		s.Attrs = d.attrs()
		if n := d.count(10); n > 0 {
			s.Events = make([]telemetry.SpanEvent, n)
		}
		for j := range s.Events {
			s.Events[j] = telemetry.SpanEvent{Time: d.int64(), Name: d.string(), Attrs: d.attrs()}
		}
		if n := d.count(25); n > 0 {
			s.Links = make([]telemetry.Link, n)
		}
		for j := range s.Links {
			d.bytes(s.Links[j].TraceID[:])
			d.bytes(s.Links[j].SpanID[:])
			s.Links[j].Attrs = d.attrs()
		}
	}
	if d.bad {
		return nil, errShort
	}
	return spans, nil
}

func decodeRecords(b []byte) ([]telemetry.Record, error) {
	var d decoder
	if err := d.begin(b); err != nil {
		return nil, err
	}
	const least = 38
	records := make([]telemetry.Record, d.count(least))
	for i := range records {
		r := &records[i]
		r.Resource, r.Scope = d.head()
		d.bytes(r.TraceID[:])
		d.bytes(r.SpanID[:])
		r.Time, r.Severity = d.int64(), d.byte()
		r.Name, r.Body, r.Attrs = d.string(), d.value(), d.attrs()
	}
	if d.bad {
		return nil, errShort
	}
	return records, nil
}

func (d *decoder) head() (*telemetry.Resource, *telemetry.Scope) {
	r, s := d.uint(), d.uint()
	if r >= uint64(len(d.resources)) || s > uint64(len(d.scopes)) {
		d.bad = true
		return nil, nil
	}
	if s == 0 {
		return &d.resources[r], nil
	}
	return &d.resources[r], &d.scopes[s-1]
}

// count reads how many things follow, each of which takes at least so many bytes.
func (d *decoder) count(least int) int {
	n := d.uint()
	if n > uint64(len(d.b)/least) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) bytes(to []byte) { copy(to, d.take(uint64(len(to)))) }

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) int64() int64 {
	b := d.take(8)
	if b == nil {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(b))
}

func (d *decoder) string() string {
	b := d.take(d.uint())
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (d *decoder) attrs() []telemetry.Attr {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	out := make([]telemetry.Attr, n)
	for i := range out {
		out[i] = telemetry.Attr{Key: d.string(), Value: d.value()}
	}
	return out
}

func (d *decoder) value() telemetry.Value {
	switch telemetry.Kind(d.byte()) {
	case telemetry.KindString:
		return telemetry.String(d.string())
	case telemetry.KindJSON:
		return telemetry.JSON(d.string())
	case telemetry.KindInt:
		n, size := binary.Varint(d.b)
		if size <= 0 {
			d.bad, d.b = true, nil
			return telemetry.Value{}
		}
		d.b = d.b[size:]
		return telemetry.Int(n)
	case telemetry.KindFloat:
		return telemetry.Float(math.Float64frombits(uint64(d.int64())))
	case telemetry.KindBool:
		return telemetry.Bool(d.byte() == 1)
	case telemetry.KindNone:
	}
	return telemetry.Value{}
}
