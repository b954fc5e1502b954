package leads

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/atollhq/atoll/sdk"
)

// Bounds of an import.
const (
	largestFile = 64 << 20 // bytes
	batchSize   = 200      // submissions that are stored at once
	mostReasons = 200      // rejected lines that are listed; the others are counted
)

// Rejection is a line that was not taken, and why.
type Rejection struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// Report is the answer to an import.
type Report struct {
	Import
	Rejections []Rejection `json:"rejections"`
	Error      string      `json:"error,omitempty"` // why the file was not read to its end
}

// takeFile takes leads from CSV, as the body or as the first file of a multipart form. The file is not kept in
// memory: a batch is stored while the next is read. What was stored stays, also when the file breaks off.
func (h *handler) takeFile(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, largestFile)
	file, err := csvBody(r)
	if err != nil {
		return err
	}
	rows, err := ReadRows(file)
	if errors.Is(err, ErrHeader) {
		return sdk.Error(http.StatusUnprocessableEntity, "bad-header", "In line 1, %s.", err)
	}
	if err != nil {
		return unreadable(err)
	}
	ctx := context.WithoutCancel(r.Context()) // what was read is stored, also when the client has gone
	id, err := h.store.BeginImport(ctx)
	if err != nil {
		return err
	}
	in := &intake{store: h.store, id: id, rejections: []Rejection{}}
	broken := in.all(ctx, rows)
	if _, ours := errors.AsType[*storeError](broken); ours {
		return broken
	}
	if err := h.store.EndImport(ctx, id, in.rejected, broken == nil); err != nil {
		return err
	}
	report := Report{Rejections: in.rejections}
	if report.Import, err = h.store.Import(ctx, id); err != nil {
		return err
	}
	if broken != nil {
		problem := unreadable(broken)
		report.Error = problem.Detail
		return sdk.WriteJSON(w, problem.Status, report)
	}
	return sdk.WriteJSON(w, http.StatusOK, report)
}

func unreadable(err error) *sdk.Problem {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return sdk.Error(http.StatusRequestEntityTooLarge, "body-too-large", "The file is larger than %d bytes.", largestFile)
	}
	return sdk.Error(http.StatusBadRequest, "body-unreadable", "The file broke off before its end.")
}

func csvBody(r *http.Request) (io.Reader, error) {
	switch media(r) {
	case "text/csv", "application/csv", "text/plain":
		return r.Body, nil
	case "multipart/form-data":
		parts, err := r.MultipartReader()
		if err != nil {
			return nil, sdk.Error(http.StatusBadRequest, "bad-form", "The form cannot be read.")
		}
		for {
			part, err := parts.NextPart()
			if err != nil {
				return nil, sdk.Error(http.StatusBadRequest, "no-file", "The form holds no file.")
			}
			if _, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition")); err == nil && params["filename"] != "" {
				return part, nil
			}
		}
	}
	return nil, sdk.Error(http.StatusUnsupportedMediaType, "not-csv", "The body must be text/csv, or a form with a file.")
}

// intake stores the rows of one file.
type intake struct {
	store      *Store
	id         int64
	batch      []Submission
	rejected   int
	rejections []Rejection
}

// storeError tells an error of the store from one of the body.
type storeError struct{ error }

func (e *storeError) Unwrap() error { return e.error }

func (in *intake) all(ctx context.Context, rows *Rows) error {
	for {
		row, err := rows.Next()
		if err != nil {
			if flush := in.flush(ctx); flush != nil {
				return flush
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if row.Err != nil {
			in.reject(row)
			continue
		}
		in.batch = append(in.batch, row.Submission)
		if len(in.batch) == batchSize {
			if err := in.flush(ctx); err != nil {
				return err
			}
		}
	}
}

func (in *intake) reject(row Row) {
	in.rejected++
	if len(in.rejections) < mostReasons {
		in.rejections = append(in.rejections, Rejection{Line: row.Line, Reason: row.Err.Error()})
	}
}

func (in *intake) flush(ctx context.Context) error {
	if len(in.batch) == 0 {
		return nil
	}
	if _, err := in.store.Accept(ctx, in.id, in.batch); err != nil {
		return &storeError{err}
	}
	in.batch = in.batch[:0]
	return nil
}

func (h *handler) showImport(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return ErrNotFound
	}
	i, err := h.store.Import(r.Context(), id)
	if err != nil {
		return err
	}
	return sdk.WriteJSON(w, http.StatusOK, i)
}
