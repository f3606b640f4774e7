package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"charmer/api/client"
)

// The tests of POST /mcp use the client of the protocol's own SDK, in versions with and without a handshake.

func mcpVersions() []string { return []string{"2025-06-18", "2025-11-25", "2026-07-28"} }

const toolsApp = "from __future__ import annotations\n" + meeting + `
from dataclasses import dataclass
from typing import Iterator
from charmer import CommandError, progress

counted = 0

@dataclass
class Point:
    x: int
    y: int = 0

@command(idempotent=True)
def greet(name: str, excited: bool = False) -> str:
    """Greet somebody.

    Args:
        name: Who that is.
    """
    return "hello " + name + ("!" if excited else "")

@command
def mirror(point: Point) -> Point:
    return Point(point.y, point.x)

@command
def count_to(n: int) -> Iterator[int]:
    """Count."""
    for i in range(1, n + 1):
        progress(i / n, f"{i} of {n}")
        yield i

@command(batch=True)
def double(calls: list[dict]) -> list[int]:
    return [call["n"] * 2 for call in calls]

@command
def count() -> int:
    global counted
    counted += 1
    return counted

@command(name="größe:1")
def size() -> int:
    return 1

@command
def fail(code: str = ""):
    if code:
        raise CommandError(code, "none left")
    raise ValueError("no such thing")

@command
def crash():
    os._exit(3)

@command
def tell(dir: str) -> str:
    """Say how far it is until the test says go."""
    progress(0.25, "a quarter")
    wait_for(dir, "first")
    progress(None, "more")
    wait_for(dir, "second")
    progress(0.1, "less")
    wait_for(dir, "third")
    return "done"
`

// mcp connects a client of the protocol, whose replies are checked against the contract.
func (s *instance) mcp(version string) *mcp.ClientSession {
	s.t.Helper()
	return s.mcpOver(s.http, version, nil)
}

func (s *instance) mcpOver(over *http.Client, version string, options *mcp.ClientOptions) *mcp.ClientSession {
	s.t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, options)
	session, err := c.Connect(context.Background(), &mcp.StreamableClientTransport{Endpoint: s.url + "/mcp", HTTPClient: over, MaxRetries: -1},
		&mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := session.Close(); err != nil {
			s.t.Errorf("close: %v", err)
		}
	})
	return session
}

// tool calls one. The meta data are names and values by turns.
func (s *instance) tool(c *mcp.ClientSession, name string, args any, meta ...string) *mcp.CallToolResult {
	s.t.Helper()
	params := &mcp.CallToolParams{Name: name, Arguments: args, Meta: mcp.Meta{}}
	for i := 0; i+1 < len(meta); i += 2 {
		params.Meta[meta[i]] = meta[i+1]
	}
	result, err := c.CallTool(context.Background(), params)
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	return result
}

func toolText(t *testing.T, r *mcp.CallToolResult) string {
	t.Helper()
	if len(r.Content) != 1 {
		t.Fatalf("%d pieces of content, want 1", len(r.Content))
	}
	return r.Content[0].(*mcp.TextContent).Text
}

// wantTool fails the test unless a call gave this result.
func (s *instance) wantTool(r *mcp.CallToolResult, text, structured string) {
	s.t.Helper()
	got, err := json.Marshal(r.StructuredContent)
	if err != nil {
		s.t.Fatal(err)
	}
	if r.IsError || toolText(s.t, r) != text || string(got) != structured {
		s.t.Errorf("error %v, text %s, structured %s, want %s and %s", r.IsError, toolText(s.t, r), got, text, structured)
	}
}

// wantToolProblem fails the test unless a call failed with this code, and returns the problem.
func (s *instance) wantToolProblem(r *mcp.CallToolResult, code string) (p client.Problem) {
	s.t.Helper()
	text := toolText(s.t, r)
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		s.t.Fatalf("%v: %s", err, text)
	}
	if err := s.Misfit("Problem", []byte(text)); err != nil {
		s.t.Errorf("%s: %v", text, err)
	}
	if !r.IsError || p.Code != code || r.StructuredContent != nil {
		s.t.Errorf("error %v, structured %v, %s, want an error with code %s", r.IsError, r.StructuredContent, text, code)
	}
	return p
}

func TestCommandsAreToolsForModels(t *testing.T) {
	s := servePatiently(t, toolsApp, "--workers=1")
	for _, version := range mcpVersions() {
		t.Run(version, func(t *testing.T) {
			s := s.in(t)
			s.connect(1)
			c := s.mcp(version)
			if init := c.InitializeResult(); init.ServerInfo.Name != "charmer" || init.ProtocolVersion != version || init.Capabilities.Tools == nil {
				t.Errorf("%+v", init)
			}
			tools := map[string]*mcp.Tool{}
			for tool, err := range c.Tools(context.Background(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				tools[tool.Name] = tool
			}
			commands, err := s.ListCommandsWithResponse(context.Background())
			if err != nil || len(tools) != len(commands.JSON200.Commands) {
				t.Fatalf("%d tools, and commands %s %v", len(tools), commands.Body, err)
			}
			greet := tools["greet"]
			if greet.Title != "Greet somebody" || !strings.Contains(greet.Description, "Who that is.") || !greet.Annotations.IdempotentHint || tools["count"].Annotations.IdempotentHint {
				t.Errorf("greet: %+v %+v", greet, greet.Annotations)
			}
			wantJSON(t, greet.InputSchema, `{"additionalProperties":false,"properties":{"excited":{"default":false,"type":"boolean"},"name":{"description":"Who that is.","type":"string"}},"required":["name"],"type":"object"}`)
			wantJSON(t, greet.OutputSchema, `{"properties":{"result":{"type":"string"}},"required":["result"],"type":"object"}`)
			wantJSON(t, tools["count_to"].OutputSchema, `{"properties":{"result":{"items":{"type":"integer"},"type":"array"}},"required":["result"],"type":"object"}`)
			wantJSON(t, tools["tell"].InputSchema, `{"additionalProperties":false,"properties":{"dir":{"type":"string"}},"required":["dir"],"type":"object"}`)
			if mirror := tools["mirror"].OutputSchema.(map[string]any); mirror["type"] != "object" || mirror["$ref"] != "#/$defs/Point" {
				t.Errorf("mirror: %v", mirror)
			}
			if changed := toolOf(tools, "größe:1"); !strings.HasPrefix(changed, "gr__e_1-") {
				t.Errorf("größe:1 is tool %q", changed)
			}
		})
	}
}

// toolOf finds the tool of a command whose name none can have.
func toolOf(tools map[string]*mcp.Tool, command string) string {
	for name, tool := range tools {
		if tool.Meta["charmer/command"] == command {
			return name
		}
	}
	return ""
}

func wantJSON(t *testing.T, got any, want string) {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
}

func TestToolsAreCalledAsCommandsAre(t *testing.T) {
	s := servePatiently(t, toolsApp, "--workers=1")
	for _, version := range mcpVersions() {
		t.Run(version, func(t *testing.T) {
			s := s.in(t)
			s.connect(1)
			c := s.mcp(version)
			s.wantTool(s.tool(c, "greet", map[string]any{"name": "Ada", "excited": true}), `"hello Ada!"`, `{"result":"hello Ada!"}`)
			s.wantTool(s.tool(c, "mirror", map[string]any{"point": map[string]any{"x": 1}}), `{"x":0,"y":1}`, `{"x":0,"y":1}`)
			s.wantTool(s.tool(c, "count_to", map[string]any{"n": 3}), `[1,2,3]`, `{"result":[1,2,3]}`)
			s.wantTool(s.tool(c, "double", map[string]any{"n": 4}), `8`, `{"result":8}`)
			list, err := c.ListTools(context.Background(), nil)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(list.Tools, func(tool *mcp.Tool) bool { return tool.Meta["charmer/command"] == "größe:1" })
			s.wantTool(s.tool(c, list.Tools[i].Name, nil), `1`, `{"result":1}`)
			first := s.tool(c, "count", nil, "charmer/session_id", "s-"+version)
			s.wantTool(first, `1`, `{"result":1}`)
			second := s.tool(c, "count", nil, "charmer/session_id", "s-"+version)
			s.wantTool(second, `2`, `{"result":2}`)
			for _, call := range []struct {
				of    *mcp.CallToolResult
				state string
			}{{first, "new"}, {second, "resumed"}} {
				told, _ := call.of.Meta["charmer/call"].(map[string]any)
				if ref, _ := told["session"].(map[string]any); ref["state"] != call.state || told["request_id"] == nil || told["worker"] == nil || told["timing"] == nil {
					t.Errorf("charmer/call is %v, want a session %s", told, call.state)
				}
			}
		})
	}
}

func TestWhatBecomesOfAToolCallIsToldToTheModel(t *testing.T) {
	s := servePatiently(t, toolsApp, "--workers=1")
	for _, version := range mcpVersions() {
		t.Run(version, func(t *testing.T) {
			s := s.in(t)
			s.connect(1)
			c := s.mcp(version)
			p := s.wantToolProblem(s.tool(c, "greet", map[string]any{"nam": "Ada"}), "invalid_args")
			if i := slices.IndexFunc(p.Errors, func(e client.FieldError) bool { return e.Pointer == "/name" }); i < 0 || p.Started {
				t.Errorf("%+v", p)
			}
			p = s.wantToolProblem(s.tool(c, "fail", nil), "command_failed")
			if !p.Started || p.Retryable || !strings.Contains(p.Detail, "no such thing") || !strings.Contains(*p.Exception.Traceback, "in fail") {
				t.Errorf("%+v", p)
			}
			p = s.wantToolProblem(s.tool(c, "fail", map[string]any{"code": "sold_out"}), "sold_out")
			if p.Detail != "none left" {
				t.Errorf("%+v", p)
			}
			p = s.wantToolProblem(s.tool(c, "crash", nil), "worker_crashed")
			if !p.Started || *p.Exit.Code != 3 {
				t.Errorf("%+v", p)
			}
			s.wantTool(s.tool(c, "greet", map[string]any{"name": "Eve"}), `"hello Eve"`, `{"result":"hello Eve"}`) // the next worker
			for _, meta := range [][]string{{"charmer/session_id", "not one"}, {"charmer/session_id", ""}, {"charmer/sesion_id", "u1"}} {
				p = s.wantToolProblem(s.tool(c, "count", nil, meta...), "invalid_request")
				if p.Started || !strings.HasPrefix(p.Errors[0].Pointer, "/params/_meta/charmer~1ses") {
					t.Errorf("%v: %+v", meta, p)
				}
			}
			s.wantToolProblem(s.tool(c, "greet", []int{1}), "invalid_request")
			_, err := c.CallTool(context.Background(), &mcp.CallToolParams{Name: "greed"})
			if err == nil || !strings.Contains(err.Error(), "unknown tool: greed") {
				t.Errorf("unknown tool: %v", err)
			}
		})
	}
	s.log.await(t, s.exited, func(l logLine) bool { return l["path"] == "/mcp" && l["command"] == "crash" && l["level"] == "WARN" })
}

func TestARefusedToolCallSaysSo(t *testing.T) {
	s := serve(t, toolsApp, "--workers=1", "--checkout-timeout=1ms", "--start-timeout=5m").ready()
	lease := s.lease(func(r *client.CheckoutRequest) { r.TimeoutMs = new(float64(minutes)) })
	c := s.mcp("2025-11-25")
	p := s.wantToolProblem(s.tool(c, "greet", map[string]any{"name": "Ada"}), "checkout_timeout")
	if p.Started || !p.Retryable || p.RetryAfterMs == nil || *p.RetryAfterMs <= 0 {
		t.Errorf("%+v", p)
	}
	if r, err := s.ReleaseLeaseWithResponse(context.Background(), lease.LeaseID); err != nil || r.StatusCode() != http.StatusNoContent {
		t.Fatal(err, r.StatusCode())
	}
}

func TestAnAppThatCannotStartHasNoTools(t *testing.T) {
	s := serve(t, "import charmer\nraise RuntimeError('not today')\n", "--workers=1")
	s.eventually("the app is known not to start", func() bool { return s.health().State == client.HealthStateFailed })
	c := s.mcp("2026-07-28")
	_, err := c.ListTools(context.Background(), nil)
	if err == nil || !strings.Contains(err.Error(), "crash_looping") {
		t.Errorf("list: %v", err)
	}
	p := s.wantToolProblem(s.tool(c, "greet", nil), "crash_looping")
	if p.Started || !p.Retryable || p.RetryAfterMs == nil {
		t.Errorf("%+v", p)
	}
}

func TestTheListOfToolsWakesALazyPool(t *testing.T) {
	s := serve(t, toolsApp, "--workers=1", "--lazy", "--checkout-timeout=5m", "--start-timeout=5m")
	list, err := s.mcp("2025-11-25").ListTools(context.Background(), nil)
	if err != nil || len(list.Tools) < 8 {
		t.Errorf("%+v %v", list, err)
	}
}

func TestToolsFollowReloads(t *testing.T) {
	path := appFile(t, versioned(1))
	s := servePatiently(t, path, "--workers=1")
	c := s.mcp("2025-11-25")
	has := func(name string) bool {
		list, err := c.ListTools(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(list.Tools, func(tool *mcp.Tool) bool { return tool.Name == name })
	}
	s.wantTool(s.tool(c, "only1", nil, "charmer/session_id", "old"), `1`, `{"result":1}`)
	if !has("only1") || has("only2") {
		t.Error("the tools are not those of the first version")
	}
	change(t, path, versioned(2))
	s.reload()
	if has("only1") || !has("only2") {
		t.Error("the tools are not those of the second version")
	}
	s.wantTool(s.tool(c, "only2", nil), `2`, `{"result":2}`)
	s.wantTool(s.tool(c, "only1", nil, "charmer/session_id", "old"), `1`, `{"result":1}`) // which keeps its code
}
