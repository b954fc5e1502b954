package sdk

import (
	"context"
	"io"
	"log/slog"
)

// NewLogger returns a logger that writes JSON, one record a line, with the service and replica that getenv
// names (ATOLL_SERVICE, ATOLL_REPLICA) and the trace_id of the record's context. LOG_LEVEL (debug, info, warn,
// error) is the least level that is written; default info.
func NewLogger(w io.Writer, getenv func(string) string) *slog.Logger {
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(getenv("LOG_LEVEL"))) // anything else leaves it at info
	var attrs []slog.Attr
	for key, name := range map[string]string{"service": "ATOLL_SERVICE", "replica": "ATOLL_REPLICA"} {
		if value := getenv(name); value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	h := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}).WithAttrs(attrs)
	return slog.New(traced{h})
}

// traced adds the trace of a record's context.
type traced struct{ slog.Handler }

func (t traced) Handle(ctx context.Context, r slog.Record) error {
	if id := TraceID(ctx); id != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", id))
	}
	return t.Handler.Handle(ctx, r)
}

func (t traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(attrs)} }

func (t traced) WithGroup(name string) slog.Handler { return traced{t.Handler.WithGroup(name)} }
