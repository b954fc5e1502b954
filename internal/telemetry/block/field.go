package block

import (
	"encoding/hex"
	"strconv"
	"strings"
	"unsafe"

	"github.com/atollhq/atoll/internal/telemetry"
	"github.com/atollhq/atoll/internal/telemetry/block/parquet"
)

// source is a column in which a field may have its value, and how the column's text becomes a value. None of a value means
// that the row does not have the field there.
type source struct {
	vec   vector
	value func(text []byte) telemetry.Value // of columns that hold text or ids
}

// sources lists the columns of a segment in which a row may have a field: the first with a value counts.
func sources(seg segment, signal telemetry.Signal, field string) []source {
	var out []source
	add := func(name string, value func([]byte) telemetry.Value) {
		if v := seg.get(name); v != nil {
			out = append(out, source{v, value})
		}
	}
	switch field {
	case colTime:
		add(field, nil)
		return out
	case colService, colReplica, colName, colScope:
		add(field, textUnlessEmpty)
		return out
	case colTrace, colSpan:
		add(field, hexText)
		return out
	}
	if signal == telemetry.Logs {
		switch field {
		case colLevel:
			add(field, levelValue)
			return out
		case colText:
			add(field, textValue)
			add(field+suffixOf(telemetry.KindJSON), jsonValue)
			return out
		}
	} else {
		switch field {
		case colDuration:
			add(field, nil)
			return out
		case colKind, colStatus, colMessage:
			add(field, textUnlessEmpty)
			return out
		case colParent:
			add(field, hexText)
			return out
		}
	}
	endings := suffixes()
	all := endings[:]
	if suffixIn(field) != "" {
		all = all[1:] // what has just that name is a column of another field
	}
	for _, suffix := range all {
		name := prefixAttr + field + suffix
		if v := seg.get(name); v != nil {
			out = append(out, source{v, textOf(v.typ())})
		}
	}
	add(colRest, func(text []byte) telemetry.Value { return inRest(text, field) })
	for _, suffix := range all {
		add(prefixResource+field+suffix, resourceValue(suffix))
	}
	return out
}

// fieldOf is the field that a column belongs to; "" for columns that are no fields.
func fieldOf(signal telemetry.Signal, column string) string {
	for _, prefix := range []string{prefixAttr, prefixResource} {
		if key, ok := strings.CutPrefix(column, prefix); ok {
			for _, suffix := range suffixes() {
				if suffix != "" && strings.HasSuffix(key, suffix) {
					return strings.TrimSuffix(key, suffix)
				}
			}
			return key
		}
	}
	switch column {
	case colTime, colService, colReplica, colTrace, colSpan, colName, colScope:
		return column
	case colDuration, colParent, colKind, colStatus, colMessage:
		if signal == telemetry.Spans {
			return column
		}
	case colLevel, colText:
		if signal == telemetry.Logs {
			return column
		}
	}
	return ""
}

func textOf(t parquet.Type) func([]byte) telemetry.Value {
	if t == parquet.JSON {
		return jsonValue
	}
	return textValue
}

// The texts of values alias the page that they were read from: who keeps one clones it.

func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func textValue(b []byte) telemetry.Value { return telemetry.String(alias(b)) }

func jsonValue(b []byte) telemetry.Value { return telemetry.JSON(alias(b)) }

func cloneValue(v telemetry.Value) telemetry.Value {
	switch v.Kind() {
	case telemetry.KindString:
		return telemetry.String(strings.Clone(v.Str()))
	case telemetry.KindJSON:
		return telemetry.JSON(strings.Clone(v.Str()))
	case telemetry.KindNone, telemetry.KindInt, telemetry.KindFloat, telemetry.KindBool:
	}
	return v
}

func textUnlessEmpty(b []byte) telemetry.Value {
	if len(b) == 0 {
		return telemetry.Value{}
	}
	return textValue(b)
}

func hexText(b []byte) telemetry.Value { return telemetry.String(hex.EncodeToString(b)) }

// levelValue is a level by its gravity, as queries compare it.
func levelValue(b []byte) telemetry.Value {
	return telemetry.Int(int64(telemetry.Level(b).Severity()))
}

// resourceValue reads a resource's attribute, of which the column's ending says what it is.
func resourceValue(suffix string) func([]byte) telemetry.Value {
	return func(b []byte) telemetry.Value {
		text := string(b)
		switch suffix {
		case suffixOf(telemetry.KindInt):
			n, _ := strconv.ParseInt(text, 10, 64)
			return telemetry.Int(n)
		case suffixOf(telemetry.KindFloat):
			f, _ := strconv.ParseFloat(text, 64)
			return telemetry.Float(f)
		case suffixOf(telemetry.KindBool):
			return telemetry.Bool(text == "true")
		case suffixOf(telemetry.KindJSON):
			return telemetry.JSON(text)
		}
		return telemetry.String(text)
	}
}

func inRest(text []byte, key string) telemetry.Value {
	attrs, err := parseAttrs(text)
	if err != nil {
		return telemetry.Value{}
	}
	for _, a := range attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return telemetry.Value{}
}

// valueAt is a source's value in a row of a page; dictionary is what its codes mean, or nil.
func (s *source) valueAt(p *parquet.Page, dictionary *parquet.Strings, row int) telemetry.Value {
	if p.Valid != nil && !p.Valid[row] {
		return telemetry.Value{}
	}
	if p.Codes != nil {
		code := p.Codes[row]
		if code == parquet.None {
			return telemetry.Value{}
		}
		if dictionary != nil {
			return s.value(dictionary.At(int(code)))
		}
		return s.value(p.Values.At(int(code)))
	}
	switch t := s.vec.typ(); t {
	case parquet.Int64, parquet.Timestamp:
		return telemetry.Int(p.Ints[row])
	case parquet.Double:
		return telemetry.Float(p.Floats[row])
	case parquet.Bool:
		return telemetry.Bool(p.Bools[row])
	case parquet.Fixed8, parquet.Fixed16:
		w := width(t)
		return s.value(p.Fixed[row*w : row*w+w])
	case parquet.Text, parquet.JSON:
	}
	return telemetry.Value{}
}
