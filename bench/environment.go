package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Where the contenders' code and their virtual environments are, from the folder of go.mod.
const (
	contenderDir = "bench/contenders"
	venvDir      = "bench/.venv"
)

// environment is what all measurements share: what was built and installed, and how to measure.
type environment struct {
	options
	dir      string             // temporary
	charmer  string             // program
	ceiling  string             // program
	prepared map[string]bool    // contenders that are installed
	others   []float64          // processors that others used, one for each measurement
	notes    map[string]float64 // what a measurement leaves for a later one of the same round
}

// newEnvironment builds the programs. It is run in the folder of go.mod.
func newEnvironment(ctx context.Context, o options) (*environment, error) {
	if _, err := os.Stat(contenderDir); err != nil {
		return nil, fmt.Errorf("not in the folder of go.mod: %w", err)
	}
	dir, err := os.MkdirTemp("", "charmer-bench-")
	if err != nil {
		return nil, err
	}
	e := &environment{options: o, dir: dir, prepared: map[string]bool{}, notes: map[string]float64{},
		charmer: filepath.Join(dir, "charmer"), ceiling: filepath.Join(dir, "ceiling")}
	for program, source := range map[string]string{e.charmer: ".", e.ceiling: "./bench/ceiling"} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			e.remove()
			return nil, fmt.Errorf("build %s: %w\n%s", source, err, out)
		}
	}
	return e, nil
}

// remove deletes what was built. Virtual environments stay.
func (e *environment) remove() { _ = os.RemoveAll(e.dir) }

// python is the interpreter of a contender's virtual environment.
func (e *environment) python(contender string) string { return e.tool(contender, "python") }

// tool is a program of a contender's virtual environment.
func (e *environment) tool(contender, name string) string {
	path, err := filepath.Abs(filepath.Join(venvDir, contender, "bin", name))
	if err != nil {
		panic(err) // the working directory is gone
	}
	return path
}

// install makes the virtual environment of a contender, unless it is there with these requirements.
func (e *environment) install(ctx context.Context, contender string) error {
	if e.prepared[contender] {
		return nil
	}
	requirements := filepath.Join(contenderDir, contender, "requirements.txt")
	text, err := os.ReadFile(requirements)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	stamp, want := filepath.Join(venvDir, contender, "installed"), hex.EncodeToString(sum[:])
	if have, err := os.ReadFile(stamp); err != nil || string(have) != want {
		for _, argv := range [][]string{
			{"python3", "-m", "venv", "--clear", filepath.Join(venvDir, contender)},
			{e.python(contender), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements},
		} {
			if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
				return fmt.Errorf("install %s: %w\n%s", contender, err, out)
			}
		}
		if err := os.WriteFile(stamp, []byte(want), 0o644); err != nil {
			return err
		}
	}
	e.prepared[contender] = true
	return nil
}
