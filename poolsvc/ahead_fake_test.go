package poolsvc

import (
	"context"
	"time"

	"charmer/workerproc"
)

// ran ends a call. The next in line begins.
func (w *fakeWorker) ran() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.line) > 0 && w.exit.Cause == "" {
		next := w.line[0]
		w.line = w.line[1:]
		w.calls = append(w.calls, *next.call)
		next.turn <- nil
		return
	}
	if w.running--; w.running == 0 {
		close(w.idle)
		w.idle = nil
	}
}

// inLine is a call that was sent ahead.
type inLine struct {
	call *workerproc.Call
	turn chan error // has room for one value: nil, or why the turn does not come
}

// standInLine runs a call that was sent ahead when it is its turn.
func (w *fakeWorker) standInLine(ctx context.Context, c *workerproc.Call) (workerproc.Reply, error) {
	began := time.Now()
	l := &inLine{call: c, turn: make(chan error, 1)}
	w.mu.Lock()
	w.line = append(w.line, l)
	w.f.ahead.Add(1)
	w.mu.Unlock()
	deadline := time.NewTimer(time.Until(c.Deadline))
	defer deadline.Stop()
	var err error
	select {
	case err = <-l.turn:
	case <-ctx.Done():
		w.Withdraw()
		err = <-l.turn
	case <-deadline.C:
		w.Withdraw()
		err = <-l.turn
	}
	if err != nil {
		return workerproc.Reply{}, err
	}
	defer w.ran()
	waited := time.Since(began)
	reply, err := w.run(ctx, c)
	reply.Waited = waited
	return reply, err
}

func (w *fakeWorker) TakesAhead() bool { return true }

func (w *fakeWorker) Withdraw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.withdraw()
}

// withdraw sends away all in line.
func (w *fakeWorker) withdraw() {
	for _, l := range w.line {
		w.f.withdrawn.Store(l.call.RequestID, true)
		l.turn <- workerproc.ErrWithdrawn
	}
	w.line = nil
}

// withdrawn reports whether a call had its turn, with others, and was then sent back to wait.
func (m *model) withdrawn(a *asked) bool {
	_, ok := m.f.withdrawn.Load(a.id)
	return ok
}
