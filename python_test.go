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

// TestPython runs the unit tests of the Python runtime and of the examples: with the libraries that tools/pycheck has installed, if
// it has, and those of the runtime that can use them also without any.
func TestPython(t *testing.T) {
	if testing.Short() {
		t.Skip("needs python3 and some seconds")
	}
	inOneRun(t)
	runtime, err := filepath.Abs("workerproc/python")
	if err != nil {
		t.Fatal(err)
	}
	python := "python3"
	if venv, err := filepath.Abs(".venv/bin/python"); err == nil {
		if _, err := os.Stat(venv); err == nil {
			python = venv
		}
	}
	unittest := func(t *testing.T, python, dir string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, python, append([]string{"-X", "faulthandler"}, args...)...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGABRT) } // tells where it hangs
		cmd.WaitDelay = time.Second
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PYTHONPATH="+runtime)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	t.Run("runtime", func(t *testing.T) {
		unittest(t, python, runtime, "-m", "unittest", "discover", "-s", "tests", "-t", ".")
	})
	t.Run("runtime alone", func(t *testing.T) {
		unittest(t, "python3", runtime, "-S", "-m", "unittest", "tests.test_types", "tests.test_models")
	})
	tests, err := filepath.Glob("examples/*/test_app.py")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests of examples: %v", err)
	}
	for _, test := range tests {
		t.Run(test, func(t *testing.T) { unittest(t, "python3", filepath.Dir(test), "-m", "unittest", "test_app") })
	}
}
