package workerproc

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stayAwake returns when pipe has something to read, has no writer any more, or limit has passed. It keeps its processor busy
// meanwhile: one that goes to sleep until the worker answers takes longer to wake up than a quick answer takes to come.
func stayAwake(pipe *os.File, limit time.Duration) {
	conn, err := pipe.SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = conn.Control(func(fd uintptr) { // fails if it is closed
		pipes := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for began := time.Now(); time.Since(began) < limit; {
			if n, _ := unix.Poll(pipes, 0); n > 0 { // after an interruption, again
				return
			}
		}
	})
}
