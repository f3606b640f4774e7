package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"charmer/api/client"
)

// versioned is the source of an app that tells its version. The sources of two versions differ in size: Python takes a file
// that was rewritten within a second for unchanged otherwise.
func versioned(n int) string {
	return fmt.Sprintf(`from charmer import command
state = 0

@command
def version() -> int:
    return %d

@command
def only%d() -> int:
    return %d

@command
def count() -> int:
    global state
    state += 1
    return state
%s`, n, n, n, strings.Repeat("#", n))
}

const broken = `from charmer import command
def nonsense(:
`

// change replaces the source of an app at once, as editors and deployments do.
func change(t *testing.T, path, source string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// reload asks for a reload that must go well.
func (s *instance) reload() client.ReloadReply {
	s.t.Helper()
	r, err := s.ReloadWithResponse(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if r.JSON200 == nil {
		s.t.Fatalf("reload: %d %s", r.StatusCode(), r.Body)
	}
	return *r.JSON200
}

// runs waits until all workers of the pool are of a generation, and the pool is full.
func (s *instance) runs(generation int64, size int64) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("all workers are of generation %d", generation), func() bool {
		h := s.health()
		return h.Generation == generation && h.Reload == nil
	})
	s.full(size)
}

// newer waits until all workers of the pool are of one generation after before, and returns it: several saves may be one
// reload or more.
func (s *instance) newer(before int64, size int64) (generation int64) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("all workers are of a generation after %d", before), func() bool {
		h := s.health()
		generation = h.Generation
		return h.Generation > before && h.Reload == nil
	})
	s.full(size)
	return generation
}

func TestReloadUnderLoadFailsNoCall(t *testing.T) {
	app := appFile(t, versioned(1))
	s := serve(t, app, "--workers=4", "--checkout-timeout=60s").ready()
	s.full(4)
	s.connect(100)
	s.execute("count", "{}", inSession("old")).wantResult(t, "1")

	var calls, newest atomic.Int64
	over := make(chan struct{})
	var clients sync.WaitGroup
	for range 64 {
		clients.Go(func() {
			for !closed(over) {
				a, err := s.try(client.ExecuteRequest{Command: "version"})
				calls.Add(1)
				switch {
				case err != nil:
					t.Errorf("no answer: %v", err)
				case a.status != http.StatusOK:
					t.Errorf("call failed: %d %+v", a.status, a.Problem)
				case a.Result == "3":
					newest.Add(1)
				}
			}
		})
	}
	change(t, app, versioned(2))
	if r := s.reload(); r.Generation != 2 || r.Previous != 1 || !r.Rolling || r.Remaining != 4 || r.DurationMs <= 0 {
		t.Errorf("reload: %+v", r)
	}
	s.execute("only2", "{}").wantResult(t, "2") // never by an old worker
	s.runs(2, 4)
	change(t, app, broken)
	r, err := s.ReloadWithResponse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p := r.ApplicationProblemJSON422; p == nil || p.Code != "reload_failed" || p.Start == nil || p.Start.Traceback == nil ||
		!strings.Contains(*p.Start.Traceback, "def nonsense(:") || p.Start.Stage != "import app" {
		t.Errorf("reload of broken code: %d %s", r.StatusCode(), r.Body)
	}
	h := s.health()
	if last := h.LastReload; h.State != "ready" || h.Generation != 2 || last == nil || last.Ok || last.Generation != 3 || last.Start == nil ||
		!strings.Contains(*last.Start.Traceback, "def nonsense(:") {
		t.Errorf("health after broken code: %+v", h)
	}
	change(t, app, versioned(3))
	if r := s.reload(); r.Generation != 4 || r.Previous != 2 {
		t.Errorf("reload: %+v", r)
	}
	s.runs(4, 4)
	seen := newest.Load()
	s.eventually("calls run with the newest code", func() bool { return newest.Load() > seen })
	close(over)
	clients.Wait()
	t.Logf("%d calls", calls.Load())

	s.execute("count", "{}", inSession("old")).wantResult(t, "2")
	s.execute("version", "{}", inSession("old")).wantResult(t, "1")
	s.execute("only3", "{}", inSession("old")).wantProblem(t, http.StatusNotFound, "unknown_command", false)
	s.execute("version", "{}", inSession("new")).wantResult(t, "3")
	m := s.metrics()
	if got := [4]float64{m["charmer_generation"], m[`charmer_reload_total{result="ok"}`], m[`charmer_reload_total{result="failed"}`],
		m[`charmer_worker_exits_total{reason="reload"}`]}; got != [4]float64{4, 2, 1, 8} {
		t.Errorf("generation, reloads, failed reloads, exits: %v", got)
	}
}

func TestReloadMendsAnAppThatCannotStart(t *testing.T) {
	app := appFile(t, broken)
	s := serve(t, app)
	s.eventually("the app fails to start", func() bool { return s.health().State == "failed" })
	change(t, app, versioned(1))
	s.reload()
	s.runs(2, 2)
	s.execute("version", "{}").wantResult(t, "1")
}

func TestHangupReloads(t *testing.T) {
	app := appFile(t, versioned(1))
	s := serve(t, app).ready()
	change(t, app, versioned(2))
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.runs(2, 2)
	s.execute("version", "{}").wantResult(t, "2")
}

func TestWatchReloadsWhenAFileChanges(t *testing.T) {
	app := appFile(t, "import helper\n"+versioned(1))
	dir := filepath.Dir(app)
	helper := filepath.Join(dir, "helper.py")
	change(t, helper, "")
	s := serve(t, app, "--watch").ready()
	s.full(2)
	s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == "watching" })

	change(t, app, "import helper\n"+versioned(2)) // a rename, as editors do
	at := s.newer(1, 2)
	s.execute("version", "{}").wantResult(t, "2")

	appendTo(t, helper, "broken\n") // a write
	s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == "reload failed" })
	s.execute("version", "{}").wantResult(t, "2")

	change(t, helper, "")
	at = s.newer(at, 2)
	for _, other := range []string{"__pycache__", ".hidden", "venv"} {
		if err := os.Mkdir(filepath.Join(dir, other), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	change(t, filepath.Join(dir, "venv", "pyvenv.cfg"), "")
	for _, other := range []string{"__pycache__/x.py", ".hidden/x.py", "notes.txt"} {
		change(t, filepath.Join(dir, other), "x")
	}
	inner := filepath.Join(dir, "package", "inner") // directories that are new are watched, and what was in them at once is seen
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	change(t, filepath.Join(inner, "module.py"), "")
	at = s.newer(at, 2)
	appendTo(t, filepath.Join(inner, "module.py"), "x = 1\n")
	s.newer(at, 2)
	for _, l := range s.log.lines(func(l logLine) bool { return l["msg"] == "changed" }) {
		if path := l["path"].(string); strings.Contains(path, "hidden") || strings.Contains(path, "pycache") || !strings.HasSuffix(path, ".py") {
			t.Errorf("a change of %s was seen", path)
		}
	}
}
