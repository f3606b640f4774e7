package workerproc

import "time"

// catchUp returns when all that the worker had sent by the time of the call has been handled, as far as it makes whole
// frames. Timers that fire when this process was stopped, or the machine slept, do so at once as it goes on, beside the
// reader: what the worker sent in time may still lie in the pipe.
func (w *Worker) catchUp() {
	w.mu.Lock()
	if w.dead || w.mute {
		dead := w.dead
		w.mu.Unlock()
		if dead {
			<-w.done // the rest is read now
		}
		return
	}
	if w.emptied == nil {
		w.emptied = make(chan struct{})
	}
	emptied := w.emptied
	_ = w.replies.SetReadDeadline(time.Now()) // cannot fail on a pipe in the poller; repliesEmptied takes it back
	w.mu.Unlock()
	select {
	case <-emptied:
	case <-w.done:
	}
}

// repliesEmptied is called by the reader of replies when it has handled what the pipe held at a deadline. It returns
// whether more can come: not after the death of the process.
func (w *Worker) repliesEmptied() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.caughtUpLocked()
	if w.dead {
		return false
	}
	_ = w.replies.SetReadDeadline(time.Time{})
	return true
}

// caughtUpLocked lets those in catchUp go on.
func (w *Worker) caughtUpLocked() {
	if w.emptied != nil {
		close(w.emptied)
		w.emptied = nil
	}
}
