// Command apigen writes the Go side of the HTTP contract. It reads openapi.yaml, the only source, and writes
//
//   - api/api.gen.go: the models, with validator/v10 tags taken from the schema keywords, and the chi routes
//   - api/patterns.gen.go: the regular expressions that the tags name
//   - api/client/client.gen.go: a client, with models of its own
//
// It fails closed: a keyword, type or format in a request schema or a parameter that it does not translate is an
// error that names the schema by JSON pointer, so that the service never accepts what the contract refuses.
//
//	cd tools && go run ./apigen          write the files
//	cd tools && go run ./apigen -check   name the files that are out of date and exit with 1
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", "..", "directory that holds openapi.yaml and api")
	check := flag.Bool("check", false, "write nothing, fail when a file is out of date")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "apigen:", err)
		os.Exit(1)
	}
}

// run generates from root/openapi.yaml and writes the files below root, or only compares them when check is set.
func run(root string, check bool) error {
	source, err := os.ReadFile(filepath.Join(root, "openapi.yaml"))
	if err != nil {
		return err
	}
	files, err := generate(source)
	if err != nil {
		return err
	}
	if check {
		return compare(root, files)
	}
	for _, f := range files {
		path := filepath.Join(root, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compare returns one error for each of files that is missing below root or differs.
func compare(root string, files []file) error {
	var stale []error
	for _, f := range files {
		old, err := os.ReadFile(filepath.Join(root, f.path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			stale = append(stale, fmt.Errorf("%s is missing; run make generate", f.path))
		case err != nil:
			stale = append(stale, err)
		case !bytes.Equal(old, f.content):
			stale = append(stale, fmt.Errorf("%s does not match openapi.yaml; run make generate", f.path))
		}
	}
	return errors.Join(stale...)
}
