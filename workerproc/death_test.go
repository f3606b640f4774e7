package workerproc

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const afterBreach = " after it broke the protocol"

func TestBreachOfTheProtocolEndsTheWorker(t *testing.T) {
	const killed = "was killed by signal 9 (SIGKILL)" + afterBreach
	outOfBounds := func(length string) string {
		return "frame length out of bounds: " + length + ", allowed are 5 to 16785408"
	}
	tests := []struct {
		command, detail, reason string
	}{
		{"garbage", outOfBounds("1213486160"), killed},
		{"huge", outOfBounds("4294967295"), killed},
		{"tiny", outOfBounds("4"), killed},
		{"wrong-id", "answer to call 99, which is not open", killed},
		{"wrong-error", "answer to call 0, which is not open", killed},
		{"unknown-kind", "0x7f with id 1 after READY", killed},
		{"send-call", "CALL with id 1 after READY", killed},
		{"send-ready", "READY with id 0 after READY", killed},
		{"send-progress", "PROGRESS with id 0, of a call that is not open", killed},
		{"send-pong", "PONG with id 0, the last PING had 0", killed},
		{"send-chunk", "CHUNK of call 1, which has no credit for it", killed},
		{"give-up", "call 1 was given up, and nobody had cancelled it", killed},
		{"late-progress", "PROGRESS with id 2, of a call that is not open", killed},
		{"not-json", `body of RESULT is not JSON: "{\"a\":NaN}"`, killed},
		{"bad-utf8", `body of RESULT is not JSON: "\"\xff\xfe\""`, killed},
		{"no-body", `body of RESULT is not JSON: ""`, killed},
		{"two-texts", `body of RESULT is not JSON: "1 2"`, killed},
		{"error-json", "body of ERROR: …", killed},
		{"error-cut", "body of ERROR: …", killed},
		{"error-kind", `ERROR of unknown kind "whim"`, killed},
		{"log-json", "body of LOG: …", killed},
		{"short-exit", "ended inside a frame", "exited with code 4" + afterBreach},
		{"short-desert", "ended inside a frame", killed},
	}
	for _, tt := range tests {
		t.Run(tt.command, func(t *testing.T) {
			w := spawnFake(t, "good")
			_, err := w.Call(context.Background(), call(tt.command, ""))
			var broke *ProtocolError
			if !errors.As(err, &broke) {
				t.Fatalf("error = %#v, want a *ProtocolError", err)
			}
			if prefix, cut := strings.CutSuffix(tt.detail, "…"); broke.Detail != tt.detail && !(cut && strings.HasPrefix(broke.Detail, prefix)) {
				t.Errorf("detail = %q, want %q", broke.Detail, tt.detail)
			}
			if !broke.Started || broke.Error() != "worker broke the protocol: "+broke.Detail {
				t.Errorf("started = %t, text %q", broke.Started, broke)
			}
			checkExit(t, w, broke.Exit, Exit{Cause: CauseProtocol, Reason: tt.reason, Forced: tt.command == "short-desert"})
		})
	}
}

func TestDeathAnswersTheCall(t *testing.T) {
	tests := []struct {
		command string
		want    Exit
	}{
		{"exit", Exit{Code: 3, Reason: "exited with code 3", Output: []string{"stderr: out of", "stderr: cheese"}, StderrTail: []string{"out of", "cheese"}}},
		{"exit-0", Exit{Code: 0, Reason: "exited with code 0"}},
		{"kill", Exit{Code: -1, Signal: syscall.SIGKILL, Reason: "was killed by signal 9 (SIGKILL)"}},
		{"term", Exit{Code: -1, Signal: syscall.SIGTERM, Reason: "was killed by signal 15 (SIGTERM)"}},
		{"segfault", Exit{Code: -1, Signal: syscall.SIGSEGV, Reason: "was killed by signal 11 (SIGSEGV)"}},
		{"short-kill", Exit{Code: -1, Signal: syscall.SIGKILL, Reason: "was killed by signal 9 (SIGKILL)"}},
		{"desert", Exit{Code: -1, Signal: syscall.SIGKILL, Forced: true,
			Reason: "was killed by signal 9 (SIGKILL) by charmer, for it lived on without answering"}},
	}
	for _, tt := range tests {
		t.Run(tt.command, func(t *testing.T) {
			w := spawnFake(t, "good")
			_, err := w.Call(context.Background(), call(tt.command, ""))
			crash := wantCrash(t, err, true)
			tt.want.Cause = CauseCrash
			checkExit(t, w, crash.Exit, tt.want)
			if want := "worker crashed: " + tt.want.Reason; crash.Error() != want {
				t.Errorf("text = %q, want %q", crash, want)
			}
		})
	}
}

// checkExit checks how a dead worker ended, that it takes no calls, and that it says the same to everybody. Code and
// signal follow from the reason if want leaves them out.
func checkExit(t *testing.T, w *Worker, got, want Exit) {
	t.Helper()
	awaitDone(t, w)
	if want.Code == 0 && strings.HasPrefix(want.Reason, "was killed by signal 9") {
		want.Code, want.Signal = -1, syscall.SIGKILL
	}
	if strings.HasPrefix(want.Reason, "exited with code 4") {
		want.Code = 4
	}
	if want.Output == nil {
		want.Output, want.StderrTail = []string{}, []string{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(got, w.Exit()); diff != "" {
		t.Errorf("exit in the error (-) and of the worker (+):\n%s", diff)
	}
	if w.Healthy() {
		t.Error("healthy though dead")
	}
	_, err := w.Call(context.Background(), call("echo", ""))
	if crash := wantCrash(t, err, false); crash != nil {
		if diff := cmp.Diff(got, crash.Exit); diff != "" {
			t.Errorf("exit in the next call (-want +got):\n%s", diff)
		}
	}
	awaitGroupGone(t, w.PID())
}

func wantCrash(t *testing.T, err error, started bool) *CrashError {
	t.Helper()
	var crash *CrashError
	if !errors.As(err, &crash) {
		t.Fatalf("error = %#v, want a *CrashError", err)
	}
	if crash.Started != started {
		t.Errorf("started = %t, want %t", crash.Started, started)
	}
	return crash
}

func TestAnswerBeforeABreachCounts(t *testing.T) {
	w := spawnFake(t, "good")
	if got := mustCall(t, w, "twice", ""); got != "1" {
		t.Errorf("result = %s, want the first", got)
	}
	awaitDone(t, w)
	checkExit(t, w, w.Exit(), Exit{Cause: CauseProtocol, Reason: "was killed by signal 9 (SIGKILL)" + afterBreach})
}

func TestBreachBetweenCallsEndsTheWorker(t *testing.T) {
	w := spawnFake(t, "ready-twice")
	awaitDone(t, w)
	checkExit(t, w, w.Exit(), Exit{Cause: CauseProtocol, Reason: "was killed by signal 9 (SIGKILL)" + afterBreach})
}

func TestAllOpenCallsAreAnsweredByADeath(t *testing.T) {
	cfg := fakeConfig(t, "good")
	book, log := newLogBook()
	cfg.Log = log
	w := spawn(t, cfg)
	first := background(w, call("hang", ""))
	book.await(t, "hanging")
	var behind []<-chan error
	for range 10 {
		behind = append(behind, background(w, call("echo", "")))
	}
	eventually(t, "all calls are written", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.calls) == 11 && w.frames.reached(w.frames.queued)
	})
	w.Kill()
	for i, answered := range append(behind, first) {
		crash := wantCrash(t, receive(t, answered, "the answer"), i == len(behind)) // the others are still in the pipe
		if crash.Exit.Cause != CauseKilled || crash.Exit.Reason != "was killed by signal 9 (SIGKILL) by charmer" {
			t.Errorf("exit = %+v, want killed by charmer", crash.Exit)
		}
	}
}

func TestCallOfWhichTheWorkerSawNotAllHasNotStarted(t *testing.T) {
	w := spawnFake(t, "deaf")
	answered := background(w, call("echo", `{"a":"`+strings.Repeat("x", 1<<20)+`"}`))
	eventually(t, "the call is open", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.calls) == 1
	})
	w.Kill()
	wantCrash(t, receive(t, answered, "the answer"), false)
}

func TestCallToAWorkerThatDiedIdleHasNotStarted(t *testing.T) {
	w := spawnFake(t, "good")
	if err := syscall.Kill(w.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, err := w.Call(context.Background(), call("echo", "")) // at whatever point the death has got to
	crash := wantCrashOf(t, err)
	if crash.Exit.Signal != syscall.SIGKILL || crash.Exit.Cause != CauseCrash {
		t.Errorf("exit = %+v, want a crash by signal 9", crash.Exit)
	}
	awaitDone(t, w)
	_, err = w.Call(context.Background(), call("echo", ""))
	wantCrash(t, err, false)
}

// wantCrashOf is wantCrash for a call of which it is open whether it started.
func wantCrashOf(t *testing.T, err error) *CrashError {
	t.Helper()
	var crash *CrashError
	if !errors.As(err, &crash) {
		t.Fatalf("error = %#v, want a *CrashError", err)
	}
	return crash
}

func TestKillOfTheKernelIsSuspectedOnlyIfItIsNotOurs(t *testing.T) {
	tests := []struct {
		command string
		want    bool
	}{
		{"kill", true},
		{"term", false},
		{"exit", false},
		{"garbage", false},
		{"desert", false}, // killed by us, for it would not answer any more
	}
	for _, tt := range tests {
		t.Run(tt.command, func(t *testing.T) {
			w := spawnFake(t, "good")
			w.mu.Lock()
			w.oomKills = -1 // as if the kernel had killed since
			w.mu.Unlock()
			_, err := w.Call(context.Background(), call(tt.command, ""))
			awaitDone(t, w)
			exit := w.Exit()
			if exit.OOMSuspected != tt.want {
				t.Errorf("suspected = %t after %v, want %t", exit.OOMSuspected, err, tt.want)
			}
			if strings.HasSuffix(exit.Reason, "; the kernel was killing for lack of memory") != tt.want {
				t.Errorf("reason = %q", exit.Reason)
			}
		})
	}
}

func TestExitingIsAnAnswerAndAnEnd(t *testing.T) {
	w := spawnFake(t, "good")
	_, err := w.Call(context.Background(), call("sys-exit", ""))
	var failed *CommandError
	if !errors.As(err, &failed) || failed.Type != "SystemExit" || failed.Kind != KindException {
		t.Fatalf("error = %#v, want the SystemExit", err)
	}
	if w.Healthy() {
		t.Error("healthy though it said that it ends")
	}
	awaitDone(t, w)
	checkExit(t, w, w.Exit(), Exit{Cause: CauseExiting, Code: 3, Reason: "exited with code 3"})
}

func TestCallBehindAnExitIsACrash(t *testing.T) {
	w := spawnFake(t, "good")
	first := openOnly(w, call("sys-exit", ""))
	second := openOnly(w, call("echo", ""))
	if err := w.frames.flush(); err != nil {
		t.Fatal(err)
	}
	receive(t, first.done, "the first answer")
	receive(t, second.done, "the second answer")
	var failed *CommandError
	if !errors.As(first.err, &failed) {
		t.Errorf("first call: %v, want the SystemExit", first.err)
	}
	if crash := wantCrash(t, second.err, true); crash.Exit.Cause != CauseExiting || crash.Exit.Code != 3 {
		t.Errorf("exit = %+v, want the announced one", crash.Exit)
	}
}

// openOnly queues a call without writing it.
func openOnly(w *Worker, c *Call) *openCall {
	open := &openCall{request: c, done: make(chan struct{})}
	w.send(open)
	return open
}
