package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// DecodeJSON reads the body of r, at most limit bytes, into v. The body is one JSON value without unknown
// fields. Every error is a [Problem] that says what is wrong and where: 415 for another media type, 413 for
// a body that is too large, 400 for all else.
func DecodeJSON(r *http.Request, v any, limit int64) error {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		media, _, err := mime.ParseMediaType(ct)
		if err != nil || (media != "application/json" && !strings.HasSuffix(media, "+json")) {
			return Error(http.StatusUnsupportedMediaType, "not-json",
				"The body is %q; application/json is expected.", ct)
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge || int64(len(body)) > limit {
		return Error(http.StatusRequestEntityTooLarge, "body-too-large", "The body is larger than %d bytes.", limit)
	}
	if err != nil {
		return Error(http.StatusBadRequest, "body-unreadable", "The body ended before it was complete.")
	}
	return decode(body, v)
}

func decode(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return describe(body, err, dec.InputOffset())
	}
	after := dec.InputOffset()
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		line, column := place(body, after)
		return Error(http.StatusBadRequest, "bad-json",
			"The body goes on after the JSON value, at line %d, column %d.", line, column)
	}
	return nil
}

// describe says in the caller's terms what encoding/json could not take.
func describe(body []byte, err error, offset int64) *Problem {
	if len(bytes.TrimSpace(body)) == 0 {
		return Error(http.StatusBadRequest, "bad-json", "The body is empty; a JSON value is expected.")
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		line, column := place(body, wrong.Offset)
		field := "The value"
		if wrong.Field != "" {
			field = `The field "` + wrong.Field + `"`
		}
		return Error(http.StatusBadRequest, "bad-type", "%s at line %d, column %d is a %s; %s is expected.",
			field, line, column, wrong.Value, kindName(wrong.Type.Kind().String()))
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		line, column := place(body, syntax.Offset)
		return Error(http.StatusBadRequest, "bad-json", "The body is not JSON: %s at line %d, column %d.",
			strings.TrimPrefix(syntax.Error(), "json: "), line, column)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		line, column := place(body, int64(len(body)))
		return Error(http.StatusBadRequest, "bad-json", "The body ends within the JSON value, at line %d, column %d.",
			line, column)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		line, column := placeOfField(body, name, offset)
		return Error(http.StatusBadRequest, "unknown-field", "The field %s at line %d, column %d is not known.",
			name, line, column)
	}
	return Error(http.StatusBadRequest, "bad-json", "The body is not what is expected: %s.",
		strings.TrimPrefix(err.Error(), "json: "))
}

// place is the line and column, from 1, of the byte before offset; columns are counted in characters.
func place(body []byte, offset int64) (line, column int) {
	before := body[:min(max(offset-1, 0), int64(len(body)))]
	line = bytes.Count(before, []byte("\n")) + 1
	before = before[bytes.LastIndexByte(before, '\n')+1:]
	return line, len(bytes.Runes(before)) + 1
}

// placeOfField finds a quoted key, which encoding/json names without saying where it stood.
func placeOfField(body []byte, quoted string, offset int64) (line, column int) {
	if i := bytes.Index(body, []byte(quoted)); i >= 0 {
		return place(body, int64(i)+1)
	}
	return place(body, offset)
}

func kindName(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"):
		return "a whole number"
	case strings.HasPrefix(kind, "uint"):
		return "a whole number from 0"
	case strings.HasPrefix(kind, "float"):
		return "a number"
	case kind == "slice" || kind == "array":
		return "an array"
	case kind == "struct" || kind == "map":
		return "an object"
	case kind == "bool":
		return "true or false"
	}
	return "a " + kind
}

// WriteJSON answers with a status and v as JSON. Its error is that of a value that does not marshal, before
// anything is written.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that has gone needs no answer
	return nil
}
