package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// runIn runs a program in a directory, with the environment of the test and some variables, and returns what it says.
func runIn(t *testing.T, dir string, variables []string, argv ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), variables...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestAnAppThatInitHasWrittenIsServedTestedAndChecked(t *testing.T) {
	inOneRun(t)
	dir := filepath.Join(t.TempDir(), "shop")
	stdout, stderr, code := charmer(t, nil, "init", dir)
	wantCode(t, []string{"init"}, stderr, code, exitOK)
	for _, line := range []string{"wrote " + filepath.Join(dir, "app.py"), "  cd " + dir, "  charmer serve app.py"} {
		if !strings.Contains(stdout, line+"\n") {
			t.Errorf("init does not say %q:\n%s", line, stdout)
		}
	}
	t.Run("its calls answer as its README says", func(t *testing.T) {
		answersAsItsReadmeSays(t, filepath.Join(dir, "README.md"))
	})
	t.Run("its tests pass", func(t *testing.T) {
		found, stderr, code := charmer(t, nil, "python-path")
		wantCode(t, []string{"python-path"}, stderr, code, exitOK)
		path := strings.TrimSuffix(found, "\n")
		out, err := runIn(t, dir, []string{"PYTHONPATH=" + path, "PYTHONDONTWRITEBYTECODE=1"}, "python3", "-m", "unittest")
		if err != nil || !strings.Contains(out, "\nOK\n") || strings.Contains(out, "Ran 0 tests") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("there is nothing to complain about", func(t *testing.T) {
		stdout, stderr, code := charmer(t, nil, "check", "--strict", "--start-timeout=5m", "--stop-grace=1m", filepath.Join(dir, "app.py"))
		wantCode(t, []string{"check"}, stderr, code, exitOK)
		if !strings.HasSuffix(stdout, "\n3 commands, 0 warnings, 0 notes\n") {
			t.Error(stdout)
		}
	})
}

func TestInitWritesHereAndNeverTwice(t *testing.T) {
	inOneRun(t)
	dir := t.TempDir()
	if out, err := runIn(t, dir, nil, program, "init", "."); err != nil || strings.Contains(out, "  cd ") {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(dir, "Dockerfile")); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := charmer(t, nil, "init", dir)
	wantCode(t, []string{"init"}, stderr, code, exitFailed, "nothing written", filepath.Join(dir, "README.md"), filepath.Join(dir, "app.py"))
	if _, err := os.Stat(filepath.Join(dir, "Dockerfile")); err == nil {
		t.Error("it has written Dockerfile beside the files that were there")
	}
	_, stderr, code = charmer(t, nil, "init")
	wantCode(t, []string{"init"}, stderr, code, exitUsage, "<dir>")
}

// TestAVirtualEnvironmentFindsThePackage runs the line of the README of the starter that has Python find charmer.
func TestAVirtualEnvironmentFindsThePackage(t *testing.T) {
	inOneRun(t)
	if testing.Short() {
		t.Skip("needs python3 and some seconds")
	}
	dir := t.TempDir()
	venv := filepath.Join(dir, "venv")
	if out, err := runIn(t, dir, nil, "python3", "-m", "venv", "--without-pip", venv); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line := ""
	for _, block := range snippets(t, filepath.Join(starterDir, "README.md")) {
		if strings.HasPrefix(block.text, "charmer python-path >") {
			line = block.text
		}
	}
	path := "PATH=" + filepath.Join(venv, "bin") + string(os.PathListSeparator) + filepath.Dir(program) + string(os.PathListSeparator) + os.Getenv("PATH")
	if out, err := runIn(t, dir, []string{path}, "sh", "-euc", line+"python3 -c 'import charmer; print(charmer.__version__)'"); err != nil || out != version+"\n" {
		t.Errorf("%s%v\n%s", line, err, out)
	}
}

func TestPythonPathSaysWhyThereIsNone(t *testing.T) {
	inOneRun(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := charmer(t, []string{"XDG_CACHE_HOME=" + file}, "python-path")
	wantCode(t, []string{"python-path"}, stderr, code, exitFailed, "Python runtime", file)
	if stdout != "" {
		t.Errorf("it prints %q", stdout)
	}
}
