package handlers

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
)

// exchange is what one request and its reply have beside their HTTP parts. It is the request's context, and brings the routing
// context of chi, so that the request has to be copied for a context only once.
type exchange struct {
	context.Context
	routing *chi.Context

	began     time.Time
	requestID string
	err       error // what the reply is a problem about, or nil
	bare      bool  // the body is the arguments alone
}

// argsAt is the JSON pointer to the arguments in the body.
func (x *exchange) argsAt() string {
	if x.bare {
		return ""
	}
	return "/args"
}

// Value implements context.Context.
func (x *exchange) Value(key any) any {
	switch key {
	case exchangeKey{}:
		return x
	case chi.RouteCtxKey:
		return x.routing
	default:
		return x.Context.Value(key)
	}
}

type exchangeKey struct{}

func exchangeOf(r *http.Request) *exchange { return r.Context().Value(exchangeKey{}).(*exchange) }

// replyWriter remembers the status of the reply, has the client's connection closed behind it while the service is
// leaving or when the body of the request has not come, and gives up on a client that does not read.
type replyWriter struct {
	http.ResponseWriter
	conn   *http.ResponseController
	server *Server
	body   *timedBody // of an HTTP/1 request, or nil
	status int
	wrote  bool // some of the reply's body
}

// A reply is written in pieces of at most writePiece bytes, each of which the client must take within writeTime.
const (
	writePiece = 1 << 20
	writeTime  = 30 * time.Second
)

func (w *replyWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.server.writing.Add(1)
	}
	// net/http would wait for the rest of a body before it sends the reply, unless the connection ends with it.
	if w.server.pool.Leaving() || (w.body != nil && !w.body.ended) {
		w.Header()["Connection"] = []string{"close"}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *replyWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.wrote = true
	written := 0
	for {
		piece := b[written:min(len(b), written+writePiece)]
		w.extendDeadline()
		n, err := w.ResponseWriter.Write(piece)
		if written += n; err != nil || written == len(b) {
			return written, err
		}
	}
}

// FlushError is what http.ResponseController calls.
func (w *replyWriter) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.extendDeadline()
	return w.conn.Flush()
}

// end is called when the handler has ended. net/http sends then what it holds back, which was written just now; of a reply without
// a body that is all, and has no deadline yet.
func (w *replyWriter) end() {
	if w.status != 0 {
		w.server.writing.Add(-1)
	}
	if !w.wrote {
		w.extendDeadline()
	}
}

// extendDeadline ignores the error: a connection without deadlines, in tests, needs none.
func (w *replyWriter) extendDeadline() { _ = w.conn.SetWriteDeadline(time.Now().Add(writeTime)) }

// Unwrap lets http.ResponseController reach the connection.
func (w *replyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// routings keeps contexts of chi for reuse, as chi does.
var routings = sync.Pool{New: func() any { return chi.NewRouteContext() }}

// Values of headers of all replies. Nobody writes into them: http.Header replaces or appends.
var noStore, noSniff = []string{"no-store"}, []string{"nosniff"}

// observe gives each request its id, turns a panic into an `internal` problem, and logs the reply.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(plain http.ResponseWriter, r *http.Request) {
		x := &exchange{Context: r.Context(), began: time.Now(), requestID: requestID(r), routing: routings.Get().(*chi.Context)}
		x.routing.Reset()
		x.routing.Routes = s.routing
		r = r.WithContext(x)
		w := &replyWriter{ResponseWriter: plain, conn: http.NewResponseController(plain), server: s}
		header := w.Header()
		header["X-Request-Id"] = []string{x.requestID}
		header["Cache-Control"], header["X-Content-Type-Options"] = noStore, noSniff
		defer w.end() // last, and also after a reply that was cut
		defer func() {
			if cause := recover(); cause != nil {
				if cause == http.ErrAbortHandler {
					panic(cause)
				}
				s.log.Error("panic", "request_id", x.requestID, "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
				if w.status == 0 {
					s.fail(w, r, fmt.Errorf("panic: %v", cause))
				}
			}
			s.logReply(r, x, w.status, time.Since(x.began))
		}()
		if body := limitBodyTime(w.conn, r); r.ProtoMajor == 1 {
			w.body = body
		}
		next.ServeHTTP(w, r)
		routings.Put(x.routing)
	})
}

// logReply writes the one line about a request: failures of ours or of Python as warnings, the rest for debugging.
func (s *Server) logReply(r *http.Request, x *exchange, status int, took time.Duration) {
	level := slog.LevelDebug
	switch {
	case status == http.StatusInternalServerError && !appChose(x.err):
		level = slog.LevelError
	case gaveUp(x.err):
		level = slog.LevelInfo
	case pythonFailed(x.err):
		level = slog.LevelWarn
	}
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", status),
		slog.Float64("took_ms", milliseconds(took)), slog.String("request_id", x.requestID),
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("err", x.err.Error()))
		attrs = append(attrs, evidence(x.err)...)
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// requestID takes the client's X-Request-Id if it is harmless in headers and logs, or makes one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if len(id) < 1 || len(id) > 128 {
		return rand.Text()
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == ':', c == '-':
		default:
			return rand.Text()
		}
	}
	return id
}
