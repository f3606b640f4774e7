package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	charmerAddress = "127.0.0.1:18771"
	singleAddress  = "127.0.0.1:18772"
	fastAPIAddress = "127.0.0.1:18773"
)

// servers are the contenders as processes.
type servers struct {
	dir      string
	running  []*exec.Cmd
	versions string
}

// startServers builds charmer, makes a virtual environment for the others, and starts all. It is run in the folder of go.mod.
func startServers() (*servers, error) {
	here := filepath.Join("bench", "calls")
	venv := filepath.Join(here, ".venv")
	python := filepath.Join(venv, "bin", "python")
	if _, err := os.Stat(python); err != nil {
		if err := command("python3", "-m", "venv", venv).Run(); err != nil {
			return nil, fmt.Errorf("make a virtual environment: %w", err)
		}
	}
	if err := command(python, "-m", "pip", "install", "--quiet", "-r", filepath.Join(here, "requirements.txt")).Run(); err != nil {
		return nil, fmt.Errorf("install the contenders: %w", err)
	}
	dir, err := os.MkdirTemp("", "charmer-bench-")
	if err != nil {
		return nil, err
	}
	s := &servers{dir: dir}
	program := filepath.Join(dir, "charmer")
	if err := command("go", "build", "-o", program, ".").Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("go build, in the folder of go.mod: %w", err), os.RemoveAll(dir))
	}
	serve := []string{program, "serve", "--workers=2", "--min-ready=2", "--log-level=warn", "--concurrency=250", "--python=" + python}
	uvicorn := command(python, "-m", "uvicorn", "fastapi_app:app", "--app-dir="+here, "--port="+fastAPIAddress[strings.LastIndex(fastAPIAddress, ":")+1:],
		"--workers=2", "--loop=uvloop", "--http=httptools", "--log-level=warning", "--no-access-log")
	for _, cmd := range []*exec.Cmd{
		command(append(serve, "--listen="+charmerAddress, filepath.Join(here, "app.py"))...),
		command(append(serve, "--listen="+singleAddress, filepath.Join(here, "single.py"))...),
		uvicorn,
	} {
		if err := cmd.Start(); err != nil {
			s.stop()
			return nil, err
		}
		s.running = append(s.running, cmd)
	}
	for _, url := range []string{charmerAddress + "/health/ready", singleAddress + "/health/ready", fastAPIAddress + "/openapi.json"} {
		if err := await("http://" + url); err != nil {
			s.stop()
			return nil, err
		}
	}
	version, err := exec.Command(python, "--version").Output()
	s.versions = strings.TrimSpace(string(version))
	return s, err
}

func command(argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	return cmd
}

// await returns when url answers 200, or an error after a minute.
func await(url string) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		reply, err := http.Get(url)
		if err != nil {
			continue
		}
		_ = reply.Body.Close()
		if reply.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("%s does not answer", url)
}

// stop ends all and removes what was built.
func (s *servers) stop() {
	for _, cmd := range s.running {
		if err := cmd.Process.Signal(os.Interrupt); err == nil {
			_ = cmd.Wait() // its log has gone to stderr
		}
	}
	_ = os.RemoveAll(s.dir)
}
