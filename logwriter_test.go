package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// stalling is a file whose reader has stopped, until flow is closed. It must be read after the writer's Close.
type stalling struct {
	flow   chan struct{}
	text   bytes.Buffer
	writes int
}

func (s *stalling) Write(p []byte) (int, error) {
	<-s.flow
	s.writes++
	return s.text.Write(p)
}

// logTo returns a writer to out that notes in out where lines were lost.
func logTo(out *stalling) *logWriter {
	return newLogWriter(out, func(lost int) { fmt.Fprintf(out, "lost %d\n", lost) })
}

func put(t *testing.T, w *logWriter, line string) {
	t.Helper()
	if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
		t.Errorf("Write returned %d, %v, want %d", n, err, len(line))
	}
}

func TestLogLinesComeOutAtOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stalling{flow: make(chan struct{})}
		close(out.flow)
		w := logTo(out)
		want := ""
		for i := range 10 {
			line := fmt.Sprintf("line %d\n", i)
			want += line
			put(t, w, line)
			synctest.Wait()
			if got := out.text.String(); got != want {
				t.Errorf("without any Close, got %q, want %q", got, want)
			}
		}
		w.Close()
	})
}

func TestAStalledLogDropsAndCountsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stalling{flow: make(chan struct{})}
		w := logTo(out)
		put(t, w, "first\n")
		synctest.Wait() // being written
		line := strings.Repeat("x", 1<<10-1) + "\n"
		for range maxPendingLog/len(line) + 7 {
			put(t, w, line)
		}
		put(t, w, "short, but later than a lost one\n")
		close(out.flow)
		synctest.Wait()
		put(t, w, "last\n")
		w.Close()
		want := "first\n" + strings.Repeat(line, maxPendingLog/len(line)) + "lost 8\nlast\n"
		if got := out.text.String(); got != want {
			t.Errorf("%d bytes with end %q, want %d", len(got), got[max(0, len(got)-60):], len(want))
		}
		if out.writes > 4 {
			t.Errorf("%d writes: what waits together is not written together", out.writes)
		}
	})
}

func TestClosingALogWritesOutWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stalling{flow: make(chan struct{})}
		w := logTo(out)
		put(t, w, "a\n")
		synctest.Wait()
		put(t, w, "b\n")
		time.AfterFunc(logFlushTime/2, func() { close(out.flow) })
		w.Close()
		put(t, w, "after the end\n")
		if got := out.text.String(); got != "a\nb\n" {
			t.Errorf("got %q", got)
		}
	})
}

func TestClosingAStalledLogGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stalling{flow: make(chan struct{})}
		w := logTo(out)
		put(t, w, "a\n")
		began := time.Now()
		w.Close()
		if took := time.Since(began); took != logFlushTime {
			t.Errorf("Close took %s, want %s", took, logFlushTime)
		}
		close(out.flow) // the goroutine ends, else synctest fails
	})
}
