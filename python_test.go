package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestPython runs the unit tests of the Python runtime and of the examples.
func TestPython(t *testing.T) {
	if testing.Short() {
		t.Skip("needs python3 and some seconds")
	}
	runtime, err := filepath.Abs("workerproc/python")
	if err != nil {
		t.Fatal(err)
	}
	unittest := func(t *testing.T, dir string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "python3", append([]string{"-X", "faulthandler", "-m", "unittest"}, args...)...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGABRT) } // tells where it hangs
		cmd.WaitDelay = time.Second
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PYTHONPATH="+runtime)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	t.Run("runtime", func(t *testing.T) { unittest(t, runtime, "discover", "-s", "tests", "-t", ".") })
	tests, err := filepath.Glob("examples/*/test_app.py")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests of examples: %v", err)
	}
	for _, test := range tests {
		t.Run(test, func(t *testing.T) { unittest(t, filepath.Dir(test), "test_app") })
	}
}
