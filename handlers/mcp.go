package handlers

import (
	"bytes"
	"context"
	"crypto/rand"
	stdjson "encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"charmer/api"
)

// mcpSession is the header that names a client of the protocols before 2026-07-28.
const mcpSession = "Mcp-Session-Id"

// anyTool is the one tool that the library knows. It stands for all of them, which come and go with reloads.
const anyTool = "command"

// newMCP makes what answers the Model Context Protocol: in JSON, or in events. Both keep nothing between two requests.
func (s *Server) newMCP() (whole, events http.Handler) {
	server := mcp.NewServer(&mcp.Implementation{Name: "charmer", Version: s.cfg.Version}, &mcp.ServerOptions{
		Logger:       slog.New(slog.DiscardHandler), // it logs what clients did wrong, which they are told
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
	})
	server.AddTool(&mcp.Tool{Name: anyTool, InputSchema: stdjson.RawMessage(`{"type":"object"}`)}, s.callTool)
	server.AddReceivingMiddleware(s.mcpMethods)
	get := func(*http.Request) *mcp.Server { return server }
	options := mcp.StreamableHTTPOptions{
		Stateless: true, MaxRequestBodyBytes: -1, // read and bounded before
		DisableLocalhostProtection: true, // refuseForeign does that, and lets proxies through
	}
	events = mcp.NewStreamableHTTPHandler(get, &options)
	options.JSONResponse = true
	return mcp.NewStreamableHTTPHandler(get, &options), events
}

// mcpExchange is what the methods of the protocol have of the request that they come with. It travels in the context.
type mcpExchange struct {
	r       *http.Request
	header  http.Header // of the reply
	timeout *time.Duration
	call    mcpCall        // names the one call in the request, if a notification can
	tool    string         // that is called
	token   jsontext.Value // of the progress that its client wants to hear of, or nil
	err     error          // what the answer is a problem about, or nil; set before it is written
}

type mcpExchangeKey struct{}

// mcpMessage is what is looked at in a message before the library gets it, which checks the rest.
type mcpMessage struct {
	ID     jsontext.Value `json:"id"`
	Method string         `json:"method"`
	Params struct {
		RequestID jsontext.Value `json:"requestId"`
		Meta      struct {
			ProgressToken jsontext.Value `json:"progressToken"`
		} `json:"_meta"`
	} `json:"params"`
}

// Mcp answers POST /mcp.
func (s *Server) Mcp(w http.ResponseWriter, r *http.Request, params api.McpParams) error {
	if err := refuseForeign(r); err != nil {
		return err
	}
	body, err := bindMessage(s.bind, r)
	if err != nil {
		return err
	}
	var message mcpMessage
	if json.Unmarshal(body, &message) != nil { // members of other types, which the library refuses
		message = mcpMessage{}
	}
	exchangeOf(r).bare = true // what a model is told points into the arguments, which are all that it sees
	at := &mcpExchange{r: r, header: w.Header(), timeout: duration(params.RequestTimeoutMs)}
	client := r.Header.Get(mcpSession)
	switch {
	case message.Method == "notifications/cancelled":
		s.mcpCalls.end(mcpCall{client, string(message.Params.RequestID)})
	case client != "" && len(message.ID) > 0:
		at.call = mcpCall{client, string(message.ID)}
	}
	answer := s.mcpWhole
	if token := message.Params.Meta.ProgressToken; (token.Kind() == '"' || token.Kind() == '0') && takesEvents(r) {
		answer, at.token = s.mcpEvents, token
	}
	reply := &mcpReply{ResponseWriter: w}
	answer.ServeHTTP(reply, at.request(body))
	exchangeOf(r).err = at.err
	switch {
	case reply.refused != 0:
		return reply.refusal()
	case reply.status == 0: // the client left before there was anything to say
		panic(http.ErrAbortHandler)
	}
	return nil
}

// bindMessage reads a body that is one message. The error is a *requestError.
func bindMessage(b *binder, r *http.Request) ([]byte, error) {
	body, err := bindArgs(b, r)
	if err == nil && len(body) == 0 {
		err = invalidBody(api.FieldError{Detail: "is required"})
	}
	return body, err
}

// request is the one that the library gets. It takes answers of both kinds, and what came with it stays reachable.
func (at *mcpExchange) request(body []byte) *http.Request {
	r := at.r.Clone(context.WithValue(at.r.Context(), mcpExchangeKey{}, at))
	r.Header["Accept"] = []string{jsonMediaType, eventStream}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r
}

func takesEvents(r *http.Request) bool {
	return negotiated(r.Header.Values("Accept"), eventStream) != ""
}

// mcpMethods answers the methods of the protocol that are charmer's, and leaves the others to the library. It runs in a goroutine of the
// library, which would not survive a panic.
func (s *Server) mcpMethods(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (result mcp.Result, err error) {
		at := ctx.Value(mcpExchangeKey{}).(*mcpExchange)
		x := exchangeOf(at.r)
		defer func() {
			if cause := recover(); cause != nil {
				s.log.Error("panic", "request_id", x.requestID, "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
				result, err = nil, s.mcpError(at, fmt.Errorf("panic: %v", cause))
			}
		}()
		switch method {
		case "initialize":
			at.header[mcpSession] = []string{rand.Text()}
		case "tools/list":
			tools, err := s.mcpTools(ctx, at)
			if err != nil {
				return nil, s.mcpError(at, err)
			}
			// It can change at any time, so it is stale at once.
			return &mcp.ListToolsResult{Tools: tools.Tools, Cacheable: mcp.Cacheable{CacheScope: "private"}}, nil
		case "tools/call":
			params := req.(*mcp.CallToolRequest).Params
			at.tool, params.Name = params.Name, anyTool
		}
		return next(ctx, method, req)
	}
}

// mcpRefused is the code of JSON-RPC errors that are problems of charmer: the first of those that the protocol leaves to servers.
const mcpRefused = -32000

// mcpError is an answer without a result, for what the protocol does not let a result say.
func (s *Server) mcpError(at *mcpExchange, err error) error {
	problem, text := s.mcpProblem(at, err)
	return &jsonrpc.Error{Code: mcpRefused, Message: problem.Code + ": " + problem.Detail, Data: text}
}

// mcpProblem returns the problem that err is about, and its text.
func (s *Server) mcpProblem(at *mcpExchange, err error) (*api.Problem, []byte) {
	at.err = err
	problem := s.fullProblem(at.r, err)
	text, encodeErr := json.Marshal(problem, jsontext.AllowInvalidUTF8(true))
	if encodeErr != nil {
		panic(fmt.Sprintf("bug: problem cannot be encoded: %v", encodeErr))
	}
	return problem, text
}

// mcpReply keeps back the library's refusals in plain text, which become problems. What is an answer goes through.
type mcpReply struct {
	http.ResponseWriter
	status  int // 0 before there is one
	refused int // the status of a refusal that is kept back, or 0
	text    strings.Builder
}

func (w *mcpReply) WriteHeader(status int) {
	w.status = status
	header := w.Header()
	delete(header, "Connection") // which the service decides
	header["Cache-Control"] = []string{"no-store"}
	if status >= 400 && strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		w.refused = status
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *mcpReply) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.refused != 0 {
		return w.text.Write(b)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *mcpReply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *mcpReply) refusal() error {
	detail := strings.TrimSpace(w.text.String())
	if w.refused >= http.StatusInternalServerError {
		return fmt.Errorf("model context protocol: %d: %s", w.refused, detail)
	}
	return &requestError{Status: http.StatusBadRequest, Code: api.ProblemCodeInvalidRequest, Detail: strings.ToValidUTF8(detail, "\uFFFD")}
}
