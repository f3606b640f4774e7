package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"charmer/api/client"
)

func TestAKilledWorkerFailsItsOwnCallAlone(t *testing.T) {
	s := serve(t, meeting)
	for round, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSEGV, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			s := s.in(t)
			s.full(2)
			dir := t.TempDir()
			var calls sync.WaitGroup
			victim := s.inBackground(&calls, "stay", fmt.Sprintf(`{"dir":%q,"name":"victim"}`, dir))
			other := s.inBackground(&calls, "stay", fmt.Sprintf(`{"dir":%q,"name":"other"}`, dir))
			pid, unharmed := s.arrived(dir, "victim"), s.arrived(dir, "other")
			s.kill(pid, signal)
			s.gone(int64(pid))
			s.full(2) // while the other call still runs
			touch(t, dir, "go")
			calls.Wait()

			victim.wantProblem(t, http.StatusBadGateway, "worker_crashed", true)
			victim.wantSignal(t, signal)
			wantLine(t, "stderr_tail", victim.Problem.StderrTail, "victim stays")
			wantLine(t, "stderr_tail", victim.Problem.StderrTail, "victim stays, says descriptor 2")
			if p := victim.Problem; p.Retryable || p.Worker == nil || p.Worker.PID != int64(pid) {
				t.Errorf("retryable %v, worker %s; want false, %d", p.Retryable, asJSON(p.Worker), pid)
			}
			other.wantResult(t, `"other"`)
			if other.Worker.PID != int64(unharmed) {
				t.Errorf("the other call ran on %d and was answered by %d", unharmed, other.Worker.PID)
			}
			if exits := s.stats().WorkerExits; exits["signal"] != int64(round+1) {
				t.Errorf("exits: %v, want %d by signal", exits, round+1)
			}
			s.whole()
		})
	}
}

// TestAWorkerKilledWhileIdleIsReplacedUnnoticed kills what nobody uses. A call that comes before the death is seen may be
// sent to the dead, but not more than once, and not without the evidence.
func TestAWorkerKilledWhileIdleIsReplacedUnnoticed(t *testing.T) {
	s := serve(t, meeting)
	s.whole()
	for range 5 {
		pid := s.pidsOfWorkers()[0]
		s.kill(int(pid), syscall.SIGKILL)
		for n := range 3 {
			a := s.execute("ping", fmt.Sprintf(`{"n":%d}`, n), patiently)
			if a.status == http.StatusOK {
				a.wantResult(t, strconv.Itoa(n))
				continue
			}
			a.wantProblem(t, http.StatusBadGateway, "worker_crashed", true)
			a.wantSignal(t, syscall.SIGKILL)
			if a.ranOn(t).PID != pid {
				t.Errorf("worker %d failed a call, %d was killed", a.ranOn(t).PID, pid)
			}
		}
		s.gone(pid)
		s.whole()
	}
}

// late is an app whose commands outstay their time.
const late = meeting + `
import ctypes

def snore(dir):
    come(dir, "asleep")
    time.sleep(600)  # in Python

@command
def sleep_in_python(dir: str) -> None:
    snore(dir)  # called from here

@command
def sleep_in_c(dir: str) -> None:
    come(dir, "asleep")
    ctypes.PyDLL(None).sleep(600)  # in C, with the interpreter's lock held

@command
def hang_in_c(dir: str) -> None:
    """Wait for a lock that no signal interrupts the wait for."""
    mutex = ctypes.create_string_buffer(256)
    come(dir, "asleep")
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)  # for ever

@command
def spin(dir: str) -> None:
    come(dir, "asleep")
    try:
        while True:
            pass  # spins
    except BaseException:
        spin(dir)

@command
def drowse(value: int, seconds: float) -> int:
    time.sleep(seconds)
    return value
`

func TestACallThatRunsOutOfTimeShowsWherePythonWas(t *testing.T) {
	s := serve(t, late)
	for _, row := range []struct {
		command string
		killed  bool              // it goes on when it is cancelled, or cannot be
		at      map[string]string // function: what the line it was in says
	}{
		{"sleep_in_python", false, map[string]string{"snore": "# in Python", "sleep_in_python": "# called from here"}},
		{"sleep_in_c", false, map[string]string{"sleep_in_c": "# in C"}},
		{"hang_in_c", true, map[string]string{"hang_in_c": "# for ever"}},
		{"spin", true, map[string]string{"spin": ""}},
	} {
		t.Run(row.command, func(t *testing.T) {
			s := s.in(t)
			s.full(2)
			dir := t.TempDir()
			a := s.execute(row.command, fmt.Sprintf(`{"dir":%q}`, dir), within(2500))
			pid := s.arrived(dir, "asleep") // else it was not the command that took the time
			a.wantProblem(t, http.StatusGatewayTimeout, "execution_timeout", true)
			if row.killed {
				a.wantSignal(t, syscall.SIGKILL)
				defer s.gone(int64(pid))
			}
			a.wantStep(t, map[bool]client.CancelStep{false: client.CancelStepCancelled, true: client.CancelStepKilled}[row.killed])
			if got := a.ranOn(t).PID; got != int64(pid) {
				t.Errorf("answered for worker %d, ran on %d", got, pid)
			}
			if a.Problem.Stack == nil {
				t.Fatal("no stack")
			}
			for function, mark := range row.at {
				place := "in " + function
				if mark != "" {
					place = fmt.Sprintf("line %d in %s", lineOf(t, late, mark), function)
				}
				wantPart(t, "stack", strings.ReplaceAll(*a.Problem.Stack, ", in ", " in "), place) // tracebacks have the comma
			}
			s.whole()
		})
	}
}

// TestTheNextCallNeverGetsTheLateAnswer has commands return just about when their time is up, so that answer and kill
// cross in every way. Each call gets its own answer or none.
func TestTheNextCallNeverGetsTheLateAnswer(t *testing.T) {
	s := serve(t, late)
	s.full(2)
	var calls sync.WaitGroup
	outcomes := make([]map[string]int, 2)
	for c := range outcomes {
		outcomes[c] = map[string]int{}
		calls.Go(func() {
			for round := range 15 {
				value := 1000*(c+1) + 10*round
				ms := 40 + 5*(round%5)
				a := s.execute("drowse", fmt.Sprintf(`{"value":%d,"seconds":%f}`, value, float64(ms-round%3)/1000), within(float64(ms)))
				switch a.Problem.Code {
				case "":
					a.wantResult(t, strconv.Itoa(value))
				case "execution_timeout":
					a.wantProblem(t, http.StatusGatewayTimeout, "execution_timeout", true)
				default: // its time went in the wait for a worker
					a.wantProblem(t, http.StatusServiceUnavailable, "checkout_timeout", false)
				}
				outcomes[c][a.Problem.Code]++
				for next := 1; next <= 3; next++ {
					a := s.execute("drowse", fmt.Sprintf(`{"value":%d,"seconds":0}`, value+next), patiently)
					a.wantResult(t, strconv.Itoa(value+next))
				}
			}
		})
	}
	calls.Wait()
	t.Logf("outcomes: %v", outcomes)
	s.whole()

	a := s.execute("drowse", `{"value":1,"seconds":600}`, within(1))
	if a.status != http.StatusGatewayTimeout && a.status != http.StatusServiceUnavailable {
		t.Errorf("a call with a millisecond got %d %s", a.status, a.Result)
	}
	s.whole()
	if log := s.log.lines(func(l logLine) bool { return strings.Contains(fmt.Sprint(l["msg"]), "panic") }); len(log) > 0 {
		t.Errorf("panics: %v", log)
	}
}
