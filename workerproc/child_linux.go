package workerproc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// fionread asks how many bytes wait in a pipe.
const fionread = unix.TIOCINQ // FIONREAD

// awaitDeath returns when the process of cmd has ended, without reaping it, so that its group can still be signalled
// by its number.
func awaitDeath(cmd *exec.Cmd) error {
	fd, err := unix.PidfdOpen(cmd.Process.Pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	return awaitPidfd(os.NewFile(uintptr(fd), "pidfd"))
}

// awaitPidfd returns when the process behind a descriptor has ended, and closes the descriptor. It sits in the runtime's
// poller: no thread waits.
func awaitPidfd(pidfd *os.File) error {
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

// newPidfd takes over a process descriptor that was received.
func newPidfd(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil { // for the poller
		return nil, fmt.Errorf("pidfd: %w", err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// errNoPackets is the error of controlPair where the system has no sockets that keep the bounds of packets.
var errNoPackets = errors.ErrUnsupported

// interrupt sends sig to the main thread of the process: another would not wake it from a system call.
func (c *child) interrupt(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		_ = unix.Tgkill(c.pid, c.pid, sig) // the only possible error is that nobody is left
	}
}

// controlPair makes the socket between this process and a zygote or a worker, in which packets keep their bounds.
func controlPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// takePacket reads the packet that is there, without waiting, like UnixConn.ReadMsgUnix.
func takePacket(fd int, buf, oob []byte) (n, oobn, flags int, err error) {
	n, oobn, flags, _, err = unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	return n, oobn, flags, err
}

// becomeSubreaper has what loses its parent below this process become a child of it: the workers of a zygote that died,
// whose status can then be collected, and what dead workers have left behind.
func becomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	return nil
}

// reapOrphan collects the status of a worker whose zygote has died, and which has ended.
func reapOrphan(pid int) exitStatus {
	var status syscall.WaitStatus
	for {
		switch _, err := syscall.Wait4(pid, &status, 0, nil); err {
		case nil:
			return statusOf(status)
		case syscall.EINTR:
		default:
			return exitStatus{code: -1, unknown: true}
		}
	}
}

// childrenOutsideGroup returns the children of this process that are in other process groups than it, dead ones not yet
// reaped among them.
func childrenOutsideGroup() []int {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return nil
	}
	var pids []int
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended, and its children are another's
		}
		for field := range bytes.FieldsSeq(text) {
			pid, err := strconv.Atoi(string(field))
			if err != nil {
				continue
			}
			if group, err := unix.Getpgid(pid); err == nil && group != unix.Getpgrp() {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
