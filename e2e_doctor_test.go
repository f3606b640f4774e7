package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestDoctorFindsTheDemoWell(t *testing.T) {
	stdout, stderr, code := charmer(t, []string{noPreload + "=" + strconv.FormatBool(startMethod == "exec")}, "doctor", "--start-timeout=5m", "--stop-grace=1m")
	wantCode(t, []string{"doctor"}, stderr, code, exitOK)
	for _, line := range []string{`(?m)^ok  Python 3\.\d+\.\d+ at /`, `(?m)^ok  charmer.demo is ready after \S+, in \w+ 3\.`, `(?m)^    ` + startMethod + `: spawn \S+, (import \S+, )?handshake \S+`,
		`(?m)^    greet  Greet somebody\.$`, `(?m)^ok  it exited with code 0`} {
		if !regexp.MustCompile(line).MatchString(stdout) {
			t.Errorf("doctor does not say %s:\n%s", line, stdout)
		}
	}
}

func TestDoctorWarnsOfAWorkerThatDoesNotStopWell(t *testing.T) {
	const app = "from charmer import command, on_stop\n@command\ndef ping(): pass\n@on_stop\ndef stop():\n    import os, signal, time\n    "
	for stop, want := range map[string]string{
		"time.sleep(900)":                      `(?m)^warning: it did not stop within --stop-grace \(5s\) and was killed$`,
		"os._exit(3)":                          `(?m)^warning: it exited with code 3 when asked to stop$`,
		"os.kill(os.getpid(), signal.SIGKILL)": `(?m)^warning: it .*killed by signal 9 \(SIGKILL\) when asked to stop$`,
	} {
		stdout, stderr, code := charmer(t, nil, "doctor", "--start-timeout=5m", "--stop-grace=5s", appFile(t, app+stop+"\n"))
		wantCode(t, []string{"doctor", stop}, stderr, code, exitOK)
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("%s: doctor does not say %s:\n%s", stop, want, stdout)
		}
	}
}

func TestAWorkerCommandIsCalledByItsName(t *testing.T) {
	command := "python3 " + scriptFile(t, "worker.py", oddWorker)
	stdout, stderr, code := charmer(t, nil, "doctor", "--start-timeout=5m", "--stop-grace=1m", "--worker-command="+command)
	wantCode(t, []string{"doctor"}, stderr, code, exitOK)
	if want := fmt.Sprintf("ok  worker command %q is ready after ", command); !strings.Contains(stdout, want) {
		t.Errorf("doctor does not say %s:\n%s", want, stdout)
	}
	_, stderr, code = charmer(t, nil, "doctor", "--worker-command=false")
	wantCode(t, []string{"doctor"}, stderr, code, exitApp, `charmer: worker command "false" does not start`, "exited with code 1")

	s := serve(t, "", "--worker-command="+command)
	line := s.log.await(t, s.exited, func(l logLine) bool { return l["msg"] == "serving" })
	if app, ok := line["app"]; ok || line["worker_command"] != command {
		t.Errorf("the log says app %v, worker command %v", app, line["worker_command"])
	}
}
