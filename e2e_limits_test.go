package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"charmer/api/client"
)

// limitsApp runs into each limit, and tells what it runs with.
const limitsApp = meeting + `
import ctypes, signal, subprocess

@command
def eat(size: int) -> int:
    return len(bytearray(size))

@command
def spin(ignoring: bool = False) -> None:
    if ignoring:
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass

@command
def die(words: str) -> None:
    print(words, file=sys.stderr)
    os.abort()

@command
def open_all() -> None:
    files = []
    while True:
        files.append(open(os.devnull))

@command
def fork_all() -> None:
    children = []
    try:
        while True:
            pid = os.fork()
            if pid == 0:
                while True:
                    signal.pause()
            children.append(pid)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

@command
def read(path: str) -> str:
    with open(path) as f:
        return f.read()

@command
def environment() -> object:
    with open("/proc/self/environ") as f:
        return [dict(os.environ), f.read()]

@command
def sleep_outside() -> int:
    return subprocess.Popen(["sleep", "600"]).pid

@command
def stick(dir: str) -> None:
    """Be stuck in C with the GIL held."""
    come(dir, "stuck")
    ctypes.PyDLL(None).sleep(600)
`

// text is the string that a call has returned.
func (a answer) text(t *testing.T) string {
	t.Helper()
	var text string
	if err := json.Unmarshal([]byte(a.Result), &text); err != nil {
		t.Fatalf("%d %s %+v: %v", a.status, a.Result, a.Problem, err)
	}
	return text
}

func wantMatch(t *testing.T, text, pattern string) {
	t.Helper()
	if !regexp.MustCompile(`(?m)` + pattern).MatchString(text) {
		t.Errorf("there is no %s in:\n%s", pattern, text)
	}
}

func TestLimitOfMemory(t *testing.T) {
	s := serve(t, limitsApp, "--limit-memory=256MiB", "--workers=1").ready()
	worker := s.execute("ping", `{"n":1}`).Worker
	a := s.execute("eat", `{"size":536870912}`)
	a.wantProblem(t, http.StatusUnprocessableEntity, "command_failed", true)
	if e := a.Problem.Exception; e == nil || e.Type != "MemoryError" || e.Limit == nil || *e.Limit != "memory" {
		t.Errorf("exception %+v, want a MemoryError with the limit", e)
	}
	wantMatch(t, a.Problem.Detail, `limit of memory \(256MiB\)`)
	a = s.execute("eat", `{"size":1048576}`)
	a.wantResult(t, "1048576")
	if a.Worker != worker {
		t.Errorf("worker %+v answers, not %+v, which was healthy", a.Worker, worker)
	}
	for words, hinted := range map[string]bool{"terminate called: std::bad_alloc": true, "assertion is not true": false} {
		a = s.execute("die", fmt.Sprintf(`{"words":%q}`, words), patiently)
		a.wantProblem(t, http.StatusBadGateway, "worker_crashed", true)
		if e := a.Problem.Exit; e == nil || (e.Limit != nil) != hinted || strings.Contains(a.Problem.Detail, "256MiB") != hinted {
			t.Errorf("%s: exit %+v, detail %s, want a hint: %v", words, e, a.Problem.Detail, hinted)
		}
	}
}

func TestLimitOfMemoryThatTheAppExceedsAtItsStart(t *testing.T) {
	app := appFile(t, "from charmer import command\nall_of_it = bytearray(1 << 30)\n")
	args := []string{"doctor", "--limit-memory=256MiB", "--start-timeout=5m", app}
	_, stderr, code := charmer(t, nil, args...)
	wantCode(t, args, stderr, code, exitApp, "MemoryError", "limit of memory (256MiB)")
}

func TestLimitOfProcessorTime(t *testing.T) {
	s := serve(t, limitsApp, "--limit-cpu=1s", "--execute-timeout=5m", "--workers=1").ready()
	for args, signal := range map[string]string{`{}`: "SIGXCPU", `{"ignoring":true}`: "SIGKILL"} {
		a := s.execute("spin", args, patiently)
		a.wantProblem(t, http.StatusBadGateway, "worker_crashed", true)
		wantMatch(t, a.Problem.Detail, `killed by signal \d+ \(`+signal+`\); it had used up its CPU limit of 1s$`)
		if e := a.Problem.Exit; e == nil || e.Limit == nil || *e.Limit != "cpu" {
			t.Errorf("exit %+v, want the limit", e)
		}
	}
	s.execute("ping", `{"n":1}`, patiently).wantResult(t, "1")
}

func TestLimitOfFiles(t *testing.T) {
	s := serve(t, limitsApp, "--limit-files=40", "--workers=1").ready()
	a := s.execute("open_all", `{}`)
	a.wantProblem(t, http.StatusUnprocessableEntity, "command_failed", true)
	if e := a.Problem.Exception; e == nil || e.Type != "OSError" || e.Limit == nil || *e.Limit != "files" {
		t.Errorf("exception %+v, want an OSError with the limit", e)
	}
	s.execute("ping", `{"n":1}`).wantResult(t, "1")
}

// strangerFlags have workers run as a user that nobody else has, in a Python that this user can run.
func strangerFlags(t *testing.T, uid uint32) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, python := range []string{"python3", "/usr/bin/python3", "/usr/local/bin/python3"} {
		try := exec.Command(python, "-c", "")
		try.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if try.Run() == nil {
			return []string{"--python=" + python, fmt.Sprintf("--worker-user=%d:%d", uid, uid)}
		}
	}
	t.Skip("no Python that another user can run")
	panic("unreachable")
}

// openDir is a directory for everybody.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stranger-")
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// openApp is an app that everybody can read.
func openApp(t *testing.T) string {
	t.Helper()
	path := filepath.Join(openDir(t), "app.py")
	if err := os.WriteFile(path, []byte(limitsApp), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLimitOfProcesses(t *testing.T) {
	s := serve(t, openApp(t), append(strangerFlags(t, 64131), "--limit-processes=10", "--workers=1")...).ready()
	for range 2 {
		a := s.execute("fork_all", `{}`, patiently)
		a.wantProblem(t, http.StatusUnprocessableEntity, "command_failed", true)
		if e := a.Problem.Exception; e == nil || e.Type != "BlockingIOError" || e.Limit == nil || *e.Limit != "processes" {
			t.Errorf("exception %+v, want a BlockingIOError with the limit", e)
		}
	}
}

func TestWorkersOfAnotherUser(t *testing.T) {
	const uid = 64132
	s := serve(t, openApp(t), strangerFlags(t, uid)...).ready()
	status := s.execute("read", `{"path":"/proc/self/status"}`).text(t)
	for _, name := range []string{"Uid", "Gid"} {
		wantMatch(t, status, fmt.Sprintf(`^%s:\t%[2]d\t%[2]d\t%[2]d\t%[2]d$`, name, uid))
	}
	wantMatch(t, status, fmt.Sprintf(`^Groups:\t%d *$`, uid))
	wantMatch(t, s.execute("environment", `{}`).Result, `"HOME": ?"/"`)
	s.replace(s.execute("sleep_outside", `{}`).Worker)
	s.execute("ping", `{"n":1}`, patiently).wantResult(t, "1")
}

func TestWorkersOfAnotherUserDieWithTheService(t *testing.T) {
	flags, dir := strangerFlags(t, 64133), openDir(t)
	t.Setenv("TMPDIR", dir) // where the killed service leaves the runtime
	s := launch(t, openApp(t), append(flags, "--workers=1")...).ready()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = s.try(client.ExecuteRequest{Command: "stick", Args: fmt.Appendf(nil, `{"dir":%q}`, dir)})
	}) // it is cut off
	s.arrived(dir, "stuck")
	s.kill(s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.exited
	wg.Wait()
	s.noneLeft()
}

func TestConfinementIsThatOfWorkersAlone(t *testing.T) {
	s := serve(t, limitsApp, "--no-new-privs", "--nice=5", "--cpu-affinity=0", "--workers=2").ready()
	s.full(2)
	status := s.execute("read", `{"path":"/proc/self/status"}`).text(t)
	wantMatch(t, status, `^NoNewPrivs:\t1$`)
	wantMatch(t, status, `^Cpus_allowed_list:\t0$`)
	const nice = `\) \S+( \S+){15} 5 `
	wantMatch(t, s.execute("read", `{"path":"/proc/self/stat"}`).text(t), nice)
	own := func(name string) string {
		var all strings.Builder
		paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/%s", s.cmd.Process.Pid, name))
		if err != nil || len(paths) == 0 {
			t.Fatal(paths, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
			all.Write(text)
		}
		return all.String()
	}
	s.eventually("the threads that started workers have ended", func() bool {
		return !strings.Contains(own("status"), "NoNewPrivs:\t1") && !regexp.MustCompile(nice).MatchString(own("stat"))
	})
}

func TestOnlyAllowedVariablesReachWorkers(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hush-aws")
	t.Setenv("CHARMER_SECRET", "hush-charmer")
	t.Setenv("CHARMER_MAX_QUEUE", "17")
	t.Setenv("MODEL_PATH", "/models")
	t.Setenv("LC_TIME", "C")
	for flag, passed := range map[string]string{"--pass-env=MODEL_*,CHARMED_BY": "", "--workers=1": "hush-aws"} {
		s := serve(t, limitsApp, flag).ready()
		a := s.execute("environment", `{}`)
		var both []any
		if err := json.Unmarshal([]byte(a.Result), &both); err != nil {
			t.Fatal(err)
		}
		for _, both := range both {
			got := fmt.Sprint(both)
			for _, word := range []string{"/models", "LC_TIME", "PATH", "CHARMER_WORKER_MAX_FRAME", passed} {
				if !strings.Contains(got, word) {
					t.Errorf("%s: no %s in %s", flag, word, got)
				}
			}
			if strings.Contains(got, "hush-charmer") || strings.Contains(got, "MAX_QUEUE") || passed == "" && strings.Contains(got, "hush-aws") {
				t.Errorf("%s: secrets in %s", flag, got)
			}
		}
	}
}

func TestDoctorTellsLimitsAndWhatTheMachineLacks(t *testing.T) {
	args := []string{"doctor", "--start-timeout=5m", "--limit-memory=512MiB", "--limit-cpu=1h", "--limit-files=100", "--no-new-privs", "--nice=3", "--cpu-affinity=0", "--pass-env=A,B_*"}
	stdout, stderr, code := charmer(t, nil, args...)
	wantCode(t, args, stderr, code, exitOK)
	wantMatch(t, stdout, `^ok  limits of a worker: memory 512MiB, CPU 1h0m0s, files 100$`)
	wantMatch(t, stdout, `^ok  workers run with: no new privileges, nice 3, processors \[0\], environment A B_\*$`)
	for _, tt := range []struct{ flag, words string }{
		{"--cpu-affinity=0,1023", "processors [0 1023]: not all of them are there"},
		{"--worker-user=no-such-user", "no user no-such-user"},
		{"--limit-files=1073741824", "is above the hard RLIMIT_NOFILE of charmer itself"},
	} {
		for _, command := range []string{"doctor", "serve"} {
			args := []string{command, "--listen=127.0.0.1:0", tt.flag}
			_, stderr, code := charmer(t, nil, args...)
			wantCode(t, args, stderr, code, exitFailed, tt.words)
		}
	}
	args = []string{"config", "--limit-memory=1KiB", "--limit-cpu=1500ms", "--limit-files=3", "--limit-processes=-1", "--nice=20", "--cpu-affinity=a", "--pass-env=CHARMER_X,=,,A*B"}
	_, stderr, code = charmer(t, nil, args...)
	wantCode(t, args, stderr, code, exitUsage, "--limit-memory: 1KiB", "--limit-cpu: 1.5s", "--limit-files: 3", "--limit-processes: -1", "--nice: 20",
		`--cpu-affinity: "a"`, "--pass-env: CHARMER_X: ", `--pass-env: "="`, `--pass-env: ""`, `--pass-env: "A*B"`)
	if os.Geteuid() != 0 {
		args = []string{"doctor", "--worker-user=0:0"}
		_, stderr, code = charmer(t, nil, args...)
		wantCode(t, args, stderr, code, exitFailed, "needs root")
	}
}
