package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// allowed says which of charmer's packages each of them may import, and which libraries are kept out of it. The arrows
// are those of docs/architecture.md: main -> handlers -> poolsvc -> workerproc, and handlers -> api.
var allowed = map[string]struct{ may, never []string }{
	".":                   {may: []string{"handlers", "poolsvc", "workerproc", "workerproc/awake", "api/client"}},
	"handlers/openapi":    {never: []string{"net/http", "os", "os/exec"}},
	"handlers":            {may: []string{"poolsvc", "workerproc/longtext", "api", "handlers/openapi", "handlers/mcptools"}, never: []string{"os/exec"}},
	"handlers/mcptools":   {never: []string{"net/http", "os", "os/exec"}},
	"poolsvc":             {may: []string{"workerproc", "poolsvc/argschema"}, never: []string{"net/http", "os/exec", "github.com/prometheus/client_golang"}},
	"poolsvc/argschema":   {never: []string{"net/http", "os", "os/exec"}},
	"workerproc":          {may: []string{"workerproc/longtext", "workerproc/awake"}, never: []string{"net/http", "github.com/prometheus/client_golang"}},
	"workerproc/awake":    {never: []string{"net", "os", "os/exec"}},
	"workerproc/longtext": {never: []string{"net/http", "os", "os/exec"}},
	"api":                 {},
	"api/client":          {},
}

func TestImportsFollowTheArrows(t *testing.T) {
	inOneRun(t)
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rules, ok := allowed[filepath.ToSlash(filepath.Dir(path))]
		if !ok || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		seen[filepath.ToSlash(filepath.Dir(path))] = true
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			checkImport(t, path, name, rules.may, rules.never)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range allowed {
		if !seen[dir] {
			t.Errorf("no Go files in %s: the rule for it checks nothing", dir)
		}
	}
}

func checkImport(t *testing.T, path, name string, may, never []string) {
	t.Helper()
	if ours, ok := strings.CutPrefix(name, "charmer/"); ok {
		for _, dir := range may {
			if ours == dir {
				return
			}
		}
		t.Errorf("%s imports %s: that arrow points the wrong way", path, name)
	}
	for _, prefix := range never {
		if name == prefix || strings.HasPrefix(name, prefix+"/") {
			t.Errorf("%s imports %s, which this package must not know", path, name)
		}
	}
}
