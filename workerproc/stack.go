package workerproc

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Times of a dump.
const (
	dumpFirst   = 300 * time.Millisecond // until its first byte; a process answers from a signal handler within milliseconds
	dumpPause   = 30 * time.Millisecond  // without a further line: then it has ended
	dumpCut     = 10 * dumpPause         // without the rest of a line that has begun
	dumpLongest = time.Second            // in all
	dumpHurried = 2 * dumpPause          // in all, once somebody waits who must not be held up
	dumpPoll    = 20 * time.Millisecond  // between looks for somebody who waits
	dumpCalm    = 100 * time.Millisecond // instead of dumpPause, for those who have time; it also bounds their rate

	maxDump = 64 << 10 // bytes of a dump that are kept
)

// stacks takes dumps of one process, one after the other: two at once would mix in the pipe.
type stacks struct {
	number atomic.Int32 // of the signal that asks for one; 0 until the process has said it
	rush   atomic.Int32 // how many wait for their turn who must not be held up

	turn sync.Mutex // held while a dump is taken
	owed bool       // guarded by turn: a signal was sent that has not been answered, and a second would queue behind it
}

// Stack returns the stacks of all threads as text, also of a process that is stuck in native code. It returns "" if the
// worker gives none: it has not said that it can, does not answer, or is being killed. The process is interrupted for the
// milliseconds that writing the text takes, and then goes on. Several at once take turns.
func (w *Worker) Stack() string {
	w.stacks.turn.Lock()
	defer w.stacks.turn.Unlock()
	w.mu.Lock()
	killed := w.cause != "" && w.cause != CauseStopped && w.cause != CauseExiting
	w.mu.Unlock()
	if killed {
		return ""
	}
	return w.stacks.take(w.child, w.stackPipe, w.runtime, dumpCalm)
}

// last is the stack of a process that is about to be killed. It waits no more than moments for a dump that is under way.
func (s *stacks) last(c *child, pipe *os.File, runtime string) string {
	s.rush.Add(1)
	s.turn.Lock()
	defer s.turn.Unlock()
	s.rush.Add(-1)
	return s.take(c, pipe, runtime, dumpPause)
}

// take asks a process for a dump, and returns what then comes on pipe, without the frames of the runtime directory. Its
// caller has the turn.
func (s *stacks) take(c *child, pipe *os.File, runtime string, pause time.Duration) string {
	number := s.number.Load()
	if number <= 0 {
		return ""
	}
	if (&pipeReader{file: pipe}).written() > 0 { // an answer that came late, and may still be coming
		s.owed = false
		s.read(pipe, pause)
	}
	if !s.owed {
		c.signal(unix.Signal(number))
	}
	dump := s.read(pipe, pause)
	s.owed = len(dump) == 0
	return guestFrames(strings.ToValidUTF8(string(dump), "\uFFFD"), runtime)
}

// read reads from pipe until nothing more comes for pause, or dumpCut inside a line, and returns the first maxDump bytes.
// It ends sooner once somebody is in a rush.
func (s *stacks) read(pipe *os.File, pause time.Duration) []byte {
	var dump []byte
	buf := make([]byte, 8<<10)
	began := time.Now()
	last, wait, longest := began, dumpFirst, dumpLongest
	for {
		if s.rush.Load() > 0 {
			pause, wait, longest = dumpPause, min(wait, dumpPause), dumpHurried
		}
		now := time.Now()
		left := min(wait-now.Sub(last), longest-now.Sub(began))
		if left <= 0 || pipe.SetReadDeadline(now.Add(min(left, dumpPoll))) != nil {
			return dump
		}
		n, err := pipe.Read(buf)
		switch {
		case n > 0:
			dump = append(dump, buf[:min(n, maxDump-len(dump))]...)
			last, wait = time.Now(), pause
			if buf[n-1] != '\n' {
				wait = dumpCut
			}
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return dump
		}
	}
}

// guestFrames leaves out the frames of the Python runtime in dir, which are below those of the app in every dump.
func guestFrames(dump, dir string) string {
	if dir == "" {
		return dump
	}
	var b strings.Builder
	for line := range strings.Lines(dump) {
		ours := strings.HasPrefix(line, `  File "`+dir+`/`) && !strings.Contains(line, `/charmer/demo.py"`)
		if !ours && !strings.HasPrefix(line, `  File "<frozen runpy>"`) {
			b.WriteString(line)
		}
	}
	return b.String()
}
