package workerproc

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWorkersEnvironmentLeavesOurSettingsOut(t *testing.T) {
	const omp, openblas, mkl, numexpr = "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1", "NUMEXPR_NUM_THREADS=1"
	tests := map[string]struct{ in, want []string }{
		"empty":        {nil, []string{omp, openblas, mkl, numexpr}},
		"passed on":    {[]string{"PATH=/bin", "EMPTY=", "PYTHONPATH=a=b"}, []string{"PATH=/bin", "EMPTY=", "PYTHONPATH=a=b", omp, openblas, mkl, numexpr}},
		"ours":         {[]string{"CHARMER_AUTH_TOKEN=x", "CHARMER_WORKER_APP=y", "CHARMER_=", "A=CHARMER_B"}, []string{"A=CHARMER_B", omp, openblas, mkl, numexpr}},
		"like ours":    {[]string{"CHARMER=1", "charmer_x=2"}, []string{"CHARMER=1", "charmer_x=2", omp, openblas, mkl, numexpr}},
		"threads set":  {[]string{"OMP_NUM_THREADS=8", "MKL_NUM_THREADS="}, []string{"OMP_NUM_THREADS=8", "MKL_NUM_THREADS=", openblas, numexpr}},
		"odd entries":  {[]string{"=C:=x", "NOVALUE"}, []string{"=C:=x", "NOVALUE", omp, openblas, mkl, numexpr}},
		"order stays":  {[]string{"B=1", "A=2", "B=3"}, []string{"B=1", "A=2", "B=3", omp, openblas, mkl, numexpr}},
		"all threads":  {[]string{omp, openblas, mkl, numexpr}, []string{omp, openblas, mkl, numexpr}},
		"value prefix": {[]string{"X=OMP_NUM_THREADS=2"}, []string{"X=OMP_NUM_THREADS=2", omp, openblas, mkl, numexpr}},
	}
	for name, tt := range tests {
		in := slices.Clone(tt.in)
		got := workerEnviron(tt.in)
		ours := len(got) - strings.Count(strings.Join(got, "\n")+"\n", "_NUM_THREADS=1\n")
		slices.Sort(got[ours:]) // those that were added have no order
		slices.Sort(tt.want[ours:])
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(in, tt.in); diff != "" {
			t.Errorf("%s: the service's environment changed:\n%s", name, diff)
		}
	}
}

func TestAppExistsKnowsFilesOnly(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.py")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "folder.py")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, app := range []string{file, "shop", "shop.main", ""} {
		if err := AppExists(app); err != nil {
			t.Errorf("%q: %v, want no error", app, err)
		}
	}
	for _, app := range []string{filepath.Join(dir, "gone.py"), "gone.py", "./shop", dir + "/shop"} {
		if err := AppExists(app); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q: %v, want ErrNotExist", app, err)
		}
	}
	for _, app := range []string{folder, dir} {
		if err := AppExists(app); err == nil || !strings.Contains(err.Error(), "is a directory") {
			t.Errorf("%q: %v, want that it is a directory", app, err)
		}
	}
}

func TestClosedSpawnerStartsNothing(t *testing.T) {
	watchLeaks(t)
	s, err := NewSpawner(fakeConfig(t, "good"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w, err := s.Spawn(t.Context(), 1, 1, nil)
	var failed *StartError
	if w != nil || !errors.As(err, &failed) || failed.Stage != "spawn" {
		t.Errorf("%v and %v, want a *StartError", w, err)
	}
	if err := s.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second close: %v, want ErrClosed", err)
	}
}

func TestSpawnerWithACommandNeedsNoRuntime(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", fileInsteadOfDir(t))
	t.Setenv("TMPDIR", fileInsteadOfDir(t))
	s := newSpawner(t, fakeConfig(t, "good"))
	if s.runtime != "" {
		t.Errorf("runtime = %q, want none", s.runtime)
	}
}

func TestSpawnerWithoutAPlaceForTheRuntimeIsAnError(t *testing.T) {
	watchLeaks(t)
	t.Setenv("XDG_CACHE_HOME", fileInsteadOfDir(t))
	t.Setenv("TMPDIR", fileInsteadOfDir(t))
	if s, err := NewSpawner(Config{Python: "python3"}); err == nil || !strings.HasPrefix(err.Error(), "directory for the Python runtime: ") {
		t.Errorf("%v and %v, want an error", s, err)
	}
}
