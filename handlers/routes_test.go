package handlers

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"charmer/api"
	"charmer/api/contracttest"
	"charmer/poolsvc"
	"charmer/workerproc"
)

// newTestServer makes a Server. Its pool has the changes that configure makes, and else no worker ever.
func newTestServer(t testing.TB, log io.Writer, configure ...func(*poolsvc.Config)) *Server {
	t.Helper()
	logger := slog.New(slog.NewJSONHandler(log, nil))
	cfg := poolsvc.Config{
		Spawn: func(ctx context.Context, generation int, _ uint64, _ func(int, string)) (poolsvc.Worker, error) {
			if generation > 1 {
				return nil, errors.New("no worker either")
			}
			<-ctx.Done()
			return nil, ctx.Err()
		},
		Retire: func(int) {}, Renew: func(int) {},
		Zygote: func(int) workerproc.ZygoteStatus { return workerproc.ZygoteStatus{State: workerproc.ZygoteOff} }, Workers: 2, ScaleDownAfter: time.Minute, StartParallelism: 2, MinReady: 1, StartTimeout: time.Minute, CheckoutTimeout: time.Minute,
		ExecuteTimeout: time.Minute, StopGrace: time.Second, MaxQueue: 10, LeaseTTL: time.Minute, LeaseShare: 1,
		SessionIdle: time.Minute, SessionLifetime: time.Hour, MaxSessions: 10, Log: slog.New(slog.DiscardHandler),
	}
	for _, change := range configure {
		change(&cfg)
	}
	cfg.MinWorkers = cfg.Workers
	pool := poolsvc.New(cfg)
	t.Cleanup(func() { pool.Close(context.Background()) })
	return testServerOf(t, pool, logger)
}

func testServerOf(t testing.TB, pool *poolsvc.Pool, log *slog.Logger) *Server {
	t.Helper()
	contract, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Pool: pool, Log: log, Contract: contract, Version: "0.1.0", MaxBody: testLimit})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checked answers requests and checks the replies against the contract.
type checked struct {
	http.Handler
	contract *contracttest.Contract
}

var loadContract = sync.OnceValues(func() (*contracttest.Contract, error) { return contracttest.Load("../openapi.yaml") })

func newChecked(t testing.TB, h http.Handler) checked {
	t.Helper()
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	return checked{h, c}
}

func (c checked) answer(t testing.TB, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	if method == http.MethodHead {
		w.Body.Reset() // as net/http does
	}
	for _, fault := range c.contract.Faults(r, w.Code, w.Header(), w.Body.Bytes()) {
		t.Errorf("%s %s: %d: %s\n%s", method, target, w.Code, fault, w.Body)
	}
	return w
}

func TestRoutesAndContractAreTheSame(t *testing.T) {
	s := newTestServer(t, io.Discard)
	var routes []string
	err := chi.Walk(s.routing, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if route != docsFiles {
			routes = append(routes, method+" "+route)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	operations := newChecked(t, s).contract.Operations()
	for _, operation := range operations {
		if !slices.Contains(routes, operation) {
			t.Errorf("%s has no route", operation)
		}
	}
	for _, route := range routes {
		if !slices.Contains(operations, route) {
			t.Errorf("%s is not in the contract", route)
		}
	}
	if len(operations) == 0 || len(routes) != len(operations) {
		t.Errorf("%d routes, %d operations", len(routes), len(operations))
	}
}

// TestEveryOperationAnswersByTheContract calls each operation with nothing there: no worker, lease or session.
func TestEveryOperationAnswersByTheContract(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard))
	bodies := map[string]string{"/checkout": `{"type":"anonymous","timeout_ms":0}`, "/execute": `{"command":"a","checkout_timeout_ms":0}`}
	for _, operation := range c.contract.Operations() {
		method, path, _ := strings.Cut(operation, " ")
		target := strings.NewReplacer("{command}", "a?checkout_timeout_ms=0", "{lease_id}", "l", "{session_id}", "u1", "{worker_id}", "7").Replace(path)
		w := c.answer(t, method, target, bodies[path])
		if w.Code == http.StatusInternalServerError || w.Code == http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", operation, w.Code, w.Body)
		}
	}
}

func TestUnknownPathsAndMethodsAreProblems(t *testing.T) {
	c := newChecked(t, newTestServer(t, io.Discard))
	for _, tt := range []struct {
		method, path, allow string
		status              int
	}{
		{"GET", "/docs/nope", "", 404}, {"POST", "/execute/", "", 404}, {"GET", "/sessions/", "", 404}, {"BREW", "/nope", "", 404}, {"OPTIONS", "/nope", "", 404},
		{"GET", "/execute", "POST", 405}, {"DELETE", "/sessions", "GET, HEAD", 405}, {"PUT", "/sessions/u1", "GET, HEAD, DELETE", 405},
		{"BREW", "/sessions/u%3A1", "GET, HEAD, DELETE", 405}, {"HEAD", "/checkout", "POST", 405}, {"OPTIONS", "/health", "GET, HEAD", 405}, {"POST", "/", "GET, HEAD", 405},
		{"DELETE", "/docs/docs.js", "GET, HEAD", 405},
	} {
		w := c.answer(t, tt.method, tt.path, "")
		if allow := strings.Join(w.Header().Values("Allow"), ", "); w.Code != tt.status || allow != tt.allow {
			t.Errorf("%s %s: %d, Allow %q, want %d, %q", tt.method, tt.path, w.Code, allow, tt.status, tt.allow)
		}
	}
}

// TestAPanicIsAnInternalProblem has a handler meet what cannot be: a pool that was not made by New.
func TestAPanicIsAnInternalProblem(t *testing.T) {
	var log strings.Builder
	c := newChecked(t, testServerOf(t, new(poolsvc.Pool), slog.New(slog.NewJSONHandler(&log, nil))))
	w := c.answer(t, "POST", "/checkout", `{"type":"anonymous"}`)
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), `"code":"internal"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if strings.Contains(w.Body.String(), "divide by zero") || strings.Contains(w.Body.String(), "goroutine") {
		t.Errorf("the client is told what only the log should have: %s", w.Body)
	}
	id := w.Header().Get("X-Request-Id")
	if !strings.Contains(log.String(), "divide by zero") || !strings.Contains(log.String(), "routes_test.go") || strings.Count(log.String(), id) < 2 {
		t.Errorf("the log does not have the cause, the stack and the request id %s:\n%s", id, log.String())
	}
	if w := c.answer(t, "GET", "/openapi.yaml", ""); w.Code != http.StatusOK { // it goes on
		t.Errorf("after it: %d %s", w.Code, w.Body)
	}
}

func TestAnErrorThatIsNobodysIsInternalAndIsLoggedOnly(t *testing.T) {
	var log strings.Builder
	s := testServerOf(t, new(poolsvc.Pool), slog.New(slog.NewJSONHandler(&log, nil)))
	w := httptest.NewRecorder()
	s.observe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, errors.New("secret cause")) })).
		ServeHTTP(w, httptest.NewRequest("GET", "/health", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") || !strings.Contains(log.String(), "secret cause") {
		t.Errorf("%d %s, log %s", w.Code, w.Body, log.String())
	}
}

func TestAClientThatLeftGetsNothing(t *testing.T) {
	s := testServerOf(t, new(poolsvc.Pool), slog.New(slog.DiscardHandler))
	w := httptest.NewRecorder()
	defer func() {
		if cause := recover(); cause != http.ErrAbortHandler || w.Body.Len() > 0 {
			t.Errorf("panic %v and %d bytes, want http.ErrAbortHandler and none", cause, w.Body.Len())
		}
	}()
	s.observe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, poolsvc.ErrClientGone) })).
		ServeHTTP(w, httptest.NewRequest("GET", "/health", nil))
}

func TestAReplyThatIsCutIsWrittenNoMore(t *testing.T) {
	s := testServerOf(t, new(poolsvc.Pool), slog.New(slog.DiscardHandler))
	cut := s.observe(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		if got := s.Writing(); got != 1 {
			t.Errorf("%d replies are being written, want 1", got)
		}
		panic(http.ErrAbortHandler)
	}))
	func() {
		defer func() { _ = recover() }() // as net/http does
		cut.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/health", nil))
	}()
	if got := s.Writing(); got != 0 {
		t.Errorf("%d replies are being written after it, want none", got)
	}
}

// TestAReplyCarriesResultsAsTheyAre: a dict with the keys 1 and "1" has a name twice, which only some readers refuse.
func TestAReplyCarriesResultsAsTheyAre(t *testing.T) {
	w := httptest.NewRecorder()
	if err := reply(w, http.StatusOK, api.BroadcastResult{Result: []byte(`{"1":"a","1":"b"}`)}); err != nil {
		t.Fatal(err)
	}
	if want := `"result":{"1":"a","1":"b"}`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("no %s in %s", want, w.Body)
	}
}
