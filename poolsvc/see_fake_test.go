package poolsvc

import (
	"os"
	"slices"
	"time"

	"charmer/workerproc"
)

// What a fakeWorker shows to those who look at it.

func (w *fakeWorker) Phases() workerproc.Phases {
	return workerproc.Phases{Spawn: w.readyAfter / 2, Import: w.readyAfter / 4, Handshake: w.readyAfter / 4}
}

// Stack takes the time of stackTime, and then says what runs, unless it is dead.
func (w *fakeWorker) Stack() string {
	w.f.stacks.Add(1)
	time.Sleep(w.f.stackTime)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.dead() || w.f.noStacks:
		return ""
	case w.idle == nil:
		return "in read"
	default:
		return "in " + w.calls[len(w.calls)-1].Command
	}
}

// Usage is that of a process of as many bytes as its id, unless the factory says otherwise.
func (w *fakeWorker) Usage() (workerproc.Usage, error) {
	switch {
	case w.f.usage != nil:
		return w.f.usage(w)
	case w.dead():
		return workerproc.Usage{}, os.ErrProcessDone
	default:
		return workerproc.Usage{RSS: int64(w.id), CPU: time.Second}, nil
	}
}

// received returns the calls that have begun, hooks included.
func (w *fakeWorker) received() []workerproc.Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// seen returns the calls that the worker was given, hooks included, as "command" or "command state".
func (w *fakeWorker) seen() []string {
	var out []string
	for _, c := range w.received() {
		if c.SessionState != "" {
			out = append(out, c.Command+" "+c.SessionState)
		} else {
			out = append(out, c.Command)
		}
	}
	return out
}
