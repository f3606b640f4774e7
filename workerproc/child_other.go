//go:build !linux

package workerproc

import (
	"errors"
	"os/exec"
)

// fionread asks how many bytes wait in a pipe.
const fionread = 0x4004667f // FIONREAD

// awaitDeath needs process descriptors, which only Linux has; the caller then waits for the process itself.
func awaitDeath(*exec.Cmd) error { return errors.ErrUnsupported }
