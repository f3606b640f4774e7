package workerproc

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// ownFake is charmer for a test that kills it: it spawns the fake that FAKE_OWNED names, or Python with OWNED_APP stuck in
// a call that makes OWNED_MARK, and says its number.
func ownFake() {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cfg := Config{Command: []string{self}, MaxFrame: testLimit, StartTimeout: patience,
		Environ: append(os.Environ(), fakeVar+"="+os.Getenv("FAKE_OWNED")), Log: slog.New(slog.DiscardHandler)}
	if app := os.Getenv("OWNED_APP"); app != "" {
		cfg.Command, cfg.Python, cfg.App, cfg.Preload = nil, "python3", app, os.Getenv(noPreload) == ""
	}
	s, err := NewSpawner(cfg)
	if err != nil {
		panic(err)
	}
	w, err := s.Spawn(context.Background(), 1, 1, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(w.PID())
	if mark := os.Getenv("OWNED_MARK"); mark != "" {
		_, err = w.Call(context.Background(), call("stick", fmt.Sprintf(`{"mark":%q}`, mark)))
		panic(err)
	}
	forever()
}

// owned starts an owner of a fake, and returns the owner and the fake's process id.
func owned(t *testing.T, mode string, environ ...string) (owner *exec.Cmd, pid int) {
	t.Helper()
	watchLeaks(t)
	owner = exec.Command(fakeConfig(t, "").Command[0])
	owner.Env = append(append(os.Environ(), fakeVar+"=owner", "FAKE_OWNED="+mode), environ...)
	owner.Stderr = os.Stderr
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = owner.Process.Kill()
		_ = owner.Wait()
		if pid > 0 {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	return owner, pid
}

func TestStuckWorkerAndItsGroupDieWithTheService(t *testing.T) {
	owner, pid := owned(t, "leashed")
	if got := groupMembers(t, pid); len(got) != 2 {
		t.Fatalf("members of the group = %v, want the worker and its grandchild", got)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGroupGone(t, pid)
}

func TestWorkerSeesTheEndOfInputWhenTheServiceDies(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	owner, pid := owned(t, "good", "FAKE_MARK="+mark)
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGroupGone(t, pid)
	if got, err := os.ReadFile(mark); err != nil || string(got) != "end of input" {
		t.Errorf("mark = %q, %v", got, err)
	}
}

func TestClosingTheSpawnerKillsWorkersThatAreStuck(t *testing.T) {
	watchLeaks(t)
	s, err := NewSpawner(fakeConfig(t, "leashed"))
	if err != nil {
		t.Fatal(err)
	}
	w := spawnFrom(t, s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	awaitDone(t, w)
	if exit := w.Exit(); exit.Signal != syscall.SIGKILL {
		t.Errorf("exit = %+v, want it killed", exit)
	}
}
