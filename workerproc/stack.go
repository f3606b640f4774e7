package workerproc

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dumpStacks asks the worker for the stacks of its threads and returns them as text, or "" if it gives none.
func (w *Worker) dumpStacks() string {
	w.mu.Lock()
	number := w.hello.StackSignal
	w.mu.Unlock()
	return dumpStacks(w.child, number, w.stackPipe, w.runtime)
}

// dumpStacks sends the signal number to a process, unless it is 0, and returns what then comes on pipe. A process answers
// from a signal handler within milliseconds; the text has ended when it pauses. Frames of the runtime directory are left out.
func dumpStacks(c *child, number int, pipe *os.File, runtime string) string {
	if number <= 0 {
		return ""
	}
	const first, pause, longest, most = 300 * time.Millisecond, 30 * time.Millisecond, time.Second, 64 << 10
	c.signal(unix.Signal(number))
	var dump []byte
	wait, end := first, time.Now().Add(longest)
	for len(dump) < most {
		deadline := time.Now().Add(wait)
		if deadline.After(end) {
			deadline = end
		}
		if err := pipe.SetReadDeadline(deadline); err != nil {
			break
		}
		buf := make([]byte, 8<<10)
		n, err := pipe.Read(buf)
		dump = append(dump, buf[:n]...)
		if err != nil {
			break
		}
		wait = pause
	}
	return guestFrames(strings.ToValidUTF8(string(dump), "\uFFFD"), runtime)
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
