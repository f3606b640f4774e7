package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"charmer/api/client"
)

// onTerminal starts a program on a terminal of its own, with SIGHUP ignored or not as told and its output in a file, and prints
// its process id. At the end of a line of input it takes the terminal away, and prints how the program ended.
const onTerminal = `
import os, pty, signal, sys
ignore, output, *program = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignore == "ignore" else signal.SIG_DFL)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.execv(program[0], program)
print(pid, flush=True)
sys.stdin.readline()
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
`

// TestTheEndOfItsTerminalEndsAServiceUnlessItIsToOutliveIt takes the terminal away from a service, as a login that ends does.
func TestTheEndOfItsTerminalEndsAServiceUnlessItIsToOutliveIt(t *testing.T) {
	python := mustLook(t, "python3")
	for _, how := range []string{"default", "ignore"} {
		t.Run(how, func(t *testing.T) {
			output := filepath.Join(t.TempDir(), "output")
			cmd := exec.CommandContext(t.Context(), python, "-c", onTerminal, how, output, program, "serve", "--listen=127.0.0.1:0", "--log-format=json", "charmer.demo")
			said, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewScanner(said)
			input, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if !answers.Scan() {
				t.Fatal("it says nothing")
			}
			pid := answers.Text()
			s := &instance{t: t}
			lines := func(msg string) (out []logLine) {
				text, _ := os.ReadFile(output) // it is there when the program has begun
				for line := range strings.Lines(string(text)) {
					var l logLine
					if json.Unmarshal([]byte(line), &l) == nil && l["msg"] == msg {
						out = append(out, l)
					}
				}
				return out
			}
			s.eventually("a worker is ready", func() bool { return len(lines("worker ready")) > 0 })
			if err := input.Close(); err != nil {
				t.Fatal(err)
			}
			if how == "ignore" { // it is a SIGHUP all the same, and reloads
				s.eventually("the code is reloaded", func() bool { return len(lines("reloaded")) == 1 })
				address := lines("serving")[0]["listen"].(string)
				c, err := client.NewClientWithResponses("http://" + address)
				if err != nil {
					t.Fatal(err)
				}
				if live, err := c.GetLiveWithResponse(t.Context()); err != nil || live.StatusCode() != http.StatusOK {
					t.Errorf("live: %+v, %v", live, err)
				}
				if out, err := exec.Command("kill", pid).CombinedOutput(); err != nil {
					t.Fatalf("kill: %v, %s", err, out)
				}
			}
			if !answers.Scan() || answers.Text() != "0" {
				t.Errorf("it ended with %q", answers.Text())
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if draining := lines("draining"); len(draining) != 1 || (draining[0]["signal"] == "hangup") != (how == "default") {
				t.Errorf("it drained because of %v", draining)
			}
		})
	}
}
