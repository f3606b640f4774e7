package workerproc

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hasty is a call with little time.
func hasty(command, args string) *Call {
	c := call(command, args)
	c.Deadline = time.Now().Add(50 * time.Millisecond)
	return c
}

func wantTimeout(t *testing.T, w *Worker, err error, stack string) {
	t.Helper()
	var timeout *TimeoutError
	if !errors.As(err, &timeout) {
		t.Fatalf("error = %#v, want a *TimeoutError", err)
	}
	if timeout.Stack != stack || timeout.Error() != "execution timeout" {
		t.Errorf("stack = %q, want %q; text %q", timeout.Stack, stack, timeout)
	}
	if timeout.Exit.Cause != CauseTimeout || !strings.HasSuffix(timeout.Exit.Reason, " after its call ran out of time") {
		t.Errorf("exit = %+v, want a timeout", timeout.Exit)
	}
	awaitDone(t, w)
	awaitGroupGone(t, w.PID())
}

func TestCallOutOfTimeEndsTheWorker(t *testing.T) {
	for _, command := range []string{"hang", "short-hang"} {
		t.Run(command, func(t *testing.T) {
			w := spawnFake(t, "good")
			_, err := w.Call(context.Background(), hasty(command, ""))
			wantTimeout(t, w, err, "")
			checkExit(t, w, w.Exit(), Exit{Cause: CauseTimeout, Reason: "was killed by signal 9 (SIGKILL) after its call ran out of time",
				Output: w.Exit().Output, StderrTail: []string{}})
		})
	}
}

func TestTimeoutShowsTheStacks(t *testing.T) {
	w := spawnFake(t, "stacks")
	_, err := w.Call(context.Background(), hasty("hang", ""))
	wantTimeout(t, w, err, "Thread 1:\n  in hang \uFFFD\n")
}

func TestDumpWithoutEndDoesNotHoldUpTheKill(t *testing.T) {
	w := spawnFake(t, "stack-drip")
	err := receive(t, background(w, hasty("hang", "")), "the answer")
	wantTimeout(t, w, err, strings.Repeat("x", len(w.stack)))
	if len(w.stack) > 8<<10 { // of which each took 5 ms
		t.Errorf("waited for %d bytes of the dump", len(w.stack))
	}
}

func TestTimeoutWithoutAStackIsATimeoutAllTheSame(t *testing.T) {
	tests := map[string]syscall.Signal{
		"stack-deaf": syscall.SIGKILL, // the signal is ignored
		"stack-dies": syscall.SIGTERM, // the signal ends it
	}
	for mode, signal := range tests {
		t.Run(mode, func(t *testing.T) {
			w := spawnFake(t, mode)
			_, err := w.Call(context.Background(), hasty("hang", ""))
			wantTimeout(t, w, err, "")
			if w.Exit().Signal != signal {
				t.Errorf("exit = %+v, want signal %d", w.Exit(), signal)
			}
		})
	}
}

func TestLargeCallToAWorkerThatReadsNothingTimesOut(t *testing.T) {
	w := spawnFake(t, "deaf")
	args := `{"a":"` + strings.Repeat("x", testLimit-100) + `"}`
	_, err := w.Call(context.Background(), hasty("echo", args))
	wantTimeout(t, w, err, "")
}

func TestDeadlineInThePastIsATimeout(t *testing.T) {
	w := spawnFake(t, "good")
	c := call("hang", "")
	c.Deadline = time.Time{}
	_, err := w.Call(context.Background(), c)
	wantTimeout(t, w, err, "")
}

func TestStopDoesNotSaveACallFromItsDeadline(t *testing.T) {
	cfg := fakeConfig(t, "good")
	book, log := newLogBook()
	cfg.Log = log
	w := spawn(t, cfg)
	c := call("hang", "")
	c.Deadline = time.Now().Add(time.Second)
	answered := background(w, c)
	book.await(t, "hanging")
	if exit := w.Stop(patience); exit.Cause != CauseTimeout || exit.Forced {
		t.Errorf("exit = %+v, want a timeout", exit)
	}
	wantTimeout(t, w, receive(t, answered, "the answer"), "")
}
