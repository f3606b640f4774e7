package workerproc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// start spawns a worker that must not become one, and returns why not.
func start(t *testing.T, ctx context.Context, cfg Config) *StartError {
	t.Helper()
	s := newSpawner(t, cfg)
	pid := 0
	w, err := s.Spawn(ctx, 1, 1, func(child int, _ string) { pid = child })
	if w != nil {
		t.Errorf("a worker came of it: %v", w.Commands())
		w.Kill()
	}
	var failed *StartError
	if !errors.As(err, &failed) {
		t.Fatalf("error = %#v, want a *StartError", err)
	}
	if want := "start of worker: " + failed.Stage + ": " + failed.Detail; failed.Error() != want {
		t.Errorf("text = %q, want %q", failed, want)
	}
	if strings.Contains(failed.Detail, "\n") || failed.Detail == "" {
		t.Errorf("detail = %q, want one sentence", failed.Detail)
	}
	if pid != 0 {
		if syscall.Kill(pid, 0) != syscall.ESRCH {
			t.Error("the process has not been reaped")
		}
		awaitGroupGone(t, pid)
	}
	return failed
}

func TestStartThatFailsSaysWhy(t *testing.T) {
	killed := Exit{Cause: CauseProtocol, Code: -1, Signal: syscall.SIGKILL, Reason: "was killed by signal 9 (SIGKILL)" + afterBreach}
	ended := func(code int) Exit {
		return Exit{Cause: CauseCrash, Code: code, Reason: "exited with code " + string(rune('0'+code))}
	}
	tests := []struct {
		mode, stage, detail string
		exit                Exit
	}{
		{"exit-at-start", "spawn", "ended before it said HELLO: EOF", Exit{Cause: CauseCrash, Code: 3, Reason: "exited with code 3",
			Output: []string{"stderr: no module", "stderr: called app"}, StderrTail: []string{"no module", "called app"}}},
		{"exit-in-import", "import app", "ended before it said READY: EOF", ended(4)},
		{"kill-in-import", "spawn", "ended before it said READY: EOF", Exit{Cause: CauseCrash, Code: -1, Signal: syscall.SIGKILL, Reason: "was killed by signal 9 (SIGKILL)"}},
		{"short-hello", "spawn", "ended inside a frame: unexpected EOF", Exit{Cause: CauseProtocol, Code: 5, Reason: "exited with code 5" + afterBreach}},
		{"version", "spawn", "speaks protocol 2, not 1", killed},
		{"no-version", "spawn", "speaks protocol 0, not 1", killed},
		{"print-at-start", "spawn", "frame length out of bounds: 1466264675, allowed are 5 to 16785408", killed},
		{"huge-at-start", "spawn", "frame length out of bounds: 4294967295, allowed are 5 to 16785408", killed},
		{"hello-json", "spawn", "body of HELLO: …", killed},
		{"ready-json", "spawn", "body of READY: …", killed},
		{"progress-json", "spawn", "body of PROGRESS: …", killed},
		{"early-result", "spawn", "RESULT with id 1 before READY", killed},
		{"early-ready", "spawn", "READY with id 0 before READY", killed},
		{"early-error", "spawn", "ERROR with id 0 before READY", killed},
		{"early-id", "spawn", "ERROR with id 1 before READY", killed},
		{"hello-twice", "spawn", "HELLO with id 0 before READY", killed},
		{"refuse-json", "spawn", "body of ERROR: …", killed},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			got := start(t, t.Context(), fakeConfig(t, tt.mode))
			if prefix, cut := strings.CutSuffix(tt.detail, "…"); cut && strings.HasPrefix(got.Detail, prefix) {
				tt.detail = got.Detail
			}
			if tt.exit.Output == nil {
				tt.exit.Output, tt.exit.StderrTail = []string{}, []string{}
			}
			want := &StartError{Stage: tt.stage, Detail: tt.detail, Exit: tt.exit}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefusalToStartIsToldWithItsTraceback(t *testing.T) {
	tests := map[string]Exit{
		"refuse": {Cause: CauseCrash, Code: 1, Reason: "exited with code 1"},
		"refuse-stay": {Cause: CauseCrash, Code: -1, Signal: syscall.SIGKILL, Forced: true,
			Reason: "was killed by signal 9 (SIGKILL) by charmer, for it lived on without answering"},
	}
	for mode, exit := range tests {
		t.Run(mode, func(t *testing.T) {
			exit.Output, exit.StderrTail = []string{"stderr: a warning"}, []string{"a warning"}
			want := &StartError{Stage: "on_start warm", Detail: "ValueError: no model", Traceback: "Traceback …", Exit: exit}
			if diff := cmp.Diff(want, start(t, t.Context(), fakeConfig(t, mode))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSilentWorkerIsKilledAtTheStartTimeout(t *testing.T) {
	for mode, stage := range map[string]string{"silent": "spawn", "hello-only": "spawn", "stuck-import": "import app"} {
		t.Run(mode, func(t *testing.T) {
			cfg := fakeConfig(t, mode)
			cfg.StartTimeout = time.Second
			got := start(t, t.Context(), cfg)
			if got.Stage != stage && mode != "stuck-import" || !strings.HasPrefix(got.Detail, "not ready after ") {
				t.Errorf("%+v, want stage %q", got, stage)
			}
			if got.Exit.Cause != CauseKilled || got.Exit.Reason != "was killed by signal 9 (SIGKILL) by charmer" {
				t.Errorf("exit = %+v, want killed by charmer", got.Exit)
			}
		})
	}
}

func TestStartOutOfTimeShowsTheStacks(t *testing.T) {
	cfg := fakeConfig(t, "stuck-stacks")
	cfg.StartTimeout = 2 * time.Second // enough to come to the HELLO that names the signal
	if got := start(t, t.Context(), cfg); got.Traceback != "Thread 1:\n  in hang \uFFFD\n" {
		t.Errorf("%+v, want the stacks in place of a traceback", got)
	}
}

func TestCancelledStartIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := newSpawner(t, fakeConfig(t, "stuck-import"))
	enough := errors.New("enough of it")
	var stages []string
	_, err := s.Spawn(ctx, 1, 1, func(_ int, stage string) {
		stages = append(stages, stage)
		if stage == "import app" {
			cancel(enough)
		}
	})
	var failed *StartError
	if !errors.As(err, &failed) || failed.Stage != "import app" || failed.Detail != "start given up: enough of it" {
		t.Errorf("error = %v, want one that names the stage and the cause", err)
	}
	if diff := cmp.Diff([]string{"spawn", "import app"}, stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
}

func TestStartUnderACancelledContextLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := start(t, ctx, fakeConfig(t, "silent")); got.Detail != "start given up: context canceled" {
		t.Errorf("detail = %q", got.Detail)
	}
}

func TestProgressTellsTheStages(t *testing.T) {
	s := newSpawner(t, fakeConfig(t, "slow"))
	var stages []string
	var pids []int
	w, err := s.Spawn(t.Context(), 1, 1, func(pid int, stage string) {
		pids, stages = append(pids, pid), append(stages, stage)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Stop(patience)
	if diff := cmp.Diff([]string{"spawn", "step 0", "step 1", "step 2"}, stages); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	if slices.Max(pids) != w.PID() || slices.Min(pids) != w.PID() {
		t.Errorf("pids = %v, want %d", pids, w.PID())
	}
}

func TestProcessThatCannotBeStartedIsAStartError(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	format := filepath.Join(t.TempDir(), "format")
	if err := os.WriteFile(format, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"no-such-python3":  "executable file not found",
		"/no/such/python3": "no such file or directory",
		plain:              "permission denied",
		t.TempDir():        "permission denied",
		format:             "exec format error",
	}
	for python, want := range tests {
		t.Run(filepath.Base(python), func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			cfg := Config{Python: python, MaxFrame: testLimit, StartTimeout: patience, Log: fakeConfig(t, "").Log}
			got := start(t, t.Context(), cfg)
			if got.Stage != "spawn" || !strings.Contains(got.Detail, want) || !strings.Contains(got.Detail, python) {
				t.Errorf("%v, want %q about %s", got, want, python)
			}
			if diff := cmp.Diff(Exit{}, got.Exit); diff != "" {
				t.Errorf("exit of what never ran:\n%s", diff)
			}
		})
	}
}
