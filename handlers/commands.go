package handlers

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"charmer/api"
	"charmer/poolsvc"
)

// GetCommand answers GET /commands/{command}.
func (s *Server) GetCommand(w http.ResponseWriter, _ *http.Request, name api.CommandName) error {
	commands, _, err := s.pool.Commands()
	if err != nil {
		return err
	}
	for _, c := range commands {
		if c.Name == name {
			return reply(w, http.StatusOK, describe(c))
		}
	}
	return poolsvc.ErrUnknownCommand
}

// CallCommand answers POST /commands/{command}: the body is the arguments, the reply the result.
func (s *Server) CallCommand(w http.ResponseWriter, r *http.Request, name api.CommandName, params api.CallCommandParams) error {
	x := exchangeOf(r)
	x.bare = true
	args, err := bindArgs(s.bind, r)
	if err != nil {
		return err
	}
	if params.LeaseID != nil && params.SessionID != nil {
		return invalidParam("query", "session_id", "excludes lease_id")
	}
	fresh := value(params.Isolation) == api.IsolationFresh
	if fresh && (params.LeaseID != nil || params.SessionID != nil) {
		return invalidParam("query", "isolation", "fresh excludes lease_id and session_id")
	}
	result, streamed, err := s.run(w, r, poolsvc.Request{
		Command: name, Args: args, LeaseID: value(params.LeaseID), SessionID: value(params.SessionID), Fresh: fresh,
		Timeout: duration(params.TimeoutMs), MaxTimeout: duration(params.RequestTimeoutMs), CheckoutTimeout: duration(params.CheckoutTimeoutMs),
		Finish: value(params.OnDisconnect) == api.OnDisconnectFinish, RequestID: x.requestID, Traceparent: traceparent(r),
	})
	if err != nil || streamed {
		return err
	}
	header := w.Header()
	tellWorker(header, result.Worker, result.Session)
	t := timing(result, time.Since(x.began))
	header.Set("Server-Timing", fmt.Sprintf("queue;dur=%g, run;dur=%g, total;dur=%g", t.QueueMs, t.RunMs, t.TotalMs))
	send(w, http.StatusOK, jsonMediaType, result.Result)
	return nil
}

// tellWorker puts into headers where a call ran.
func tellWorker(header http.Header, worker poolsvc.WorkerRef, session *poolsvc.SessionRef) {
	header.Set("Charmer-Worker", strconv.FormatUint(worker.ID, 10))
	header.Set("Charmer-Generation", strconv.Itoa(worker.Generation))
	if session != nil {
		header.Set("Charmer-Session", session.State)
	}
}

// bindArgs reads a body that is the arguments of a call, as strictly as bind, or nothing. The error is a *requestError.
func bindArgs(b *binder, r *http.Request) (jsontext.Value, error) {
	buffer := b.buffers.Get().(*bodyBuffer)
	defer b.putBack(buffer)
	if err := b.read(buffer, r); err != nil || buffer.Len() == 0 {
		return nil, err
	}
	var args jsontext.Value
	if err := b.decode(buffer.Bytes(), &args); err != nil {
		return nil, invalidBody(decodeProblem(err))
	}
	if kind := args.Kind(); kind != '{' {
		return nil, invalidBody(api.FieldError{Detail: "must be an object, not " + jsonNoun(kind)})
	}
	return args, nil
}

// describe is how replies describe a command.
func describe(c poolsvc.Command) api.Command {
	row := api.Command{Name: c.Name, Summary: some(c.Summary), Doc: c.Doc, ArgsSchema: c.ArgsSchema, ResultSchema: c.ResultSchema,
		Parameters: []api.Parameter{}, Idempotent: c.Idempotent, TimeoutMs: some(c.TimeoutMs),
		Isolation: api.CommandIsolationShared, Stream: c.Stream, Concurrency: int64(max(1, c.Concurrency))}
	if c.Fresh() {
		row.Isolation = api.CommandIsolationFresh
	}
	for _, p := range c.Parameters {
		row.Parameters = append(row.Parameters, api.Parameter{Name: p.Name, Required: p.Required, Variadic: p.Variadic, Annotation: some(p.Annotation)})
	}
	return row
}
