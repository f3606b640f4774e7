package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"charmer/api/client"
)

// sociable is an app whose commands run side by side, and wait for one another.
const sociable = meeting + `
import asyncio, logging, threading
import charmer

barrier = threading.Barrier(8)
batches = 0

async def go(dir):
    while not os.path.exists(os.path.join(dir, "go")):
        await asyncio.sleep(0.02)

@command
async def meet(dir: str, name: str) -> int:
    come(dir, name)
    await go(dir)
    return os.getpid()

@command(concurrency=8)
def meet_in_threads() -> int:
    return barrier.wait()

@command
async def talk(name: str, n: int) -> str:
    for i in range(n):
        print(f"{name} prints {i}")
        logging.getLogger("app").warning("%s logs %d", name, i)
        await asyncio.sleep(0)
    return charmer.current().request_id

@command(concurrency=8)
def talk_in_a_thread(name: str, n: int) -> str:
    for i in range(n):
        print(f"{name} prints {i}")
        logging.getLogger("app").warning("%s logs %d", name, i)
        time.sleep(0)
    return charmer.current().request_id

@command
async def block(dir: str) -> None:
    come(dir, "blocks")
    wait_for(dir, "go")  # holds up the loop

@command(batch=True, max_batch=32)
def sizes(items):
    global batches
    batches += 1
    for item in items:
        if item.get("dir"):
            come(item["dir"], "first")
            wait_for(item["dir"], "go")
    return [ValueError("a bad one") if item["n"] < 0 else [item["n"], batches, len(items)] for item in items]

@command(batch=True, max_batch=32)
async def async_sizes(items):
    global batches
    batches += 1
    for item in items:
        if item.get("dir"):
            come(item["dir"], "first")
            await go(item["dir"])
    return [ValueError("a bad one") if item["n"] < 0 else [item["n"], batches, len(items)] for item in items]

@command(batch=True)
def misshapen(items):
    return [1] * (len(items) + 1)
`

func TestAsyncCallsRunSideBySide(t *testing.T) {
	s := servePatiently(t, sociable)
	s.full(2)
	dir := t.TempDir()
	const n = 200
	var calls sync.WaitGroup
	answers := make([]*answer, n)
	for i := range answers {
		answers[i] = s.inBackground(&calls, "meet", fmt.Sprintf(`{"dir":%q,"name":"at-%d"}`, dir, i))
	}
	s.eventually("all are there at once", func() bool { return len(glob(t, dir, "at-*[0-9]")) == n })
	if h := s.health(); h.Workers.Busy != 2 || h.Queue.Length != 0 {
		t.Errorf("workers %+v, queue %+v", h.Workers, h.Queue)
	}
	for _, w := range s.workers() {
		if len(w.Running) != n/2 {
			t.Errorf("worker %d runs %d calls, want %d", w.PID, len(w.Running), n/2)
		}
	}
	// There is room for no more of them, and none for a call that runs alone.
	s.execute("meet", fmt.Sprintf(`{"dir":%q,"name":"late"}`, dir), waitingFor(50)).wantProblem(t, http.StatusServiceUnavailable, "checkout_timeout", false)
	s.execute("ping", `{"n":1}`, waitingFor(50)).wantProblem(t, http.StatusServiceUnavailable, "checkout_timeout", false)

	touch(t, dir, "go")
	calls.Wait()
	byPID := map[string]int{}
	for _, a := range answers {
		a.wantResult(t, strconv.FormatInt(a.Worker.PID, 10))
		byPID[a.Result]++
	}
	if len(byPID) != 2 {
		t.Errorf("calls by worker: %v", byPID)
	}
	s.execute("ping", `{"n":1}`).wantResult(t, "1")
}

// TestACallThatRunsAloneDoesNotMix with those that run side by side, whichever comes first.
func TestACallThatRunsAloneDoesNotMix(t *testing.T) {
	s := servePatiently(t, sociable, "--workers=1")
	dirs := []string{t.TempDir(), t.TempDir()}
	var calls sync.WaitGroup
	first := s.inBackground(&calls, "stay", fmt.Sprintf(`{"dir":%q,"name":"alone"}`, dirs[0]))
	s.arrived(dirs[0], "alone")
	second := s.inBackground(&calls, "meet", fmt.Sprintf(`{"dir":%q,"name":"a"}`, dirs[1]))
	s.queued(1)
	touch(t, dirs[0], "go")
	s.arrived(dirs[1], "a")
	third := s.inBackground(&calls, "meet", fmt.Sprintf(`{"dir":%q,"name":"b"}`, dirs[1]))
	s.arrived(dirs[1], "b")
	fourth := s.inBackground(&calls, "ping", `{"n":4}`)
	s.queued(1)
	fifth := s.inBackground(&calls, "meet", fmt.Sprintf(`{"dir":%q,"name":"c"}`, dirs[1]))
	s.queued(2) // it does not pass the one before
	if found := glob(t, dirs[1], "c"); len(found) != 0 {
		t.Error("a call has passed one that waits for a worker of its own")
	}
	touch(t, dirs[1], "go")
	calls.Wait()
	first.wantResult(t, `"alone"`)
	fourth.wantResult(t, "4")
	for _, a := range []*answer{second, third, fifth} {
		a.wantResult(t, strconv.FormatInt(first.Worker.PID, 10))
	}
}

func TestThreadsRunSideBySide(t *testing.T) {
	s := servePatiently(t, sociable, "--workers=1")
	for range 3 {
		var calls sync.WaitGroup
		var answers []*answer
		for range 8 {
			answers = append(answers, s.inBackground(&calls, "meet_in_threads", `{}`))
		}
		calls.Wait()
		seen := map[string]bool{}
		for _, a := range answers {
			if seen[a.Result] = true; a.status != http.StatusOK || a.Worker != answers[0].Worker {
				t.Errorf("got %d %s of %+v", a.status, a.Problem.Detail, a.Worker)
			}
		}
		if len(seen) != 8 {
			t.Errorf("places at the barrier: %v", seen)
		}
	}
}

func TestWhatCallsSaySideBySideIsLoggedWithEach(t *testing.T) {
	s := servePatiently(t, sociable, "--workers=1")
	const n, lines = 8, 25
	for _, command := range []string{"talk", "talk_in_a_thread"} {
		var calls sync.WaitGroup
		for c := range n {
			id := fmt.Sprintf("%s-%d", command, c)
			calls.Go(func() {
				(<-s.named(id, command, fmt.Sprintf(`{"name":%q,"n":%d}`, id, lines))).wantResult(t, strconv.Quote(id))
			})
		}
		calls.Wait()
		for c := range n {
			id := fmt.Sprintf("%s-%d", command, c)
			for _, how := range []string{" prints ", " logs "} {
				var said []logLine
				s.eventually("all is logged", func() bool {
					said = s.log.lines(func(l logLine) bool { return strings.HasPrefix(fmt.Sprint(l["msg"]), id+how) })
					return len(said) >= lines
				})
				for i, line := range said {
					if line["request_id"] != id || line["command"] != command || line["msg"] != id+how+strconv.Itoa(i) {
						t.Errorf("line %d%sof %s: %v", i, how, id, line)
					}
				}
			}
		}
	}
}

func TestACallThatHoldsUpTheLoopIsReportedWithItsStack(t *testing.T) {
	s := servePatiently(t, sociable, "--workers=1", "--loop-stall=200ms")
	dir := t.TempDir()
	var calls sync.WaitGroup
	other := s.inBackground(&calls, "meet", fmt.Sprintf(`{"dir":%q,"name":"other"}`, dir))
	s.arrived(dir, "other")
	blocks := s.inBackground(&calls, "block", fmt.Sprintf(`{"dir":%q}`, dir))
	pid := s.arrived(dir, "blocks")
	line := s.log.await(t, s.exited, func(l logLine) bool {
		return strings.Contains(fmt.Sprint(l["msg"]), "loop of a worker is blocked") && strings.Contains(fmt.Sprint(l["stack"]), "in block")
	})
	wantPart(t, "stack", fmt.Sprint(line["stack"]), fmt.Sprintf("line %d in block", lineOf(t, sociable, "# holds up the loop")))
	if line["pid"] != float64(pid) || line["level"] != "WARN" {
		t.Errorf("line %v, want pid %d", line, pid)
	}
	touch(t, dir, "go")
	calls.Wait()
	blocks.wantResult(t, "null")
	other.wantResult(t, strconv.Itoa(pid))
}

func TestCallsOfABatchReachTheFunctionTogether(t *testing.T) {
	s := servePatiently(t, sociable, "--workers=1")
	for _, command := range []string{"sizes", "async_sizes"} {
		t.Run(command, func(t *testing.T) {
			s := s.in(t)
			dir := t.TempDir()
			var calls sync.WaitGroup
			answers := []*answer{s.inBackground(&calls, command, fmt.Sprintf(`{"n":0,"dir":%q}`, dir))}
			s.arrived(dir, "first")
			for n := 1; n < 64; n++ {
				args := fmt.Sprintf(`{"n":%d}`, n)
				if n == 7 {
					args = `{"n":-7}`
				}
				answers = append(answers, s.inBackground(&calls, command, args))
			}
			s.eventually("all have been sent", func() bool {
				running := 0
				for _, w := range s.workers() {
					running += len(w.Running)
				}
				return running == 64
			})
			touch(t, dir, "go")
			calls.Wait()
			batches := map[string]bool{}
			for n, a := range answers {
				if n == 7 {
					raised("ValueError", "a bad one")(t, *a)
					continue
				}
				parts := strings.Split(strings.Trim(a.Result, "[]"), ",")
				if len(parts) != 3 || parts[0] != strconv.Itoa(n) || a.Worker != answers[0].Worker {
					t.Fatalf("call %d: %d %s %+v", n, a.status, a.Result, a.Problem)
				}
				batches[parts[1]] = true
			}
			t.Logf("%d batches", len(batches))
			if len(batches) > 8 {
				t.Errorf("64 calls came in %d batches", len(batches))
			}
		})
	}
	raised("ValueError", "results")(t, s.execute("misshapen", `{}`))
}

// TestACancelledCallOfABatchLeavesTheOthers and ends the function if it is the last.
func TestACancelledCallOfABatchLeavesTheOthers(t *testing.T) {
	s := servePatiently(t, sociable, "--workers=1", "--cancel-grace=60s")
	for _, command := range []string{"sizes", "async_sizes"} {
		dir := t.TempDir()
		first := s.named(command+"-first", command, fmt.Sprintf(`{"n":0,"dir":%q}`, dir))
		s.arrived(dir, "first")
		second, third := s.named(command+"-second", command, `{"n":1}`), s.named(command+"-third", command, `{"n":2}`)
		s.eventually("all have been sent", func() bool { return len(s.workers()[0].Running) == 3 })
		s.wantCancel(command+"-second", client.CancelStepCancelled)
		(<-second).wantProblem(t, http.StatusConflict, "cancelled", false)
		s.wantCancel(command+"-first", client.CancelStepCancelled) // the last of its batch: nobody touches go
		(<-first).wantProblem(t, http.StatusConflict, "cancelled", true)
		if a := <-third; a.status != http.StatusOK || !strings.HasPrefix(a.Result, "[2,") || !strings.HasSuffix(a.Result, ",1]") {
			t.Errorf("third: %d %s %+v", a.status, a.Result, a.Problem)
		}
	}
	s.noWorkerEnded()
}
