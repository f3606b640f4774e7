package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"charmer/api/client"
)

// What the tests of faults share. They come in files of their own: sessions, crash, guest, protocol, start, size, output.

// meeting is Python with which a command says where it is, and waits for others or for the test. Waits have no end of
// their own: the call's timeout is their bound.
const meeting = `
import os, sys, time
from charmer import command

def come(dir, name):
    path = os.path.join(dir, name)
    with open(path + ".new", "w") as f:
        f.write(str(os.getpid()))
    os.rename(path + ".new", path)

def wait_for(dir, name):
    while not os.path.exists(os.path.join(dir, name)):
        time.sleep(0.002)

@command
def stay(dir: str, name: str) -> str:
    """Run until the test says go, and leave lines on standard error in both ways there are."""
    print(f"{name} stays", file=sys.stderr)
    os.write(2, f"{name} stays, says descriptor 2\n".encode())
    come(dir, name)
    wait_for(dir, "go")
    return name

@command
def ping(n: int) -> int:
    print(f"ping {n}")
    return n
`

// minutes is a timeout in milliseconds that no test reaches unless it fails.
const minutes = 2 * 60 * 1000

// patiently lets a call wait and run for minutes.
func patiently(r *client.ExecuteRequest) {
	r.TimeoutMs, r.CheckoutTimeoutMs = new(float64(minutes)), new(float64(minutes))
}

// in is the instance for use in a subtest.
func (s *instance) in(t *testing.T) *instance {
	within := *s
	within.t = t
	return &within
}

// inBackground makes a call that is under way when it returns. The answer is there after Wait.
func (s *instance) inBackground(wg *sync.WaitGroup, command, args string, options ...func(*client.ExecuteRequest)) *answer {
	a := new(answer)
	wg.Go(func() { *a = s.execute(command, args, append(options, patiently)...) })
	return a
}

// arrived waits until the command that calls itself name has come into dir, and returns its process id.
func (s *instance) arrived(dir, name string) int {
	s.t.Helper()
	path := filepath.Join(dir, name)
	s.eventually(name+" is there", func() bool { _, err := os.Stat(path); return err == nil })
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

// kill sends a signal to a process, which must be there.
func (s *instance) kill(pid int, signal syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		s.t.Fatalf("kill %d: %v", pid, err)
	}
}

// stopProcess stops a process, and waits until it stands still.
func (s *instance) stopProcess(pid int64) {
	s.t.Helper()
	s.kill(int(pid), syscall.SIGSTOP)
	s.eventually("the process stands still", func() bool { return inState(int(pid), "T") })
}

// inState reports whether the kernel says this letter of a process: S if it sleeps, T if it was stopped.
func inState(pid int, letter string) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") "+letter+" ")
}

// whole waits until the pool has two workers up, and fails the test unless each of them answers for itself. It leases both
// for that; without --lease-reuse it returns when they have been replaced.
func (s *instance) whole() {
	s.t.Helper()
	s.full(2)
	first, second := s.lease(waiting(minutes)), s.lease(waiting(minutes))
	if first.Worker.PID == second.Worker.PID {
		s.t.Errorf("worker %d is leased twice", first.Worker.PID)
	}
	for i, lease := range []client.CheckoutReply{first, second} {
		a := s.execute("ping", fmt.Sprintf(`{"n":%d}`, lease.Worker.ID*10+int64(i)), onLease(lease.LeaseID))
		a.wantResult(s.t, strconv.FormatInt(lease.Worker.ID*10+int64(i), 10))
		if a.Worker.PID != lease.Worker.PID {
			s.t.Errorf("worker %d answers on the lease of %d", a.Worker.PID, lease.Worker.PID)
		}
		s.release(lease)
	}
	if !slices.Contains(s.cmd.Args, "--lease-reuse") {
		s.gone(first.Worker.PID)
		s.gone(second.Worker.PID)
		s.full(2)
	}
}

// pidsOfWorkers are the processes that the service has as workers.
func (s *instance) pidsOfWorkers() []int64 {
	s.t.Helper()
	var pids []int64
	for _, w := range s.workers() {
		pids = append(pids, w.PID)
	}
	return pids
}

// gone waits until a worker is not known any more, and nobody of its process group is left.
func (s *instance) gone(pid int64) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("worker %d is gone", pid), func() bool { return !slices.Contains(s.pidsOfWorkers(), pid) })
	s.eventually(fmt.Sprintf("the group of worker %d is gone", pid), func() bool {
		for _, other := range s.pids() {
			if group, err := syscall.Getpgid(other); err == nil && int64(group) == pid {
				return false
			}
		}
		return true
	})
}

// replace has a worker of the pool recycled, and waits until it is gone and the pool is full again.
func (s *instance) replace(w client.WorkerRef) {
	s.t.Helper()
	r, err := s.RecycleWorkerWithResponse(s.t.Context(), w.ID)
	if err != nil || r.StatusCode() != http.StatusAccepted {
		s.t.Fatalf("recycle: %v %s", err, r.Body)
	}
	s.gone(w.PID)
	s.full(2)
}

// ranOn is the worker that a call ran on, whatever became of the call.
func (a answer) ranOn(t *testing.T) client.WorkerRef {
	t.Helper()
	if a.Problem.Worker != nil {
		return *a.Problem.Worker
	}
	if a.Worker.PID == 0 {
		t.Fatalf("no worker is named: %d %+v", a.status, a.Problem)
	}
	return a.Worker
}

// wantStep fails the test unless the answer says that the call was ended by this step. Only a kill ends the worker.
func (a answer) wantStep(t *testing.T, step client.CancelStep) {
	t.Helper()
	if got := a.Problem.Step; got == nil || *got != step || (a.Problem.Exit != nil) != (step == client.CancelStepKilled) {
		t.Errorf("step is %s, exit %s, want step %s", asJSON(got), asJSON(a.Problem.Exit), step)
	}
}

// wantSignal fails the test unless the answer says that this signal killed the worker.
func (a answer) wantSignal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if exit := a.Problem.Exit; exit == nil || exit.Signal == nil || *exit.Signal != int64(signal) || exit.Code != nil {
		t.Errorf("exit is %s, want signal %d", asJSON(exit), signal)
	}
}

// wantExitCode fails the test unless the answer says that the worker ended with this code.
func (a answer) wantExitCode(t *testing.T, code int64) {
	t.Helper()
	if exit := a.Problem.Exit; exit == nil || exit.Code == nil || *exit.Code != code || exit.Signal != nil {
		t.Errorf("exit is %s, want code %d", asJSON(exit), code)
	}
}

// wantLine fails the test unless one of the lines contains part.
func wantLine(t *testing.T, what string, lines []string, part string) {
	t.Helper()
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, part) }) {
		t.Errorf("%s: %q is not in %q", what, part, lines)
	}
}

// wantPart fails the test unless text contains part.
func wantPart(t *testing.T, what, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%s: %q is not in %q", what, part, text)
	}
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// lineOf returns the number of the line of a program that contains part.
func lineOf(t *testing.T, program, part string) int {
	t.Helper()
	number := 0
	for line := range strings.Lines(program) {
		if number++; strings.Contains(line, part) {
			return number
		}
	}
	t.Fatalf("%q is not in the program", part)
	return 0
}
