package workerproc

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fileInsteadOfDir(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("in the way"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// contents returns the files below dir by name, without the bytecode that Python adds.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == "__pycache__" {
				return filepath.SkipDir
			}
			return nil
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		found[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func embedded(t testing.TB) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := walkRuntime(func(name string, content []byte) error {
		files[name] = string(content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// mustRuntime returns the runtime directory, which is removed at the end of the test if it is temporary.
func mustRuntime(t testing.TB) (dir string, cleanup func() error) {
	t.Helper()
	dir, cleanup, err := runtimeDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cleanup() })
	if diff := cmp.Diff(embedded(t), contents(t, dir)); diff != "" {
		t.Errorf("%s (-embedded +found):\n%s", dir, diff)
	}
	return dir, cleanup
}

func TestEverySourceOfTheRuntimeIsEmbedded(t *testing.T) {
	var want []string
	for name := range contents(t, "python") {
		inPackage := strings.HasPrefix(name, "charmer/") && (strings.HasSuffix(name, ".py") || strings.HasSuffix(name, "py.typed"))
		if inPackage || name == "__main__.py" {
			want = append(want, name)
		}
	}
	var got []string
	for name := range embedded(t) {
		got = append(got, name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-there +embedded):\n%s", diff)
	}
	if !slices.Contains(got, "__main__.py") || !slices.Contains(got, "charmer/__init__.py") {
		t.Errorf("embedded are %v, without those that Python starts at", got)
	}
}

func TestRuntimeLiesInTheCacheUnderItsDigest(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	dir, cleanup := mustRuntime(t)
	if filepath.Dir(dir) != filepath.Join(cache, "charmer") || !regexp.MustCompile(`^runtime-[0-9a-f]{16}$`).MatchString(filepath.Base(dir)) {
		t.Errorf("directory = %s, want one in %s named by a digest", dir, cache)
	}
	if again, _ := mustRuntime(t); again != dir {
		t.Errorf("second time in %s, first in %s", again, dir)
	}
	if err := cleanup(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("gone after the cleanup: %v", err)
	}
}

func TestRuntimeIsRepaired(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir, _ := mustRuntime(t)
	damages := map[string]func(path string) error{
		"changed":   func(path string) error { return os.WriteFile(path, []byte("import evil\n"), 0o644) },
		"truncated": func(path string) error { return os.Truncate(path, 1) },
		"removed":   os.Remove,
		"linked":    func(path string) error { _ = os.Remove(path); return os.Symlink("/nowhere", path) },
	}
	for name, damage := range damages {
		if err := damage(filepath.Join(dir, "charmer", "__init__.py")); err != nil {
			t.Fatal(err)
		}
		if again, _ := mustRuntime(t); again != dir {
			t.Errorf("%s: repaired in %s, not in %s", name, again, dir)
		}
	}
}

func TestUntouchedRuntimeIsNotWrittenAgain(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir, _ := mustRuntime(t)
	path := filepath.Join(dir, "__main__.py")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	mustRuntime(t)
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) || before.ModTime() != after.ModTime() {
		t.Error("written again, which makes Python's bytecode stale")
	}
}

func TestRuntimeIsTemporaryWhereTheCacheCannotBeWritten(t *testing.T) {
	blocked := t.TempDir()
	if err := os.WriteFile(filepath.Join(blocked, "charmer"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ home, cache string }{
		"cache is a file":    {t.TempDir(), fileInsteadOfDir(t)},
		"home is a file":     {fileInsteadOfDir(t), ""},
		"no home":            {"", ""},
		"cache is relative":  {t.TempDir(), "relative"},
		"our place is taken": {t.TempDir(), blocked},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			t.Setenv("HOME", tt.home)
			t.Setenv("XDG_CACHE_HOME", tt.cache)
			dir, cleanup := mustRuntime(t)
			if filepath.Dir(dir) != temp {
				t.Errorf("directory = %s, want one in %s", dir, temp)
			}
			if err := cleanup(); err != nil {
				t.Fatal(err)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
				t.Errorf("%v left, %v", left, err)
			}
		})
	}
}

func TestServicesThatStartTogetherShareTheRuntime(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dirs := make(chan string, 8)
	var wg sync.WaitGroup
	for range cap(dirs) {
		wg.Go(func() {
			dir, _, err := runtimeDir()
			if err != nil {
				t.Error(err)
			}
			dirs <- dir
		})
	}
	wg.Wait()
	want, _ := mustRuntime(t) // which also finds files half made
	for range cap(dirs) {
		if got := <-dirs; got != want {
			t.Errorf("directory = %s, want %s", got, want)
		}
	}
}

func TestTemporaryRuntimeIsRemovedWithItsSpawner(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("XDG_CACHE_HOME", fileInsteadOfDir(t))
	s, err := NewSpawner(Config{Python: "python3"})
	if err != nil {
		t.Fatal(err)
	}
	if got := filepath.Dir(s.runtime); got != temp {
		t.Errorf("runtime in %s, want it in %s", got, temp)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("%v left, %v", left, err)
	}
}
