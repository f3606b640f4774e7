//go:build !linux

package workerproc

import (
	"errors"
	"fmt"
	"os"
)

// onThrowawayThread needs attributes of threads that only Linux has.
func onThrowawayThread(func() error) error {
	return fmt.Errorf("nice, processors and no new privileges: %w", errors.ErrUnsupported)
}

func (c Confinement) prepareThread() error { return errors.ErrUnsupported }

// mayBecomeOthers returns an error unless this process can start workers of another user, and end them.
func mayBecomeOthers() error {
	if os.Geteuid() != 0 {
		return errors.New("a worker user needs root")
	}
	return nil
}

// mayLimit: only Linux can set limits of another process.
func mayLimit(*identity) error {
	return fmt.Errorf("limits of a worker command: %w", errors.ErrUnsupported)
}

func (l Limits) apply(int) error { return errors.ErrUnsupported }

// cpuTime is not known.
func cpuTime(int) int64 { return 0 }
