package workerproc

import (
	"errors"
	"syscall"
	"time"
)

// errDeadline is why a call is ended whose time is up.
var errDeadline = errors.New("its time was up")

// Step says how far the ladder went by which a call was ended.
type Step string

// The steps.
const (
	StepCancelled Step = "cancelled" // Python gave the call up, and lives on
	StepKilled    Step = "killed"    // it did not within the grace, or cannot
)

// Pauses between the signals of a cancel. One that comes just before the worker enters a system call does not interrupt it.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = 100 * time.Millisecond
)

// end takes a call down the ladder, because of why, unless its answer came first, or the worker is at its end anyway: it is
// cancelled, and if that has not ended it within the grace, or the worker cannot cancel, the worker is killed.
func (w *Worker) end(open *openCall, why error) {
	if why == errDeadline {
		w.catchUp()
	}
	w.mu.Lock()
	if open.why == nil && w.mayEndLocked(open) && !w.withdrawLocked() {
		w.mu.Unlock()
		w.child.killGroup()
		return
	}
	if open.why != nil || !w.mayEndLocked(open) {
		w.mu.Unlock()
		return
	}
	open.why = why
	number := w.hello.CancelSignal
	w.mu.Unlock()

	if number > 0 && w.control != nil && w.cancelGrace > 0 && w.cancel(open, syscall.Signal(number)) {
		return
	}
	w.catchUp()
	w.mu.Lock()
	if !w.mayEndLocked(open) {
		w.mu.Unlock()
		return
	}
	w.cause, w.expired = CauseCancelled, open
	if why == errDeadline {
		w.cause = CauseTimeout
	}
	w.mu.Unlock()

	stack := w.stacks.last(w.child, w.stackPipe, w.runtime)
	w.mu.Lock()
	w.stack = stack
	w.mu.Unlock()
	w.child.killGroup()
}

// mayEndLocked reports whether the call is open in a worker that is neither being killed already nor dead, nor about to be
// ended by endMute.
func (w *Worker) mayEndLocked(open *openCall) bool {
	if open.settled() {
		return false
	}
	return w.cause == CauseStopped || !w.mute && (w.cause == "" || w.cause == CauseExiting)
}

// cancel asks the worker to give a call up, and reports whether the call has had its answer within the grace.
func (w *Worker) cancel(open *openCall, number syscall.Signal) bool {
	if w.control.send(packetCancel, open.id, 0) != nil {
		return false
	}
	grace := time.NewTimer(w.cancelGrace)
	defer grace.Stop()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		w.child.interrupt(number)
		again := time.NewTimer(pause)
		select {
		case <-open.done:
			again.Stop()
			return true
		case <-grace.C:
			again.Stop()
			return false
		case <-again.C:
		}
	}
}

// cancelledLocked returns the error of a call whose worker has said that it gave it up, or nil if nobody asked for that.
func (open *openCall) cancelledLocked(body *CommandError, started bool) error {
	switch open.why {
	case nil:
		return nil
	case errDeadline:
		return &TimeoutError{Step: StepCancelled, Stack: body.Traceback, Started: started}
	default:
		return &CancelledError{Why: open.why, Step: StepCancelled, Stack: body.Traceback, Started: started}
	}
}

// killedLocked returns the error of a call that was being ended when its worker was killed for that.
func (open *openCall) killedLocked(stack string, exit Exit, started bool) error {
	if open.why == errDeadline {
		return &TimeoutError{Step: StepKilled, Stack: stack, Exit: exit, Started: started}
	}
	return &CancelledError{Why: open.why, Step: StepKilled, Stack: stack, Exit: exit, Started: started}
}
