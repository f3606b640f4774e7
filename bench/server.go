package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"charmer/bench/load"
	"charmer/bench/proc"
)

// server is a running entrant.
type server struct {
	entrant
	cmd      *exec.Cmd
	address  string
	marks    string // folder in which each worker leaves a file when it is ready
	output   *bytes.Buffer
	exited   chan struct{}
	started  time.Time
	took     time.Duration // until all workers were ready
	requests map[call]*load.Request
	notes    map[string]float64 // what a measurement leaves for a later one
}

// Times that are waited for a server.
const (
	startTime = 2 * time.Minute
	stopTime  = 15 * time.Second
)

// start starts an entrant and waits until all its workers are there.
func (e *environment) start(ctx context.Context, n entrant) (*server, error) {
	s, err := e.launch(ctx, n)
	if err != nil {
		return nil, err
	}
	if err := s.await(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("%s: %w\n%s", n.title, err, s.output.Bytes())
	}
	return s, nil
}

// launch starts an entrant.
func (e *environment) launch(ctx context.Context, n entrant) (*server, error) {
	if n.python {
		if err := e.install(ctx, n.name); err != nil {
			return nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	marks, err := os.MkdirTemp(e.dir, n.name+"-")
	if err != nil {
		return nil, err
	}
	argv := append(n.argv(e, n, port), n.flags...)
	s := &server{entrant: n, cmd: exec.Command(argv[0], argv[1:]...), address: address(port), marks: marks, output: new(bytes.Buffer),
		exited: make(chan struct{}), requests: map[call]*load.Request{}, notes: map[string]float64{}}
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that all of it can be killed
	s.cmd.WaitDelay = time.Second                           // if somebody who lives on has its output
	s.cmd.Env = append(os.Environ(), "PYTHONPATH="+contenderDir, "BENCH_MARKS="+marks, "BENCH_WORK="+n.work, "BENCH_WORKERS="+n.count(),
		"BENCH_PORT="+strconv.Itoa(port), "TMPDIR="+e.dir) // what servers leave behind goes with the rest
	s.cmd.Env = append(s.cmd.Env, n.env...)
	if n.spent {
		s.cmd.Env = append(s.cmd.Env, "BENCH_SPENT="+s.spent())
	}
	s.started = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		_ = s.cmd.Wait() // its output says why
		close(s.exited)
	}()
	return s, nil
}

// await returns when a worker answers and all of them have left their marks. charmer and the ceiling answer no earlier.
func (s *server) await(ctx context.Context) error {
	var last error
	for deadline := time.Now().Add(startTime); time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.exited:
			return errors.New("it has ended")
		case <-time.After(5 * time.Millisecond):
		}
		if last = s.ready(); last == nil {
			s.took = time.Since(s.started)
			return nil
		}
	}
	return fmt.Errorf("not ready within %s: %w", startTime, last)
}

// spent is the file to which doze adds how long it kept a worker.
func (s *server) spent() string { return s.marks + ".spent" }

// stop ends the server and whatever it has started.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	tree := proc.Tree(s.cmd.Process.Pid)
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended
	select {
	case <-s.exited:
	case <-time.After(stopTime):
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // fails if nothing is left
	for _, p := range tree {
		p.Kill() // who has left the group
	}
	<-s.exited
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
