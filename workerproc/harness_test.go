package workerproc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a test waits for what must happen. It is an upper bound for machines under load; no test passes
// because of it.
const patience = 2 * time.Minute

// promptExit keeps the race detector in a child from sleeping a second when it exits.
const promptExit = "GORACE=atexit_sleep_ms=0"

// fakeConfig makes workers of the test binary.
func fakeConfig(t testing.TB, mode string) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Family: &testFamily, Command: []string{self}, MaxFrame: testLimit + envelopeSize, StartTimeout: patience,
		Environ: append(os.Environ(), fakeVar+"="+mode, promptExit), Log: slog.New(slog.DiscardHandler),
	}
}

// testFamily is that of the process of the tests.
var testFamily Family

// newSpawner returns a Spawner that is closed at the end of the test, which then must have left nothing behind.
func newSpawner(t testing.TB, cfg Config) *Spawner {
	t.Helper()
	watchLeaks(t)
	s, err := NewSpawner(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close spawner: %v", err)
		}
	})
	return s
}

// spawn returns a worker of cfg that is dead at the end of the test, with all its group.
func spawn(t testing.TB, cfg Config) *Worker {
	t.Helper()
	return spawnFrom(t, newSpawner(t, cfg), 1)
}

func spawnFrom(t testing.TB, s *Spawner, id uint64) *Worker {
	t.Helper()
	w, err := s.Spawn(t.Context(), 1, id, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Kill()
		awaitDone(t, w)
		awaitGroupGone(t, w.PID())
	})
	return w
}

func spawnFake(t testing.TB, mode string) *Worker {
	t.Helper()
	return spawn(t, fakeConfig(t, mode))
}

func call(command, args string) *Call {
	return &Call{Command: command, Args: []byte(args), RequestID: "r-" + command, Deadline: time.Now().Add(patience)}
}

// mustCall returns the result of a call that must succeed.
func mustCall(t testing.TB, w *Worker, command, args string) string {
	t.Helper()
	reply, err := w.Call(context.Background(), call(command, args))
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return string(reply.Result)
}

// background runs a call and returns where its error will be.
func background(w *Worker, c *Call) <-chan error {
	answered := make(chan error, 1)
	go func() { // ends with the call
		_, err := w.Call(context.Background(), c)
		answered <- err
	}()
	return answered
}

// receive returns what comes on a channel, or fails the test if nothing does.
func receive[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("still waiting for %s", what)
		panic("unreachable")
	}
}

func awaitDone(t testing.TB, w *Worker) {
	t.Helper()
	receive(t, w.Done(), "the worker's end")
}

// eventually waits until condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("still not true: %s", what)
		}
	}
}

// watchLeaks checks at the end of the test that goroutines and descriptors are those of its start.
func watchLeaks(t testing.TB) {
	t.Helper()
	before := descriptors(t)
	running := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, running)
		eventually(t, fmt.Sprintf("%v are open again, and nothing else", before), func() bool {
			return len(descriptors(t)) <= len(before)
		})
	})
}

// descriptors returns what the process has open, without the poller of the runtime, which comes once and stays.
func descriptors(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, entry := range entries {
		link, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil && !strings.HasPrefix(link, "anon_inode:[event") {
			open = append(open, link)
		}
	}
	return open
}

// awaitGroupGone waits until no process of a group is alive. The dead whom nobody has reaped do not count.
func awaitGroupGone(t testing.TB, group int) {
	t.Helper()
	eventually(t, fmt.Sprintf("group %d is empty", group), func() bool { return len(groupMembers(t, group)) == 0 })
}

func groupMembers(t testing.TB, group int) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var alive []string
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue // gone in the meantime
		}
		var state string
		var parent, pgrp int
		_, rest, _ := strings.Cut(string(text), ") ")
		if _, err := fmt.Sscan(rest, &state, &parent, &pgrp); err != nil {
			t.Fatalf("%s: %q: %v", stat, text, err)
		}
		if pgrp == group && state != "Z" && state != "X" {
			alive = append(alive, filepath.Base(filepath.Dir(stat)))
		}
	}
	return alive
}

// logBook keeps log records and lets tests wait for them.
type logBook struct {
	mu      sync.Mutex // guards the fields below
	records []map[string]any
	changed chan struct{} // closed and made anew with each record
}

func newLogBook() (*logBook, *slog.Logger) {
	b := &logBook{changed: make(chan struct{})}
	return b, slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write takes one record as JSON.
func (b *logBook) Write(line []byte) (int, error) {
	var record map[string]any
	if err := json.Unmarshal(line, &record); err != nil {
		return 0, err
	}
	delete(record, "time")
	delete(record, "pid")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records = append(b.records, record)
	close(b.changed)
	b.changed = make(chan struct{})
	return len(line), nil
}

// await returns the first record with a message, when it has come.
func (b *logBook) await(t testing.TB, message string) map[string]any {
	t.Helper()
	for {
		b.mu.Lock()
		records, changed := b.records, b.changed
		b.mu.Unlock()
		for _, record := range records {
			if record["msg"] == message {
				return record
			}
		}
		receive(t, changed, fmt.Sprintf("a log record %q among %v", message, records))
	}
}

// mute returns a worker without a process that has said stream.
func mute(stream []byte) *Worker {
	return &Worker{
		child: &child{reaped: true}, maxFrame: testLimit, output: output{log: slog.New(slog.DiscardHandler)},
		out: bufio.NewReader(bytes.NewReader(stream)), started: make(chan error, 1), calls: map[uint32]*openCall{},
	}
}
