package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const chatty = `from charmer import command

@command
def chat(lines: int) -> int:
    for n in range(lines):
        print("x" * 8000)
    return lines
`

// stalled starts a service whose standard error is a pipe that is full and that nobody reads, and returns the end to read.
func stalled(t *testing.T) (*instance, *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	if err := writer.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	blank := []byte(strings.Repeat(" ", 1<<10-1) + "\n")
	for err == nil {
		_, err = writer.Write(blank)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	address := freeAddress(t)
	s := &instance{t: t, url: "http://" + address, mark: "CHARMED_BY=" + strconv.FormatInt(time.Now().UnixNano(), 36), log: newLogBuffer(), exited: make(chan struct{})}
	s.cmd = exec.Command(program, "serve", "--listen="+address, "--log-format=json", "--debug", "--workers=2", appFile(t, chatty))
	s.cmd.Env = append(os.Environ(), s.mark)
	s.cmd.Stderr = writer
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // ProcessState has it all
	}()
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); <-s.exited })
	s.connect(1)
	return s, reader
}

// TestAStalledLogDoesNotStallTheService prints more than the log can hold while nobody reads it.
func TestAStalledLogDoesNotStallTheService(t *testing.T) {
	for _, read := range []bool{false, true} {
		t.Run(fmt.Sprintf("read %v", read), func(t *testing.T) {
			s, reader := stalled(t)
			s.http.Timeout = patience // a stalled service does not answer at all
			s.ready()
			for range 4 {
				s.execute("chat", `{"lines":250}`).wantResult(t, "250")
			}
			for range 100 {
				s.execute("chat", `{"lines":1}`).wantResult(t, "1")
			}
			live, err := s.GetLiveWithResponse(t.Context())
			if err != nil || live.StatusCode() != http.StatusOK {
				t.Fatalf("/health/live: %v, %v", live, err)
			}
			if read {
				go func() { _, _ = io.Copy(s.log, reader) }() // ends with the service
				line := s.log.await(t, s.exited, func(l logLine) bool { return strings.HasPrefix(l["msg"].(string), "log lines dropped") })
				if lost, _ := line["lines"].(float64); lost < 1 || line["level"] != "ERROR" {
					t.Errorf("the log says of its gap: %v", line)
				}
			}
			if code := s.stop(); code != exitOK {
				t.Errorf("exit code %d, want %d", code, exitOK)
			}
			s.noneLeft()
			if read {
				s.eventually("the log ends", func() bool {
					return len(s.log.lines(func(l logLine) bool { return l["msg"] == "stopped" })) == 1
				})
				if got := len(s.log.lines(func(l logLine) bool { return l["msg"] == "serving" })); got != 1 {
					t.Errorf("the first line is there %d times", got)
				}
			}
		})
	}
}
