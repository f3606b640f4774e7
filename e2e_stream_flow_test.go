package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"charmer/api/client"
)

// pouring is an app whose streams have no end of their own, or one that is far away. They tell how many items they have made.
const pouring = meeting + `
import asyncio

class Counter:
    def __init__(self, dir, name):
        self.path = os.path.join(dir, name)
        self.fd = os.open(self.path, os.O_CREAT | os.O_WRONLY)

    def count(self, n):
        os.pwrite(self.fd, b"%10d" % n, 0)

    def end(self, exc):
        os.close(self.fd)
        with open(self.path + ".new", "w") as f:
            f.write(type(exc).__name__)
        os.rename(self.path + ".new", self.path + ".ended")

def pour(dir, name, n, size):
    counter = Counter(dir, name)
    try:
        for i in range(n):
            counter.count(i + 1)
            yield "x" * size
    except BaseException as exc:
        counter.end(exc)
        raise

@command
def plain(dir: str, name: str, n: int, size: int):
    yield from pour(dir, name, n, size)

@command(concurrency=4)
def in_a_thread(dir: str, name: str, n: int, size: int):
    yield from pour(dir, name, n, size)

@command
async def in_a_task(dir: str, name: str, n: int, size: int):
    counter = Counter(dir, name)
    try:
        for i in range(n):
            counter.count(i + 1)
            yield "x" * size
    except BaseException as exc:
        counter.end(exc)
        raise

@command
async def async_ping(n: int) -> int:
    return n
`

// pourer is a stream of big items, which have been counted where they are made.
type pourer struct {
	*stream
	dir, name string
	worker    client.WorkerRef
}

// pour opens a stream of n items with so many bytes each, and reads its first event.
func (s *instance) pour(dir, name, command string, n, size int) pourer {
	s.t.Helper()
	body := fmt.Sprintf(`{"command":%q,"args":{"dir":%q,"name":%q,"n":%d,"size":%d}}`, command, dir, name, n, size)
	r := s.openStream(jsonLines, body, "X-Request-Id", name)
	return pourer{stream: r, dir: dir, name: name, worker: *r.wantNext(client.StreamEventEventStarted).Worker}
}

// made is how many items the generator has made.
func (p pourer) made() int {
	p.s.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, p.name))
	if err != nil {
		p.s.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		p.s.t.Fatal(err)
	}
	return n
}

// held waits until the generator makes no more, though its worker and the service are at work, and returns how many it has made.
func (p pourer) held(work func()) int {
	p.s.t.Helper()
	var before int
	p.s.eventually("the generator is held", func() bool {
		before = p.made()
		for range 20 {
			work()
		}
		return p.made() == before
	})
	return before
}

// ended waits until the generator has been ended, and returns the name of what was raised in it.
func (p pourer) ended() string {
	p.s.t.Helper()
	path := filepath.Join(p.dir, p.name+".ended")
	p.s.eventually("the generator has ended", func() bool { _, err := os.Stat(path); return err == nil })
	text, err := os.ReadFile(path)
	if err != nil {
		p.s.t.Fatal(err)
	}
	return string(text)
}

// peak is the most memory that a process has had, in bytes.
func (s *instance) peak(pid int64) int64 {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	text, _, _ := strings.Cut(rest, "kB")
	kib, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return kib << 10
}

// TestAReaderThatDoesNotReadHoldsItsGenerator lets others call meanwhile. When the reader goes on it gets the rest, which is far
// more than anybody keeps.
func TestAReaderThatDoesNotReadHoldsItsGenerator(t *testing.T) {
	const n, size = 4096, 64 << 10 // far more than the garbage that Go lets gather, with what the race detector has beside it
	s := servePatiently(t, pouring)
	for _, command := range []string{"plain", "in_a_task", "in_a_thread"} {
		t.Run(command, func(t *testing.T) {
			s := s.in(t)
			s.full(2)
			p := s.pour(t.TempDir(), "p-"+command, command, n, size)
			pids := []int64{int64(s.cmd.Process.Pid), p.worker.PID}
			before := []int64{s.peak(pids[0]), s.peak(pids[1])}

			held := p.held(func() { s.execute("ping", `{"n":1}`).wantResult(t, "1") })
			if command == "in_a_task" { // beside it, too
				s.execute("async_ping", `{"n":2}`).wantResult(t, "2")
			}
			if again := p.held(func() { s.execute("ping", `{"n":1}`).wantResult(t, "1") }); again != held {
				t.Errorf("%d items were made, then %d, and nobody has read them", held, again)
			}
			if held > n/4 {
				t.Errorf("%d items of %d were made, and nobody has read them", held, n)
			}

			bytes, err := io.Copy(io.Discard, p.lines)
			if err != nil || bytes < n*size {
				t.Errorf("read %d bytes of %d: %v", bytes, n*size, err)
			}
			for i, pid := range pids {
				if grown := s.peak(pid) - before[i]; grown > n*size/4 {
					t.Errorf("process %d of the service and the worker grew by %d bytes for a stream of %d", i, grown, n*size)
				} else {
					t.Logf("process %d grew by %d bytes for a stream of %d, %d items were held", i, grown, n*size, held)
				}
			}
		})
	}
}

func TestAReaderThatLeavesEndsItsGenerator(t *testing.T) {
	s := servePatiently(t, pouring, "--workers=1")
	s.full(1)
	pid := s.pidsOfWorkers()[0]
	// What the service takes while the reader leaves is credit, with which a held generator may go on and be interrupted as one that runs.
	// That one which waits is closed and not interrupted, test_stream.py, test_loop.py and test_units.py see.
	atRest, running := "GeneratorExit", "Cancelled"
	for command, raised := range map[string][]string{"plain": {atRest, running}, "in_a_thread": {atRest, running}, "in_a_task": {atRest, "CancelledError", "TaskCancelled"}} {
		t.Run(command, func(t *testing.T) {
			for _, holds := range []bool{true, false} {
				s := s.in(t)
				p := s.pour(t.TempDir(), "leaves", command, 1<<30, 1<<10)
				if holds {
					p.held(func() { s.health() })
				}
				p.leave()
				got := p.ended()
				if !slices.Contains(raised, got) {
					t.Errorf("%s was raised in the generator, want one of %s", got, raised)
				}
				t.Logf("holds %v: %s", holds, got)
				a := s.execute("ping", `{"n":3}`)
				a.wantResult(t, "3")
				if a.Worker.PID != pid {
					t.Errorf("worker %d answers, want %d", a.Worker.PID, pid)
				}
			}
		})
	}
}

func TestADeletedStreamEndsWithTheProblem(t *testing.T) {
	s := servePatiently(t, pouring)
	for _, command := range []string{"plain", "in_a_task", "in_a_thread"} {
		p := s.pour(t.TempDir(), "deleted-"+command, command, 1<<30, 1<<10)
		done := make(chan answer, 1)
		go func() { done <- p.failed() }()
		s.wantCancel("deleted-"+command, client.CancelStepCancelled)
		a := <-done
		a.wantProblem(t, http.StatusConflict, "cancelled", true)
		a.wantStep(t, client.CancelStepCancelled)
		p.ended()
	}
}

// TestAStreamThatNobodyReadsEndsAtItsDeadline though the generator is held, and so is the service at writing. Its worker is free
// at once, and the reader gets the rest when it goes on.
func TestAStreamThatNobodyReadsEndsAtItsDeadline(t *testing.T) {
	s := servePatiently(t, pouring, "--workers=1", "--cancel-grace=60s")
	for _, command := range []string{"plain", "in_a_task", "in_a_thread"} {
		t.Run(command, func(t *testing.T) {
			s := s.in(t)
			dir := t.TempDir()
			body := fmt.Sprintf(`{"command":%q,"args":{"dir":%q,"name":"late","n":1000000000,"size":65536},"timeout_ms":1000}`, command, dir)
			r := s.openStream(eventStream, body)
			p := pourer{stream: r, dir: dir, name: "late", worker: *r.wantNext(client.StreamEventEventStarted).Worker}
			if next := s.execute("ping", `{"n":4}`); next.Result != "4" || next.Worker != p.worker {
				t.Errorf("got %+v, want the answer of worker %+v", next, p.worker)
			}
			p.ended()
			a := p.failed()
			a.wantProblem(t, http.StatusGatewayTimeout, "execution_timeout", true)
			a.wantStep(t, client.CancelStepCancelled)
		})
	}
}
