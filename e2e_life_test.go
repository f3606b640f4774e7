package main

import (
	"fmt"
	"sync"
	"syscall"
	"testing"

	"charmer/api/client"
)

// fertile is an app whose command leaves behind what a guest can leave: a child, a child in a session of its own, a daemon
// forked twice, all deaf to SIGTERM, and a thread that the interpreter would wait for at its end.
const fertile = meeting + `
import signal, threading

def live_on(dir, name):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    come(dir, name)
    while True:
        signal.pause()

@command
def breed(dir: str) -> int:
    if os.fork() == 0:
        live_on(dir, "child")
    if os.fork() == 0:
        os.setsid()
        live_on(dir, "leader")
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            live_on(dir, "daemon")
        os._exit(0)
    os.waitpid(middle, 0)
    threading.Thread(target=threading.Event().wait).start()
    for name in ("child", "leader", "daemon"):
        wait_for(dir, name)
    return 3
`

// breed has a worker leave processes behind, and returns them by name, and the worker.
func (s *instance) breed(dir string, options ...func(*client.ExecuteRequest)) (pids map[string]int, worker client.WorkerRef) {
	s.t.Helper()
	a := s.execute("breed", fmt.Sprintf(`{"dir":%q}`, dir), append(options, patiently)...)
	a.wantResult(s.t, "3")
	pids = map[string]int{}
	for _, name := range []string{"child", "leader", "daemon"} {
		pids[name] = s.arrived(dir, name)
		s.kill(pids[name], 0)
	}
	return pids, a.Worker
}

func TestWhatAGuestLeavesBehindIsGoneWithItsWorker(t *testing.T) {
	dir := t.TempDir()
	stay := fmt.Sprintf(`{"dir":%q,"name":"stays"}`, dir)
	ways := map[string]struct {
		session string
		end     func(*instance, client.WorkerRef)
	}{
		"recycled": {end: func(s *instance, w client.WorkerRef) { s.replace(w) }},
		"killed":   {end: func(s *instance, w client.WorkerRef) { s.kill(int(w.PID), syscall.SIGKILL) }},
		"session":  {session: "u1", end: func(s *instance, _ client.WorkerRef) { s.endSession("u1") }},
		"timeout": {session: "u1", end: func(s *instance, _ client.WorkerRef) {
			s.execute("stay", stay, inSession("u1"), within(500)).wantProblem(s.t, 504, "execution_timeout", true)
		}},
		"shutdown": {end: func(s *instance, _ client.WorkerRef) { s.stop() }},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			s := serve(t, fertile, "--drain-timeout=60s", "--cancel-grace=0s").ready() // so that a timeout kills
			s.full(2)
			var options []func(*client.ExecuteRequest)
			if way.session != "" {
				options = append(options, inSession(way.session))
			}
			pids, worker := s.breed(t.TempDir(), options...)
			way.end(s, worker)
			for name, pid := range pids {
				s.eventually("the "+name+" is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
			}
		})
	}
}

// TestABusyZygoteEndsWhatIsLeftBehindToo asks for forks all the time.
func TestABusyZygoteEndsWhatIsLeftBehindToo(t *testing.T) {
	s := serve(t, fertile, "--workers=4").ready()
	s.full(4)
	pids, worker := s.breed(t.TempDir())
	over := make(chan struct{})
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for !closed(over) {
				s.execute("ping", `{"n":1}`, alone, patiently).wantResult(t, "1")
			}
		})
	}
	defer clients.Wait()
	defer close(over)
	s.kill(int(worker.PID), syscall.SIGKILL)
	for name, pid := range pids {
		s.eventually("the "+name+" is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	}
}

// TestOnlyThoseWhoLeftTheGroupOutliveAServiceThatIsKilled says what docs/operations.md does.
func TestOnlyThoseWhoLeftTheGroupOutliveAServiceThatIsKilled(t *testing.T) {
	s := launch(t, appFile(t, fertile)).ready()
	pids, _ := s.breed(t.TempDir())
	t.Cleanup(func() {
		for _, name := range []string{"leader", "daemon"} {
			_ = syscall.Kill(pids[name], syscall.SIGKILL) // it has gone if the test went wrong
		}
		s.noneLeft()
	})
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	s.eventually("two processes are left", func() bool { return len(s.pids()) == 2 })
	for _, name := range []string{"leader", "daemon"} {
		s.kill(pids[name], 0)
	}
}
