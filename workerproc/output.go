package workerproc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// Bounds of what is kept of a worker's output.
const (
	maxLine   = 8 << 10        // bytes of one line; the rest of it is counted and dropped
	maxLogged = 2*maxLine + 64 // a line whose bytes were invalid grows, and a note says what was cut
	ringLines = 200
	ringBytes = 64 << 10
	tailLines = 30 // lines in Exit.StderrTail
	maxStage  = 200
)

// clip cuts text to limit bytes and says so at its end.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes cut)", strings.ToValidUTF8(text[:limit], ""), len(text)-limit)
}

// Line is one line of output. Stream is "stdout", "stderr" or "log"; Level a level of docs/protocol.md, section 7.
type Line struct {
	Stream, Level, Logger, Message string
	RequestID, Command             string // of the call it belongs to, or empty
}

// readLines calls line for each line of r, with the position of its first byte, until r fails, and returns that error, or
// nil at its end. A line keeps at most maxLine bytes; a note at its end counts what was cut. The last line need not end in a
// newline.
func readLines(r io.Reader, line func(text string, at int64)) error {
	chunk := make([]byte, 32<<10)
	var kept []byte
	cut := 0
	var at, next int64
	emit := func() {
		if cut > 0 {
			kept = fmt.Appendf(kept, "… (%d bytes cut)", cut)
		}
		line(string(bytes.ToValidUTF8(bytes.TrimSuffix(kept, []byte("\r")), []byte("\uFFFD"))), at)
		kept, cut, at = kept[:0], 0, next
	}
	add := func(part []byte) {
		n := min(len(part), maxLine-min(len(kept), maxLine))
		kept = append(kept, part[:n]...)
		cut += len(part) - n
	}
	for {
		n, err := r.Read(chunk)
		rest := chunk[:n]
		for {
			part, after, found := bytes.Cut(rest, []byte("\n"))
			add(part)
			next += int64(len(part))
			if !found {
				break
			}
			next++
			emit()
			rest = after
		}
		if err != nil {
			if len(kept)+cut > 0 {
				emit()
			}
			if err == io.EOF {
				err = nil
			}
			return err
		}
	}
}

// ring keeps the last lines of a worker's output, at most ringLines of them and ringBytes in all.
type ring struct {
	mu    sync.Mutex // guards the fields below
	lines []Line
	bytes int
}

func (r *ring) add(l Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, l)
	r.bytes += len(l.Message)
	drop := 0
	for len(r.lines)-drop > ringLines || r.bytes > ringBytes {
		r.bytes -= len(r.lines[drop].Message)
		drop++
	}
	r.lines = append(r.lines[:0], r.lines[drop:]...)
}

// output returns all lines kept, each "stream: text".
func (r *ring) output() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]string, 0, len(r.lines))
	for _, l := range r.lines {
		out = append(out, l.Stream+": "+l.Message)
	}
	return out
}

// stderrTail returns the last lines that did not go to standard output. Those that belong to another call than that of
// requestID are left out, unless it is empty.
func (r *ring) stderrTail(requestID string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	tail := []string{}
	for _, l := range r.lines {
		others := requestID != "" && l.RequestID != "" && l.RequestID != requestID
		if l.Stream != "stdout" && !others {
			tail = append(tail, l.Message)
		}
	}
	return tail[max(0, len(tail)-tailLines):]
}

// output is what a process prints: kept in a ring, and logged.
type output struct {
	log  *slog.Logger
	ring ring
}

// drain reads r line by line until it ends. A line belongs to the call that current returns for the position of its first
// byte in the stream, or to none.
func (o *output) drain(r *pipeReader, stream string, current func(at int64) *Call) {
	err := readLines(r, func(text string, at int64) {
		o.line(Line{Stream: stream, Level: "info", Message: text}, current(at))
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		o.log.Error("read worker output", "stream", stream, "err", err)
	}
}

// noCall is for processes that run no calls.
func noCall(int64) *Call { return nil }

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warning": slog.LevelWarn, "error": slog.LevelError, "critical": slog.LevelError,
}

// line keeps a line of output and logs it: records of the logging module at their own level, plain output at debug.
func (o *output) line(l Line, call *Call) {
	l.Message = clip(l.Message, maxLogged)
	level := slog.LevelDebug
	if l.Stream == "log" {
		level = logLevels[l.Level]
	}
	attrs := []slog.Attr{slog.String("stream", l.Stream)}
	if l.Logger != "" {
		attrs = append(attrs, slog.String("logger", l.Logger))
	}
	if call != nil {
		l.RequestID, l.Command = call.RequestID, call.Command
		attrs = append(attrs, slog.String("command", l.Command), slog.String("request_id", l.RequestID))
	}
	o.ring.add(l)
	o.log.LogAttrs(context.Background(), level, l.Message, attrs...)
}
