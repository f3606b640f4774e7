package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// files returns the names of what is in a directory, or nil if it is not there.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestTheStarterIsWrittenWithTheDirectoriesAboveIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	names, err := writeStarter(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Dockerfile", "README.md", "app.py", "requirements.txt", "test_app.py"}
	if got := files(t, dir); !slices.Equal(got, want) || !slices.Equal(names, want) {
		t.Errorf("wrote %q and says %q, want %q", got, names, want)
	}
	for _, name := range want {
		source, err := os.ReadFile(filepath.Join(starterDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != string(source) {
			t.Errorf("%s is not as in %s: %v", name, starterDir, err)
		}
	}
}

func TestTheStarterGoesBesideOtherFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := writeStarter(dir); err != nil {
		t.Error(err)
	}
}

func TestNothingIsWrittenWhereAFileIsInTheWay(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "test_app.py")); err != nil {
		t.Fatal(err)
	}
	_, err := writeStarter(dir)
	if err == nil {
		t.Fatal("it was written")
	}
	for _, name := range []string{"app.py", "test_app.py"} {
		if !strings.Contains(err.Error(), filepath.Join(dir, name)) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
	if got := files(t, dir); !slices.Equal(got, []string{"app.py", "test_app.py"}) {
		t.Errorf("there is %q now", got)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "app.py")); string(got) != "mine" {
		t.Errorf("app.py is %q, %v", got, err)
	}
}

func TestAFileInPlaceOfTheDirectoryIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, err := writeStarter(dir); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestWhatWasBegunIsUndone(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "a", "b")
	var made undo
	if err := made.mkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := made.create(filepath.Join(dir, "one"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := made.create(filepath.Join(dir, "one"), []byte("2")); err == nil {
		t.Error("a file was overwritten")
	}
	if err := made.run(); err != nil {
		t.Error(err)
	}
	if got := files(t, top); len(got) > 0 {
		t.Errorf("%q is left", got)
	}
}
