package workerproc

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStopEndsAnIdleWorkerInGoodOrder(t *testing.T) {
	w := spawnFake(t, "good")
	checkExit(t, w, w.Stop(patience), Exit{Cause: CauseStopped, Reason: "exited with code 0"})
}

func TestStopOfTheDeadReturnsAtOnce(t *testing.T) {
	w := spawnFake(t, "good")
	_, _ = w.Call(context.Background(), call("kill", ""))
	first := w.Stop(patience)
	if diff := cmp.Diff(first, w.Stop(0)); diff != "" || first.Cause != CauseCrash {
		t.Errorf("exit = %+v, want the crash", first)
	}
}

func TestStopLetsTheRunningCallFinish(t *testing.T) {
	cfg := fakeConfig(t, "good")
	book, log := newLogBook()
	cfg.Log = log
	w := spawn(t, cfg)
	answered := background(w, call("finish", ""))
	book.await(t, "running")
	exit := w.Stop(patience)
	if err := receive(t, answered, "the answer"); err != nil {
		t.Errorf("call that ran at the stop: %v", err)
	}
	if exit.Cause != CauseStopped || exit.Code != 0 || exit.Forced {
		t.Errorf("exit = %+v, want a stop in good order", exit)
	}
}

func TestStoppingWorkerTakesNoCalls(t *testing.T) {
	cfg := fakeConfig(t, "good")
	book, log := newLogBook()
	cfg.Log = log
	w := spawn(t, cfg)
	running := background(w, call("hang", ""))
	book.await(t, "hanging")
	stopped := make(chan Exit, 1)
	go func() { stopped <- w.Stop(patience) }() // ends with the kill below
	eventually(t, "it is not healthy any more", func() bool { return !w.Healthy() })
	late := background(w, call("echo", ""))
	w.Kill()
	wantCrash(t, receive(t, late, "the answer of the late call"), false)
	wantCrash(t, receive(t, running, "the answer of the running call"), true)
	if exit := receive(t, stopped, "the stop"); exit.Cause != CauseKilled || exit.Forced {
		t.Errorf("exit = %+v, want killed", exit)
	}
}

func TestWorkerThatDoesNotStopIsKilledAfterTheGrace(t *testing.T) {
	const reason = "was killed by signal 9 (SIGKILL) after the grace of its stop"
	for _, grace := range []time.Duration{0, 20 * time.Millisecond} {
		w := spawnFake(t, "stubborn")
		checkExit(t, w, w.Stop(grace), Exit{Cause: CauseStopped, Forced: true, Reason: reason})
	}
}

func TestGraceEndsTheCallThatRuns(t *testing.T) {
	cfg := fakeConfig(t, "good")
	book, log := newLogBook()
	cfg.Log = log
	w := spawn(t, cfg)
	answered := background(w, call("hang", ""))
	book.await(t, "hanging")
	exit := w.Stop(10 * time.Millisecond)
	crash := wantCrash(t, receive(t, answered, "the answer"), true)
	if diff := cmp.Diff(exit, crash.Exit); diff != "" || !exit.Forced || exit.Cause != CauseStopped {
		t.Errorf("exit = %+v, in the call %+v; want a forced stop", exit, crash.Exit)
	}
}

// A worker may close its replies first and clean up behind that: the grace alone ends it.
func TestWorkerThatClosesItsRepliesToStopKeepsItsGrace(t *testing.T) {
	cfg := fakeConfig(t, "good")
	book, log := newLogBook()
	cfg.Log = log
	w := spawn(t, cfg)
	answered := background(w, call("linger", ""))
	book.await(t, "running")
	if exit := w.Stop(patience); exit.Cause != CauseStopped || exit.Code != 7 || exit.Forced {
		t.Errorf("exit = %+v, want code 7 within the grace", exit)
	}
	wantCrash(t, receive(t, answered, "the answer"), true)
}

func TestWorkerThatReadsNothingIsStoppedWithAFullPipe(t *testing.T) {
	w := spawnFake(t, "deaf")
	answered := background(w, call("echo", `{"a":"`+strings.Repeat("x", 1<<20)+`"}`))
	eventually(t, "the call is open", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.calls) == 1
	})
	if exit := w.Stop(10 * time.Millisecond); !exit.Forced {
		t.Errorf("exit = %+v, want it forced", exit)
	}
	wantCrash(t, receive(t, answered, "the answer"), false)
}

func TestStopAndKillAtOnceAgreeOnTheEnd(t *testing.T) {
	w := spawnFake(t, "good")
	var wg sync.WaitGroup
	exits := make(chan Exit, 8)
	for i := range cap(exits) {
		wg.Go(func() {
			if i%2 == 0 {
				w.Kill()
			}
			exits <- w.Stop(time.Duration(i) * time.Millisecond)
		})
	}
	wg.Wait()
	for range cap(exits) {
		if diff := cmp.Diff(w.Exit(), <-exits); diff != "" {
			t.Errorf("exits differ:\n%s", diff)
		}
	}
}

// breed has the worker start a process that holds its descriptors, and returns its number.
func breed(t *testing.T, w *Worker, command string) int {
	t.Helper()
	var pid int
	if err := json.Unmarshal([]byte(mustCall(t, w, command, "")), &pid); err != nil || pid <= 0 {
		t.Fatalf("grandchild %d: %v", pid, err)
	}
	return pid
}

func TestGrandchildThatHoldsThePipesDiesWithTheWorker(t *testing.T) {
	ends := map[string]func(*Worker){
		"stop": func(w *Worker) { w.Stop(patience) },
		"kill": func(w *Worker) { w.Kill() },
		"exit": func(w *Worker) { _, _ = w.Call(context.Background(), call("exit", "")) },
		"half": func(w *Worker) { _, _ = w.Call(context.Background(), call("short-exit", "")) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			w := spawnFake(t, "good")
			pid := breed(t, w, "breed")
			if got := groupMembers(t, w.PID()); len(got) != 2 {
				t.Fatalf("members of the group = %v, want the worker and %d", got, pid)
			}
			end(w)
			awaitDone(t, w)
			awaitGroupGone(t, w.PID())
		})
	}
}

func TestProcessThatLeftTheGroupDiesWithTheWorker(t *testing.T) {
	for name, command := range map[string]string{"good": "echo", "dead": "exit"} {
		t.Run(name, func(t *testing.T) {
			w := spawnFake(t, "good")
			pid := breed(t, w, "escape")
			_, _ = w.Call(context.Background(), call(command, ""))
			w.Stop(patience)
			awaitDone(t, w)
			awaitGroupGone(t, pid)
		})
	}
}
