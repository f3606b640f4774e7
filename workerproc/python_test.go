package workerproc

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// pythonConfig runs pythonApp, with a runtime of its own.
func pythonConfig(t testing.TB) Config {
	t.Helper()
	if testing.Short() {
		t.Skip("needs python3")
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	app := filepath.Join(t.TempDir(), "trouble.py")
	if err := os.WriteFile(app, []byte(pythonApp), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := fakeConfig(t, "")
	cfg.Command, cfg.Python, cfg.App, cfg.Preload = nil, "python3", app, os.Getenv(noPreload) == ""
	cfg.Environ = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	return cfg
}

func spawnPython(t testing.TB) (*Worker, *logBook) {
	t.Helper()
	cfg := pythonConfig(t)
	book, log := newLogBook()
	cfg.Log = log
	return spawn(t, cfg), book
}

func TestPythonEchoes(t *testing.T) {
	w, _ := spawnPython(t)
	for _, args := range []string{`{}`, `{"ü":"🐍\u0000","n":[1,2.5,null,true,12345678901234567890]}`} {
		var want, got any
		if err := errors.Join(json.Unmarshal([]byte(args), &want), json.Unmarshal([]byte(mustCall(t, w, "echo", args)), &got)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("echo of %s (-want +got):\n%s", args, diff)
		}
	}
	if !strings.HasPrefix(w.Language(), "CPython 3.") {
		t.Errorf("language = %q", w.Language())
	}
}

func TestPythonDescribesItsCommands(t *testing.T) {
	w, _ := spawnPython(t)
	want := Command{Name: "described", Summary: "Greet somebody.", Doc: "Greet somebody.", TimeoutMs: 1500, Idempotent: true,
		ArgsSchema: jsontext.Value(`{"type":"object","properties":{"name":{"type":"string"},"excited":{"type":"boolean","default":false}},` +
			`"required":["name"],"additionalProperties":false}`),
		ResultSchema: jsontext.Value(`{"type":"string"}`),
		Parameters:   []Parameter{{Name: "name", Required: true, Annotation: "str"}, {Name: "excited", Annotation: "bool"}}}
	i := slices.IndexFunc(w.Commands(), func(c Command) bool { return c.Name == want.Name })
	if i < 0 {
		t.Fatalf("commands = %v", w.Commands())
	}
	if diff := cmp.Diff(want, w.Commands()[i]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !w.HasHook("session_start") || w.HasHook("session_end") {
		t.Error("hooks are not those of the app")
	}
}

func TestPythonErrorsLeaveTheWorkerHealthy(t *testing.T) {
	w, _ := spawnPython(t)
	tests := []struct {
		command, args string
		want          CommandError
		traceback     string
	}{
		{"fail", "", CommandError{Kind: KindException, Type: "ValueError", Message: "no such row"}, "in fail"},
		{"choose", "", CommandError{Kind: KindCommandError, Type: "charmer.CommandError", Message: "not sold here", Code: "not_in_catalogue", Status: 404}, ""},
		{"bad", "", CommandError{Kind: KindBadResult, Type: "ValueError", Message: "result.rows[1] is nan, which JSON cannot carry"}, ""},
		{"described", `{"nmae":"x"}`, CommandError{Kind: KindInvalidArgs, Message: "arguments do not fit described",
			Errors: []ArgError{{"/nmae", "unknown argument"}, {"/name", "is required"}}}, ""},
		{"none", "", CommandError{Kind: KindUnknownCommand, Message: "there is no command 'none'"}, ""},
	}
	for _, tt := range tests {
		_, err := w.Call(context.Background(), call(tt.command, tt.args))
		var got *CommandError
		if !errors.As(err, &got) {
			t.Fatalf("%s: %v, want a *CommandError", tt.command, err)
		}
		if !strings.Contains(got.Traceback, tt.traceback) || strings.Contains(got.Traceback, "_run.py") {
			t.Errorf("%s: traceback\n%s", tt.command, got.Traceback)
		}
		got.Traceback = ""
		if diff := cmp.Diff(&tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.command, diff)
		}
	}
	mustCall(t, w, "echo", "")
}

func TestPythonTakesAndGivesFramesUpToTheLimit(t *testing.T) {
	w, _ := spawnPython(t)
	args := `{"a":"` + strings.Repeat("x", testLimit-len(`{"a":""}`)) + `"}`
	if got := mustCall(t, w, "echo", args); got != args {
		t.Errorf("echo of %d bytes has %d", len(args), len(got))
	}
	_, err := w.Call(context.Background(), call("big", `{"size":17000000}`))
	var failed *CommandError
	if !errors.As(err, &failed) || failed.Kind != KindBadResult || !strings.Contains(failed.Message, "17,000,00") {
		t.Errorf("result over the limit: %v, want it refused", err)
	}
	if got := mustCall(t, w, "big", `{"size":16000000}`); len(got) != 16000002 {
		t.Errorf("result of %d bytes", len(got))
	}
}

func TestPythonExitIsAnsweredAndThenHappens(t *testing.T) {
	tests := map[string]struct {
		message string
		code    int
	}{
		`{}`:                 {"3", 3},
		`{"code":0}`:         {"0", 0},
		`{"code":null}`:      {"None", 0},
		`{"code":"message"}`: {"message", 1},
	}
	for args, want := range tests {
		t.Run(args, func(t *testing.T) {
			w, _ := spawnPython(t)
			_, err := w.Call(context.Background(), call("leave", args))
			var failed *CommandError
			if !errors.As(err, &failed) || failed.Type != "SystemExit" {
				t.Fatalf("error = %v, want the SystemExit", err)
			}
			if want.message != "None" && failed.Message != want.message {
				t.Errorf("message = %q, want %q", failed.Message, want.message)
			}
			awaitDone(t, w)
			if exit := w.Exit(); exit.Cause != CauseExiting || exit.Code != want.code {
				t.Errorf("exit = %+v, want code %d", exit, want.code)
			}
		})
	}
}

func TestPythonDeathLeavesItsEvidence(t *testing.T) {
	tests := []struct {
		name, command, args string
		code                int
		signal              syscall.Signal
		stderr              string
	}{
		{"exit", "leave_at_once", `{"code":7}`, 7, 0, ""},
		{"killed", "signal_self", `{"number":9}`, -1, syscall.SIGKILL, ""},
		{"terminated", "signal_self", `{"number":15}`, -1, syscall.SIGTERM, ""},
		{"segfault", "segfault", ``, -1, syscall.SIGSEGV, "Fatal Python error: Segmentation fault"},
		{"abort", "signal_self", `{"number":6}`, -1, syscall.SIGABRT, "Fatal Python error: Aborted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := spawnPython(t)
			_, err := w.Call(context.Background(), call(tt.command, tt.args))
			exit := wantCrash(t, err, true).Exit
			if exit.Cause != CauseCrash || exit.Code != tt.code || exit.Signal != tt.signal {
				t.Errorf("exit = %+v, want code %d, signal %d", exit, tt.code, tt.signal)
			}
			tail := strings.Join(exit.StderrTail, "\n")
			if !strings.Contains(tail, tt.stderr) || tt.stderr != "" && !strings.Contains(tail, "in "+tt.command) {
				t.Errorf("end of stderr = %q, want %q and the stack", tail, tt.stderr)
			}
			if tt.name == "exit" && !slices.Contains(exit.Output, "stdout: leaving") {
				t.Errorf("output = %q, want what was printed", exit.Output)
			}
		})
	}
}

func TestPythonOutOfTimeShowsWhereItIs(t *testing.T) {
	for _, command := range []string{"sleep_in_python", "sleep_in_c", "match_for_ever"} {
		t.Run(command, func(t *testing.T) {
			w, _ := spawnPython(t)
			c := call(command, "")
			c.Deadline = time.Now().Add(time.Second)
			_, err := w.Call(context.Background(), c)
			var timeout *TimeoutError
			if !errors.As(err, &timeout) {
				t.Fatalf("error = %v, want a *TimeoutError", err)
			}
			if !strings.Contains(timeout.Stack, "trouble.py") || !strings.Contains(timeout.Stack, "in "+command) {
				t.Errorf("stack = %q, want the command in it", timeout.Stack)
			}
			if strings.Contains(timeout.Stack, "charmer/_run.py") {
				t.Errorf("stack = %q, want the app's frames alone", timeout.Stack)
			}
			awaitGroupGone(t, w.PID())
		})
	}
}

func TestPythonOutputIsLoggedWithItsRequest(t *testing.T) {
	w, book := spawnPython(t)
	if got := mustCall(t, w, "talk", ""); got != `"r-talk"` {
		t.Errorf("request id seen by the app = %s", got)
	}
	levels := map[string]string{"from print": "DEBUG", "from stderr": "DEBUG", "from logging": "WARN"}
	streams := map[string]string{"from print": "stdout", "from stderr": "stderr", "from logging": "log"}
	for message, level := range levels {
		want := map[string]any{"level": level, "msg": message, "stream": streams[message], "worker": 1.0, "command": "talk", "request_id": "r-talk"}
		if message == "from logging" {
			want["logger"] = "app.db"
		}
		if diff := cmp.Diff(want, book.await(t, message)); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
	}
	mustCall(t, w, "talk_raw", "")
	for message, stream := range map[string]string{"not a frame: \x00\x00\x00\x05": "stdout", "from a program": "stdout", "and its stderr": "stderr"} {
		if got := book.await(t, message); got["stream"] != stream {
			t.Errorf("record = %v, want stream %s", got, stream)
		}
	}
}

func TestPythonStopsInGoodOrder(t *testing.T) {
	w, _ := spawnPython(t)
	exit := w.Stop(patience)
	if exit.Cause != CauseStopped || exit.Code != 0 || !slices.Contains(exit.Output, "stdout: stop hook ran") {
		t.Errorf("exit = %+v, want the stop hook and code 0", exit)
	}
}

func TestPythonSessionHookRuns(t *testing.T) {
	w, _ := spawnPython(t)
	hook := call("session_start", "")
	hook.Hook, hook.SessionID, hook.SessionState = true, "u1", "new"
	if _, err := w.Call(context.Background(), hook); err != nil {
		t.Fatal(err)
	}
	c := call("session", "")
	c.SessionID, c.SessionState = "u1", "resumed"
	reply, err := w.Call(context.Background(), c)
	if err != nil || string(reply.Result) != `["u1","resumed",["u1"]]` {
		t.Errorf("session = %s, %v", reply.Result, err)
	}
}

func TestPythonGrandchildrenDieWithTheWorker(t *testing.T) {
	for _, command := range []string{"breed", "fork"} {
		t.Run(command, func(t *testing.T) {
			w, book := spawnPython(t)
			mustCall(t, w, command, "")
			if command == "breed" {
				book.await(t, "the program is up")
			}
			mustCall(t, w, "echo", "")
			if got := groupMembers(t, w.PID()); len(got) < 2 {
				t.Fatalf("members of the group = %v, want a grandchild", got)
			}
			if exit := w.Stop(patience); exit.Cause != CauseStopped || exit.Code != 0 {
				t.Errorf("exit = %+v, want a stop in good order", exit)
			}
			awaitGroupGone(t, w.PID())
		})
	}
}

func TestPythonThatCannotImportItsAppSaysWhy(t *testing.T) {
	cfg := pythonConfig(t)
	tests := map[string]struct{ source, detail string }{
		"missing module": {"import nmupy\n", "ModuleNotFoundError: No module named 'nmupy'"},
		"syntax":         {"def f(:\n", "SyntaxError: "},
		"exit":           {"import sys; sys.exit(4)\n", "SystemExit: 4"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg.App = filepath.Join(t.TempDir(), "app.py")
			if err := os.WriteFile(cfg.App, []byte(tt.source), 0o644); err != nil {
				t.Fatal(err)
			}
			got := start(t, t.Context(), cfg)
			if got.Stage != "import app" || !strings.HasPrefix(got.Detail, tt.detail) || !strings.Contains(got.Traceback, "app.py") {
				t.Errorf("%+v, want %s with a traceback", got, tt.detail)
			}
			if got.Exit.Cause != CauseCrash || got.Exit.Code != 1 {
				t.Errorf("exit = %+v, want code 1", got.Exit)
			}
		})
	}
}

func TestPythonThatHangsInItsImportShowsWhere(t *testing.T) {
	cfg := pythonConfig(t)
	cfg.StartTimeout = 3 * time.Second
	cfg.App = filepath.Join(t.TempDir(), "app.py")
	if err := os.WriteFile(cfg.App, []byte("import time\n\ndef connect():\n    time.sleep(60)\n\nconnect()\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := start(t, t.Context(), cfg)
	if got.Stage != "import app" || !strings.Contains(got.Traceback, "line 4 in connect") {
		t.Errorf("%+v, want the line of the import", got)
	}
	if got.Exit.Cause != CauseKilled {
		t.Errorf("exit = %+v, want it killed", got.Exit)
	}
}

func TestPythonThatHoldsTheGILDiesWithTheService(t *testing.T) {
	cfg := pythonConfig(t)
	mark := filepath.Join(t.TempDir(), "mark")
	owner, pid := owned(t, "", "OWNED_APP="+cfg.App, "OWNED_MARK="+mark)
	eventually(t, "it is stuck", func() bool {
		_, err := os.Stat(mark)
		return err == nil
	})
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGroupGone(t, pid)
}
