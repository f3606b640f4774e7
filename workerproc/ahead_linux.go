package workerproc

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openPackets opens the end of a pipe that is written once more, so that each write to it is a packet: pipe(7), O_DIRECT.
func openPackets(pipe *os.File) (*os.File, error) {
	fd, err := reopen(pipe, unix.O_WRONLY)
	if err != nil {
		return nil, err
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK|unix.O_DIRECT)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeRoom)
	}
	if err != nil {
		_ = unix.Close(fd) // nothing was written
		return nil, fmt.Errorf("packets on a pipe: %w", err)
	}
	return os.NewFile(uintptr(fd), "pipe"), nil
}

// takeUnread takes out of a pipe of packets what nobody has read. It does not wait, and returns nothing of a closed pipe.
func takeUnread(pipe *os.File) (data []byte) {
	fd, err := reopen(pipe, unix.O_RDONLY)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	buf := make([]byte, pipeRoom)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return data
		}
		data = append(data, buf[:n]...)
	}
}

// unreadEnd opens the end of a pipe from which it is read, so that it can be asked what nobody has read once all who read it are gone.
// It is nil where that fails.
func unreadEnd(pipe *os.File) *os.File {
	fd, err := reopen(pipe, unix.O_RDONLY)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "pipe")
}

// widen gives a pipe more room, for frames that are larger than it. It works as well without: the system may allow no more.
func widen(pipe *os.File) {
	if conn, err := pipe.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, widePipe) })
	}
}

// reopen opens another end of a pipe, by its name in /proc.
func reopen(pipe *os.File, mode int) (fd int, err error) {
	conn, err := pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	opened := conn.Control(func(own uintptr) {
		fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", own), mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if opened != nil {
		return 0, opened
	}
	return fd, err
}
