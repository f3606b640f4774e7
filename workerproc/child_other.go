//go:build !linux

package workerproc

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// fionread asks how many bytes wait in a pipe.
const fionread = 0x4004667f // FIONREAD

// Process descriptors, packets on local sockets and subreapers are Linux's. Without them workers are exec'ed, and the end
// of one is noticed by waiting for it.

var errNoPackets = errors.ErrUnsupported

// interrupt sends sig to the process, whichever thread that may interrupt.
func (c *child) interrupt(sig syscall.Signal) { c.signal(sig) }

func awaitDeath(*exec.Cmd) error                      { return errors.ErrUnsupported }
func awaitPidfd(*os.File) error                       { return errors.ErrUnsupported }
func newPidfd(int) (*os.File, error)                  { return nil, errors.ErrUnsupported }
func controlPair() (ours, theirs *os.File, err error) { return nil, nil, errors.ErrUnsupported }
func becomeSubreaper() error                          { return errors.ErrUnsupported }
func reapOrphan(int) exitStatus                       { return exitStatus{code: -1, unknown: true} }
func takePacket(int, []byte, []byte) (n, oobn, flags int, err error) {
	return 0, 0, 0, errors.ErrUnsupported
}
func openPackets(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
func takeUnread(*os.File) []byte             { return nil }
func unreadEnd(*os.File) *os.File            { return nil }
func widen(*os.File)                         {}
func childrenOutsideGroup() []int            { return nil }
