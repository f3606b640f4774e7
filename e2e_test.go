package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"charmer/api/client"
	"charmer/api/contracttest"
)

// The end-to-end tests run the program that users run, as a process of its own, against real Python, and call it with
// the client generated from openapi.yaml. Every reply is checked against the contract on its way.

// patience bounds every wait for something that must happen. It is no measure of speed: the machines are shared.
const patience = 60 * time.Second

// program is the binary under test; built by TestMain.
var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "charmer-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if os.Getenv("GORACE") == "" { // each program built with the race detector would sleep for 1 s before it exits; races are in its exit code
		if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	program = filepath.Join(dir, "charmer")
	build := exec.Command("go", append(append([]string{"build"}, raceFlag...), "-o", program, ".")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	if startMethod == "exec" || noRuns() {
		return m.Run()
	}
	// Twice, side by side since they mostly wait: whatever holds with workers forked from a zygote holds with those that are
	// programs of their own.
	var output bytes.Buffer
	other := exec.Command(os.Args[0], os.Args[1:]...)
	other.Env = append(os.Environ(), noPreload+"=true")
	other.Stdout, other.Stderr = &output, &output
	if err := other.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	err = other.Wait()
	os.Stdout.Write(output.Bytes())
	if err != nil {
		fmt.Fprintf(os.Stderr, "with %s: %v\n", noPreload, err)
		return 1
	}
	return code
}

// noPreload is the environment variable that has services start workers with exec.
const noPreload = "CHARMER_NO_PRELOAD"

// startMethod is how workers start in this run of the tests.
var startMethod = map[bool]string{false: "fork", true: "exec"}[os.Getenv(noPreload) != ""]

// inOneRun skips a test that has nothing to do with how workers start in the second of the two runs.
func inOneRun(t *testing.T) {
	t.Helper()
	if startMethod == "exec" {
		t.Skip("has run where workers are forked")
	}
}

// noRuns reports whether the tests were not to be run but listed.
func noRuns() bool {
	list := flag.Lookup("test.list")
	return list != nil && list.Value.String() != ""
}

// instance is one running service.
type instance struct {
	t      *testing.T
	url    string
	cmd    *exec.Cmd
	mark   string // in the environment of every process that comes from it
	log    *logBuffer
	exited chan struct{} // closed when the process has been reaped
	http   *http.Client
	*contracttest.Contract
	*client.ClientWithResponses
}

// serve starts a service for an app, given as Python source or as the path of a .py file, and waits until it listens. At
// the end of the test it is told to stop, must end with exit code 0, and must leave no process behind.
func serve(t *testing.T, app string, flags ...string) *instance {
	t.Helper()
	s := launch(t, appFile(t, app), flags...)
	t.Cleanup(func() {
		if code := s.stop(); code != exitOK {
			t.Errorf("exit code %d after SIGTERM, want 0", code)
		}
		s.noneLeft()
		if t.Failed() {
			t.Logf("log of the service:\n%s", s.log)
		}
	})
	return s
}

// appFile returns the path of an app: itself, or of a file made for it if it is source.
func appFile(t *testing.T, app string) string {
	t.Helper()
	if strings.HasSuffix(app, ".py") || !strings.Contains(app, "\n") {
		return app
	}
	path := filepath.Join(t.TempDir(), "app.py")
	if err := os.WriteFile(path, []byte(app), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// launch starts a service without arranging for its end. It has no spares unless a flag says so, since most tests count
// processes.
func launch(t *testing.T, app string, flags ...string) *instance {
	t.Helper()
	s := &instance{t: t, mark: "CHARMED_BY=" + strconv.FormatInt(time.Now().UnixNano(), 36), log: newLogBuffer(), exited: make(chan struct{})}
	args := append([]string{"serve", "--listen=127.0.0.1:0", "--log-format=json", "--debug", "--workers=2", "--spares=0"}, flags...)
	if app != "" {
		args = append(args, app)
	}
	s.cmd = exec.Command(program, args...)
	s.cmd.Env = append(os.Environ(), s.mark)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // ProcessState has it all
	}()
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); <-s.exited })
	line := s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == "serving" })
	s.url = "http://" + line["listen"].(string)
	s.connect(1)
	return s
}

var loadContract = sync.OnceValues(func() (*contracttest.Contract, error) { return contracttest.Load("openapi.yaml") })

// connect makes the client. It checks one in sample of the good replies against the contract, and all others.
func (s *instance) connect(sample int64) {
	s.t.Helper()
	contract, err := loadContract()
	if err != nil {
		s.t.Fatal(err)
	}
	s.Contract = contract
	s.http = &http.Client{Transport: contract.Transport(s.t, &http.Transport{MaxIdleConnsPerHost: 200}, sample)}
	s.ClientWithResponses, err = client.NewClientWithResponses(s.url, client.WithHTTPClient(s.http))
	if err != nil {
		s.t.Fatal(err)
	}
}

// stop sends SIGTERM and returns the exit code.
func (s *instance) stop() int {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.t.Errorf("still running %s after SIGTERM", patience)
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	return s.cmd.ProcessState.ExitCode()
}

// ready waits until the service is ready.
func (s *instance) ready() *instance {
	s.t.Helper()
	s.eventually("the service is ready", func() bool {
		r, err := s.GetReadyWithResponse(context.Background(), nil)
		return err == nil && r.JSON200 != nil
	})
	return s
}

// full waits until the pool has its size of workers that are up.
func (s *instance) full(size int64) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("the pool has %d workers up", size), func() bool {
		w := s.health().Workers
		return w.Size == size && w.Idle+w.Busy+w.Leased == size
	})
}

func (s *instance) health() client.Health {
	s.t.Helper()
	r, err := s.GetHealthWithResponse(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	if r.JSON200 != nil {
		return *r.JSON200
	}
	return *r.JSON503
}

// eventually polls until condition holds. Polling stands for nothing but the wait: no test depends on its pace.
func (s *instance) eventually(what string, condition func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %s: %s\nlog of the service:\n%s", patience, what, s.log)
		}
	}
}

// answer is the reply to POST /execute: Result with status 200, else Problem.
type answer struct {
	status  int
	Result  string // JSON text
	Worker  client.WorkerRef
	Session *client.SessionRef
	Problem client.Problem
	header  http.Header
	close   bool // the service closes the connection behind it
}

// execute calls a command. Options change the request.
func (s *instance) execute(command, args string, options ...func(*client.ExecuteRequest)) answer {
	s.t.Helper()
	body := client.ExecuteRequest{Command: command, Args: json.RawMessage(args)}
	for _, option := range options {
		option(&body)
	}
	a, err := s.try(body)
	if err != nil {
		s.t.Errorf("execute %s: %v", command, err)
	}
	return a
}

// try is execute for use in other goroutines than the test's own.
func (s *instance) try(body client.ExecuteRequest, edits ...client.RequestEditorFn) (answer, error) {
	if len(body.Args) == 0 {
		body.Args = json.RawMessage("{}")
	}
	r, err := s.ExecuteWithResponse(context.Background(), nil, body, edits...)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: r.StatusCode(), header: r.HTTPResponse.Header, close: r.HTTPResponse.Close}
	if r.JSON200 != nil {
		a.Result, a.Worker, a.Session = string(r.JSON200.Result), r.JSON200.Worker, r.JSON200.Session
		return a, nil
	}
	return a, json.Unmarshal(r.Body, &a.Problem)
}

func requestID(id string) client.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("X-Request-Id", id)
		return nil
	}
}

func inSession(id string) func(*client.ExecuteRequest) {
	return func(r *client.ExecuteRequest) { r.SessionID = &id }
}

func onLease(id string) func(*client.ExecuteRequest) {
	return func(r *client.ExecuteRequest) { r.LeaseID = &id }
}

func within(ms float64) func(*client.ExecuteRequest) {
	return func(r *client.ExecuteRequest) { r.TimeoutMs = &ms }
}

// wantResult fails the test unless the call returned exactly this JSON.
func (a answer) wantResult(t *testing.T, want string) {
	t.Helper()
	if a.status != http.StatusOK || a.Result != want {
		t.Errorf("got %d %s %+v, want 200 %s", a.status, a.Result, a.Problem, want)
	}
}

// wantProblem fails the test unless the call got this problem.
func (a answer) wantProblem(t *testing.T, status int, code string, started bool) {
	t.Helper()
	if a.status != status || a.Problem.Code != code || a.Problem.Started != started {
		t.Errorf("got %d %s started=%v (%s %s), want %d %s started=%v", a.status, a.Problem.Code, a.Problem.Started,
			a.Problem.Detail, a.Result, status, code, started)
	}
}

// pids returns all processes whose environment carries the instance's mark: the service's workers, and what they started,
// also in sessions of their own.
func (s *instance) pids() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		s.t.Skip("needs /proc")
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		environ, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if err == nil && bytes.Contains(environ, []byte(s.mark)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// noneLeft waits until no process of the instance is left. It must be dead itself.
func (s *instance) noneLeft() {
	s.t.Helper()
	s.eventually("no process is left", func() bool { return len(s.pids()) == 0 })
}

// logLine is one record of the service's log.
type logLine map[string]any

// logBuffer keeps the log of a service.
type logBuffer struct {
	mu   sync.Mutex // guards the fields below
	text bytes.Buffer
	grew chan struct{} // closed and replaced at each write
}

func newLogBuffer() *logBuffer { return &logBuffer{grew: make(chan struct{})} }

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.grew)
	b.grew = make(chan struct{})
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// lines returns the records so far that match.
func (b *logBuffer) lines(match func(logLine) bool) []logLine {
	var found []logLine
	for line := range strings.Lines(b.String()) {
		var record logLine
		if json.Unmarshal([]byte(line), &record) == nil && match(record) {
			found = append(found, record)
		}
	}
	return found
}

// await returns the first record that matches, once it is there. It fails the test when exited is closed before.
func (b *logBuffer) await(t *testing.T, exited <-chan struct{}, match func(logLine) bool) logLine {
	t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		grew := b.grew
		b.mu.Unlock()
		if found := b.lines(match); len(found) > 0 {
			return found[0]
		}
		select {
		case <-grew:
		case <-exited:
			t.Fatalf("the service ended:\n%s", b)
		case <-deadline:
			t.Fatalf("not in the log within %s:\n%s", patience, b)
		}
	}
}
