package clients

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// build makes the program that users run.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "charmer")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// leashed runs a program until standard input ends, which it does with this process too, however that ends: when go test runs into
// its timeout no cleanup runs. Only the program has standard error, so that its end is seen there.
const leashed = `"$@" & exec 2>&-; read -r _; kill -TERM $!; wait $!`

// serve starts the service with app.py on a free port, waits until it is ready, and returns its address. It has one worker, so that a
// client can have it busy. It must end in good order after the test.
func serve(t *testing.T, program string) (address string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", leashed, "sh", program, "serve", "--listen=127.0.0.1:0", "--workers=1", "--log-format=json", "app.py")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	leash, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listens := make(chan string, 1)
	var log strings.Builder
	var reader sync.WaitGroup
	reader.Go(func() { // ends with the service
		defer close(listens)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			var line struct{ Msg, Listen string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				listens <- line.Listen
			}
		}
	})
	t.Cleanup(func() {
		if err := leash.Close(); err != nil {
			t.Error(err)
		}
		kill := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // if there is none any more, good
		reader.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the service: %v", err)
		}
		kill.Stop()
		if t.Failed() {
			t.Logf("log of the service:\n%s", log.String())
		}
	})
	address = <-listens
	for deadline := time.Now().Add(patience); address != "" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		reply, err := http.Get("http://" + address + "/health/ready")
		if err == nil {
			reply.Body.Close()
			if reply.StatusCode == http.StatusOK {
				return address
			}
		}
	}
	t.Fatalf("the service at %q is not ready", address)
	return ""
}
