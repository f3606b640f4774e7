package workerproc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWorkerEchoes(t *testing.T) {
	w := spawnFake(t, "good")
	for _, args := range []string{`{"name":"Ada"}`, `{}`, ``, ` {"spaced" : [ 1.50 ] } `, `{"ü":"🐍\u0000"}`} {
		want := args
		if args == "" {
			want = "{}"
		}
		if got := mustCall(t, w, "echo", args); got != strings.TrimSpace(want) {
			t.Errorf("echo of %q = %q", args, got)
		}
	}
	if !w.Healthy() {
		t.Error("not healthy after good calls")
	}
}

func TestWorkerTellsWhatItIs(t *testing.T) {
	s := newSpawner(t, fakeConfig(t, "good"))
	w := spawnFrom(t, s, 42)
	if w.ID() != 42 || w.Language() != "Go" || w.ReadyAfter() <= 0 || w.StartMethod() != "exec" {
		t.Errorf("id %d, language %q, ready after %s, start method %q", w.ID(), w.Language(), w.ReadyAfter(), w.StartMethod())
	}
	if w.PID() != w.hello.PID {
		t.Errorf("pid = %d, but the process says %d", w.PID(), w.hello.PID)
	}
	if diff := cmp.Diff([]Command{{Name: "echo"}}, w.Commands()); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	if !w.HasHook("session_end") || w.HasHook("session_start") {
		t.Error("hooks are not those of READY")
	}
}

func TestCallCarriesAllThatItsEnvelopeNames(t *testing.T) {
	w := spawnFake(t, "good")
	for name, c := range map[string]*Call{
		"envelope":    {Command: "envelope", RequestID: "r-1", SessionID: "s", SessionState: "new", Traceparent: "00-1-2-01"},
		"session_end": {Command: "session_end", Hook: true, RequestID: "r-2", SessionID: "s", SessionState: "resumed"},
	} {
		c.Deadline = time.Now().Add(patience)
		reply, err := w.Call(context.Background(), c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var body string
		var sent envelopeBody
		if err := errors.Join(json.Unmarshal(reply.Result, &body), json.Unmarshal([]byte(body), &sent)); err != nil {
			t.Fatal(err)
		}
		if left := *sent.TimeoutMs; left <= 0 || left > float64(patience.Milliseconds()) {
			t.Errorf("%s: timeout_ms = %v of a call with %s", name, left, patience)
		}
		c.Deadline = testNow.Add(time.Duration(*sent.TimeoutMs*1000) * time.Microsecond)
		checkEnvelope(t, c, []byte(body))
	}
}

func TestWorkerIsGivenTheDescriptorsOfTheProtocol(t *testing.T) {
	w := spawnFake(t, "good")
	var links []string
	if err := json.Unmarshal([]byte(mustCall(t, w, "descriptors", "")), &links); err != nil {
		t.Fatal(err)
	}
	pipes := map[string]bool{}
	for fd, link := range links {
		switch fd {
		case 0:
			if link != os.DevNull {
				t.Errorf("descriptor 0 = %q, want the null device", link)
			}
		case 5: // closed, but Go's poller in the fake may have taken the number
			if strings.HasPrefix(link, "pipe:") {
				t.Errorf("descriptor 5 = %q, want it closed", link)
			}
		default:
			if !strings.HasPrefix(link, "pipe:") || pipes[link] {
				t.Errorf("descriptor %d = %q, want a pipe of its own", fd, link)
			}
			pipes[link] = true
		}
	}
	var group []int
	if err := json.Unmarshal([]byte(mustCall(t, w, "group", "")), &group); err != nil {
		t.Fatal(err)
	}
	if group[0] != w.PID() || group[1] != w.PID() {
		t.Errorf("process and group = %v, want a leader of its own group, %d", group, w.PID())
	}
}

func TestWorkerIsGivenItsEnvironment(t *testing.T) {
	cfg := fakeConfig(t, "good")
	cfg.App = "shop.main"
	cfg.Environ = append(cfg.Environ, "CHARMER_AUTH_TOKEN=secret", "CHARMER_WORKER_ID=9", "OMP_NUM_THREADS=4")
	w := spawnFrom(t, newSpawner(t, cfg), 7)
	var environ []string
	if err := json.Unmarshal([]byte(mustCall(t, w, "environ", "")), &environ); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range environ {
		if strings.HasPrefix(entry, "CHARMER_") || strings.HasPrefix(entry, "OMP_") {
			got = append(got, entry)
		}
	}
	slices.Sort(got)
	want := []string{"CHARMER_WORKER_APP=shop.main", "CHARMER_WORKER_ID=7", fmt.Sprint("CHARMER_WORKER_MAX_FRAME=", cfg.MaxFrame),
		"CHARMER_WORKER_START_METHOD=exec", "OMP_NUM_THREADS=4"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestErrorReplyLeavesTheWorkerHealthy(t *testing.T) {
	w := spawnFake(t, "good")
	want := CommandError{Type: "T", Message: "m", Traceback: "t"}
	tests := map[string]struct {
		fill    func(*CommandError)
		started bool
	}{
		"raise":  {func(e *CommandError) { e.Kind = KindException }, true},
		"choose": {func(e *CommandError) { e.Kind, e.Code, e.Status = KindCommandError, "gone", 410 }, true},
		"bad":    {func(e *CommandError) { e.Kind = KindBadResult }, true},
		"misfit": {func(e *CommandError) { e.Kind, e.Errors = KindInvalidArgs, []ArgError{{"/a", "b"}} }, false},
		"unknown": {func(e *CommandError) {
			e.Kind = KindUnknownCommand
		}, false},
	}
	for command, tt := range tests {
		want := want
		tt.fill(&want)
		reply, err := w.Call(context.Background(), call(command, ""))
		var got *CommandError
		if !errors.As(err, &got) || reply.Result != nil {
			t.Fatalf("%s: %s and %v, want a *CommandError", command, reply.Result, err)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", command, diff)
		}
		if got.Started() != tt.started || got.Error() != "T: m" {
			t.Errorf("%s: started = %t, text %q", command, got.Started(), got)
		}
	}
	if mustCall(t, w, "echo", `{"still":"well"}`) != `{"still":"well"}` || !w.Healthy() {
		t.Error("not healthy after ERROR replies")
	}
}

func TestLargestArgumentsAndResultsPass(t *testing.T) {
	const limit = 2 * eagerBody
	cfg := fakeConfig(t, "good")
	cfg.MaxFrame = limit + envelopeSize
	w := spawn(t, cfg)
	args := `{"a":"` + strings.Repeat("x", limit-len(`{"a":""}`)) + `"}`
	if got := mustCall(t, w, "echo", args); got != args {
		t.Errorf("echo of %d bytes has %d", len(args), len(got))
	}
	_, err := w.Call(context.Background(), call("echo", args+" "))
	var large *TooLargeError
	if !errors.As(err, &large) || large.Limit != limit {
		t.Errorf("one byte more: %v, want a *TooLargeError with limit %d", err, limit)
	}
	if got := mustCall(t, w, "echo", `{}`); got != `{}` {
		t.Errorf("echo afterwards = %q", got)
	}
}

func TestManyCallsAtOnceGetTheirOwnAnswers(t *testing.T) {
	const callers, each = 32, 20
	w := spawnFake(t, "good")
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				args := fmt.Appendf(nil, `{"caller":%d,"call":%d,"fill":"%s"}`, c, i, strings.Repeat("x", i*300))
				reply, err := w.Call(context.Background(), call("echo", string(args)))
				if err != nil || !bytes.Equal(reply.Result, args) {
					t.Errorf("caller %d, call %d: %v and %.80q", c, i, err, reply.Result)
				}
			}
		})
	}
	wg.Wait()
	if len(w.calls) != 0 || int(w.lastID) != callers*each {
		t.Errorf("%d calls open after %d", len(w.calls), w.lastID)
	}
}

func TestOutputIsLoggedWithTheCallItBelongsTo(t *testing.T) {
	cfg := fakeConfig(t, "good")
	book, log := newLogBook()
	cfg.Log = log
	w := spawn(t, cfg)

	mustCall(t, w, "log", "")
	tests := []map[string]any{
		{"level": "WARN", "msg": "slow query", "stream": "log", "logger": "app.db", "command": "log", "request_id": "r-log"},
		{"level": "ERROR", "msg": "between calls", "stream": "log"},
		{"level": "ERROR", "msg": "of nobody", "stream": "log"},
		{"level": "DEBUG", "msg": "printed", "stream": "stdout", "command": "log", "request_id": "r-log"},
	}
	for _, want := range tests {
		want["worker"] = 1.0
		if diff := cmp.Diff(want, book.await(t, want["msg"].(string))); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
	}

	answered := background(w, call("print", ""))
	want := map[string]any{"level": "DEBUG", "msg": "printed by C", "stream": "stderr", "command": "print", "request_id": "r-print", "worker": 1.0}
	if diff := cmp.Diff(want, book.await(t, "printed by C")); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	mustCall(t, w, "echo", "")
	if err := receive(t, answered, "the answer"); err != nil {
		t.Error(err)
	}
}

func TestFloodOfStderrStallsNothing(t *testing.T) {
	cfg := fakeConfig(t, "good")
	book, log := newLogBook()
	cfg.Log = log
	w := spawn(t, cfg)
	mustCall(t, w, "flood", "")
	book.await(t, "later line")
	book.await(t, strings.Repeat("x", maxLine)+fmt.Sprintf("… (%d bytes cut)", 10<<20-maxLine))
	mustCall(t, w, "echo", "")
}

func TestCommandIsFoundByItsPath(t *testing.T) {
	cfg := fakeConfig(t, "good")
	link := filepath.Join(t.TempDir(), "worker")
	if err := os.Symlink(cfg.Command[0], link); err != nil {
		t.Fatal(err)
	}
	cfg.Command = []string{link, "with", "arguments"}
	mustCall(t, spawn(t, cfg), "echo", "")
}
