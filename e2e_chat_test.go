package main

import (
	"bufio"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestCtrlCOfCurlEndsAChat runs the line of examples/chat/README.md that shows a stream, as a user does.
func TestCtrlCOfCurlEndsAChat(t *testing.T) {
	curl := mustLook(t, "curl")
	s := servePatiently(t, "examples/chat/app.py")
	var line string
	for _, block := range snippets(t, "examples/chat/README.md") {
		if _, command, ok := strings.Cut(block.text, "\ncurl -sN"); ok {
			line = "exec " + curl + " -sN" + strings.Replace(command, "localhost:8080", s.url, 1)
		}
	}
	cmd := exec.Command("sh", "-ec", line)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	words := 0
	for words < 2 && lines.Scan() {
		if lines.Text() == "event: chunk" {
			words++
		}
	}
	if words < 2 {
		t.Fatalf("%d words came: %v", words, lines.Err())
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out) // it may have come to write more
	_ = cmd.Wait()                  // it was interrupted
	s.eventually("no call is under way", func() bool {
		r, err := s.ListExecutionsWithResponse(t.Context())
		return err == nil && len(r.JSON200.Executions) == 0
	})
	a := s.execute("history", `{}`, inSession("ada"))
	if a.status != http.StatusOK || !strings.HasSuffix(a.Result, ` ..."}]`) || a.Session.State != "resumed" {
		t.Errorf("the conversation: %+v", a)
	}
	if n := s.metrics()[`charmer_cancel_total{step="cancelled"}`]; n != 1 {
		t.Errorf("%v calls were cancelled, want 1", n)
	}
}
