package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"charmer/api"
	"charmer/poolsvc"
)

// Conditions that the router finds.
var (
	errNotFound         = errors.New("no such resource")
	errMethodNotAllowed = errors.New("method not allowed here; the Allow header names those that are")
)

// refusals maps conditions, by errors.Is, to what the client is told. In none of them has Python started.
var refusals = []struct {
	err    error
	status int
	code   api.ProblemCode
}{
	{errNotFound, http.StatusNotFound, api.ProblemCodeNotFound},
	{errMethodNotAllowed, http.StatusMethodNotAllowed, api.ProblemCodeMethodNotAllowed},
	{poolsvc.ErrNotShared, http.StatusBadRequest, api.ProblemCodeInvalidRequest},
	{poolsvc.ErrUnknownCommand, http.StatusNotFound, api.ProblemCodeUnknownCommand},
	{poolsvc.ErrLeaseNotFound, http.StatusNotFound, api.ProblemCodeLeaseNotFound},
	{poolsvc.ErrSessionNotFound, http.StatusNotFound, api.ProblemCodeSessionNotFound},
	{poolsvc.ErrBroadcastNotFound, http.StatusNotFound, api.ProblemCodeBroadcastNotFound},
	{poolsvc.ErrExecutionNotFound, http.StatusNotFound, api.ProblemCodeExecutionNotFound},
	{poolsvc.ErrNotStreamable, http.StatusNotAcceptable, api.ProblemCodeNotStreamable},
	{poolsvc.ErrWorkerNotFound, http.StatusNotFound, api.ProblemCodeWorkerNotFound},
	{poolsvc.ErrLeaseBusy, http.StatusConflict, api.ProblemCodeLeaseBusy},
	{poolsvc.ErrSessionBusy, http.StatusConflict, api.ProblemCodeSessionBusy},
	{poolsvc.ErrReloadRunning, http.StatusConflict, api.ProblemCodeReloadRunning},
	{poolsvc.ErrNotRecyclable, http.StatusConflict, api.ProblemCodeNotRecyclable},
	{poolsvc.ErrNoStack, http.StatusConflict, api.ProblemCodeStackUnavailable},
	{poolsvc.ErrLeaseExpired, http.StatusGone, api.ProblemCodeLeaseExpired},
	{poolsvc.ErrSessionLost, http.StatusGone, api.ProblemCodeSessionLost},
	{poolsvc.ErrCheckoutTimeout, http.StatusServiceUnavailable, api.ProblemCodeCheckoutTimeout},
	{poolsvc.ErrQueueFull, http.StatusServiceUnavailable, api.ProblemCodeQueueFull},
	{poolsvc.ErrStarting, http.StatusServiceUnavailable, api.ProblemCodeStarting},
	{poolsvc.ErrDraining, http.StatusServiceUnavailable, api.ProblemCodeDraining},
	{poolsvc.ErrCrashLooping, http.StatusServiceUnavailable, api.ProblemCodeCrashLooping},
	{poolsvc.ErrSessionLimit, http.StatusServiceUnavailable, api.ProblemCodeSessionLimit},
}

// titles are the short, constant names of the problems.
var titles = map[api.ProblemCode]string{
	api.ProblemCodeInvalidRequest:       "The request does not fit the contract",
	api.ProblemCodeInvalidCheckoutType:  "There is no such type of checkout",
	api.ProblemCodeInvalidArgs:          "The arguments do not fit the command",
	api.ProblemCodeNotFound:             "There is no such resource",
	api.ProblemCodeUnknownCommand:       "There is no such command",
	api.ProblemCodeLeaseNotFound:        "There is no such lease",
	api.ProblemCodeSessionNotFound:      "There is no such session",
	api.ProblemCodeWorkerNotFound:       "There is no such worker",
	api.ProblemCodeBroadcastNotFound:    "There is no such broadcast",
	api.ProblemCodeExecutionNotFound:    "There is no such call under way",
	api.ProblemCodeNotStreamable:        "The command yields no items",
	api.ProblemCodeCancelled:            "The call was cancelled",
	api.ProblemCodeForbidden:            "The request is not allowed",
	api.ProblemCodeMethodNotAllowed:     "The method is not allowed",
	api.ProblemCodePayloadTooLarge:      "The request is too large",
	api.ProblemCodeUnsupportedMediaType: "The media type is not supported",
	api.ProblemCodeLeaseBusy:            "A call runs on the lease",
	api.ProblemCodeSessionBusy:          "The session is busy",
	api.ProblemCodeNotRecyclable:        "The worker cannot be recycled",
	api.ProblemCodeStackUnavailable:     "The worker gives no stack",
	api.ProblemCodeLeaseExpired:         "The lease has ended",
	api.ProblemCodeSessionLost:          "The session is lost",
	api.ProblemCodeCommandFailed:        "The command failed",
	api.ProblemCodeReloadRunning:        "Another reload has begun",
	api.ProblemCodeReloadFailed:         "The new code does not start",
	api.ProblemCodeInternal:             "Internal error",
	api.ProblemCodeWorkerCrashed:        "The worker died",
	api.ProblemCodeProtocolError:        "The worker broke the protocol",
	api.ProblemCodeCheckoutTimeout:      "No worker came free in time",
	api.ProblemCodeQueueFull:            "The queue is full",
	api.ProblemCodeStarting:             "The service is starting",
	api.ProblemCodeDraining:             "The service is shutting down",
	api.ProblemCodeCrashLooping:         "Workers cannot start",
	api.ProblemCodeSessionLimit:         "There are too many sessions",
	api.ProblemCodeExecutionTimeout:     "The command ran out of time",
}

// fail answers a request with the problem that err is about. It is the only place that writes an error status.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	exchangeOf(r).err = err
	if errors.Is(err, poolsvc.ErrClientGone) || errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler) // nobody listens; net/http closes the connection
	}
	problem := s.fullProblem(r, err)
	body, encodeErr := json.Marshal(problem, jsontext.AllowInvalidUTF8(true)) // paths and headers may hold any bytes
	if encodeErr != nil {
		panic(fmt.Sprintf("bug: problem cannot be encoded: %v", encodeErr))
	}
	if problem.RetryAfterMs != nil {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(*problem.RetryAfterMs/1000))))
	}
	send(w, int(problem.Status), "application/problem+json", body)
}

// fullProblem is what the client of r is told about err.
func (s *Server) fullProblem(r *http.Request, err error) *api.Problem {
	problem := s.problem(err)
	if problem.Code == string(api.ProblemCodeInvalidArgs) {
		for i := range problem.Errors { // they point into the arguments, and the client is told where those are
			problem.Errors[i].Pointer = exchangeOf(r).argsAt() + problem.Errors[i].Pointer
		}
	}
	problem.Instance = r.URL.Path
	problem.RequestID = exchangeOf(r).requestID
	return problem
}

// newProblem fills in what is the same in all problems of a code. An app may raise without a message.
func newProblem(status int, code api.ProblemCode, detail string) *api.Problem {
	if detail == "" {
		detail = titles[code]
	}
	return &api.Problem{Type: "urn:charmer:problem:" + string(code), Title: titles[code], Status: int64(status), Code: string(code), Detail: detail}
}

// problem finds what a client is told about err.
func (s *Server) problem(err error) *api.Problem {
	var (
		request   *requestError
		param     *api.ParamError
		call      *poolsvc.CallError
		refused   *poolsvc.CommandError // without a call around it: the arguments do not fit, and no worker has seen them
		reload    *poolsvc.ReloadError
		cancelled *poolsvc.CancelledError
	)
	switch {
	case errors.As(err, &request):
		p := newProblem(request.Status, request.Code, request.Detail)
		p.Errors, p.LimitBytes = request.Errors, some(request.LimitBytes)
		return p
	case errors.As(err, &param):
		p := newProblem(http.StatusBadRequest, api.ProblemCodeInvalidRequest, param.Error())
		p.Errors = []api.FieldError{{Pointer: param.In + "/" + param.Name, Detail: param.Detail()}}
		return p
	case errors.As(err, &call):
		p := s.callProblem(call)
		p.Worker = some(workerRef(call.Worker))
		return p
	}
	if errors.As(err, &refused) {
		return s.commandProblem("", refused)
	}
	if errors.As(err, &reload) {
		return reloadProblem(reload)
	}
	if errors.As(err, &cancelled) {
		return cancelledProblem("the call", cancelled)
	}
	for _, row := range refusals {
		if errors.Is(err, row.err) {
			return refusalProblem(newProblem(row.status, row.code, err.Error()), err)
		}
	}
	return newProblem(http.StatusInternalServerError, api.ProblemCodeInternal, "charmer has a bug here; its log has the details under the request id")
}

// refusalProblem adds what a refusal says beside its code.
func refusalProblem(p *api.Problem, err error) *api.Problem {
	var refused *poolsvc.RefusedError
	if errors.As(err, &refused) {
		p.Retryable = true
		p.RetryAfterMs = some(milliseconds(max(refused.RetryAfter, time.Millisecond)))
		p.WaitedMs = some(milliseconds(refused.Waited))
		p.QueueLength = some(int64(refused.QueueLength))
		if refused.Start != nil {
			p.StderrTail = refused.Start.Exit.StderrTail
		}
	}
	var gone *poolsvc.GoneError
	if errors.As(err, &gone) && gone.Exit != nil {
		addExit(p, *gone.Exit)
	}
	return p
}

// callProblem is the problem of a call that was sent to a worker.
func (s *Server) callProblem(call *poolsvc.CallError) *api.Problem {
	var (
		failed    *poolsvc.CommandError
		crash     *poolsvc.CrashError
		protocol  *poolsvc.ProtocolError
		timeout   *poolsvc.TimeoutError
		cancelled *poolsvc.CancelledError
		large     *poolsvc.TooLargeError
	)
	switch {
	case errors.As(call.Err, &failed):
		return s.commandProblem(call.Command, failed)
	case errors.As(call.Err, &crash):
		p := newProblem(http.StatusBadGateway, api.ProblemCodeWorkerCrashed, "the worker "+crash.Exit.Reason)
		if p.Started = crash.Started; !p.Started {
			p.Retryable, p.RetryAfterMs = true, some(1000.0)
		}
		addExit(p, crash.Exit)
		return p
	case errors.As(call.Err, &protocol):
		p := newProblem(http.StatusBadGateway, api.ProblemCodeProtocolError, protocol.Detail)
		p.Started = protocol.Started
		addExit(p, protocol.Exit)
		return p
	case errors.As(call.Err, &timeout):
		p := newProblem(http.StatusGatewayTimeout, api.ProblemCodeExecutionTimeout, call.Command+" had not returned at its deadline; "+stepText(timeout.Step))
		p.Started, p.Stack, p.Step = timeout.Started, some(timeout.Stack), some(api.CancelStep(timeout.Step))
		if !p.Started {
			p.Retryable, p.RetryAfterMs = true, some(1000.0)
		}
		if timeout.Step == poolsvc.StepKilled {
			addExit(p, timeout.Exit)
		}
		return p
	case errors.As(call.Err, &cancelled):
		return cancelledProblem(call.Command, cancelled)
	case errors.As(call.Err, &large):
		p := newProblem(http.StatusRequestEntityTooLarge, api.ProblemCodePayloadTooLarge, large.Error())
		p.LimitBytes = some(int64(large.Limit))
		return p
	default:
		return newProblem(http.StatusInternalServerError, api.ProblemCodeInternal, "charmer has a bug here; its log has the details under the request id")
	}
}

// cancelledProblem is the problem of a call that was ended because somebody wanted it to.
func cancelledProblem(command string, cancelled *poolsvc.CancelledError) *api.Problem {
	p := newProblem(http.StatusConflict, api.ProblemCodeCancelled, fmt.Sprintf("%s was ended: %s; %s", command, cancelled.Why, stepText(cancelled.Step)))
	p.Started, p.Stack, p.Step = cancelled.Started, some(cancelled.Stack), some(api.CancelStep(cancelled.Step))
	if cancelled.Step == poolsvc.StepKilled {
		addExit(p, cancelled.Exit)
	}
	return p
}

// stepText says how a call came to its early end.
func stepText(step poolsvc.Step) string {
	switch step {
	case poolsvc.StepDequeued:
		return "it was still waiting"
	case poolsvc.StepKilled:
		return "its worker was killed"
	default:
		return "Python gave it up"
	}
}

// commandProblem is the problem of a command that failed in a healthy worker.
func (s *Server) commandProblem(command string, failed *poolsvc.CommandError) *api.Problem {
	switch failed.Kind {
	case poolsvc.KindInvalidArgs:
		p := newProblem(http.StatusBadRequest, api.ProblemCodeInvalidArgs, failed.Message)
		for _, e := range failed.Errors {
			p.Errors = append(p.Errors, api.FieldError{Pointer: e.Pointer, Detail: e.Detail})
		}
		return p
	case poolsvc.KindUnknownCommand:
		return newProblem(http.StatusNotFound, api.ProblemCodeUnknownCommand, failed.Message)
	}
	p := newProblem(http.StatusUnprocessableEntity, api.ProblemCodeCommandFailed, fmt.Sprintf("%s: %s", command, failed.Error()))
	p.Started = true
	p.Exception = &api.PythonException{Type: failed.Type, Message: failed.Message, Code: some(failed.Code), Limit: some(api.Limit(failed.Limit))}
	if failed.Hint != "" {
		p.Detail += "; " + failed.Hint
	}
	if s.cfg.Debug {
		p.Exception.Traceback = some(failed.Traceback)
	}
	if failed.Kind == poolsvc.KindCommandError {
		if appMayChoose(failed.Status) {
			p.Status = int64(failed.Status)
		}
		if _, ours := titles[api.ProblemCode(failed.Code)]; !ours && appCode.MatchString(failed.Code) {
			p.Code = failed.Code
		}
		if failed.Message != "" {
			p.Detail = failed.Message
		}
	}
	return p
}

// appCode is what openapi.yaml says of codes that apps choose.
var appCode = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// appMayChoose reports whether a CommandError may answer with status. 502, 503 and 504 would have proxies repeat work
// that has run.
func appMayChoose(status int) bool {
	return status >= 400 && status <= 599 && (status < 502 || status > 504)
}

func addExit(p *api.Problem, exit poolsvc.Exit) {
	p.StderrTail = exit.StderrTail
	p.Exit = &api.Exit{Reason: exit.Reason, OomSuspected: some(exit.OOMSuspected), Limit: some(api.Limit(exit.Limit))}
	if exit.Signal != 0 {
		p.Exit.Signal = some(int64(exit.Signal))
		p.Exit.SignalName = some(exit.SignalName())
	} else {
		code := int64(exit.Code)
		p.Exit.Code = &code
	}
}

// pythonFailed reports whether err is about a call that Python, or the death of Python, ended badly.
func pythonFailed(err error) bool {
	if _, called := errors.AsType[*poolsvc.CallError](err); !called {
		return false
	}
	failed, ok := errors.AsType[*poolsvc.CommandError](err)
	return !ok || failed.Started()
}

// gaveUp reports whether err is about a call that Python gave up because its client had left, or somebody had asked for it.
func gaveUp(err error) bool {
	cancelled, ok := errors.AsType[*poolsvc.CancelledError](err)
	return ok && cancelled.Step == poolsvc.StepCancelled
}

// appChose reports whether the status of the reply may be one that the app chose.
func appChose(err error) bool {
	_, ok := errors.AsType[*poolsvc.CommandError](err)
	return ok
}

// evidence is what the log says about a failed call beside the error's own text.
func evidence(err error) []slog.Attr {
	var attrs []slog.Attr
	var call *poolsvc.CallError
	if errors.As(err, &call) {
		attrs = append(attrs, slog.String("command", call.Command), slog.Uint64("worker", call.Worker.ID), slog.Int("pid", call.Worker.PID))
	}
	var failed *poolsvc.CommandError
	if errors.As(err, &failed) && failed.Traceback != "" {
		attrs = append(attrs, slog.String("traceback", failed.Traceback))
	}
	var timeout *poolsvc.TimeoutError
	if errors.As(err, &timeout) {
		attrs = append(attrs, slog.String("step", string(timeout.Step)), slog.String("stack", timeout.Stack))
	}
	var cancelled *poolsvc.CancelledError
	if errors.As(err, &cancelled) {
		attrs = append(attrs, slog.String("step", string(cancelled.Step)), slog.String("stack", cancelled.Stack))
	}
	return attrs
}
