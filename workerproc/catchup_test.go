package workerproc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// heldLog is a log that holds up the reader of replies: as if this process had been stopped in between, timers go on
// while it stands, and what the worker sends waits.
type heldLog struct {
	held chan struct{} // gets a value when the reader stands
	open chan struct{} // closed to let it go on
}

func newHeldLog() heldLog { return heldLog{held: make(chan struct{}, 1), open: make(chan struct{})} }

// Write takes one record.
func (l heldLog) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "a line") {
		select {
		case l.held <- struct{}{}:
		default:
		}
		<-l.open
	}
	return len(line), nil
}

// heldFake is a fake whose first LOG holds up the reader.
func heldFake(t *testing.T, mode string) (heldLog, Config) {
	t.Helper()
	log, cfg := newHeldLog(), fakeConfig(t, mode)
	cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return log, cfg
}

// expireHeld makes a call, has its time run out while the reader is held up, once the process is dead if it is to die, and
// returns its error.
func expireHeld(t *testing.T, log heldLog, w *Worker, command string, dies bool) error {
	t.Helper()
	answered := background(w, call(command, ""))
	receive(t, log.held, "the reader to stand")
	var open *openCall
	eventually(t, "the process dies if it is to", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		open = w.calls[w.lastID]
		return w.dead == dies
	})
	expired := make(chan struct{})
	go func() { w.end(open, errDeadline); close(expired) }() // ends with the call
	awaitCatchUp(t, w)
	close(log.open)
	receive(t, expired, "the timer")
	return receive(t, answered, "the answer")
}

// awaitCatchUp waits until somebody waits for the reader to catch up, or the process is seen to be dead.
func awaitCatchUp(t *testing.T, w *Worker) {
	t.Helper()
	eventually(t, "somebody waits for the reader", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.emptied != nil || w.dead
	})
}

func TestAnAnswerInThePipeWinsOverTheTimer(t *testing.T) {
	log, cfg := heldFake(t, "good")
	w := spawn(t, cfg)
	if err := expireHeld(t, log, w, "log-at-once", false); err != nil {
		t.Errorf("error = %v, want the answer", err)
	}
	for n := range 3 { // the reader goes on
		if got := mustCall(t, w, "echo", fmt.Sprint(n)); got != fmt.Sprint(n) {
			t.Errorf("echo = %s, want %d", got, n)
		}
	}
}

func TestADeathIsNoTimeoutThoughTheTimerFiresToo(t *testing.T) {
	log, cfg := heldFake(t, "good")
	w := spawn(t, cfg)
	var crash *CrashError
	if err := expireHeld(t, log, w, "log-exit", true); !errors.As(err, &crash) || crash.Exit.Cause != CauseCrash || crash.Exit.Code != 3 {
		t.Errorf("error = %#v, want a crash with code 3", err)
	}
}

func TestAWorkerThatSendsOnAndOnRunsOutOfTime(t *testing.T) {
	w := spawnFake(t, "good")
	_, err := w.Call(context.Background(), hasty("log-on", ""))
	wantTimeout(t, w, err, "")
}

func TestReadyInThePipeWinsOverTheTimer(t *testing.T) {
	log, cfg := heldFake(t, "at-once")
	s := newSpawner(t, cfg)
	w, err := s.launch(nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Kill(); awaitDone(t, w) })
	w.run(func(string) {})
	receive(t, log.held, "the reader to stand")
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- w.awaitReady(ctx) }() // ends with the start
	awaitCatchUp(t, w)
	close(log.open)
	if err := receive(t, started, "the start"); err != nil {
		t.Errorf("error = %v, want a worker", err)
	}
}
