package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"charmer/api/client"
)

// The configurations in deploy/lb, each in the program that it is for, in front of two services.

// balancedApp has commands that write down in a file that they have begun, and can tell which service they run in.
const balancedApp = `
import asyncio, os, time
from charmer import command

counted = 0

def begin(dir: str, name: str) -> None:
    with open(os.path.join(dir, "begun"), "a") as file:
        file.write(name + "\n")

@command
def mark(dir: str, name: str) -> str:
    begin(dir, name)
    return os.environ["CHARMED_BY"]

@command
def count(dir: str = "", name: str = "") -> list:
    global counted
    if dir:
        begin(dir, name)
    counted += 1
    return [os.environ["CHARMED_BY"], counted]

@command
async def hold(dir: str, name: str) -> str:
    """Say by a file where it runs, and return when another file is there."""
    begin(dir, name)
    with open(os.path.join(dir, name + ".new"), "w") as file:
        file.write(os.environ["CHARMED_BY"])
    os.rename(file.name, os.path.join(dir, name + ".entered"))
    end = time.monotonic() + 60
    while not os.path.exists(os.path.join(dir, name + ".open")):
        if time.monotonic() > end:
            raise TimeoutError(name)
        await asyncio.sleep(0.002)
    return os.environ["CHARMED_BY"]

@command
async def items(dir: str, name: str):
    yield 1
    await hold(dir, name)
    yield 2

@command
def echo(text: str) -> str:
    return text
`

// balanced is a balancer, and the services behind it.
type balanced struct {
	*instance // the balancer: what its clients see
	behind    [2]*instance
	dir       string // for the commands
	kind      string
	admin     string // socket on which HAProxy answers questions
}

// pair starts two services of one app.
func pair(t *testing.T) (behind [2]*instance) {
	t.Helper()
	app := appFile(t, balancedApp)
	for i := range behind {
		behind[i] = launchBalanced(t, app, "127.0.0.1:0")
	}
	for _, s := range behind {
		s.ready()
	}
	return behind
}

// launchBalanced starts a service that a test may end.
func launchBalanced(t *testing.T, app, listen string) *instance {
	t.Helper()
	return launch(t, app, "--listen="+listen, "--workers=4", "--checkout-timeout=5m", "--execute-timeout=5m", "--start-timeout=5m", "--lease-ttl=10m", "--lease-reuse")
}

// balance starts a balancer in front of services.
func balance(t *testing.T, kind string, behind [2]*instance) *balanced {
	t.Helper()
	path := mustLook(t, kind)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	b := &balanced{behind: behind, dir: t.TempDir(), kind: kind}
	b.instance = &instance{t: t, url: "http://" + listener.Addr().String(), log: newLogBuffer(), exited: make(chan struct{})}
	b.start(t, path, listener.(*net.TCPListener))
	b.connect(20)
	return b
}

// start runs the balancer with its configuration, on the socket of listener.
func (b *balanced) start(t *testing.T, path string, listener *net.TCPListener) {
	t.Helper()
	dir, err := os.MkdirTemp("", "lb-") // short, for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	check, args := b.configure(t, dir, listener.Addr().String())
	socket, err := listener.File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	checks := exec.CommandContext(t.Context(), path, append(slices.Clone(args), check)...)
	checks.ExtraFiles = []*os.File{socket}
	if out, err := checks.CombinedOutput(); err != nil {
		t.Fatalf("%s does not take its configuration: %v\n%s", b.kind, err, out)
	}
	b.cmd = exec.Command(path, args...)
	b.cmd.Env = append(os.Environ(), "NGINX=3;") // has nginx take over the socket
	b.cmd.ExtraFiles = []*os.File{socket}
	b.cmd.Stdout, b.cmd.Stderr = b.log, b.log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// To hand it over has made it one that blocks, and of two processes of nginx that are woken for a connection one would wait for the next.
	if err := syscall.SetNonblock(int(socket.Fd()), true); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(b.exited)
		_ = b.cmd.Wait() // ends by the cleanup
	}()
	t.Cleanup(func() {
		b.stop()
		_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) // what a balancer that ended badly has left, mostly nothing, which is an error
		if t.Failed() {
			t.Logf("log of %s:\n%s", b.kind, b.log)
			for i, s := range b.behind {
				t.Logf("log of service %d:\n%s", i, s.log)
			}
		}
	})
}

// configure writes the configuration with nothing changed but addresses, paths, and the user, and returns the arguments that
// use it, and the one more that only checks it.
func (b *balanced) configure(t *testing.T, dir, listen string) (check string, args []string) {
	t.Helper()
	file := map[string]string{"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}[b.kind]
	config, err := os.ReadFile(filepath.Join("deploy", "lb", file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(config)
	replace := func(pairs ...string) {
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Errorf("%s has no %q", file, pairs[i])
			}
			text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
		}
	}
	replace("127.0.0.1:8081", strings.TrimPrefix(b.behind[0].url, "http://"), "127.0.0.1:8082", strings.TrimPrefix(b.behind[1].url, "http://"))
	main := filepath.Join(dir, file)
	if b.kind == "haproxy" {
		b.admin = filepath.Join(dir, "admin.sock")
		replace("bind 127.0.0.1:8080", "bind fd@3", "/run/haproxy/admin.sock", b.admin, "peer here 127.0.0.1:10000", "peer here unix@"+dir+"/peer.sock",
			"log /dev/log local0", "log stdout format raw local0", "    user haproxy\n", "", "    group haproxy\n", "")
		check, args = "-c", []string{"-db", "-f", main}
	} else {
		replace("listen 127.0.0.1:8080", "listen "+listen)
		main = filepath.Join(dir, "main.conf")
		around := "worker_processes 2;\ndaemon off;\npid " + dir + "/pid;\n"
		if os.Getuid() == 0 {
			around += "user root;\n" // the directory is the test's own
		}
		around += "events {}\nhttp {\naccess_log stderr;\n"
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			around += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, dir, kind)
		}
		around += "include " + file + ";\n}\n"
		if err := os.WriteFile(main, []byte(around), 0o600); err != nil {
			t.Fatal(err)
		}
		check, args = "-t", []string{"-p", dir, "-e", "stderr", "-c", main}
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return check, args
}

// status is what HAProxy thinks of a server for calls that any can run.
func (b *balanced) status(i int) string {
	b.t.Helper()
	conn, err := net.Dial("unix", b.admin)
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "show stat\n"); err != nil {
		b.t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimLeft(text, "# "))).ReadAll()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, row := range rows {
		if row[0] == "calls" && row[1] == []string{"first", "second"}[i] {
			return row[slices.Index(rows[0], "status")]
		}
	}
	b.t.Fatalf("HAProxy does not know the server: %s", text)
	return ""
}

// whose is the answer of a command that runs in the service.
func whose(s *instance) string { return strings.TrimPrefix(s.mark, "CHARMED_BY=") }

// args are those of a call that is written down under this name.
func (b *balanced) args(name string) string { return fmt.Sprintf(`{"dir":%q,"name":%q}`, b.dir, name) }

// execute calls a command. The balancer that does not read bodies is told of the session.
func (b *balanced) execute(command, args string, options ...func(*client.ExecuteRequest)) answer {
	b.t.Helper()
	a, err := b.tryNamed(command, args, options...)
	if err != nil {
		b.t.Errorf("execute %s: %v", command, err)
	}
	return a
}

func (b *balanced) tryNamed(command, args string, options ...func(*client.ExecuteRequest)) (answer, error) {
	body := client.ExecuteRequest{Command: command, Args: []byte(args)}
	for _, option := range options {
		option(&body)
	}
	if body.SessionID == nil || b.kind == "haproxy" {
		return b.try(body)
	}
	return b.try(body, withHeader("Charmer-Session", *body.SessionID))
}

func withHeader(name, value string) client.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set(name, value)
		return nil
	}
}

// hold starts a call that waits, until one does in the service. The channel gives its answer.
func (b *balanced) hold(at *instance, name string, options ...func(*client.ExecuteRequest)) <-chan answer {
	b.t.Helper()
	for try := range 16 {
		name := fmt.Sprintf("%s%d", name, try)
		answers := make(chan answer, 1)
		go func() { // ends with the call: when its gate opens, after a minute, or with its service
			a, _ := b.tryNamed("hold", b.args(name), options...)
			answers <- a
		}()
		var where []byte
		b.eventually("a call waits", func() bool {
			where, _ = os.ReadFile(filepath.Join(b.dir, name+".entered")) // it is not there before the call has begun
			return len(where) > 0
		})
		if string(where) == whose(at) {
			return answers
		}
		touch(b.t, b.dir, name+".open")
		<-answers
	}
	b.t.Fatal("no call comes to the service")
	return nil
}

// open has all calls go on that wait under such names.
func (b *balanced) open(names string) {
	b.t.Helper()
	for _, path := range glob(b.t, b.dir, names+"*.entered") {
		touch(b.t, b.dir, strings.TrimSuffix(filepath.Base(path), ".entered")+".open")
	}
}

// begun counts how often each call has begun in Python.
func (b *balanced) begun() map[string]int {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, "begun"))
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	times := map[string]int{}
	for line := range strings.Lines(string(text)) {
		times[strings.TrimSpace(line)]++
	}
	return times
}
