package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

// statusClientGone is what the log says of a request whose client went away
// before there was an answer. It is never sent.
const statusClientGone = 499

// The longest path and user agent that are logged, in bytes.
const (
	maxLoggedPath  = 512
	maxLoggedAgent = 256
)

// record gathers what the log line of a request will say. It belongs to the
// goroutine that serves the request.
type record struct {
	id      string
	start   time.Time
	path    string
	route   string
	trace   string
	code    string
	err     error
	gone    bool
	alarm   bool
	routine bool
	stack   []byte
}

type recordKey struct{}

func newRecord(r *http.Request) *record {
	return &record{id: requestID(r), start: time.Now(), path: r.URL.EscapedPath(), route: RouteNone}
}

func withRecord(ctx context.Context, entry *record) context.Context {
	return context.WithValue(ctx, recordKey{}, entry)
}

func recordOf(ctx context.Context) *record {
	entry, _ := ctx.Value(recordKey{}).(*record)
	return entry
}

// SetPath replaces the path that the request is logged with. A door calls it
// where the path holds something that gives its bearer a right.
func SetPath(ctx context.Context, path string) {
	if entry := recordOf(ctx); entry != nil {
		entry.path = path
	}
}

// SetError adds the door's error code and the cause of a failure to the log
// line of the request; it is logged nowhere else.
func SetError(ctx context.Context, code string, err error) {
	if entry := recordOf(ctx); entry != nil {
		entry.code, entry.err = code, err
	}
}

// SetGone tells the log that the client went away before it was answered,
// whatever was still written to it.
func SetGone(ctx context.Context, err error) {
	if entry := recordOf(ctx); entry != nil {
		entry.gone, entry.err = true, err
	}
}

// SetAlarm raises the log line of the request to ERROR, whatever its status:
// the operator has to look after something.
func SetAlarm(ctx context.Context) {
	if entry := recordOf(ctx); entry != nil {
		entry.alarm = true
	}
}

// SetRoutine lowers the log line of the request to DEBUG if it succeeds: it is
// one that machines repeat all day.
func SetRoutine(ctx context.Context) {
	if entry := recordOf(ctx); entry != nil {
		entry.routine = true
	}
}

func (e *record) panicked(cause any) {
	e.code, e.err, e.stack = "PANIC", fmt.Errorf("panic: %v", cause), debug.Stack()
}

// observe tells what came of the request.
func (e *record) observe(r *http.Request, res *response, received int64, aborted bool) Observation {
	status := res.status
	switch {
	case e.gone, status == 0 && r.Context().Err() != nil:
		status = statusClientGone
	case status == 0:
		status = http.StatusOK
	}
	return Observation{
		Method: r.Method, Route: e.route, Path: cut(e.path, maxLoggedPath), Status: status,
		Received: received, Sent: res.sent, Duration: time.Since(e.start), Aborted: aborted,
	}
}

// log writes the line of the request. The query is left out: it can be long,
// and no line of the log needs it.
func (e *record) log(log *slog.Logger, r *http.Request, o Observation, failed error) {
	level := slog.LevelInfo
	switch {
	case o.Status >= http.StatusInternalServerError, e.stack != nil, e.alarm:
		level = slog.LevelError
	case o.Aborted && !e.gone:
		level = slog.LevelWarn
	case e.routine && o.Status < http.StatusMultipleChoices:
		level = slog.LevelDebug
	}
	if !log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", cut(o.Method, 16)),
		slog.String("path", o.Path),
		slog.Int("status", o.Status),
		slog.Int64("received", o.Received),
		slog.Int64("sent", o.Sent),
		slog.Duration("duration", o.Duration),
		slog.String("request", e.id),
		slog.String("agent", cut(r.UserAgent(), maxLoggedAgent)),
	}
	if e.trace != "" {
		attrs = append(attrs, slog.String("trace", e.trace))
	}
	if e.code != "" {
		attrs = append(attrs, slog.String("code", e.code))
	}
	if e.err != nil {
		attrs = append(attrs, slog.String("error", plain(e.err)))
	}
	if failed != nil {
		attrs = append(attrs, slog.String("write", plain(failed)))
	}
	if o.Aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	if e.stack != nil {
		attrs = append(attrs, slog.String("stack", string(e.stack)))
	}
	log.LogAttrs(r.Context(), level, "request", attrs...)
}

// plain is the text of an error without the addresses of the connection, which
// the log of requests does not keep.
func plain(err error) string {
	text := err.Error()
	var network *net.OpError
	if errors.As(err, &network) {
		short := network.Op + ": " + network.Err.Error()
		text = strings.ReplaceAll(text, network.Error(), short)
	}
	return text
}

// cut shortens what a client chose the length of.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "..."
}
