package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"charmer/api/client"
)

func TestAToolTellsHowFarItIsToWhoAsks(t *testing.T) {
	s := servePatiently(t, toolsApp, "--workers=1")
	for _, version := range mcpVersions() {
		t.Run(version, func(t *testing.T) {
			s := s.in(t)
			dir := t.TempDir()
			var said []mcp.ProgressNotificationParams
			gate := []string{"first", "second", "third"}
			c := s.mcpOver(http.DefaultClient, version, &mcp.ClientOptions{
				ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
					p := *req.Params
					p.Meta = nil
					said = append(said, p)
					if err := os.WriteFile(filepath.Join(dir, gate[len(said)-1]), nil, 0o644); err != nil { // the tool goes on only now
						t.Error(err)
					}
				},
			})
			params := &mcp.CallToolParams{Name: "tell", Arguments: map[string]any{"dir": dir}, Meta: mcp.Meta{}}
			params.SetProgressToken("p-1")
			result, err := c.CallTool(context.Background(), params)
			if err != nil {
				t.Fatal(err)
			}
			s.wantTool(result, `"done"`, `{"result":"done"}`)
			const step = 1.0 / (1 << 20)
			want := []mcp.ProgressNotificationParams{
				{ProgressToken: "p-1", Progress: 0.25, Total: 1, Message: "a quarter"},
				{ProgressToken: "p-1", Progress: 0.25 + step, Message: "more"},
				{ProgressToken: "p-1", Progress: 0.25 + 2*step, Total: 1, Message: "less"}, // it must grow
			}
			if diff := cmp.Diff(want, said); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// ended waits until a command of the app cancelling has ended, and returns what was raised in it.
func (s *instance) ended(dir string) string {
	s.t.Helper()
	path := filepath.Join(dir, "ended")
	s.eventually("the command has ended", func() bool { _, err := os.Stat(path); return err == nil })
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func TestAToolCallThatItsClientGivesUpEndsInPython(t *testing.T) {
	s := servePatiently(t, cancelling, "--workers=1", "--cancel-grace=5m")
	for _, version := range mcpVersions() {
		t.Run(version, func(t *testing.T) {
			s := s.in(t)
			s.connect(1)
			c := s.mcp(version)
			dir := t.TempDir()
			ctx, giveUp := context.WithCancel(context.Background())
			defer giveUp()
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := c.CallTool(ctx, &mcp.CallToolParams{Name: "sleep", Arguments: map[string]any{"dir": dir}})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("call: %v", err)
				}
			})
			s.arrived(dir, "there")
			giveUp()
			if got := s.ended(dir); !strings.HasSuffix(got, ".Cancelled") {
				t.Errorf("%s was raised", got)
			}
			wg.Wait()
			s.eventually("the call has its answer", func() bool { return len(s.executions()) == 0 })
			if list, err := c.ListTools(context.Background(), nil); err != nil || len(list.Tools) == 0 { // the client can go on
				t.Errorf("%v %v", list, err)
			}
		})
	}
}

// message sends one to /mcp, and returns the reply. The options are the names and values of headers by turns.
func (s *instance) message(ctx context.Context, body string, header ...string) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/mcp", strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	reply, err := s.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	return reply, text, err
}

// TestANotificationEndsTheCallOfItsClientAlone has two clients whose messages have the same id.
func TestANotificationEndsTheCallOfItsClientAlone(t *testing.T) {
	s := servePatiently(t, cancelling, "--workers=2", "--cancel-grace=5m")
	s.full(2)
	var names, dirs [2]string
	var texts [2][]byte
	var wg sync.WaitGroup
	for i := range names {
		reply, text, err := s.message(t.Context(), `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
		if err != nil || reply.StatusCode != http.StatusOK {
			t.Fatalf("initialize: %s %v", text, err)
		}
		names[i], dirs[i] = reply.Header.Get("Mcp-Session-Id"), t.TempDir()
	}
	for i := range names {
		wg.Go(func() {
			call, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call",
				"params": map[string]any{"name": "sleep", "arguments": map[string]string{"dir": dirs[i]}}})
			var err error
			if _, texts[i], err = s.message(context.Background(), string(call), "Mcp-Session-Id", names[i], "Mcp-Protocol-Version", "2025-06-18"); err != nil {
				t.Errorf("call: %v", err)
			}
		})
		s.arrived(dirs[i], "there")
	}
	for i := range names {
		reply, text, err := s.message(t.Context(), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"enough"}}`,
			"Mcp-Session-Id", names[i], "Mcp-Protocol-Version", "2025-06-18")
		if err != nil || reply.StatusCode != http.StatusAccepted {
			t.Errorf("notification: %s %v", text, err)
		}
		if got := s.ended(dirs[i]); !strings.HasSuffix(got, ".Cancelled") {
			t.Errorf("%s was raised", got)
		}
		s.eventually("one call less", func() bool { return len(s.executions()) == 1-i })
	}
	wg.Wait()
	for _, text := range texts {
		if !bytes.Contains(text, []byte(`"isError":true`)) || !bytes.Contains(text, []byte(`\"code\":\"cancelled\"`)) {
			t.Errorf("answer: %s", text)
		}
	}
}

func TestTheTimeOfAToolCallEnds(t *testing.T) {
	s := servePatiently(t, cancelling, "--workers=1", "--cancel-grace=5m")
	dir := t.TempDir()
	call, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call",
		"params": map[string]any{"name": "sleep", "arguments": map[string]string{"dir": dir}}})
	reply, text, err := s.message(t.Context(), string(call), "Request-Timeout-Ms", "300")
	if err != nil || reply.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(`"isError":true`)) {
		t.Fatalf("%s %v", text, err)
	}
	// On a machine that is busy its time may be over before it has begun.
	if !bytes.Contains(text, []byte(`\"code\":\"execution_timeout\"`)) && !bytes.Contains(text, []byte(`\"code\":\"checkout_timeout\"`)) {
		t.Errorf("answer: %s", text)
	}
}

// TestThePythonClientOfTheModelContextProtocol runs the other official client, if tools/pycheck has installed it.
func TestThePythonClientOfTheModelContextProtocol(t *testing.T) {
	inOneRun(t)
	python, err := filepath.Abs(".venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(python, "-c", "import mcp.client").Run(); err != nil {
		t.Skip("needs tools/pycheck to have installed mcp into .venv")
	}
	s := servePatiently(t, toolsApp, "--workers=1")
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "testdata/mcp_client.py", s.url+"/mcp")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(bytes.TrimSpace(out), []byte("all well")) {
		t.Errorf("%v\n%s", err, out)
	}
	if s.health().State != client.HealthStateReady {
		t.Error("the service is not ready after it")
	}
}
