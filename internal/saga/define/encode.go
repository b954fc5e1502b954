package define

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// maxValue is how large a value may be that expressions make, in bytes of JSON.
const maxValue = 4 << 20

var errLarge = errors.New("it is larger than 4 MiB")

// appendValue appends what an expression made as JSON: numbers as they are, timestamps in RFC 3339, durations as 1h30m, bytes in
// base64, keys of objects sorted.
func appendValue(b []byte, v any) ([]byte, error) {
	if len(b) > maxValue {
		return b, errLarge
	}
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case float64:
		return appendFloat(b, v)
	case string:
		return appendText(b, v), nil
	case map[string]any:
		return appendObject(b, v)
	case []any:
		return appendList(b, len(v), func(i int) any { return v[i] })
	case ref.Val:
		return appendVal(b, v)
	}
	return b, fmt.Errorf("it is a %T, which JSON does not have", v)
}

func appendVal(b []byte, v ref.Val) ([]byte, error) {
	switch v := v.(type) {
	case types.Null:
		return append(b, "null"...), nil
	case types.Bool:
		return strconv.AppendBool(b, bool(v)), nil
	case types.Int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case types.Uint:
		return strconv.AppendUint(b, uint64(v), 10), nil
	case types.Double:
		return appendFloat(b, float64(v))
	case types.String:
		return appendText(b, string(v)), nil
	case types.Bytes, types.Timestamp, types.Duration:
		text, err := plainText(v)
		return appendText(b, text), err
	case *types.Optional:
		if !v.HasValue() {
			return append(b, "null"...), nil
		}
		return appendVal(b, v.GetValue())
	case *types.Err:
		return b, v
	case traits.Mapper:
		return appendMapper(b, v)
	case traits.Lister:
		n, ok := v.Size().(types.Int)
		if !ok {
			return b, errors.New("it is a list without a size")
		}
		return appendList(b, int(n), func(i int) any { return v.Get(types.Int(i)) })
	}
	return b, fmt.Errorf("it is a %s, which JSON does not have", v.Type().TypeName())
}

func appendMapper(b []byte, v traits.Mapper) ([]byte, error) {
	if native, ok := v.Value().(map[string]any); ok {
		return appendObject(b, native)
	}
	object := map[string]any{}
	for it := v.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, err := plainText(key)
		if err != nil {
			return b, fmt.Errorf("a key of it %w", err)
		}
		object[name] = v.Get(key)
	}
	return appendObject(b, object)
}

func appendObject(b []byte, v map[string]any) ([]byte, error) {
	keys := make([]string, 0, len(v))
	for key := range v {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, key), ':')
		var err error
		if b, err = appendValue(b, v[key]); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

func appendList(b []byte, n int, item func(int) any) ([]byte, error) {
	b = append(b, '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendValue(b, item(i)); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

func appendFloat(b []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return b, errors.New("it is no finite number")
	}
	if f == math.Trunc(f) && math.Abs(f) <= exact {
		return strconv.AppendInt(b, int64(f), 10), nil
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64), nil
}

const hexDigits = "0123456789abcdef"

// appendText appends a text as JSON, with quotes.
func appendText(b []byte, s string) []byte {
	return append(appendEscaped(append(b, '"'), s), '"')
}

// appendEscaped appends a text as it stands between quotes.
func appendEscaped(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		switch {
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, "\uFFFD"...)
		}
		i++
		start = i
	}
	return append(b, s[start:]...)
}

// plainText is a value as part of a text. Of what is no single value there is none.
func plainText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case types.String:
		return string(v), nil
	case types.Bytes:
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp:
		return v.Time.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		return v.Duration.String(), nil
	case *types.Optional:
		if v.HasValue() {
			return plainText(v.GetValue())
		}
		return "", errors.New("is absent, where a text is wanted")
	case *types.Err:
		return "", v
	case nil, types.Null:
		return "", errors.New("is null, where a text is wanted")
	case map[string]any, traits.Mapper:
		return "", errors.New("is an object, where a text is wanted")
	case []any, traits.Lister:
		return "", errors.New("is a list, where a text is wanted")
	}
	text, err := appendValue(nil, v)
	return string(text), err
}
