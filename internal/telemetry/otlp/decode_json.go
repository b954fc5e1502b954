package otlp

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/atollhq/atoll/internal/telemetry"
)

// DecodeJSON decodes an export request in OTLP/JSON, https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
// It writes the request as Protocol Buffers and decodes that: there is one meaning for both forms.
func (d *Decoder) DecodeJSON(s Signal, request []byte) (*telemetry.Batch, Partial, error) {
	if int64(len(request)) > d.limits.Request {
		return nil, Partial{}, &TooLarge{"the request is larger than " + size(d.limits.Request)}
	}
	d.Reset()
	if d.schema == nil {
		d.schema = newSchema()
	}
	r := jsonReader{lexer: lexer{b: request}, schema: d.schema, out: reuse(d.binary), limit: d.limits.Request}
	err := r.message(s.message(), 1)
	if err == nil && r.peek() != 0 {
		err = errors.New("something follows on the request")
	}
	d.binary = r.out
	if err != nil {
		if large := (*TooLarge)(nil); errors.As(err, &large) {
			return nil, Partial{}, err
		}
		return nil, Partial{}, &Malformed{Where: r.where(), Offset: r.i, Why: err.Error()}
	}
	return d.Decode(s, d.binary)
}

// jsonReader writes a request in JSON as Protocol Buffers.
type jsonReader struct {
	lexer
	schema *schema
	out    []byte
	limit  int64
	path   []string // names of the fields that are being read
}

func (r *jsonReader) where() string {
	if len(r.path) == 0 {
		return "the request"
	}
	var b bytes.Buffer
	for i, name := range r.path[:min(len(r.path), 8)] {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(name)
	}
	return b.String()
}

func (r *jsonReader) message(m message, depth int) error {
	if r.peek() != '{' {
		return errors.New("an object is expected here")
	}
	return r.object(depth, func(key []byte) error {
		for i := range r.schema[m] {
			if f := &r.schema[m][i]; f.name == string(key) {
				r.path = append(r.path, f.name)
				if err := r.field(f, depth+1); err != nil {
					return err
				}
				r.path = r.path[:len(r.path)-1]
				return nil
			}
		}
		return r.skip(depth + 1)
	})
}

func (r *jsonReader) field(f *field, depth int) error {
	if err := r.fits(); err != nil {
		return err
	}
	if r.word("null") {
		return nil
	}
	if !f.repeated {
		return r.value(f, depth)
	}
	if r.peek() != '[' {
		return errors.New("an array is expected here")
	}
	return r.array(depth, func() error {
		if err := r.fits(); err != nil {
			return err
		}
		return r.value(f, depth+1)
	})
}

// fits tells whether what was written so far is within the limit.
func (r *jsonReader) fits() error {
	if int64(len(r.out)) > r.limit {
		return &TooLarge{"the request is larger than " + size(r.limit) + " in Protocol Buffers"}
	}
	return nil
}

// lengthBytes is how many bytes are left for the length of a message, which is known only after it is written.
const lengthBytes = 4

func (r *jsonReader) value(f *field, depth int) error {
	switch f.typ {
	case typeMessage:
		r.out = appendTag(r.out, f.num, wireLen)
		r.out = append(r.out, make([]byte, lengthBytes)...)
		at := len(r.out)
		if err := r.message(f.msg, depth); err != nil {
			return err
		}
		n := len(r.out) - at
		for i := range lengthBytes {
			r.out[at-lengthBytes+i] = byte(n>>(7*i))&0x7f | 0x80
		}
		r.out[at-1] &= 0x7f
		return nil
	case typeText, typeID, typeBytes:
		if r.peek() != '"' {
			return errors.New("a text is expected here")
		}
		b, err := r.text()
		if err != nil {
			return err
		}
		return r.bytes(f, b)
	case typeBool:
		yes := r.word("true")
		if !yes && !r.word("false") {
			return errors.New("true or false is expected here")
		}
		r.out = appendTag(r.out, f.num, wireVarint)
		r.out = append(r.out, truth(yes))
		return nil
	default:
		return r.num(f)
	}
}

func truth(yes bool) byte {
	if yes {
		return 1
	}
	return 0
}

// bytes writes a text, an id or bytes. An id that is none is left out; what needs it is refused for that later.
func (r *jsonReader) bytes(f *field, b []byte) error {
	switch f.typ {
	case typeID:
		id := make([]byte, hex.DecodedLen(len(b)))
		if _, err := hex.Decode(id, b); err != nil {
			return nil //nolint:nilerr // It is refused by its span.
		}
		b = id
	case typeBytes:
		var err error
		if b, err = base64Bytes(b); err != nil {
			return errors.New("the bytes are not Base64")
		}
	default: // A text is what it is.
	}
	r.out = appendBytes(r.out, f.num, b)
	return nil
}

// base64Bytes decodes Base64 of either alphabet, padded or not.
func base64Bytes(b []byte) ([]byte, error) {
	b = bytes.TrimRight(b, "=")
	if bytes.ContainsAny(b, "-_") {
		return base64.RawURLEncoding.AppendDecode(nil, b)
	}
	return base64.RawStdEncoding.AppendDecode(nil, b)
}

// num writes a number, which may stand as a number or as a text.
func (r *jsonReader) num(f *field) error {
	b, err := r.scalar()
	if err != nil {
		return errors.New("a number is expected here")
	}
	if f.typ == typeDouble {
		v, ok := parseFloat(b)
		if !ok {
			return fmt.Errorf("%.40q is not a number", b)
		}
		r.fixed(f, math.Float64bits(v))
		return nil
	}
	v, ok := parseInt(b)
	if !ok {
		return fmt.Errorf("%.40q is not a whole number of 64 bits", b)
	}
	switch f.typ {
	case typeFixed64, typeSfixed:
		r.fixed(f, v)
		return nil
	case typeSint32:
		if n := int64(v); n < math.MinInt32 || n > math.MaxInt32 {
			return fmt.Errorf("%.40q is not a whole number of 32 bits", b)
		}
		v = zigzag(int32(v))
	default:
	}
	r.out = appendTag(r.out, f.num, wireVarint)
	r.out = binary.AppendUvarint(r.out, v)
	return nil
}

func (r *jsonReader) fixed(f *field, v uint64) {
	r.out = appendTag(r.out, f.num, wireFixed64)
	r.out = binary.LittleEndian.AppendUint64(r.out, v)
}
