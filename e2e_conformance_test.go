package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// conformance is where Schemathesis finds its settings, and the app that is served to it.
const conformance = "testdata/conformance"

// TestSchemathesisFindsNothing has Schemathesis make requests out of the contract, and out of the documents with the commands of the
// app, and hold the replies against them: all of its checks in all of its phases, always the same requests. What it is told to pass over
// is in hooks.py and schemathesis.toml, with the reason.
func TestSchemathesisFindsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("needs python3, what pip installs, and most of a minute")
	}
	inOneRun(t)
	dir, program := schemathesis(t)
	s := serve(t, filepath.Join(dir, "app.py"), "--workers=4", "--spares=2", "--execute-timeout=2s", "--checkout-timeout=500ms", "--lease-ttl=1s").ready()
	contract, err := filepath.Abs("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range []string{contract, s.url + "/openapi.json", s.url + "/openapi-3.0.json"} {
		t.Run(filepath.Base(document), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, "--config-file", filepath.Join(dir, "schemathesis.toml"), "run", document, "--url", s.url, "--no-color")
			cmd.Dir = t.TempDir() // it leaves what it remembers where it runs
			cmd.Env = append(os.Environ(), "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1")
			cmd.WaitDelay = time.Second
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

// schemathesis returns the folder of its settings and its program, which it installs. It skips the test where that cannot be done, but
// for continuous integration.
func schemathesis(t *testing.T) (dir, program string) {
	t.Helper()
	dir, err := filepath.Abs(conformance)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "install")).CombinedOutput()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%v\n%s", err, out)
	default:
		t.Skipf("needs bash, python3 with venv, and what pip downloads: %v\n%s", err, out)
	}
	return dir, filepath.Join(dir, ".venv", "bin", "schemathesis")
}
