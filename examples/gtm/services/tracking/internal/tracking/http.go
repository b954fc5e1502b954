package tracking

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"example.com/gtm/internal/lite"
	"github.com/atollhq/atoll/sdk"
)

// Bounds of a batch.
const (
	MaxBatch = 1000    // events
	maxBody  = 1 << 20 // bytes
)

// Handler answers over HTTP: openapi.yaml is its contract, service.yaml says which events it takes.
func Handler(s *Store) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /track", sdk.Handler(s.track))
	mux.Handle("POST /events/purge", lite.On(s.db, func(ctx context.Context, tx *sql.Tx, _ struct{}) error {
		return s.Purge(ctx, tx)
	}))
	return mux
}

// track takes a batch: a JSON array, or JSON values one after the other, as navigator.sendBeacon sends them too.
func (s *Store) track(w http.ResponseWriter, r *http.Request) error {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch media {
	case "application/json", "application/x-ndjson", "application/jsonl", "text/plain":
	default:
		return sdk.Error(http.StatusUnsupportedMediaType, "not-json", "The body must be application/json or application/x-ndjson.")
	}
	batch, err := readBatch(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return err
	}
	taken, err := s.Take(r.Context(), batch)
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusAccepted, taken)
}

func readBatch(body io.Reader) (batch []Event, err error) {
	in := bufio.NewReader(body)
	array, err := beginsArray(in)
	if err != nil {
		return nil, unreadable(err, 0)
	}
	dec := json.NewDecoder(in)
	if array {
		if _, err := dec.Token(); err != nil {
			return nil, unreadable(err, 0)
		}
	}
	for dec.More() {
		if len(batch) == MaxBatch {
			return nil, sdk.Error(http.StatusRequestEntityTooLarge, "batch-too-large", "A batch holds at most %d events.", MaxBatch)
		}
		var e Event
		if err := dec.Decode(&e); err != nil {
			return nil, unreadable(err, len(batch))
		}
		batch = append(batch, e)
	}
	if _, err := dec.Token(); array && err != nil || !array && !errors.Is(err, io.EOF) {
		return nil, unreadable(err, len(batch))
	}
	return batch, nil
}

// beginsArray tells whether the first character that is no space opens an array.
func beginsArray(in *bufio.Reader) (bool, error) {
	for {
		c, err := in.ReadByte()
		if err != nil {
			return false, err
		}
		if !bytes.ContainsRune([]byte(" \t\r\n"), rune(c)) {
			return c == '[', in.UnreadByte()
		}
	}
}

func unreadable(err error, index int) error {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return sdk.Error(http.StatusRequestEntityTooLarge, "body-too-large", "The body is larger than %d bytes.", maxBody)
	}
	return sdk.Error(http.StatusBadRequest, "bad-json", "The event at index %d is not JSON of the kind that is documented.", index)
}
