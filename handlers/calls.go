package handlers

import (
	"net/http"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"

	"charmer/api"
	"charmer/poolsvc"
)

// Execute answers POST /execute.
func (s *Server) Execute(w http.ResponseWriter, r *http.Request) error {
	began := time.Now()
	req, err := bind[api.ExecuteRequest](s.bind, r)
	if err != nil {
		return err
	}
	if req.LeaseID != nil && req.SessionID != nil {
		return invalidBody(api.FieldError{Pointer: "/session_id", Detail: "excludes /lease_id"})
	}
	isolation := value(req.Isolation)
	if fresh := isolation == api.ExecuteRequestIsolationFresh; fresh && (req.LeaseID != nil || req.SessionID != nil) {
		return invalidBody(api.FieldError{Pointer: "/isolation", Detail: "fresh excludes /lease_id and /session_id"})
	}
	x := exchangeOf(r)
	result, err := s.pool.Execute(r.Context(), poolsvc.Request{
		Command: req.Command, Args: req.Args, LeaseID: value(req.LeaseID), SessionID: value(req.SessionID),
		Fresh:   isolation == api.ExecuteRequestIsolationFresh,
		Timeout: duration(req.TimeoutMs), CheckoutTimeout: duration(req.CheckoutTimeoutMs),
		RequestID: x.requestID, Traceparent: traceparent(r),
	})
	if err != nil {
		return err
	}
	body, err := executeResponse(x.requestID, result, time.Since(began))
	if err != nil {
		return err
	}
	send(w, http.StatusOK, "application/json", body)
	return nil
}

// traceContext is the traceparent of W3C Trace Context, section 3.2, version 00.
var traceContext = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceparent returns the client's trace context, or nothing if it is none: it goes into the frame of the call, whose size
// must not be the client's choice.
func traceparent(r *http.Request) string {
	if value := r.Header.Get("Traceparent"); traceContext.MatchString(value) {
		return value
	}
	return ""
}

// executeRest is api.ExecuteResponse without the result, which is spliced in as the bytes that Python wrote.
type executeRest struct {
	RequestID string          `json:"request_id"`
	Worker    api.WorkerRef   `json:"worker"`
	Session   *api.SessionRef `json:"session,omitempty"`
	Timing    api.Timing      `json:"timing"`
}

func executeResponse(requestID string, result poolsvc.Result, total time.Duration) ([]byte, error) {
	rest, err := json.Marshal(executeRest{
		RequestID: requestID, Worker: workerRef(result.Worker), Session: sessionRef(result.Session),
		Timing: api.Timing{QueueMs: milliseconds(result.Queue), RunMs: milliseconds(result.Run), TotalMs: milliseconds(total)},
	})
	if err != nil {
		return nil, err
	}
	const open = `{"result":`
	body := make([]byte, 0, len(open)+len(result.Result)+len(rest))
	body = append(append(append(body, open...), result.Result...), ',')
	return append(body, rest[1:]...), nil
}

// ListCommands answers GET /commands.
func (s *Server) ListCommands(w http.ResponseWriter, _ *http.Request) error {
	commands, generation, err := s.pool.Commands()
	if err != nil {
		return err
	}
	list := api.CommandList{Commands: []api.Command{}, Generation: int64(generation)}
	for _, c := range commands {
		row := api.Command{Name: c.Name, Doc: c.Doc, Parameters: []api.Parameter{}, Idempotent: c.Idempotent, TimeoutMs: some(c.TimeoutMs),
			Isolation: api.CommandIsolationShared}
		if c.Fresh() {
			row.Isolation = api.CommandIsolationFresh
		}
		for _, p := range c.Parameters {
			row.Parameters = append(row.Parameters, api.Parameter{Name: p.Name, Required: p.Required, Variadic: p.Variadic, Annotation: some(p.Annotation)})
		}
		list.Commands = append(list.Commands, row)
	}
	return reply(w, http.StatusOK, list)
}

func workerRef(ref poolsvc.WorkerRef) api.WorkerRef {
	return api.WorkerRef{ID: int64(ref.ID), PID: int64(ref.PID), Generation: int64(ref.Generation)}
}

func sessionRef(ref *poolsvc.SessionRef) *api.SessionRef {
	if ref == nil {
		return nil
	}
	return &api.SessionRef{ID: ref.ID, State: api.SessionRefState(ref.State)}
}

// value is what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
