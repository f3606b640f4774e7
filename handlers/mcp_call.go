package handlers

import (
	"bytes"
	"context"
	stdjson "encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/go-playground/validator/v10"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"charmer/api"
	"charmer/handlers/mcptools"
	"charmer/poolsvc"
)

// What _meta may have of a call, and has of its answer.
const (
	mcpMetaOurs    = "charmer/"
	mcpMetaSession = "charmer/session_id"
	mcpMetaCall    = "charmer/call"
)

// callTool answers tools/call, as Execute answers POST /execute. Whatever becomes of the call is a result, so that the model sees it.
func (s *Server) callTool(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	began := time.Now()
	at := ctx.Value(mcpExchangeKey{}).(*mcpExchange)
	tools, err := s.mcpTools(ctx, at)
	if err != nil {
		return s.toolProblem(at, err), nil
	}
	call, err := s.toolCall(at, tools, req.Params)
	if err != nil {
		return s.toolProblem(at, err), nil
	}
	ctx, leave := s.mcpCalls.begin(ctx, at)
	defer leave()
	if at.token != nil {
		said := tellProgress(ctx, req.Session, at.token)
		defer said.end()
		call.Events = said.feed
	}
	result, err := s.pool.Execute(ctx, call)
	if errors.Is(err, poolsvc.ErrUnknownCommand) {
		at.err = err
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "unknown tool: " + clip(at.tool)}
	}
	if err != nil {
		return s.toolProblem(at, err), nil
	}
	return &mcp.CallToolResult{
		Meta: mcp.Meta{mcpMetaCall: executeRest{
			RequestID: call.RequestID, Worker: workerRef(result.Worker), Session: sessionRef(result.Session), Timing: timing(result, time.Since(began)),
		}},
		Content:           []mcp.Content{&mcp.TextContent{Text: string(result.Result)}},
		StructuredContent: tools.Structured(call.Command, result.Result),
	}, nil
}

// toolCall is what the pool is asked for.
func (s *Server) toolCall(at *mcpExchange, tools *mcptools.List, params *mcp.CallToolParamsRaw) (poolsvc.Request, error) {
	call := poolsvc.Request{
		Command: tools.Command(at.tool), Args: params.Arguments, MaxTimeout: at.timeout,
		RequestID: exchangeOf(at.r).requestID, Traceparent: traceparent(at.r),
	}
	switch kind := jsontext.Value(call.Args).Kind(); {
	case len(call.Args) == 0 || kind == 'n':
		call.Args = nil
	case kind != '{':
		return call, invalidBody(api.FieldError{Pointer: "/params/arguments", Detail: "must be an object, not " + jsonNoun(kind)})
	}
	for key, value := range params.Meta {
		if !strings.HasPrefix(key, mcpMetaOurs) {
			continue
		}
		pointer := "/params/_meta/" + strings.ReplaceAll(clip(key), "/", "~1")
		if key != mcpMetaSession {
			return call, invalidBody(api.FieldError{Pointer: pointer, Detail: "unknown member"})
		}
		id, ok := value.(string)
		if !ok {
			return call, invalidBody(api.FieldError{Pointer: pointer, Detail: "must be a string"})
		}
		// The rules are those of POST /execute.
		err := s.bind.validate.StructPartial(&api.ExecuteRequest{SessionID: &id}, "SessionID")
		if broken, ok := errors.AsType[validator.ValidationErrors](err); ok {
			return call, invalidBody(api.FieldError{Pointer: pointer, Detail: ruleDetail(broken[0])})
		}
		call.SessionID = id
	}
	return call, nil
}

// toolProblem is the result of a call that failed or was refused. Its structured content would have to fit the schema of results, so the
// problem is text.
func (s *Server) toolProblem(at *mcpExchange, err error) *mcp.CallToolResult {
	_, text := s.mcpProblem(at, err)
	return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: string(text)}}}
}

// mcpTools returns the tools of the current generation of the app, once its first worker is ready.
func (s *Server) mcpTools(ctx context.Context, at *mcpExchange) (*mcptools.List, error) {
	commands, _, err := s.pool.Commands()
	if errors.Is(err, poolsvc.ErrStarting) {
		if err := s.awaitWorker(ctx, at); err != nil {
			return nil, err
		}
		commands, _, err = s.pool.Commands()
	}
	if err != nil {
		return nil, err
	}
	return s.mcpLists.of(commands), nil
}

// awaitWorker waits for a worker, and has a lazy pool start one, as a call would: clients ask for the list before they call anything.
func (s *Server) awaitWorker(ctx context.Context, at *mcpExchange) error {
	ctx, leave := s.mcpCalls.begin(ctx, at)
	defer leave()
	lease, err := s.pool.Checkout(ctx, poolsvc.CheckoutRequest{By: poolsvc.RequestRef{ID: exchangeOf(at.r).requestID, Traceparent: traceparent(at.r)}})
	if err != nil {
		return err
	}
	_ = s.pool.Release(lease.ID) // if it has ended by itself meanwhile, that is as good
	return nil
}

// mcpLists keeps the tools of the commands that were asked for last.
type mcpLists struct {
	mu   sync.Mutex // guards the fields below, and is held while a list is made
	from []poolsvc.Command
	list *mcptools.List
}

func (l *mcpLists) of(commands []poolsvc.Command) *mcptools.List {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.list != nil && len(l.from) == len(commands) && (len(commands) == 0 || &l.from[0] == &commands[0]) {
		return l.list
	}
	described := make([]mcptools.Command, 0, len(commands))
	for _, c := range commands {
		described = append(described, mcptools.Command{Name: c.Name, Summary: c.Summary, Doc: c.Doc, Args: c.ArgsSchema, Result: c.ResultSchema,
			Stream: c.Stream, Idempotent: c.Idempotent})
	}
	l.from, l.list = commands, mcptools.New(described)
	return l.list
}

// mcpCall names a call that has no answer yet: by the client's session of the protocol, which is its own secret, and the id of its message.
type mcpCall struct{ client, id string }

// mcpCalls are those that a notification can end, which comes in a request of its own.
type mcpCalls struct {
	mu  sync.Mutex // guards the field below
	all map[mcpCall]*context.CancelCauseFunc
}

// begin returns a context that ends when the client leaves, as the library's own does not, or says that it wants no answer. The caller
// calls leave when it has one.
func (c *mcpCalls) begin(ctx context.Context, at *mcpExchange) (_ context.Context, leave func()) {
	ctx, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(at.r.Context(), func() { end(context.Canceled) })
	if at.call.client == "" {
		return ctx, func() { stop(); end(nil) }
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[mcpCall]*context.CancelCauseFunc{}
	}
	c.all[at.call] = &end
	return ctx, func() {
		stop()
		end(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.all[at.call] == &end {
			delete(c.all, at.call)
		}
	}
}

// end ends a call, if there is one of that name.
func (c *mcpCalls) end(call mcpCall) {
	c.mu.Lock()
	end := c.all[call]
	c.mu.Unlock()
	if end != nil {
		(*end)(poolsvc.ErrCancelled)
	}
}

// mcpProgress tells the client of a call how far that is.
type mcpProgress struct {
	feed *poolsvc.Feed
	done chan struct{}
}

// tellProgress begins to tell what the feed of a call gets, until end.
func tellProgress(ctx context.Context, session *mcp.ServerSession, token jsontext.Value) *mcpProgress {
	p := &mcpProgress{feed: poolsvc.NewFeed(), done: make(chan struct{})}
	go func() { // ends with the feed
		defer close(p.done)
		last := -1.0
		for events := p.feed.Next(); len(events) > 0; events = p.feed.Next() {
			for _, e := range events {
				if e.Progress == nil {
					continue
				}
				said := mcpProgressOf(e.Progress.Fraction, e.Progress.Message, last)
				said.ProgressToken, last = stdjson.RawMessage(bytes.Clone(token)), said.Progress
				_ = session.NotifyProgress(ctx, said) // a client that takes no more has left, which ends the call
			}
		}
	}()
	return p
}

func (p *mcpProgress) end() {
	p.feed.End()
	<-p.done
}

// progressStep is by how much progress grows that the command does not say, or that goes back: it must grow with each notification.
const progressStep = 1.0 / (1 << 20)

func mcpProgressOf(fraction *float64, message string, last float64) *mcp.ProgressNotificationParams {
	said := &mcp.ProgressNotificationParams{Message: message, Progress: max(last, 0) + progressStep}
	if fraction != nil {
		said.Total = 1
		if *fraction > last {
			said.Progress = *fraction
		}
	}
	return said
}
