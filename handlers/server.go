package handlers

import (
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"charmer/api"
	"charmer/poolsvc"
)

// Config is what a Server needs. All fields are required.
type Config struct {
	Pool     *poolsvc.Pool
	Log      *slog.Logger
	Contract []byte // openapi.yaml
	Version  string
	MaxBody  int64 // bytes of a request body
	Debug    bool  // show tracebacks to clients
}

// Server answers HTTP requests with a pool. Create it with New.
type Server struct {
	cfg       Config
	pool      *poolsvc.Pool
	log       *slog.Logger
	bind      *binder
	metrics   http.Handler
	documents documents
	docs      *docs
	landing   *landing
	routing   chi.Router
	handler   http.Handler
	writing   atomic.Int64 // replies that have begun and are not written yet

	mcpWhole, mcpEvents http.Handler
	mcpLists            mcpLists
	mcpCalls            mcpCalls
}

var _ api.ServerInterface = (*Server)(nil)

// New makes a Server. It fails if the contract is not YAML, and if a page is no template.
func New(cfg Config) (*Server, error) {
	contract, err := yaml.YAMLToJSON(cfg.Contract)
	if err != nil {
		return nil, err
	}
	docs, err := newDocs(cfg.Version)
	if err != nil {
		return nil, err
	}
	landing, err := newLanding()
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		newCollector(cfg.Pool, cfg.Version),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s := &Server{
		cfg: cfg, pool: cfg.Pool, log: cfg.Log, bind: newBinder(cfg.MaxBody), documents: documents{contract: contract, pool: cfg.Pool}, docs: docs, landing: landing,
		metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	}
	s.mcpWhole, s.mcpEvents = s.newMCP()
	s.routing = s.routes()
	s.handler = s.observe(s.routing) // request id in and out, access log, panics
	return s, nil
}

// Writing returns how many replies are being written.
func (s *Server) Writing() int { return int(s.writing.Load()) }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// reply sends body as JSON.
func reply(w http.ResponseWriter, status int, body any) error {
	encoded, err := json.Marshal(body, json.Deterministic(true), jsontext.AllowDuplicateNames(true)) // {1: …, "1": …} of Python has them
	if err != nil {
		return err
	}
	send(w, status, "application/json", encoded)
	return nil
}

// send writes a whole reply. A failed write means that the client has left; there is nobody to tell.
func send(w http.ResponseWriter, status int, contentType string, body ...[]byte) {
	size := 0
	for _, part := range body {
		size += len(part)
	}
	w.Header()["Content-Type"] = []string{contentType}
	w.Header()["Content-Length"] = []string{strconv.Itoa(size)}
	w.WriteHeader(status)
	for _, part := range body {
		_, _ = w.Write(part)
	}
}

// milliseconds is how durations stand in JSON: to the microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// duration is the inverse of milliseconds, for members that may be absent.
func duration(ms *float64) *time.Duration {
	if ms == nil {
		return nil
	}
	d := time.Duration(*ms * float64(time.Millisecond))
	return &d
}

// some returns a pointer to v, or nil if v is the zero value: how absent members stand in the generated types.
func some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
