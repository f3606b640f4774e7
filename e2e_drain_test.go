package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"charmer/api/client"
)

// gated is an app whose command `wait` leaves a file to say that it runs, and returns when another file is there.
const gated = `
import ctypes, os, signal, subprocess, time
from charmer import command

@command
def wait(dir: str, name: str) -> str:
    open(os.path.join(dir, name + ".running"), "w").close()
    while not os.path.exists(os.path.join(dir, "go")):
        time.sleep(0.002)
    return name

@command
def stuck_in_c(dir: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGIO):
        signal.signal(number, signal.SIG_IGN)
    subprocess.Popen(["sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"])
    open(os.path.join(dir, "stuck.running"), "w").close()
    library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)  # waits for itself, with the interpreter's lock held

@command
def blank(size: int) -> str:
    return " " * size

@command
def ping(n: int) -> int:
    return n
`

func TestDrainFinishesWhatRunsAndRefusesTheRest(t *testing.T) {
	s := launch(t, appFile(t, gated), "--drain-delay=300ms").ready()
	dir := t.TempDir()
	answers := make([]answer, 2)
	var running sync.WaitGroup
	for i := range answers {
		running.Go(func() { answers[i] = s.execute("wait", fmt.Sprintf(`{"dir":%q,"name":"w%d"}`, dir, i)) })
	}
	s.eventually("both calls run", func() bool { return len(glob(t, dir, "*.running")) == 2 })
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	var ready, refused bool
	s.eventually("a call is refused", func() bool {
		r, err := s.GetReadyWithResponse(t.Context(), nil)
		ready = err == nil && r.StatusCode() == http.StatusOK
		a := s.execute("ping", `{"n":1}`, func(r *client.ExecuteRequest) { r.CheckoutTimeoutMs = new(float64) })
		refused = a.Problem.Code == "draining"
		if refused && ready {
			t.Error("calls are refused while the service reports ready")
		}
		if refused {
			a.wantProblem(t, http.StatusServiceUnavailable, "draining", false)
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
		return refused
	})
	if state := s.health().State; state != client.HealthStateDraining {
		t.Errorf("state %s, want draining", state)
	}
	touch(t, dir, "go")
	running.Wait()
	for i, a := range answers {
		a.wantResult(t, fmt.Sprintf(`"w%d"`, i))
	}
	<-s.exited
	if code := s.cmd.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
	s.noneLeft()
}

// A client that gets no answer at the end of the drain has met the closed listener, or a kept connection that was closed
// just as the request was on its way. Its request must not have been accepted: the log tells.
func TestDrainUnderLoadFailsNobodyWhoWasAccepted(t *testing.T) {
	s := launch(t, appFile(t, gated)).ready()
	s.connect(100)
	var served, refused atomic.Int64
	var clients sync.WaitGroup
	unanswered := make([]string, 16) // request id of the last attempt of each client
	for c := range unanswered {
		clients.Go(func() {
			for n := c * 1_000_000; ; n++ {
				id := fmt.Sprintf("c%d", n)
				a, err := s.try(client.ExecuteRequest{Command: "ping", Args: fmt.Appendf(nil, `{"n":%d}`, n)}, requestID(id))
				switch {
				case err != nil:
					unanswered[c] = id
					return
				case a.status == http.StatusOK && a.Result == fmt.Sprint(n):
					if served.Add(1) == 500 {
						_ = s.cmd.Process.Signal(syscall.SIGTERM)
					}
				case a.Problem.Code == "draining" && a.status == http.StatusServiceUnavailable:
					refused.Add(1)
				default:
					t.Errorf("got %d %s %+v", a.status, a.Result, a.Problem)
				}
			}
		})
	}
	clients.Wait()
	<-s.exited
	t.Logf("%d served, %d refused", served.Load(), refused.Load())
	if code := s.cmd.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
	if answers := s.log.lines(func(l logLine) bool { return l["msg"] == "request" && l["path"] == "/execute" }); len(answers) < 500 {
		t.Fatalf("%d requests in the log, of at least 500", len(answers))
	}
	for _, accepted := range s.log.lines(func(l logLine) bool { return slices.Contains(unanswered, fmt.Sprint(l["request_id"])) }) {
		t.Errorf("accepted, but its client got no answer: %v", accepted)
	}
	s.noneLeft()
}

func TestRepliesCloseTheConnectionOnceTheServiceIsLeaving(t *testing.T) {
	s := launch(t, appFile(t, gated), "--drain-delay=300ms").ready()
	dir := t.TempDir()
	var running sync.WaitGroup
	var begun answer
	running.Go(func() { begun = s.execute("wait", fmt.Sprintf(`{"dir":%q,"name":"w"}`, dir)) })
	s.eventually("the call runs", func() bool { return len(glob(t, dir, "*.running")) == 1 })
	if a := s.execute("ping", `{"n":1}`); a.close {
		t.Error("the connection is closed before the service leaves")
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.eventually("replies close the connection", func() bool { return s.execute("ping", `{"n":1}`).close })
	touch(t, dir, "go")
	running.Wait()
	if begun.wantResult(t, `"w"`); !begun.close {
		t.Error("the connection of a call that was running is kept")
	}
	<-s.exited
}

func TestAnAcceptedAnswerIsWrittenOutToASlowReader(t *testing.T) {
	s := launch(t, appFile(t, gated)).ready()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const body = `{"command":"blank","args":{"size":33554432}}` // more than the sockets' buffers hold
	if _, err := fmt.Fprintf(conn, "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	if _, err := reader.Peek(1); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == "worker stopped" })
	time.Sleep(2 * writeOut) // the slowness of the reader, longer than any answer is given at the least
	r, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r.Body); err != nil || n < 32<<20 {
		t.Errorf("got %d bytes, then %v", n, err)
	}
	<-s.exited
	if code := s.cmd.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestASecondSignalEndsWorkersThatStopSlowly(t *testing.T) {
	s := launch(t, appFile(t, gated+`
from charmer import on_stop

@on_stop
def linger() -> None:
    print("lingers")
    time.sleep(600)
`), "--stop-grace=10m").ready()
	s.full(2)
	for _, said := range []string{"lingers", "not waiting any longer"} {
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == said })
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		t.Fatal("it goes on waiting")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != exitOK { // nothing was running
		t.Errorf("exit code %d, want 0", code)
	}
	s.noneLeft()
}

func TestARequestThatHasNotComeInFullDoesNotHoldUpTheEnd(t *testing.T) {
	s := launch(t, appFile(t, gated)).ready()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	s.execute("ping", `{"n":1}`).wantResult(t, "1") // the other request has come as far as it will
	begun := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	if took := time.Since(begun); took > 20*time.Second { // bodyTime and the drain timeout are 30 s
		t.Errorf("the end took %s", took)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestNothingOutlivesAServiceThatIsKilled(t *testing.T) {
	s := launch(t, appFile(t, gated)).ready()
	dir := t.TempDir()
	s.execute("ping", `{"n":1}`, inSession("u1")).wantResult(t, "1")
	var stuck sync.WaitGroup
	stuck.Go(func() {
		_, _ = s.try(client.ExecuteRequest{Command: "stuck_in_c", Args: fmt.Appendf(nil, `{"dir":%q}`, dir)})
	})
	s.eventually("a worker is stuck", func() bool { return len(glob(t, dir, "*.running")) == 1 })
	if n := len(s.pids()); n < 5 { // the service, two workers, the session's, the guest's shell
		t.Fatalf("%d processes, want at least 5", n)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	stuck.Wait()
	s.noneLeft()
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func touch(t *testing.T, dir, name string) {
	t.Helper()
	appendTo(t, filepath.Join(dir, name), "")
}
