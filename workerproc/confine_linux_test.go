package workerproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// procFile returns a file below /proc/self of a fake.
func procFile(t *testing.T, w *Worker, name string) string {
	t.Helper()
	var text string
	if err := json.Unmarshal([]byte(mustCall(t, w, "read", fmt.Sprintf(`{"name":%q}`, name))), &text); err != nil {
		t.Fatal(err)
	}
	return text
}

func wantLine(t *testing.T, text, pattern string) {
	t.Helper()
	if !regexp.MustCompile(`(?m)` + pattern).MatchString(text) {
		t.Errorf("no line is %s in:\n%s", pattern, text)
	}
}

func TestACommandGetsItsLimitsFromOutside(t *testing.T) {
	cfg := fakeConfig(t, "good")
	cfg.Limits = Limits{Memory: 1 << 50, CPU: 1000 * time.Second, Files: 50, Processes: 5000}
	w := spawn(t, cfg)
	limits := procFile(t, w, "limits")
	for _, line := range []string{`^Max data size +1125899906842624 +1125899906842624 `, `^Max cpu time +1000 +1001 `, `^Max open files +50 +50 `, `^Max processes +5000 +5000 `} {
		wantLine(t, limits, line)
	}
	if strings.Contains(procFile(t, w, "environ"), "CHARMER_WORKER_LIMITS") {
		t.Error("it is told limits that it has already")
	}
}

func TestACommandThatCannotBeLimitedIsNotStarted(t *testing.T) {
	cfg := fakeConfig(t, "good")
	s := newSpawner(t, cfg)
	s.cfg.Limits.Files = 1 << 31 // no kernel has so many
	w, err := s.Spawn(t.Context(), 1, 1, nil)
	var failed *StartError
	if w != nil || !errors.As(err, &failed) || failed.Stage != "spawn" || !strings.Contains(failed.Detail, "RLIMIT_NOFILE of process") {
		t.Errorf("%v and %v, want a *StartError", w, err)
	}
}

// allowedCPU is a processor that this process may run on.
func allowedCPU(t *testing.T) int {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for cpu := range 1024 {
		if set.IsSet(cpu) {
			return cpu
		}
	}
	panic("it runs on none")
}

// threads returns a file of each thread of this process.
func threads(t *testing.T, name string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("/proc/self/task/*/" + name)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil { // else it has ended
			texts[path] = string(text)
		}
	}
	return texts
}

func TestWorkersAreConfinedFromTheirStartAndTheServiceIsNot(t *testing.T) {
	cpu := allowedCPU(t)
	cfg := fakeConfig(t, "good")
	cfg.Confinement = Confinement{NoNewPrivs: true, Nice: 7, CPUs: []int{cpu}}
	before := threads(t, "status")[fmt.Sprintf("/proc/self/task/%d/status", os.Getpid())]
	if strings.Contains(before, "NoNewPrivs:\t1") {
		t.Skip("this process has no_new_privs itself")
	}
	s := newSpawner(t, cfg)
	var wg sync.WaitGroup
	workers := make([]*Worker, 4)
	for i := range workers {
		wg.Go(func() { workers[i], _ = s.Spawn(t.Context(), 1, uint64(i+1), nil) })
	}
	wg.Wait()
	for _, w := range workers {
		if w == nil {
			t.Fatal("a worker did not start")
		}
		status := procFile(t, w, "status")
		wantLine(t, status, `^NoNewPrivs:\t1$`)
		wantLine(t, status, fmt.Sprintf(`^Cpus_allowed_list:\t%d$`, cpu))
		wantLine(t, procFile(t, w, "stat"), `\) \S+( \S+){15} 7 `)
		w.Stop(patience)
	}
	eventually(t, "no thread of the service is confined", func() bool {
		for _, status := range threads(t, "status") {
			if !strings.Contains(status, "NoNewPrivs:\t0") || !strings.Contains(status, regexp.MustCompile(`(?m)^Cpus_allowed_list:.*`).FindString(before)) {
				return false
			}
		}
		for _, stat := range threads(t, "stat") {
			if regexp.MustCompile(`\) \S+( \S+){15} 7 `).MatchString(stat) {
				return false
			}
		}
		return true
	})
}

func TestPythonSetsItsLimitsHoweverItWasMade(t *testing.T) {
	eachMethod(t, func(t *testing.T, preload bool) {
		cfg := pythonConfig(t)
		cfg.Preload = preload
		cfg.Limits = Limits{Memory: 1 << 30, CPU: 1000 * time.Second, Files: 50, Processes: 5000}
		cfg.Confinement = Confinement{NoNewPrivs: true, Nice: 7, CPUs: []int{allowedCPU(t)}}
		w := spawn(t, cfg)
		const source = `import resource as r
names = ('RLIMIT_DATA', 'RLIMIT_CPU', 'RLIMIT_NOFILE', 'RLIMIT_NPROC')
status = dict(line.split(':\t') for line in open('/proc/self/status').read().splitlines())
raise ValueError(([r.getrlimit(getattr(r, n)) for n in names], os.nice(0), os.sched_getaffinity(0), status['NoNewPrivs']))`
		want := fmt.Sprintf("ValueError: ([(1073741824, 1073741824), (1000, 1001), (50, 50), (5000, 5000)], 7, {%d}, '1')", allowedCPU(t))
		if _, err := w.Call(context.Background(), call("run", fmt.Sprintf(`{"source":%q}`, source))); err == nil || err.Error() != want {
			t.Errorf("it says %v, want %s", err, want)
		}
		var raised *CommandError
		if _, err := w.Call(context.Background(), call("big", `{"size":2147483648}`)); !errors.As(err, &raised) || raised.Limit != LimitMemory || !strings.Contains(raised.Hint, "1024MiB") {
			t.Errorf("beyond its memory it says %+v, want the limit", err)
		}
		if preload != (w.method == methodFork) {
			t.Errorf("it was made by %s", w.method)
		}
	})
}

func TestWhatTheMachineLacksIsAnError(t *testing.T) {
	for words, c := range map[string]Confinement{
		"not all of them are there": {CPUs: []int{allowedCPU(t), 1023}},
		"processors [1023]":         {CPUs: []int{1023}},
		"no user no-such-user":      {User: "no-such-user"},
	} {
		if s, err := NewSpawner(Config{Command: []string{"true"}, Confinement: c}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v and %v, want an error that says %s", c, s, err, words)
		}
	}
	if os.Geteuid() != 0 {
		if s, err := NewSpawner(Config{Command: []string{"true"}, Confinement: Confinement{User: "0:0"}}); err == nil || !strings.Contains(err.Error(), "needs root") {
			t.Errorf("%v and %v, want an error", s, err)
		}
	}
}

// stranger is a user whom no machine has.
const stranger = 64123

// strangersConfig runs pythonApp as the stranger, with a Python that it can run.
func strangersConfig(t *testing.T) Config {
	t.Helper()
	cfg := pythonConfig(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	for _, cfg.Python = range []string{"python3", "/usr/bin/python3", "/usr/local/bin/python3"} {
		try := exec.Command(cfg.Python, "-c", "")
		if try.SysProcAttr = attr; try.Run() == nil {
			dir, err := os.MkdirTemp("", "stranger-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			app := filepath.Join(dir, "trouble.py")
			if err := errors.Join(os.Rename(cfg.App, app), os.Chmod(dir, 0o755)); err != nil {
				t.Fatal(err)
			}
			cfg.App, cfg.Confinement.User = app, fmt.Sprintf("%d:%d", stranger, stranger)
			return cfg
		}
	}
	t.Skip("no Python that another user can run")
	panic("unreachable")
}

// eachMethod runs a test with workers that are exec'ed and with workers that are forked.
func eachMethod(t *testing.T, test func(t *testing.T, preload bool)) {
	for _, preload := range []bool{false, true} {
		t.Run(map[bool]string{false: methodExec, true: methodFork}[preload], func(t *testing.T) { test(t, preload) })
	}
}

func TestWorkersOfAnotherUserServeAndAreEnded(t *testing.T) { eachMethod(t, testWorkersOfAnotherUser) }

func testWorkersOfAnotherUser(t *testing.T, preload bool) {
	cfg := strangersConfig(t)
	cfg.Preload = preload
	defer syscall.Umask(syscall.Umask(0o077)) // the runtime must be readable all the same
	s := newSpawner(t, cfg)
	w := spawnFrom(t, s, 1)
	const report = `{"source":"import os\nraise ValueError((os.getresuid(), os.getresgid(), os.getgroups(), os.environ['HOME']))"}`
	want := fmt.Sprintf(`ValueError: ((%[1]d, %[1]d, %[1]d), (%[1]d, %[1]d, %[1]d), [%[1]d], '/')`, stranger)
	if _, err := w.Call(context.Background(), call("run", report)); err == nil || err.Error() != want {
		t.Errorf("it says %v, want %s", err, want)
	}
	// The kernel lets only the owner of a pipe open it anew.
	if _, err := w.Call(context.Background(), call("run", `{"source":"for fd in 1, 2, 6: open('/proc/self/fd/%d' % fd, 'r' if fd == 6 else 'w').close()"}`)); err != nil {
		t.Errorf("its pipes: %v", err)
	}
	child, err := strconv.Atoi(mustCall(t, w, "breed", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	if members := groupMembers(t, w.PID()); len(members) < 2 || !slices.Contains(members, strconv.Itoa(child)) {
		t.Errorf("its group is %v, without the child %d", members, child)
	}
	if exit := w.Stop(patience); exit.Code != 0 {
		t.Errorf("exit = %+v", exit)
	}
	awaitGroupGone(t, w.PID())

	if err := os.RemoveAll(s.runtime); err != nil { // as cleaners of /tmp do
		t.Fatal(err)
	}
	s.cfg.Preload = false // a fork needs no files
	spawnFrom(t, s, 2)
}

func TestWorkersOfAnotherUserDieWithTheSpawner(t *testing.T) {
	eachMethod(t, testWorkersOfAnotherUserDie)
}

func testWorkersOfAnotherUserDie(t *testing.T, preload bool) {
	cfg := strangersConfig(t)
	cfg.Preload = preload
	watchLeaks(t)
	s, err := NewSpawner(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := spawnFrom(t, s, 1)
	mark := filepath.Join(filepath.Dir(cfg.App), "mark")
	if err := os.Chmod(filepath.Dir(cfg.App), 0o777); err != nil {
		t.Fatal(err)
	}
	stuck := background(w, call("stick", fmt.Sprintf(`{"mark":%q}`, mark)))
	eventually(t, "it is stuck", func() bool { _, err := os.Stat(mark); return err == nil })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var crash *CrashError
	if err := receive(t, stuck, "the answer"); !errors.As(err, &crash) || crash.Exit.Signal != syscall.SIGKILL {
		t.Errorf("answer %v, want that it was killed", err)
	}
	awaitGroupGone(t, w.PID())
}

func TestARuntimeOfSomebodyElseIsNotUsed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, target := filepath.Join(t.TempDir(), "runtime"), t.TempDir()
	if err := writeSharedRuntime(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, stranger, stranger); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{dir, link} {
		if err := writeSharedRuntime(bad); err == nil || !strings.Contains(err.Error(), "somebody else") {
			t.Errorf("%s: %v, want an error", bad, err)
		}
	}
	if got := contents(t, target); len(got) > 0 {
		t.Errorf("%v was written where a link leads", got)
	}
}
