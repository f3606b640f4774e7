package workerproc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

func (c *child) isReaped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reaped
}

// lateWriter returns from a write only when the worker that read it is dead, as a goroutine does that gets no turn.
type lateWriter struct {
	io.Writer
	t *testing.T
	w *Worker
}

func (l *lateWriter) Write(p []byte) (int, error) {
	n, err := l.Writer.Write(p)
	eventually(l.t, "the worker is reaped", l.w.child.isReaped)
	select { // whoever tells the caller before he knows what was written tells him at once
	case <-l.w.done:
	case <-time.After(drainTime):
	}
	return n, err
}

func TestCallThatTheWorkerReadHasStartedHoweverLateItsWriteReturns(t *testing.T) {
	w := spawnFake(t, "good")
	w.frames.out = &lateWriter{Writer: w.frames.out, t: t, w: w}
	_, err := w.Call(context.Background(), call("exit", ""))
	wantCrash(t, err, true)
}

// holdUp is a log handler that lets the test see a message before the goroutine which logs it goes on.
type holdUp struct {
	slog.Handler
	hold func(message string)
}

func (h *holdUp) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &holdUp{h.Handler.WithAttrs(attrs), h.hold}
}

func (h *holdUp) Handle(ctx context.Context, r slog.Record) error {
	h.hold(r.Message)
	return h.Handler.Handle(ctx, r)
}

func TestReplyWrittenBeforeTheEndIsNotLostToASlowReader(t *testing.T) {
	cfg := fakeConfig(t, "good")
	_, log := newLogBook()
	spawned := make(chan *Worker, 1)
	cfg.Log = slog.New(&holdUp{log.Handler(), func(message string) {
		if strings.HasPrefix(message, "last words") {
			w := <-spawned
			eventually(t, "the worker is reaped", w.child.isReaped)
			<-time.After(2 * drainTime)
		}
	}})
	w := spawn(t, cfg)
	spawned <- w
	if got := mustCall(t, w, "last-words", ""); len(got) != 58<<10+2 {
		t.Errorf("result of %d bytes, want what the worker wrote", len(got))
	}
	awaitDone(t, w)
	if exit := w.Exit(); exit.Cause != CauseCrash || exit.Code != 0 {
		t.Errorf("exit = %+v", exit)
	}
}

// callUntilDeath calls until the worker is dead, and checks that every call has one of the answers it may have.
func callUntilDeath(t *testing.T, w *Worker) {
	for {
		args := `{"a":"` + strings.Repeat("x", rand.IntN(2000)) + `"}`
		reply, err := w.Call(context.Background(), call("echo", args))
		if err == nil && string(reply.Result) != args {
			t.Errorf("result = %.80q, want %.80q", reply.Result, args)
			return
		}
		var crash *CrashError
		if err != nil && !errors.As(err, &crash) {
			t.Errorf("error = %v, want a *CrashError", err)
		}
		if err != nil {
			<-w.Done()
			return
		}
	}
}

func TestCallsRacingWithAnEndAreAllAnswered(t *testing.T) {
	ends := map[string]func(*Worker){
		"kill":  (*Worker).Kill,
		"stop":  func(w *Worker) { w.Stop(patience) },
		"force": func(w *Worker) { w.Stop(0) },
		"exit":  func(w *Worker) { _, _ = w.Call(context.Background(), call("exit-0", "")) },
		"both": func(w *Worker) {
			go w.Kill()
			w.Stop(time.Microsecond)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			w := spawnFake(t, "good")
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() { callUntilDeath(t, w) })
			}
			mustCall(t, w, "echo", "")
			end(w)
			wg.Wait()
			awaitDone(t, w)
			if len(w.calls) != 0 {
				t.Errorf("%d calls still open", len(w.calls))
			}
		})
	}
}

func TestAnswersRacingWithTheirDeadlineAreOneOfTheTwo(t *testing.T) {
	for range 5 {
		w := spawnFake(t, "good")
		for range 1000 {
			c := call("echo", "")
			c.Deadline = time.Now().Add(time.Duration(rand.IntN(400)) * time.Microsecond)
			reply, err := w.Call(context.Background(), c)
			if err == nil && string(reply.Result) == "{}" {
				continue
			}
			wantTimeout(t, w, err, "")
			break
		}
	}
}

func TestManyWorkersStartAtOnce(t *testing.T) {
	s := newSpawner(t, fakeConfig(t, "slow"))
	var wg sync.WaitGroup
	for id := range uint64(8) {
		wg.Go(func() {
			w, err := s.Spawn(t.Context(), 1, id, nil)
			if err != nil {
				t.Error(err)
				return
			}
			mustReply(t, w)
			if exit := w.Stop(patience); exit.Code != 0 || exit.Cause != CauseStopped {
				t.Errorf("exit = %+v", exit)
			}
		})
	}
	wg.Wait()
}

// mustReply is mustCall for goroutines other than the test's.
func mustReply(t *testing.T, w *Worker) {
	if reply, err := w.Call(context.Background(), call("echo", `{}`)); err != nil || string(reply.Result) != "{}" {
		t.Errorf("echo = %q, %v", reply.Result, err)
	}
}

func TestCancelRacingWithReadyLeavesNothing(t *testing.T) {
	s := newSpawner(t, fakeConfig(t, "slow"))
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		w, err := s.Spawn(ctx, 1, 1, func(_ int, stage string) {
			if stage == "step 2" {
				go cancel()
			}
		})
		cancel()
		var failed *StartError
		switch {
		case err == nil:
			w.Stop(patience)
		case !errors.As(err, &failed):
			t.Errorf("error = %v, want a *StartError", err)
		}
	}
}
