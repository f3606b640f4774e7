// Package awake keeps a processor from going to sleep while something is awaited that is about to come: waking up would take
// longer than that.
package awake

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// For returns when conn has something to read, has nobody at its other end any more, or is closed, when done is closed, because somebody else
// has read what was awaited, and else after limit. It looks again and again, and reads nothing.
func For(conn syscall.Conn, limit time.Duration, done <-chan struct{}) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = raw.Control(func(fd uintptr) { // fails if it is closed
		conns := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for began := time.Now(); time.Since(began) < limit; {
			if n, _ := unix.Poll(conns, 0); n > 0 { // after an interruption, again
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
}
