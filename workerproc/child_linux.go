package workerproc

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// fionread asks how many bytes wait in a pipe.
const fionread = unix.TIOCINQ // FIONREAD

// awaitDeath returns when the process of cmd has ended, without reaping it, so that its group can still be signalled
// by its number. The process descriptor sits in the runtime's poller: no thread waits.
func awaitDeath(cmd *exec.Cmd) error {
	fd, err := unix.PidfdOpen(cmd.Process.Pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	defer pidfd.Close()
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polled, 0)
		return n > 0 || (err != nil && err != unix.EINTR)
	})
}
