package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// charmer runs the program with args, and with variables added to an environment that has none of charmer's own.
func charmer(t *testing.T, variables []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "CHARMER_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, variables...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// wantCode fails the test unless the program ended so, and said each of the words on stderr.
func wantCode(t *testing.T, args []string, stderr string, code, want int, words ...string) {
	t.Helper()
	if code != want {
		t.Errorf("charmer %q: exit code %d, want %d:\n%s", args, code, want, stderr)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("charmer %q does not say %q:\n%s", args, word, stderr)
		}
	}
	if strings.Contains(stderr, "panic") || strings.Contains(stderr, "goroutine ") {
		t.Errorf("charmer %q panicked:\n%s", args, stderr)
	}
}

func TestHelpAndVersionAreThere(t *testing.T) {
	inOneRun(t)
	for _, args := range [][]string{{}, {"--help"}, {"-h"}} {
		stdout, stderr, code := charmer(t, nil, args...)
		wantCode(t, args, stderr, code, exitOK)
		for _, word := range []string{"charmer serve app.py", "curl -X POST", "serve", "init", "check", "call", "config", "doctor", "python-path", "version", "CHARMER_"} {
			if !strings.Contains(stdout, word) {
				t.Errorf("charmer %q does not say %q:\n%s", args, word, stdout)
			}
		}
	}
	for _, command := range []string{"serve", "init", "check", "call", "config", "doctor", "python-path", "version"} {
		stdout, stderr, code := charmer(t, nil, command, "--help")
		wantCode(t, []string{command, "--help"}, stderr, code, exitOK)
		if !strings.HasPrefix(stdout, "Usage: charmer "+command) || stderr != "" {
			t.Errorf("help of %s:\n%s%s", command, stdout, stderr)
		}
	}
	bad := []string{"CHARMER_CONFIG=/does/not/exist.yaml"} // only what has settings reads it
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"call", "--help"}} {
		_, stderr, code := charmer(t, bad, args...)
		wantCode(t, args, stderr, code, exitOK)
	}
	stdout, stderr, code := charmer(t, bad, "version")
	wantCode(t, []string{"version"}, stderr, code, exitOK)
	if !regexp.MustCompile(`^charmer ` + regexp.QuoteMeta(version) + `( [0-9a-f]{40})? \(go\S+ \w+/\w+\)\n$`).MatchString(stdout) {
		t.Errorf("version: %q", stdout)
	}
}

func TestWrongUsageEndsWithItsOwnCode(t *testing.T) {
	inOneRun(t)
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "charmer.yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return "--config=" + path
	}
	for _, tt := range []struct {
		args      []string
		variables []string
		words     []string
	}{
		{[]string{"nonsense"}, nil, []string{"nonsense"}},
		{[]string{"serve", "--nonsense"}, nil, []string{"--nonsense"}},
		{[]string{"serve", "a.py", "b.py"}, nil, []string{"b.py"}},
		{[]string{"serve", "--workers=many"}, nil, []string{"--workers", "many"}},
		{[]string{"serve", "--checkout-timeout=5"}, nil, []string{"--checkout-timeout", "5"}},
		{[]string{"serve", "--max-body=8Mib"}, nil, []string{"--max-body", "8Mib", "8MiB"}},
		{[]string{"serve", "--log-level=loud"}, nil, []string{"--log-level", "loud", "info"}},
		{[]string{"serve"}, []string{"CHARMER_WORKERS=many"}, []string{"CHARMER_WORKERS", "many"}},
		{[]string{"serve"}, []string{"CHARMER_LOG_FORMAT=xml"}, []string{"xml"}},
		{[]string{"serve", "--config=/does/not/exist.yaml"}, nil, []string{"/does/not/exist.yaml"}},
		{[]string{"config"}, []string{"CHARMER_CONFIG=/does/not/exist.yaml"}, []string{"/does/not/exist.yaml"}},
		{[]string{"serve", file("wrokers: 2\n")}, nil, []string{`unknown key "wrokers"`}},
		{[]string{"serve", file("max-body: 1MiB\n")}, nil, []string{`unknown key "max-body"`, "_"}},
		{[]string{"serve", file("config: other.yaml\n")}, nil, []string{`unknown key "config"`}},
		{[]string{"serve", file("workers: many\n")}, nil, []string{"charmer.yaml: workers: ", "many"}},
		{[]string{"serve", file("max_body: 8Mib\nlazy: perhaps\nlog_level: loud\npython:\n")}, nil, []string{"charmer.yaml: max_body: ", "8MiB", "charmer.yaml: lazy: ", "charmer.yaml: log_level: ", "charmer.yaml: python: "}},
		{[]string{"serve", file("workers: -1\nlisten: x\nmax_queue: 5\n"), "--max-queue=-5"}, nil, []string{"charmer.yaml: workers: -1", "charmer.yaml: listen: ", "--max-queue: -5"}},
		{[]string{"serve", file("max_queue: 0\n"), "--lazy"}, nil, []string{"charmer.yaml: max_queue: 0", "can never serve"}},
		{[]string{"serve", file("workers: 1\n---\nworkers: 2\n")}, nil, []string{"charmer.yaml", "second document"}},
		{[]string{"serve", file("workers: 1\n---\n[\n")}, nil, []string{"charmer.yaml"}},
		{[]string{"serve", file("- workers\n")}, nil, []string{"charmer.yaml"}},
		{[]string{"serve", file("workers: [1\n")}, nil, []string{"charmer.yaml"}},
		{[]string{"serve", file("workers: 1\nworkers: 2\n")}, nil, []string{"workers"}},
		{[]string{"doctor", "--start-timeout=0s"}, nil, []string{"--start-timeout"}},
		{[]string{"check", "--start-timeout=0s"}, nil, []string{"--start-timeout"}},
		{[]string{"init", "a", "b"}, nil, []string{"b"}},
		{[]string{"call"}, nil, []string{"command"}},
		{[]string{"call", "greet", "[1]"}, nil, []string{"JSON object", "[1]"}},
		{[]string{"call", "greet", `{"name":`}, nil, []string{"JSON object"}},
		{[]string{"call", "greet", "--url=http://"}, nil, []string{"--url: ", "http://127.0.0.1:8080"}},
		{[]string{"call", "greet", "--url=ftp://localhost"}, nil, []string{"--url: ", "ftp"}},
		{[]string{"call", "greet", "--url=http://local host"}, nil, []string{"--url: "}},
		{[]string{"call", "greet", "--url=localhost:80:80"}, nil, []string{"--url: "}},
		{[]string{"call", "greet", "--url=:8080"}, nil, []string{"--url: "}},
		{[]string{"call", "greet"}, []string{"CHARMER_URL="}, []string{"--url: "}},
	} {
		stdout, stderr, code := charmer(t, tt.variables, tt.args...)
		wantCode(t, tt.args, stderr, code, exitUsage, tt.words...)
		if stdout != "" {
			t.Errorf("charmer %q writes to stdout: %s", tt.args, stdout)
		}
	}
}

func TestBadSettingsAreReportedAllAtOnce(t *testing.T) {
	inOneRun(t)
	args := []string{"--workers=-1", "--execute-timeout=0s", "--lease-share=2", "--listen=nonsense", "--max-frame=1KiB", "--session-idle=-1s", "--max-sessions=0"}
	for _, command := range []string{"serve", "config", "doctor"} {
		_, stderr, code := charmer(t, nil, append([]string{command}, args...)...)
		var words []string
		for _, arg := range args {
			flag, _, _ := strings.Cut(arg, "=")
			words = append(words, flag+": ")
		}
		wantCode(t, args, stderr, code, exitUsage, words...)
	}
	_, stderr, _ := charmer(t, nil, "config", "--workers=-1")
	if strings.Contains(stderr, "--min-ready") {
		t.Errorf("a bad number of workers is reported twice:\n%s", stderr)
	}
	_, stderr, code := charmer(t, nil, "config", "--workers=2", "--min-ready=3", "--listen=:http-nope")
	wantCode(t, []string{"config"}, stderr, code, exitUsage, "--min-ready: 3", "--listen: ")
}

func TestConfigTellsEachValueAndItsSource(t *testing.T) {
	inOneRun(t)
	path := filepath.Join(t.TempDir(), "charmer.yaml")
	text := "workers: 3\nmax_body: 1MiB\nmax_queue: 7\nlease_ttl: 90s\nlease_share: 0.5\nlazy: true\nlog_level: warn\nstop_grace: 1500ms\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"config", "--config", path, "--workers=5", "--max-queue", "9", "--checkout-timeout=1s"}
	variables := []string{"CHARMER_WORKERS=4", "CHARMER_MAX_BODY=2MiB", "CHARMER_EXECUTE_TIMEOUT=3s", "CHARMER_CHECKOUT_TIMEOUT=2s", "CHARMER_DEBUG=true"}
	want := map[string]string{
		"workers":          "5 flag --workers",                       // over environment and file
		"max-queue":        "9 flag --max-queue",                     // over file
		"checkout-timeout": "1s flag --checkout-timeout",             // over environment
		"config":           path + " flag --config",                  //
		"max-body":         "2MiB environment CHARMER_MAX_BODY",      // over file
		"execute-timeout":  "3s environment CHARMER_EXECUTE_TIMEOUT", // over default
		"debug":            "true environment CHARMER_DEBUG",         //
		"lease-ttl":        "1m30s file " + path,                     //
		"lease-share":      "0.5 file " + path,                       //
		"lazy":             "true file " + path,                      //
		"log-level":        "warn file " + path,                      //
		"stop-grace":       "1.5s file " + path,                      //
		"max-frame":        "64MiB default", "drain-timeout": "30s default", "listen": "127.0.0.1:8080 default",
	}
	check := func(stdout string) {
		t.Helper()
		got := map[string]string{}
		for line := range strings.Lines(stdout) {
			name, rest, _ := strings.Cut(strings.Join(strings.Fields(line), " "), " ")
			got[name] = rest
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s is %q, want %q", name, got[name], value)
			}
		}
	}
	stdout, stderr, code := charmer(t, variables, args...)
	wantCode(t, args, stderr, code, exitOK)
	check(stdout)
	stdout, stderr, code = charmer(t, append(variables, "CHARMER_CONFIG="+path), "config", "--workers=5", "--max-queue", "9", "--checkout-timeout=1s")
	wantCode(t, []string{"config"}, stderr, code, exitOK)
	want["config"] = path + " environment CHARMER_CONFIG"
	check(stdout)
}

func TestCallPrintsTheResultOrTheProblem(t *testing.T) {
	s := serveCalls(t)
	lease := s.lease()
	host := strings.TrimPrefix(s.url, "http://")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"ping"}, "0\n"},
		{[]string{"ping", `{"n":5}`}, "5\n"},
		{[]string{"ping", "--url=" + host}, "0\n"},
		{[]string{"ping", "--url=" + strings.Replace(host, "127.0.0.1", "localhost", 1)}, "0\n"},
		{[]string{"ping", "--url=" + s.url + "/"}, "0\n"},
		{[]string{"count", "--session=u1"}, "1\n"},
		{[]string{"count", "{}", "--session", "u1", "--timeout=1m"}, "2\n"},
		{[]string{"note", `{"text":"é<&>"}`, "--lease=" + lease.LeaseID}, "[\n\t\"é<&>\"\n]\n"},
	} {
		stdout, stderr, code := charmer(t, []string{"CHARMER_URL=" + s.url}, append([]string{"call"}, tt.args...)...)
		wantCode(t, tt.args, stderr, code, exitOK)
		if stdout != tt.want || stderr != "" {
			t.Errorf("charmer call %q: %q, want %q; stderr %q", tt.args, stdout, tt.want, stderr)
		}
	}
	for _, tt := range []struct{ args, words []string }{
		{[]string{"ping", "--timeout=100ns"}, []string{"timeout"}},
		{[]string{"nope"}, []string{"404", `"code": "unknown_command"`}},
		{[]string{"fail"}, []string{"422", `"code": "command_failed"`, "ValueError", "as told"}},
		{[]string{"ping", "--session=a b"}, []string{"400", "/session_id"}},
		{[]string{"ping", "--lease=nope"}, []string{"404", "lease_not_found"}},
		{[]string{"hold", newGates(s).args("never"), "--timeout=3s"}, []string{"504", "execution_timeout", "in hold"}},
	} {
		args := append([]string{"call", "--url", s.url}, tt.args...)
		stdout, stderr, code := charmer(t, nil, args...)
		wantCode(t, args, stderr, code, exitFailed, tt.words...)
		if stdout != "" {
			t.Errorf("charmer %q writes to stdout: %s", args, stdout)
		}
	}
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestCallWithoutAServiceSaysWhatToDo(t *testing.T) {
	inOneRun(t)
	args := []string{"call", "ping", "--url=http://" + freeAddress(t)}
	_, stderr, code := charmer(t, nil, args...)
	wantCode(t, args, stderr, code, exitFailed, "refused", "charmer serve")

	other := http.Server{Handler: http.NotFoundHandler()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = other.Serve(listener) }() // ends by Close
	defer other.Close()
	args = []string{"call", "ping", "--url=http://" + listener.Addr().String()}
	_, stderr, code = charmer(t, nil, args...)
	wantCode(t, args, stderr, code, exitFailed, "404")
}

func TestServeEndsWithACodeForEachReason(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().String()
	dir := t.TempDir()
	app := strings.TrimSuffix(appFile(t, callsApp), ".py")
	for _, tt := range []struct {
		args  []string
		code  int
		words []string
	}{
		{[]string{"serve", "--listen=" + taken}, exitListen, []string{taken, "in use"}},
		{[]string{"serve", "--listen=" + taken, filepath.Join(dir, "missing.py")}, exitApp, []string{"missing.py"}},
		{[]string{"serve", app}, exitApp, []string{"did you mean " + app + ".py?"}},
		{[]string{"serve", dir}, exitApp, []string{"directory"}},
		{[]string{"doctor", filepath.Join(dir, "missing.py")}, exitApp, []string{"missing.py"}},
		{[]string{"doctor", "no.such.module"}, exitApp, []string{"No module named", "Install what is missing"}},
		{[]string{"doctor", "--python=/no/such/python"}, exitFailed, []string{"/no/such/python", "--python"}},
		{[]string{"doctor", "--python=" + mustLook(t, "false")}, exitFailed, []string{"3.9"}},
	} {
		_, stderr, code := charmer(t, nil, tt.args...)
		wantCode(t, tt.args, stderr, code, tt.code, tt.words...)
	}
}

func mustLook(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name) // which not everybody has in the path
	}
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatalf("needs %s", name)
	case err != nil:
		t.Skipf("needs %s", name)
	}
	return path
}

func TestWhatCannotBePrintedIsAFailure(t *testing.T) {
	inOneRun(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"doctor", "--start-timeout=5m"}, {"config"}, {"version"}} {
		cmd := exec.CommandContext(t.Context(), program, args...)
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &errs
		if err := cmd.Run(); cmd.ProcessState == nil {
			t.Fatal(err)
		}
		wantCode(t, args, errs.String(), cmd.ProcessState.ExitCode(), exitFailed, "no space left")
	}
}

func TestADrainThatHasToKillEndsWithItsOwnCode(t *testing.T) {
	for _, end := range []string{"drain timeout", "second signal", "interrupt"} {
		t.Run(end, func(t *testing.T) {
			flags := []string{"--execute-timeout=5m", "--drain-timeout=5m"}
			if end == "drain timeout" {
				flags[1] = "--drain-timeout=50ms"
			}
			s := launch(t, appFile(t, callsApp), flags...).ready()
			running := newGates(s).hold("never")
			first, second := syscall.SIGTERM, syscall.SIGTERM
			if end == "interrupt" {
				first, second = syscall.SIGINT, syscall.SIGINT
			}
			signal := func(number syscall.Signal) {
				t.Helper()
				if err := s.cmd.Process.Signal(number); err != nil {
					t.Fatal(err)
				}
			}
			signal(first)
			s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == "draining" })
			if end != "drain timeout" {
				signal(second)
			}
			a := <-running
			a.wantProblem(t, http.StatusBadGateway, "worker_crashed", true)
			<-s.exited
			if code := s.cmd.ProcessState.ExitCode(); code != exitForced {
				t.Errorf("exit code %d, want %d\n%s", code, exitForced, s.log)
			}
			s.noneLeft()
			if got := fmt.Sprint(s.log.lines(func(l logLine) bool { return l["msg"] == "killing what still runs" })); !strings.Contains(got, "requests:1") {
				t.Errorf("the log does not say what was killed: %s", got)
			}
		})
	}
}
