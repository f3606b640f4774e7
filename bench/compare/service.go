package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"charmer/bench/load"
)

const app = `from charmer import command


@command
def echo(value: str) -> str:
    return value
`

// service is a running charmer.
type service struct {
	cmd     *exec.Cmd
	address string
	output  bytes.Buffer
	exited  chan struct{}
}

// build builds charmer as a commit has it.
func build(ctx context.Context, dir, name, commit string) (program string, err error) {
	tree := filepath.Join(dir, "tree-"+name)
	if out, err := exec.CommandContext(ctx, "git", "worktree", "add", "--detach", tree, commit).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", commit, err, out)
	}
	defer func() {
		out, gone := exec.Command("git", "worktree", "remove", "--force", tree).CombinedOutput()
		if gone != nil {
			err = errors.Join(err, fmt.Errorf("remove the worktree: %w\n%s", gone, out))
		}
	}()
	program = filepath.Join(dir, "charmer-"+name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, ".")
	cmd.Dir, cmd.Env = tree, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", commit, err, out)
	}
	return program, nil
}

// start starts a charmer with two workers and waits until both are ready.
func start(ctx context.Context, dir, program, python string) (*service, error) {
	file := filepath.Join(dir, "app.py")
	if err := os.WriteFile(file, []byte(app), 0o600); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &service{address: l.Addr().String(), exited: make(chan struct{})}
	if err := l.Close(); err != nil {
		return nil, err
	}
	s.cmd = exec.Command(program, "serve", "--listen="+s.address, "--workers=2", "--min-ready=2", "--log-level=error", "--python="+python, file)
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		_ = s.cmd.Wait() // its output says why
		close(s.exited)
	}()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		reply, err := http.Get("http://" + s.address + "/health/ready")
		if err != nil {
			continue
		}
		_ = reply.Body.Close()
		if reply.StatusCode == http.StatusOK {
			return s, nil
		}
	}
	s.stop()
	return nil, errors.Join(ctx.Err(), fmt.Errorf("not ready within a minute\n%s", s.output.Bytes()))
}

// stop ends the service.
func (s *service) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}

// measure returns the requests a second of A and of B in each round. The first round, which is not among them, warms up.
func measure(ctx context.Context, o options, services [2]*service, connections int) (rates [2][]float64, err error) {
	value := `"` + strings.Repeat("x", 100-len(`{"value":""}`)) + `"`
	request := load.NewRequest("/execute", "", []byte(`{"command":"echo","args":{"value":`+value+`}}`))
	request.Expect([]byte(`{"result":`+value+`,`), false)
	for round := range o.rounds + 1 {
		for turn := range 2 {
			i := (round + turn) % 2
			if err := ctx.Err(); err != nil {
				return rates, err
			}
			r, err := load.Poll(services[i].address, connections, o.length, request)
			if err != nil {
				return rates, err
			}
			if r.Failed > 0 {
				return rates, fmt.Errorf("%s: %d of %d requests failed: %w", o.commits[i], r.Failed, r.Failed+len(r.Latencies), r.Failure)
			}
			if round > 0 {
				rates[i] = append(rates[i], r.Rate())
			}
		}
	}
	return rates, nil
}
