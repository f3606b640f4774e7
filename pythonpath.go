package main

import (
	"fmt"

	"charmer/workerproc"
)

// pythonPathCmd is `charmer python-path`.
type pythonPathCmd struct{}

// Run prints the directory in which the Python package `charmer` lies, for tests, editors and type checkers; workers need it not.
func (pythonPathCmd) Run(sys system) error {
	dir, err := workerproc.UnpackRuntime()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(sys.stdout, dir)
	return err
}
