package handlers

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"charmer/api"
	"charmer/poolsvc"
	"charmer/workerproc"
)

// exitBySignal is the evidence that the tests below have a dead worker leave.
var exitBySignal = poolsvc.Exit{Code: -1, Signal: syscall.SIGKILL, Reason: "was killed by signal 9 (SIGKILL)", OOMSuspected: true, StderrTail: []string{"last words"}}

func onCall(err error) error {
	return &poolsvc.CallError{Worker: poolsvc.WorkerRef{ID: 7, PID: 4711, Generation: 1}, Command: "greet", Err: err}
}

func refusedWith(err error) error {
	return &poolsvc.RefusedError{Err: err, Detail: "a detail", RetryAfter: 1500 * time.Millisecond, Waited: 200 * time.Millisecond, QueueLength: 3}
}

// failure is an error and what the client is told about it.
type failure struct {
	err                error
	status             int
	code               api.ProblemCode
	started, retryable bool
}

// notStarted is the evidence of a worker that did not start.
var notStarted = &workerproc.StartError{Stage: "import app", Detail: "SyntaxError: invalid syntax", Traceback: "File app.py", Exit: exitBySignal}

// failures has all that a request can end with.
var failures = []failure{
	{&requestError{Status: 400, Code: api.ProblemCodeInvalidRequest, Detail: "d"}, 400, api.ProblemCodeInvalidRequest, false, false},
	{&api.ParamError{In: "path", Name: "worker_id", Type: "integer"}, 400, api.ProblemCodeInvalidRequest, false, false},
	{invalidBody(api.FieldError{Pointer: "/x", Detail: "unknown member"}), 400, api.ProblemCodeInvalidRequest, false, false},
	{invalidParam("query", "min_idle", "must be at least 0"), 400, api.ProblemCodeInvalidRequest, false, false},
	{checkoutTypeError(invalidBody(api.FieldError{Pointer: "/type", Detail: "must be anonymous or session"})), 400, api.ProblemCodeInvalidCheckoutType, false, false},
	{checkoutTypeError(invalidBody(api.FieldError{Pointer: "/type", Detail: "is required"})), 400, api.ProblemCodeInvalidRequest, false, false},
	{tooLarge(10), 413, api.ProblemCodePayloadTooLarge, false, false},
	{wrongMediaType("d"), 415, api.ProblemCodeUnsupportedMediaType, false, false},
	{errNotFound, 404, api.ProblemCodeNotFound, false, false},
	{errMethodNotAllowed, 405, api.ProblemCodeMethodNotAllowed, false, false},
	{foreignOrigin("the page of another origin"), 403, api.ProblemCodeForbidden, false, false},
	{poolsvc.ErrNotShared, 400, api.ProblemCodeInvalidRequest, false, false},
	{poolsvc.ErrUnknownCommand, 404, api.ProblemCodeUnknownCommand, false, false},
	{poolsvc.ErrLeaseNotFound, 404, api.ProblemCodeLeaseNotFound, false, false},
	{poolsvc.ErrSessionNotFound, 404, api.ProblemCodeSessionNotFound, false, false},
	{poolsvc.ErrBroadcastNotFound, 404, api.ProblemCodeBroadcastNotFound, false, false},
	{poolsvc.ErrExecutionNotFound, 404, api.ProblemCodeExecutionNotFound, false, false},
	{poolsvc.ErrNotStreamable, 406, api.ProblemCodeNotStreamable, false, false},
	{&poolsvc.CancelledError{Why: poolsvc.ErrCancelled, Step: poolsvc.StepDequeued}, 409, api.ProblemCodeCancelled, false, false},
	{onCall(&poolsvc.CancelledError{Why: poolsvc.ErrCancelled, Step: poolsvc.StepCancelled, Started: true}), 409, api.ProblemCodeCancelled, true, false},
	{poolsvc.ErrWorkerNotFound, 404, api.ProblemCodeWorkerNotFound, false, false},
	{poolsvc.ErrNotRecyclable, 409, api.ProblemCodeNotRecyclable, false, false},
	{poolsvc.ErrNoStack, 409, api.ProblemCodeStackUnavailable, false, false},
	{refusedWith(poolsvc.ErrNoStack), 409, api.ProblemCodeStackUnavailable, false, true},
	{refusedWith(poolsvc.ErrLeaseBusy), 409, api.ProblemCodeLeaseBusy, false, true},
	{refusedWith(poolsvc.ErrReloadRunning), 409, api.ProblemCodeReloadRunning, false, true},
	{&poolsvc.ReloadError{Generation: 2, Start: notStarted}, 422, api.ProblemCodeReloadFailed, false, false},
	{refusedWith(poolsvc.ErrSessionBusy), 409, api.ProblemCodeSessionBusy, false, true},
	{&poolsvc.GoneError{Err: poolsvc.ErrLeaseExpired, Reason: "its time was up"}, 410, api.ProblemCodeLeaseExpired, false, false},
	{&poolsvc.GoneError{Err: poolsvc.ErrSessionLost, Reason: "r", Exit: &exitBySignal}, 410, api.ProblemCodeSessionLost, false, false},
	{refusedWith(poolsvc.ErrCheckoutTimeout), 503, api.ProblemCodeCheckoutTimeout, false, true},
	{refusedWith(poolsvc.ErrQueueFull), 503, api.ProblemCodeQueueFull, false, true},
	{refusedWith(poolsvc.ErrStarting), 503, api.ProblemCodeStarting, false, true},
	{refusedWith(poolsvc.ErrDraining), 503, api.ProblemCodeDraining, false, true},
	{refusedWith(poolsvc.ErrCrashLooping), 503, api.ProblemCodeCrashLooping, false, true},
	{refusedWith(poolsvc.ErrSessionLimit), 503, api.ProblemCodeSessionLimit, false, true},
	{onCall(&poolsvc.CommandError{Kind: workerproc.KindException, Type: "ValueError"}), 422, api.ProblemCodeCommandFailed, true, false},
	{onCall(&poolsvc.CommandError{Kind: workerproc.KindBadResult}), 422, api.ProblemCodeCommandFailed, true, false},
	{onCall(&poolsvc.CommandError{Kind: poolsvc.KindInvalidArgs}), 400, api.ProblemCodeInvalidArgs, false, false},
	{onCall(&poolsvc.CommandError{Kind: poolsvc.KindUnknownCommand}), 404, api.ProblemCodeUnknownCommand, false, false},
	{onCall(&poolsvc.CommandError{Kind: poolsvc.KindCommandError, Code: "queue_full", Status: 503}), 422, api.ProblemCodeCommandFailed, true, false},
	{onCall(&poolsvc.CrashError{Exit: exitBySignal, Started: true}), 502, api.ProblemCodeWorkerCrashed, true, false},
	{onCall(&poolsvc.CrashError{Exit: exitBySignal}), 502, api.ProblemCodeWorkerCrashed, false, true},
	{onCall(&poolsvc.ProtocolError{Detail: "d", Exit: exitBySignal, Started: true}), 502, api.ProblemCodeProtocolError, true, false},
	{onCall(&poolsvc.TimeoutError{Stack: "File app.py", Exit: exitBySignal, Started: true}), 504, api.ProblemCodeExecutionTimeout, true, false},
	{onCall(&poolsvc.TimeoutError{Exit: exitBySignal}), 504, api.ProblemCodeExecutionTimeout, false, true},
	{onCall(&poolsvc.TooLargeError{Limit: 99}), 413, api.ProblemCodePayloadTooLarge, false, false},
	{onCall(errors.New("what nobody knows")), 500, api.ProblemCodeInternal, false, false},
	{errors.New("what nobody knows"), 500, api.ProblemCodeInternal, false, false},
	{errNotLive, 500, api.ProblemCodeInternal, false, false},
}

// failed is the reply to a request that ends with err.
func failed(t *testing.T, err error) (*httptest.ResponseRecorder, api.Problem) {
	t.Helper()
	s := &Server{pool: new(poolsvc.Pool), log: slog.New(slog.DiscardHandler)}
	h := newChecked(t, s.observe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, err) })))
	w := h.answer(t, "POST", "/execute", "{}")
	var p api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return w, p
}

func TestEveryFailureHasItsStatusCodeAndTitle(t *testing.T) {
	produced := map[api.ProblemCode]bool{}
	for _, tt := range failures {
		t.Run(fmt.Sprintf("%s %v", tt.code, tt.err), func(t *testing.T) {
			for _, err := range []error{tt.err, fmt.Errorf("wrapped: %w", tt.err)} {
				w, p := failed(t, err)
				if w.Code != tt.status || p.Code != string(tt.code) || p.Started != tt.started || p.Retryable != tt.retryable {
					t.Errorf("%d %s, started %v, retryable %v; want %d %s, %v, %v", w.Code, p.Code, p.Started, p.Retryable, tt.status, tt.code, tt.started, tt.retryable)
				}
				if p.Title != titles[tt.code] || p.Title == "" || p.Detail == "" {
					t.Errorf("title %q, detail %q", p.Title, p.Detail)
				}
				if after := w.Header().Get("Retry-After"); (after != "") != tt.retryable {
					t.Errorf("Retry-After %q", after)
				}
			}
		})
		produced[tt.code] = true
	}
	for _, code := range documentedCodes(t) {
		if !produced[code] {
			t.Errorf("nothing produces %s", code)
		}
		if titles[code] == "" {
			t.Errorf("%s has no title", code)
		}
		delete(produced, code)
	}
	for code := range produced {
		t.Errorf("%s is not in the contract", code)
	}
	for _, row := range refusals {
		if !slices.ContainsFunc(failures, func(f failure) bool { return errors.Is(f.err, row.err) && f.code == row.code && f.status == row.status }) {
			t.Errorf("no case for %v", row.err)
		}
	}
}

// documentedCodes are those of ProblemCode in openapi.yaml.
func documentedCodes(t *testing.T) (codes []api.ProblemCode) {
	t.Helper()
	for _, value := range newContract(t).doc.Components.Schemas["ProblemCode"].Value.Enum {
		codes = append(codes, api.ProblemCode(value.(string)))
	}
	return codes
}

// TestTheReadmeListsEveryCodeWithItsStatus reads the table of README.md, section Errors.
func TestTheReadmeListsEveryCodeWithItsStatus(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string][]string{} // statuses by code
	for _, row := range regexp.MustCompile(`(?m)^\| ([45]\d\d(?: [45]\d\d)*) \| (.*) \| [^|]* \|$`).FindAllStringSubmatch(string(text), -1) {
		for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[2], -1) {
			listed[code[1]] = strings.Fields(row[1])
		}
	}
	for _, tt := range failures {
		if !slices.Contains(listed[string(tt.code)], strconv.Itoa(tt.status)) && !errors.As(tt.err, new(*poolsvc.CommandError)) {
			t.Errorf("%s is answered %d, the README has %v", tt.code, tt.status, listed[string(tt.code)])
		}
	}
	for _, code := range documentedCodes(t) {
		if len(listed[string(code)]) == 0 {
			t.Errorf("%s is not in the README", code)
		}
	}
}

func TestAFailureShowsItsEvidence(t *testing.T) {
	some := func(n int64) *int64 { return &n }
	ms := func(n float64) *float64 { return &n }
	text := func(s string) *string { return &s }
	yes, memory := true, api.LimitMemory
	exit := &api.Exit{Reason: "was killed by signal 9 (SIGKILL)", Signal: some(9), SignalName: text("SIGKILL"), OomSuspected: &yes}
	worker := &api.WorkerRef{ID: 7, PID: 4711, Generation: 1}
	crashLoop := &poolsvc.RefusedError{Err: poolsvc.ErrCrashLooping, RetryAfter: time.Nanosecond, Start: &workerproc.StartError{Exit: exitBySignal}}
	for _, tt := range []struct {
		name  string
		err   error
		after string // Retry-After
		want  api.Problem
	}{
		{"refusal", refusedWith(poolsvc.ErrQueueFull), "2", api.Problem{RetryAfterMs: ms(1500), WaitedMs: ms(200), QueueLength: some(3)}},
		{"crash loop", crashLoop, "1", api.Problem{RetryAfterMs: ms(1), StderrTail: []string{"last words"}}},
		{"lost session", &poolsvc.GoneError{Err: poolsvc.ErrSessionLost, Reason: "r", Exit: &exitBySignal}, "", api.Problem{Exit: exit, StderrTail: []string{"last words"}}},
		{"lease given back", &poolsvc.GoneError{Err: poolsvc.ErrLeaseExpired, Reason: "r"}, "", api.Problem{}},
		{"crash", onCall(&poolsvc.CrashError{Exit: exitBySignal, Started: true}), "", api.Problem{Worker: worker, Exit: exit, StderrTail: []string{"last words"}}},
		{"not begun", onCall(&poolsvc.CrashError{Exit: poolsvc.Exit{Code: 1, Reason: "r"}}), "1",
			api.Problem{Worker: worker, Exit: &api.Exit{Reason: "r", Code: some(1)}, RetryAfterMs: ms(1000)}},
		{"exit code 0", onCall(&poolsvc.CrashError{Exit: poolsvc.Exit{Reason: "r"}, Started: true}), "", api.Problem{Worker: worker, Exit: &api.Exit{Reason: "r", Code: some(0)}}},
		{"timeout", onCall(&poolsvc.TimeoutError{Started: true, Step: poolsvc.StepKilled, Stack: "File app.py", Exit: exitBySignal}), "",
			api.Problem{Worker: worker, Exit: exit, StderrTail: []string{"last words"}, Stack: text("File app.py"), Step: new(api.CancelStepKilled)}},
		{"timeout that Python heeded", onCall(&poolsvc.TimeoutError{Started: true, Step: poolsvc.StepCancelled, Stack: "File app.py"}), "",
			api.Problem{Worker: worker, Stack: text("File app.py"), Step: new(api.CancelStepCancelled)}},
		{"cancel", onCall(&poolsvc.CancelledError{Why: poolsvc.ErrCancelled, Step: poolsvc.StepKilled, Exit: exitBySignal}), "",
			api.Problem{Worker: worker, Exit: exit, StderrTail: []string{"last words"}, Step: new(api.CancelStepKilled)}},
		{"too large", onCall(&poolsvc.TooLargeError{Limit: 99}), "", api.Problem{Worker: worker, LimitBytes: some(99)}},
		{"arguments", onCall(&poolsvc.CommandError{Kind: poolsvc.KindInvalidArgs, Message: "m", Errors: []workerproc.ArgError{{Pointer: "/n", Detail: "d"}, {Detail: "more"}}}), "",
			api.Problem{Worker: worker, Errors: []api.FieldError{{Pointer: "/args/n", Detail: "d"}, {Pointer: "/args", Detail: "more"}}}},
		{"reload", &poolsvc.ReloadError{Generation: 2, Start: notStarted}, "",
			api.Problem{Exit: exit, StderrTail: []string{"last words"}, Start: &api.StartFailure{Stage: "import app", Detail: "SyntaxError: invalid syntax",
				Traceback: text("File app.py"), StderrTail: []string{"last words"}}}},
		{"exception", onCall(&poolsvc.CommandError{Kind: workerproc.KindException, Type: "ValueError", Message: "m", Traceback: "secret"}), "",
			api.Problem{Worker: worker, Exception: &api.PythonException{Type: "ValueError", Message: "m"}}},
		{"exception at a limit", onCall(&poolsvc.CommandError{Kind: workerproc.KindException, Type: "MemoryError", Limit: workerproc.LimitMemory, Hint: "h"}), "",
			api.Problem{Worker: worker, Exception: &api.PythonException{Type: "MemoryError", Limit: &memory}}},
		{"crash at a limit", onCall(&poolsvc.CrashError{Exit: poolsvc.Exit{Code: 1, Reason: "r", Limit: workerproc.LimitMemory}, Started: true}), "",
			api.Problem{Worker: worker, Exit: &api.Exit{Reason: "r", Code: some(1), Limit: &memory}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, p := failed(t, tt.err)
			for _, p := range []*api.Problem{&p, &tt.want} { // what the test above is about
				p.Type, p.Title, p.Status, p.Detail, p.Instance, p.Code, p.RequestID, p.Retryable, p.Started = "", "", 0, "", "", "", "", false, false
			}
			if diff := cmp.Diff(tt.want, p); diff != "" {
				t.Errorf("problem (-want +got):\n%s", diff)
			}
			if got := w.Header().Get("Retry-After"); got != tt.after {
				t.Errorf("Retry-After %q, want %q", got, tt.after)
			}
		})
	}
}

func TestEveryLimitIsInTheContract(t *testing.T) {
	for _, limit := range []workerproc.Limit{workerproc.LimitMemory, workerproc.LimitCPU, workerproc.LimitFiles, workerproc.LimitProcesses} {
		if !slices.Contains([]api.Limit{api.LimitMemory, api.LimitCPU, api.LimitFiles, api.LimitProcesses}, api.Limit(limit)) {
			t.Errorf("%s is not in openapi.yaml", limit)
		}
	}
	p := new(Server).problem(onCall(&poolsvc.CommandError{Kind: workerproc.KindException, Type: "MemoryError", Limit: workerproc.LimitMemory, Hint: "that is why"}))
	if !strings.HasSuffix(p.Detail, ": MemoryError: ; that is why") {
		t.Errorf("detail %q does not end in the hint", p.Detail)
	}
}

func TestAnAppChoosesAmongStatusesThatDoNotInviteARepetition(t *testing.T) {
	for status := -1; status <= 1000; status++ {
		want := status >= 400 && status <= 599 && status != 502 && status != 503 && status != 504
		if got := appMayChoose(status); got != want {
			t.Errorf("an app may choose %d: %v, want %v", status, got, want)
		}
		p := new(Server).problem(onCall(&poolsvc.CommandError{Kind: poolsvc.KindCommandError, Code: "mine", Status: status, Message: "m"}))
		if want := map[bool]int64{true: int64(status), false: 422}[want]; p.Status != want || p.Code != "mine" || *p.Exception.Code != "mine" || p.Detail != "m" {
			t.Errorf("status %d is answered %+v", status, p)
		}
	}
}

// TestWhateverBytesAProblemIsAboutItIsAnswered has paths, headers and messages that no JSON text can hold.
func TestWhateverBytesAProblemIsAboutItIsAnswered(t *testing.T) {
	s := newTestServer(t, io.Discard)
	for _, change := range []func(*http.Request){
		func(r *http.Request) { r.URL.Path = "/\xff" },
		func(r *http.Request) { r.URL.Path = "/sessions/\xed\xa0\x80" },
		func(r *http.Request) { r.Header.Set("Content-Type", "\xff") },
		func(r *http.Request) { r.Header.Set("Content-Encoding", "\xff") },
		func(r *http.Request) { r.Method = "\xff" },
	} {
		r := jsonRequest("{}")
		change(r)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code < 400 || w.Code > 499 {
			t.Errorf("%s %q: %d %s: %v", r.Method, r.URL.Path, w.Code, w.Body, err)
		}
	}
}
