package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// starter is what `charmer init` writes; each file is named, so that nothing else that lies there comes along.
//
//go:embed examples/starter/README.md examples/starter/app.py examples/starter/test_app.py
//go:embed examples/starter/requirements.txt examples/starter/Dockerfile
var starter embed.FS

const starterDir = "examples/starter"

// initCmd is `charmer init`.
type initCmd struct {
	Dir string `arg:"" help:"Directory to write to, made if it is not there; . for this one."`
}

// Run writes the files and says what to do with them.
func (c *initCmd) Run(sys system) error {
	names, err := writeStarter(c.Dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "wrote %s\n", filepath.Join(c.Dir, name))
	}
	b.WriteString("\nNext:\n\n")
	if filepath.Clean(c.Dir) != "." {
		fmt.Fprintf(&b, "  cd %s\n", c.Dir)
	}
	b.WriteString("  charmer serve app.py\n\nREADME.md there has the calls to try, and how to run the tests.\n")
	_, err = sys.stdout.Write([]byte(b.String()))
	return err
}

// writeStarter writes the files of the starter into dir, all or none, and returns their names. A file that is there already is
// never touched: the error names all such files.
func writeStarter(dir string) (names []string, err error) {
	entries, err := starter.ReadDir(starterDir)
	if err != nil {
		return nil, err
	}
	var there []string
	for _, entry := range entries {
		names = append(names, entry.Name())
		path := filepath.Join(dir, entry.Name())
		if _, err := os.Lstat(path); err == nil {
			there = append(there, path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if len(there) > 0 {
		return nil, fmt.Errorf("nothing written: there is already %s", strings.Join(there, ", "))
	}
	var written undo
	if err := written.mkdirAll(dir); err != nil {
		return nil, errors.Join(err, written.run())
	}
	for _, name := range names {
		content, err := starter.ReadFile(starterDir + "/" + name)
		if err == nil {
			err = written.create(filepath.Join(dir, name), content)
		}
		if err != nil {
			return nil, errors.Join(err, written.run())
		}
	}
	return names, nil
}

// undo is a list of the files and directories that were made, in their order.
type undo []string

// mkdirAll makes a directory and those above it that are not there.
func (u *undo) mkdirAll(dir string) error {
	var missing []string
	for path := filepath.Clean(dir); ; path = filepath.Dir(path) {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			break // what is no directory Mkdir says
		}
		missing = append(missing, path)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		if err := os.Mkdir(missing[i], 0o777); err != nil {
			return err
		}
		*u = append(*u, missing[i])
	}
	return nil
}

// create writes a file that is not there.
func (u *undo) create(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	*u = append(*u, path)
	_, err = file.Write(content)
	return errors.Join(err, file.Close())
}

// run removes what was made, the last first. A directory into which somebody else has put something stays.
func (u undo) run() error {
	var problems []error
	for i := len(u) - 1; i >= 0; i-- {
		if err := os.Remove(u[i]); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
