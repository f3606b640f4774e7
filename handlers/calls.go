package handlers

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"time"

	"charmer/api"
	"charmer/poolsvc"
)

// Execute answers POST /execute.
func (s *Server) Execute(w http.ResponseWriter, r *http.Request, params api.ExecuteParams) error {
	req, err := bind[api.ExecuteRequest](s.bind, r)
	if err != nil {
		return err
	}
	if req.LeaseID != nil && req.SessionID != nil {
		return invalidBody(api.FieldError{Pointer: "/session_id", Detail: "excludes /lease_id"})
	}
	fresh := value(req.Isolation) == api.IsolationFresh
	if fresh && (req.LeaseID != nil || req.SessionID != nil) {
		return invalidBody(api.FieldError{Pointer: "/isolation", Detail: "fresh excludes /lease_id and /session_id"})
	}
	x := exchangeOf(r)
	call := poolsvc.Request{
		Command: req.Command, Args: req.Args, LeaseID: value(req.LeaseID), SessionID: value(req.SessionID),
		Fresh:   fresh,
		Timeout: duration(req.TimeoutMs), MaxTimeout: duration(params.RequestTimeoutMs), CheckoutTimeout: duration(req.CheckoutTimeoutMs),
		Finish: value(req.OnDisconnect) == api.OnDisconnectFinish, RequestID: x.requestID, Traceparent: traceparent(r),
	}
	result, streamed, err := s.run(w, r, call)
	if err != nil || streamed {
		return err
	}
	sendResult(w, executeRest{x.requestID, workerRef(result.Worker), sessionRef(result.Session), timing(result, time.Since(x.began))}, result.Result)
	return nil
}

// run makes a call, and answers it if the client wants its items as they come.
func (s *Server) run(w http.ResponseWriter, r *http.Request, call poolsvc.Request) (result poolsvc.Result, streamed bool, err error) {
	format, orJSON := streamFormat(r)
	if format != "" {
		err := s.executeStream(w, r, call, format)
		if err != poolsvc.ErrNotStreamable || !orJSON {
			return result, true, notShared(r, call, err)
		}
	}
	result, err = s.pool.Execute(r.Context(), call)
	return result, false, notShared(r, call, err)
}

// notShared adds to ErrNotShared where the request names what the call does not take.
func notShared(r *http.Request, call poolsvc.Request, err error) error {
	if !errors.Is(err, poolsvc.ErrNotShared) {
		return err
	}
	name := "session_id"
	if call.LeaseID != "" {
		name = "lease_id"
	}
	detail := "must not be given: " + err.Error()
	if exchangeOf(r).bare {
		return invalidParam("query", name, detail)
	}
	return invalidBody(api.FieldError{Pointer: "/" + name, Detail: detail})
}

// executeStream answers a call with its items as they come.
func (s *Server) executeStream(w http.ResponseWriter, r *http.Request, call poolsvc.Request, format string) error {
	x := exchangeOf(r)
	out := newStream(w, format, call.RequestID)
	out.tells = x.bare
	defer out.close()
	feed := poolsvc.NewFeed()
	defer feed.End()
	ctx, leave := context.WithCancel(r.Context())
	defer leave()
	written := make(chan struct{})
	go func() { // ends when the call has, and the client has all that it said or takes no more
		defer close(written)
		out.copy(feed, leave)
	}()
	call.Stream, call.Events, call.Began = true, feed, out.began
	result, err := s.pool.Execute(ctx, call)
	feed.End()
	<-written
	if err == nil {
		err := out.end(timing(result, time.Since(x.began)))
		if err != nil {
			panic(http.ErrAbortHandler) // the stream is cut
		}
		return nil
	}
	begun, writeErr := out.fail(func() *api.Problem { return s.fullProblem(r, err) })
	if !begun {
		return err
	}
	x.err = err
	if writeErr != nil {
		panic(http.ErrAbortHandler)
	}
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

func timing(result poolsvc.Result, total time.Duration) api.Timing {
	return api.Timing{QueueMs: milliseconds(result.Queue), RunMs: milliseconds(result.Run), TotalMs: milliseconds(total)}
}

// ListCommands answers GET /commands.
func (s *Server) ListCommands(w http.ResponseWriter, _ *http.Request) error {
	list, err := s.commandList()
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, list)
}

// commandList is what the app offers.
func (s *Server) commandList() (api.CommandList, error) {
	commands, generation, err := s.pool.Commands()
	if err != nil {
		return api.CommandList{}, err
	}
	list := api.CommandList{Commands: []api.Command{}, Generation: int64(generation)}
	for _, c := range commands {
		list.Commands = append(list.Commands, describe(c))
	}
	return list, nil
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
