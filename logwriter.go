package main

import (
	"io"
	"sync"
	"time"
)

// Bounds of a logWriter.
const (
	maxPendingLog = 2 << 20 // bytes that wait to be written; as many again may be in the midst of it
	logFlushTime  = time.Second
)

// logWriter stands between a log and a file whose reader may stall, such as a terminal on hold or a pipe that nobody
// reads: it takes lines without ever blocking, and one goroutine writes them out in order. What finds no room is lost
// and counted.
type logWriter struct {
	out    io.Writer
	report func(lost int)
	more   chan struct{} // capacity 1: there are lines; closed by Close
	done   chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex // guards the fields below; sends on more happen under it, so that Close cannot come between
	pending []byte     // whole lines
	lost    int        // lines that came after those pending
	closed  bool
}

// newLogWriter returns a logWriter that writes to out. Where lines were lost, report is called between the writes before
// and after, by the goroutine that makes them, so that it can write to out itself. Close must be called once.
func newLogWriter(out io.Writer, report func(lost int)) *logWriter {
	w := &logWriter{out: out, report: report, more: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run() // ends after Close, or with the process if out is stuck then
	return w
}

// Write takes p, which is one whole line or several, or drops and counts it. It does not block and returns no error.
func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return len(p), nil
	}
	if w.lost > 0 || len(w.pending)+len(p) > maxPendingLog { // once one is lost, so is what follows: the gap is one
		w.lost++
	} else {
		w.pending = append(w.pending, p...)
	}
	select {
	case w.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// Close writes out what is pending, for logFlushTime at most. What is written after it is dropped.
func (w *logWriter) Close() {
	w.mu.Lock()
	w.closed = true
	close(w.more)
	w.mu.Unlock()
	timer := time.NewTimer(logFlushTime)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	}
}

func (w *logWriter) run() {
	defer close(w.done)
	var lines []byte
	for open := true; open; {
		_, open = <-w.more
		w.mu.Lock()
		lines, w.pending = w.pending, lines[:0]
		lost := w.lost
		w.lost = 0
		w.mu.Unlock()
		if len(lines) > 0 {
			_, _ = w.out.Write(lines) // there is nobody to tell
		}
		if lost > 0 {
			w.report(lost)
		}
	}
}
