package workerproc

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// awaitStack asks for stacks until they show text.
func awaitStack(t *testing.T, stack func() string, text string) string {
	t.Helper()
	dump := ""
	eventually(t, "a stack with "+text, func() bool {
		dump = stack()
		return strings.Contains(dump, text)
	})
	return dump
}

func TestStackShowsWherePythonIsAndLeavesTheCallAlone(t *testing.T) {
	tests := map[string]struct{ source, want string }{
		"sleeping": {"began = time.monotonic()\ntime.sleep(1)\nassert time.monotonic() - began >= 1", "in run"},
		"busy":     {"end = time.monotonic() + 1\nwhile time.monotonic() < end: pass", "in run"},
		"regular expression": { // holds the interpreter's lock, and takes no Python signal
			"re.match('(a+)+$', 'a' * 22 + 'b')\nassert not re.match('(a+)+$', 'a' * 23 + 'b')", "/re/__init__.py"},
		"native code": {"import hashlib\nassert len(hashlib.pbkdf2_hmac('sha256', b'', b'', 3000000)) == 32", "in run"},
		"system call": {"r, w = os.pipe()\nimport threading\nthreading.Timer(1, os.write, [w, b'x']).start()\nassert os.read(r, 1) == b'x'", "in run"},
		"child":       {"assert subprocess.run(['sleep', '1']).returncode == 0", "subprocess.py"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, _ := spawnPython(t)
			answered := background(w, run("r1", tt.source))
			if dump := awaitStack(t, w.Stack, tt.want); strings.Contains(dump, "_run.py") {
				t.Errorf("the stack shows the runtime:\n%s", dump)
			}
			for more := true; more; {
				select {
				case err := <-answered:
					if err != nil {
						t.Errorf("the call: %v", err)
					}
					more = false
				default:
					w.Stack()
				}
			}
			mustCall(t, w, "echo", `{"text":"still in step"}`)
		})
	}
}

func TestStackShowsAllThreads(t *testing.T) {
	w, _ := spawnPython(t)
	source := "import threading\ndef waiting_thread():\n    time.sleep(60)\n" +
		"for _ in range(3): threading.Thread(target=waiting_thread, daemon=True).start()\ntime.sleep(0.1)"
	if _, err := w.Call(context.Background(), run("r1", source)); err != nil {
		t.Fatal(err)
	}
	dump := w.Stack()
	if strings.Count(dump, "in waiting_thread") != 3 || strings.Count(dump, "most recent call first") < 4 {
		t.Errorf("three threads and the main one make\n%s", dump)
	}
}

func TestStackOfAWorkerThatStartsShowsItsImport(t *testing.T) {
	cfg := pythonConfig(t)
	const app = "import time\n\ndef load_model():\n    time.sleep(600)\n\nload_model()\n"
	if err := os.WriteFile(cfg.App, []byte(app), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newSpawner(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { // ends by cancel
		_, err := s.Spawn(ctx, 1, 7, nil)
		done <- err
	}()
	awaitStack(t, func() string { return s.StartingStack(7) }, "in load_model")
	if dump := s.StartingStack(8); dump != "" {
		t.Errorf("the stack of a worker that is not there is %q", dump)
	}
	cancel()
	if err := receive(t, done, "the end of the start"); err == nil {
		t.Error("the start has succeeded")
	}
	if dump := s.StartingStack(7); dump != "" || len(s.starting.workers) != 0 {
		t.Errorf("the stack of a start that has failed is %q", dump)
	}
}

func TestManyStacksAtOnceAreEachWhole(t *testing.T) {
	w := spawnFake(t, "stacks")
	const whole = "Thread 1:\n  in hang \uFFFD\n"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 3 {
				if dump := w.Stack(); dump != whole {
					t.Errorf("got %q", dump)
				}
			}
		})
	}
	wg.Wait()
	mustCall(t, w, "echo", `{}`)
}

func TestTimeoutDuringStacksHasAStackOfItsOwn(t *testing.T) {
	w := spawnFake(t, "stacks")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for w.Healthy() {
				w.Stack()
			}
		})
	}
	_, err := w.Call(context.Background(), hasty("hang", ""))
	wantTimeout(t, w, err, "Thread 1:\n  in hang \uFFFD\n")
	wg.Wait()
	if dump := w.Stack(); dump != "" {
		t.Errorf("the stack of a dead worker is %q", dump)
	}
}

func TestTimeoutIsNotHeldUpByAStackThatDoesNotCome(t *testing.T) {
	for _, mode := range []string{"stack-deaf", "stack-drip"} {
		t.Run(mode, func(t *testing.T) {
			w := spawnFake(t, mode)
			stack := make(chan string, 1)
			go func() { stack <- w.Stack() }() // ends after its time, at the latest
			eventually(t, "the dump has begun", func() bool {
				if w.stacks.turn.TryLock() {
					w.stacks.turn.Unlock()
					return false
				}
				return true
			})
			began := time.Now()
			err := receive(t, background(w, hasty("hang", "")), "the answer")
			wantTimeout(t, w, err, w.stack)
			t.Logf("answered after %s", time.Since(began))
			receive(t, stack, "the stack")
		})
	}
}

func TestWorkerWithoutStacksIsLeftAlone(t *testing.T) {
	w := spawnFake(t, "good")
	if dump := w.Stack(); dump != "" {
		t.Errorf("got %q", dump)
	}
	mustCall(t, w, "echo", `{}`)
}

func TestStackOfAStoppedProcessIsAskedForOnce(t *testing.T) {
	w, _ := spawnPython(t)
	stopWorker(t, w)
	for range 3 {
		if dump := w.Stack(); dump != "" {
			t.Errorf("a process that is stopped said %q", dump)
		}
	}
	signalWorker(t, w, syscall.SIGCONT)
	dump := awaitStack(t, w.Stack, "most recent call first")
	if n := strings.Count(dump, "most recent call first"); n != 1 {
		t.Errorf("%d dumps in one:\n%s", n, dump)
	}
	mustCall(t, w, "echo", `{}`)
}

func TestStackOfAPythonThatEndsDoesNotEndItDifferently(t *testing.T) {
	w, _ := spawnPython(t)
	asked := make(chan struct{})
	go func() { // ends with the worker
		defer close(asked)
		for !closed(w.Done()) {
			w.Stack()
		}
	}()
	if exit := w.Stop(patience); exit.Signal != 0 || exit.Code != 0 {
		t.Errorf("exit = %+v, want code 0", exit)
	}
	receive(t, asked, "the end of the asking")
}

func signalWorker(t testing.TB, w *Worker, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(w.PID(), sig); err != nil {
		t.Fatal(err)
	}
}

// stopWorker has a worker stand still.
func stopWorker(t testing.TB, w *Worker) {
	t.Helper()
	signalWorker(t, w, syscall.SIGSTOP)
	eventually(t, "the worker stands still", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.PID()))
		return err == nil && bytes.Contains(stat, []byte(") T "))
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
