package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charmer/api/client"
)

// repaired is what a broken app is overwritten with.
const repaired = meeting + `
@command
def works() -> str:
    return "works"
`

// deadAtOnce is an app that comes up, and is gone before it can have been called.
const deadAtOnce = `
import os, sys, threading, time
from charmer import command, on_start

@command
def works() -> None:
    time.sleep(600)

def starting(main):
    frame = sys._current_frames()[main]
    while frame and frame.f_code.co_name != "_start":
        frame = frame.f_back
    return frame is not None

def end(main):
    while starting(main):
        pass
    print("gone at once", file=sys.stderr)
    os._exit(5)

@on_start
def arm() -> None:
    threading.Thread(target=end, args=(threading.get_ident(),), daemon=True).start()
`

// broken are apps that do not start, and what is said about each: in the reason of /health, and in its evidence, which is
// the traceback or else the last lines of standard error.
var brokenApps = []struct {
	name, source, reason, evidence string
	flags                          []string
}{
	{"a syntax error", "x = 1\ndef f(:\n", "SyntaxError: invalid syntax", "def f(:", nil},
	{"an exception at import", "def load():\n    return 1 / 0\nload()\n", "ZeroDivisionError: division by zero", "line 2, in load", nil},
	{"a module that is missing", "import math\nimport no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'", "line 2, in <module>", nil},
	{"sys.exit at import", "import sys\nsys.exit(3)\n", "SystemExit: 3", "line 2, in <module>", nil},
	{"os._exit at import", "import os, sys\nprint('leaving', file=sys.stderr)\nos._exit(3)\n", "exited with code 3", "leaving", nil},
	{"a segfault at import", "import ctypes\nctypes.string_at(0)\n", "killed by signal 11 (SIGSEGV)", "Segmentation fault", nil},
	{"a hang at import", "import time\n\ntime.sleep(600)\n", "not ready after ", "line 3 in <module>", []string{"--start-timeout=2s"}},
	{"no command", "x = 1\ny = 2\n", "registers no command", "from charmer import command", nil},
	{"a hook that raises", "from charmer import command, on_start\n@command\ndef f(): pass\n@on_start\ndef load(): raise OSError('no model')\n",
		"on_start load: OSError: no model", "raise OSError('no model')", nil},
	{"a death right after READY", deadAtOnce, "died before its first answer: exited with code 5", "gone at once", nil},
}

func TestAnAppThatCannotStartIsReportedAndRetriedWithGrowingDelaysUntilItIsRepaired(t *testing.T) {
	for _, app := range brokenApps {
		t.Run(app.name, func(t *testing.T) {
			t.Parallel() // they wait, most of the time
			path := appFile(t, app.source)
			s := serve(t, path, app.flags...)
			s.eventually("the state is failed", func() bool { return s.health().State == client.HealthStateFailed })
			s.delaysGrow()
			s.eventually("/health says why: "+app.reason, func() bool {
				h := s.health() // a worker may be up for a moment
				return h.State == client.HealthStateFailed && h.Restarts != nil && h.Restarts.ConsecutiveFailures >= 4 &&
					value(h.Restarts.LastError) != "" && strings.Contains(value(h.Reason), app.reason)
			})
			s.eventually("/health shows the evidence: "+app.evidence, func() bool { // once the app was reached, at least
				h := s.health()
				return h.Restarts != nil && strings.Contains(value(h.Restarts.Traceback)+strings.Join(h.Restarts.StderrTail, "\n"), app.evidence)
			})
			s.log.await(t, s.exited, func(l logLine) bool {
				return l["msg"] == "worker failed to start" && strings.Contains(fmt.Sprint(l["traceback"], l["output"]), app.evidence)
			})
			s.refused()

			write := filepath.Join(filepath.Dir(path), "repaired")
			if err := os.WriteFile(write, []byte(repaired), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(write, path); err != nil {
				t.Fatal(err)
			}
			s.full(2)
			s.whole()
			s.execute("works", `{}`).wantResult(t, `"works"`)
			s.ready()
			s.eventually("the failures are forgotten", func() bool {
				h := s.health()
				return h.State == client.HealthStateReady && h.Restarts == nil && h.Reason == nil
			})
		})
	}
}

// refused fails the test unless a service whose workers do not start says so to who asks whether it is ready, and to who
// calls. A worker may be on its way up just then; the call waits for the end of that, and may even be given to it.
func (s *instance) refused() {
	s.t.Helper()
	s.eventually("the service is not ready for its workers do not start", func() bool {
		r, err := s.GetReadyWithResponse(s.t.Context(), nil)
		if err != nil {
			s.t.Fatal(err)
		}
		p := r.ApplicationProblemJSON503
		return p != nil && p.Code == "crash_looping" && p.Retryable && r.HTTPResponse.Header.Get("Retry-After") != ""
	})
	s.eventually("a call is refused at once", func() bool {
		a := s.execute("works", `{}`, patiently)
		if a.status == http.StatusBadGateway { // its worker was up for a moment
			return false
		}
		a.wantProblem(s.t, http.StatusServiceUnavailable, "crash_looping", false)
		if !a.Problem.Retryable || a.header.Get("Retry-After") == "" {
			s.t.Errorf("no word of a retry: %+v", a.Problem)
		}
		return a.Problem.WaitedMs == nil
	})
}

// TestWhoCallsAgainAndAgainDoesNotKeepADyingAppStarting has a client that always waits for the next worker, so that none
// dies unused. The delays must hold all the same: two workers at most come up and die in a row.
func TestWhoCallsAgainAndAgainDoesNotKeepADyingAppStarting(t *testing.T) {
	s := serve(t, deadAtOnce)
	s.delaysGrow()
	inARow, refusals := 0, 0
	s.eventually("calls that met a worker are followed by one that is refused, three times", func() bool {
		a := s.execute("works", `{}`, patiently)
		if a.status == http.StatusBadGateway {
			a.wantProblem(t, http.StatusBadGateway, "worker_crashed", true)
			inARow++
			return inARow > 4
		}
		a.wantProblem(t, http.StatusServiceUnavailable, "crash_looping", false)
		if inARow > 0 {
			inARow = 0
			refusals++
		}
		return refusals == 3
	})
	if inARow > 0 {
		t.Errorf("%d calls in a row met a worker that died of it", inARow)
	}
}

// delaysGrow waits until the delay before the next start has grown to half a second, and fails the test unless it took few
// starts until then: as many as there were failures, and not more than two for each delay on the way, and two spares at first.
func (s *instance) delaysGrow() {
	s.t.Helper()
	const first, grown = 120 * time.Millisecond, 500 * time.Millisecond
	failure := func(l logLine) bool { return l["msg"] == "worker failed to start" }
	delay := func(l logLine) time.Duration { return time.Duration(l["retry_in_ms"].(float64)) * time.Millisecond }
	s.log.await(s.t, s.exited, func(l logLine) bool { return failure(l) && delay(l) >= grown })
	lines := s.log.lines(func(l logLine) bool { return failure(l) || (l["msg"] == "worker starting" && l["stage"] == "spawn") })
	starts, failures := 0, 0
	for _, l := range lines {
		if !failure(l) {
			starts++
			continue
		}
		if failures++; l["failures"] != float64(failures) {
			s.t.Errorf("failure %d is counted as %v", failures, l["failures"])
		}
		if failures == 1 && delay(l) > first {
			s.t.Errorf("the first delay is %s, want at most %s", delay(l), first)
		}
		if delay(l) >= grown {
			break
		}
	}
	// 100, 200, 400 and 800 ms, 20 % more or less: four delays.
	if starts > 2*4+2 {
		s.t.Errorf("%d workers were started until the delay was %s", starts, grown)
	}
	counted := s.stats().WorkerStarts
	if counted["failed"]+counted["ok"] < int64(failures) {
		s.t.Errorf("starts: %v, want at least %d", counted, failures)
	}
}

// value is what p points to, or nothing.
func value(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// runProgram runs the program to its end and returns what it wrote, and its exit code.
func runProgram(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func TestServeOfAFileThatIsNotThereEndsAtOnce(t *testing.T) {
	dir := t.TempDir()
	for _, app := range []string{filepath.Join(dir, "missing.py"), dir + "/"} {
		output, code := runProgram(t, "serve", "--listen=127.0.0.1:0", app)
		if code != exitApp {
			t.Errorf("serve %s: exit code %d, want %d", app, code, exitApp)
		}
		wantPart(t, "output", output, strings.TrimSuffix(app, "/"))
	}
}

func TestDoctorSaysWhyAnAppDoesNotStartAndWhatToDo(t *testing.T) {
	for _, row := range []struct {
		name, source, advice string
		evidence             []string
		flags                []string
	}{
		{"an exception", "def load():\n    return 1 / 0\nload()\n", "", []string{"ZeroDivisionError: division by zero", "line 2, in load"}, nil},
		{"a syntax error", "x = 1\ndef f(:\n", "", []string{"SyntaxError", "def f(:"}, nil},
		{"a module that is missing", "import math\nimport no_such_module\n", "Install what is missing", []string{"No module named 'no_such_module'"}, nil},
		{"a hang", "import time\nprint('loading the model')\ntime.sleep(600)\n", "raise --start-timeout",
			[]string{"not ready after"}, []string{"--start-timeout=1s"}},
		{"a segfault", "import ctypes\nctypes.string_at(0)\n", "", []string{"killed by signal 11 (SIGSEGV)", "Segmentation fault"}, nil},
		{"no command", "x = 1\ny = 2\n", "from charmer import command", []string{"registers no command"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := appFile(t, row.source)
			output, code := runProgram(t, append(append([]string{"doctor"}, row.flags...), path)...)
			if code != exitApp {
				t.Errorf("exit code %d, want %d", code, exitApp)
			}
			for _, part := range append(row.evidence, path, row.advice) {
				wantPart(t, "output", output, part)
			}
		})
	}
	output, code := runProgram(t, "doctor", appFile(t, repaired))
	if code != exitOK {
		t.Errorf("exit code %d of doctor for a good app, want 0", code)
	}
	wantPart(t, "output", output, "works")
}
