//go:build !linux

package workerproc

import (
	"errors"
	"os/exec"
)

// awaitDeath needs process descriptors, which only Linux has; the caller then waits for the process itself.
func awaitDeath(*exec.Cmd) error { return errors.ErrUnsupported }
