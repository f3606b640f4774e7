package workerproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run calls the command that executes Python source.
func run(requestID, source string) *Call {
	args, err := json.Marshal(map[string]string{"source": source})
	if err != nil {
		panic(err)
	}
	c := call("run", string(args))
	c.RequestID = requestID
	return c
}

func TestPythonThatHasLeftItsGroupIsKilled(t *testing.T) {
	w, _ := spawnPython(t)
	c := run("r1", "os.setpgid(0, os.getpgid(os.getppid()))\nwhile True: pass")
	c.Deadline = time.Now().Add(2 * time.Second)
	_, err := w.Call(context.Background(), c)
	var timeout *TimeoutError
	if !errors.As(err, &timeout) || timeout.Exit.Signal != syscall.SIGKILL || !timeout.Started {
		t.Errorf("error = %v, want a timeout of a call that had begun", err)
	}
}

func TestEvidenceLeavesOutWhatOtherCallsHavePrinted(t *testing.T) {
	w, _ := spawnPython(t)
	const talk = "logging.warning('logged by %[1]s'); print('printed by %[1]s', file=sys.stderr)"
	if _, err := w.Call(context.Background(), run("alice", fmt.Sprintf(talk, "alice"))); err != nil {
		t.Fatal(err)
	}
	_, err := w.Call(context.Background(), run("bob", fmt.Sprintf(talk, "bob")+"; os._exit(3)"))
	tail := wantCrash(t, err, true).Exit.StderrTail
	if want := []string{"logged by bob", "printed by bob"}; !slices.Equal(tail, want) {
		t.Errorf("tail for bob = %q, want %q", tail, want)
	}
	if all := strings.Join(w.Exit().StderrTail, " "); !strings.Contains(all, "alice") {
		t.Errorf("tail for the service's own log = %q, want all of it", all)
	}
}

func TestRawOutputIsNeverThatOfALaterCall(t *testing.T) {
	w, book := spawnPython(t)
	for i := range 50 {
		if _, err := w.Call(context.Background(), run("writer", "os.write(1, b'from the writer\\n' * 500)")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Call(context.Background(), run(fmt.Sprint("later", i), "pass")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Call(context.Background(), run("last", "print('the end')")); err != nil {
		t.Fatal(err)
	}
	w.Stop(patience) // then all that was written has been read
	book.mu.Lock()
	defer book.mu.Unlock()
	lines := 0
	for _, record := range book.records {
		if record["msg"] != "from the writer" {
			continue
		}
		lines++
		if id, ok := record["request_id"]; ok && id != "writer" {
			t.Fatalf("logged as output of %s", id)
		}
	}
	if lines != 50*500 {
		t.Errorf("%d lines, want %d", lines, 50*500)
	}
}

func TestPythonWhoseReplyPipeIsClosedTakesNoCalls(t *testing.T) {
	w, _ := spawnPython(t)
	if _, err := w.Call(context.Background(), run("r1", "import threading; threading.Timer(0.05, os.close, [4]).start()")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker is known to be mute", func() bool { return !w.Healthy() })
	_, err := w.Call(context.Background(), run("r2", "pass"))
	wantCrash(t, err, false)
}

func TestSpawnPutsTheRuntimeBackThatSomebodyHasRemoved(t *testing.T) {
	cfg := pythonConfig(t)
	s := newSpawner(t, cfg)
	mustCall(t, spawnFrom(t, s, 1), "echo", `{}`)
	if err := os.RemoveAll(filepath.Join(s.runtime, "charmer")); err != nil {
		t.Fatal(err)
	}
	mustCall(t, spawnFrom(t, s, 2), "echo", `{}`)
}

func TestTimeoutOfACallThatWasNeverReadHasNotStarted(t *testing.T) {
	w, _ := spawnPython(t)
	stopWorker(t, w)
	c := call("echo", fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 512<<10)))
	c.Deadline = time.Now().Add(300 * time.Millisecond)
	_, err := w.Call(context.Background(), c)
	var timeout *TimeoutError
	if !errors.As(err, &timeout) || timeout.Started {
		t.Errorf("error = %v, want a timeout of a call that had not begun", err)
	}
}
