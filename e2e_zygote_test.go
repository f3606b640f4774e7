package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"charmer/api/client"
)

// onlyForked skips a test of the zygote in the run without one.
func onlyForked(t *testing.T) {
	t.Helper()
	if startMethod != "fork" {
		t.Skip("there is no zygote")
	}
}

// zygote waits until the zygote is in a state, and returns it.
func (s *instance) zygote(state client.ZygoteState) client.Zygote {
	s.t.Helper()
	s.eventually(fmt.Sprintf("the zygote is %s", state), func() bool { return s.health().Zygote.State == state })
	return s.health().Zygote
}

// methods returns how the live workers were started.
func (s *instance) methods() string {
	s.t.Helper()
	var out []string
	for _, w := range s.workers() {
		if w.StartMethod != nil {
			out = append(out, string(*w.StartMethod))
		}
	}
	return strings.Join(out, " ")
}

func TestAZygoteThatDiesOrStopsIsReplacedAndNobodyNotices(t *testing.T) {
	onlyForked(t)
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			s := serveCalls(t)
			s.full(2)
			was := s.zygote(client.ZygoteStateReady)
			s.execute("count", `{}`, inSession("old")).wantResult(t, "1")
			if err := syscall.Kill(int(*was.PID), signal); err != nil {
				t.Fatal(err)
			}
			s.execute("ping", `{}`, patiently).wantResult(t, "0")
			s.execute("count", `{}`, inSession("old"), patiently).wantResult(t, "2") // forked from the one that is gone
			s.execute("count", `{}`, inSession("new"), patiently).wantResult(t, "1") // needs a start
			s.eventually("there is a new zygote", func() bool {
				z := s.health().Zygote
				return z.State == client.ZygoteStateReady && *z.PID != *was.PID && z.Restarts != nil && *z.Restarts == 1
			})
			if z := s.health().Zygote; z.Reason == nil || !strings.Contains(*z.Reason, "SIGKILL") {
				t.Errorf("zygote %+v does not say how the last one ended", z)
			}
			s.execute("count", `{}`, inSession("last"), patiently).wantResult(t, "1")
			if got := s.methods(); !strings.HasSuffix(got, "fork") {
				t.Errorf("workers started by %s, want the last one forked", got)
			}
			for _, id := range []string{"old", "new", "last"} {
				s.endSession(id)
			}
		})
	}
}

func TestAZygoteThatIsStoppedForAMomentIsKept(t *testing.T) {
	onlyForked(t)
	s := serveCalls(t)
	s.full(2)
	was := s.zygote(client.ZygoteStateReady)
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := syscall.Kill(int(*was.PID), signal); err != nil {
			t.Fatal(err)
		}
		if signal == syscall.SIGSTOP {
			s.execute("ping", `{}`, patiently).wantResult(t, "0")
		}
	}
	s.execute("count", `{}`, inSession("new"), patiently).wantResult(t, "1")
	if z := s.health().Zygote; z.State != client.ZygoteStateReady || *z.PID != *was.PID {
		t.Errorf("zygote %+v, want the one with pid %d", z, *was.PID)
	}
	if got := s.methods(); got != "fork fork fork" {
		t.Errorf("workers started by %s, want fork", got)
	}
}

func TestSessionsThatBeginWhileTheZygoteDiesAllBegin(t *testing.T) {
	onlyForked(t)
	s := serveCalls(t, "--max-sessions=200", "--max-queue=1000", "--checkout-timeout=60s")
	s.full(2)
	s.connect(20)
	was := s.zygote(client.ZygoteStateReady)
	var begun atomic.Int64
	var clients sync.WaitGroup
	for n := range 200 {
		clients.Go(func() {
			if begun.Add(1) == 20 {
				if err := syscall.Kill(int(*was.PID), syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
			s.execute("count", `{}`, inSession(fmt.Sprint("s", n)), patiently).wantResult(t, "1")
		})
	}
	clients.Wait()
	s.eventually("there is a new zygote", func() bool {
		z := s.health().Zygote
		return z.State == client.ZygoteStateReady && *z.PID != *was.PID
	})
	if n := s.health().Sessions; n != 200 {
		t.Errorf("%d sessions, want 200", n)
	}
}

// relapsing is an app that is fit to be forked once: after that a thread runs beside.
const relapsing = meeting + `
import os, threading

def relapse():
    threading.Thread(target=threading.Event().wait, name="the-latecomer", daemon=True).start()

os.register_at_fork(after_in_parent=relapse)
`

func TestAZygoteThatGetsAThreadIsForkedNoMore(t *testing.T) {
	onlyForked(t)
	s := serve(t, relapsing, "--workers=1").ready()
	s.full(1)
	s.execute("ping", `{"n":0}`, inSession("new"), patiently).wantResult(t, "0")
	if got := s.methods(); got != "fork exec" {
		t.Errorf("workers started by %s, want fork exec", got)
	}
	if z := s.zygote(client.ZygoteStateRefused); z.Reason == nil || !strings.Contains(*z.Reason, "the-latecomer") {
		t.Errorf("zygote %+v does not name the thread", z)
	}
}

// threaded is an app whose import leaves a thread.
const threaded = meeting + `
import threading
threading.Thread(target=threading.Event().wait, name="the-poller", daemon=True).start()

@command
def threads() -> int:
    return threading.active_count()
`

func TestAnAppWhoseImportLeavesAThreadIsNotForkedUnlessAllowed(t *testing.T) {
	onlyForked(t)
	t.Run("refuse", func(t *testing.T) {
		s := serve(t, threaded, "--start-timeout=4900ms").ready() // less than the wait for threads, which does not count
		s.execute("threads", `{}`).wantResult(t, "2")
		z := s.health()
		if z.StartMethod != "exec" || z.Zygote.State != client.ZygoteStateRefused || z.Zygote.Reason == nil || !strings.Contains(*z.Zygote.Reason, "the-poller") {
			t.Errorf("health %+v, %+v; want exec, and the name of the thread", z, z.Zygote)
		}
		s.log.await(t, s.exited, func(l logLine) bool {
			reason, _ := l["reason"].(string)
			return l["level"] == "WARN" && strings.Contains(reason, "the-poller")
		})
	})
	t.Run("allow", func(t *testing.T) {
		s := serve(t, threaded, "--preload-threads=allow").ready()
		s.execute("threads", `{}`).wantResult(t, "1")
		s.zygote(client.ZygoteStateReady)
	})
}
