package workerproc

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is the operating system's side of a worker: a process that leads its own group. It was exec'ed by this process or
// forked by a zygote, which differ in how its death is noticed and its status collected.
type child struct {
	pid   int
	death func() error      // returns when the process has ended, unreaped, or with an error if that cannot be noticed
	reap  func() exitStatus // waits for the end and gives the process id back to the system

	mu     sync.Mutex // guards reaped
	reaped bool       // the number may belong to somebody else
}

// exitStatus is how a child ended.
type exitStatus struct {
	code    int            // -1 if a signal ended it, or if it is not known
	signal  syscall.Signal // 0 if it exited
	unknown bool           // nobody could collect its status
	cpu     time.Duration  // processor time used; 0 if that is not known
}

// startChild runs cmd as the leader of a new process group, with the attributes that cmd has besides.
func startChild(cmd *exec.Cmd, f *Family) (*child, error) {
	// No Pdeathsig: the leader would die before the service's end of the lifeline is closed, which then would not reach
	// the rest of its group.
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := f.start(cmd); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	return &child{
		pid:   pid,
		death: func() error { return awaitDeath(cmd) },
		reap: func() exitStatus {
			// The error repeats what ProcessState says, or is about streams, of which cmd has none.
			_ = cmd.Wait()
			f.remove(pid)
			f.endStrangers()
			status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
			return statusOf(status)
		},
	}, nil
}

func statusOf(status syscall.WaitStatus) exitStatus {
	if status.Signaled() {
		return exitStatus{code: -1, signal: status.Signal()}
	}
	return exitStatus{code: status.ExitStatus()}
}

// wait returns when the process has ended and been reaped. Before it is reaped what is left of the group is killed, while
// the group's number cannot have been given to others. It is called once.
func (c *child) wait() exitStatus {
	seen := c.death() == nil
	var cpu time.Duration
	if seen {
		cpu = time.Duration(cpuTime(c.pid))
		c.killGroup()
	}
	status := c.reap()
	status.cpu = cpu
	if !seen { // without process descriptors: what is left of a group keeps its number from being given to others
		c.killGroup()
	}
	c.mu.Lock()
	c.reaped = true
	c.mu.Unlock()
	return status
}

// killGroup sends SIGKILL to the group that the process was made to lead, and to the process, which may have left it.
func (c *child) killGroup() {
	c.kill(-c.pid, syscall.SIGKILL)
	c.kill(c.pid, syscall.SIGKILL)
}

// signal sends sig to the process alone.
func (c *child) signal(sig syscall.Signal) { c.kill(c.pid, sig) }

// kill ignores the error: the only one possible is that nobody is left.
func (c *child) kill(pid int, sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		_ = syscall.Kill(pid, sig)
	}
}

// pipeReader reads what a worker writes into a pipe. Past the deadline that follows a death it waits no more, but goes on
// taking what is there, so that a reader which was held up loses nothing of what the dead worker has written.
type pipeReader struct {
	file    *os.File
	emptied func() (more bool) // called when nothing is there past a deadline, and says whether to wait again; may be nil
	late    int                // bytes taken past the deadline
	read    atomic.Int64       // bytes taken in all
	size    pipeSize
}

// pipeSize asks how many bytes wait in a pipe. It is made once, as that is asked for each call.
type pipeSize struct {
	conn syscall.RawConn // nil before it is asked for the first time, and of a pipe that is closed
	ask  func(fd uintptr)
	n    int
}

// of returns the size for file, and 0 for a closed one.
func (s *pipeSize) of(file *os.File) int {
	if s.conn == nil {
		conn, err := file.SyscallConn()
		if err != nil {
			return 0
		}
		s.conn = conn
		s.ask = func(fd uintptr) { s.n, _ = unix.IoctlGetInt(int(fd), fionread) }
	}
	s.n = 0
	_ = s.conn.Control(s.ask) // on failure the pipe is closed, and nothing more comes
	return s.n
}

// written returns how many bytes have been written into the pipe so far, taken or not. It is for one caller at a time.
func (r *pipeReader) written() int64 { return int64(r.size.of(r.file)) + r.read.Load() }

// maxLate bounds what is taken past the deadline, which somebody who left the group can go on writing. No pipe holds
// more, by default.
const maxLate = 1 << 20

func (r *pipeReader) Read(p []byte) (n int, err error) {
	defer func() { r.read.Add(int64(n)) }()
	for {
		if n, err = r.file.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if r.late < maxLate {
			if n, err := r.take(p); n > 0 || err == io.EOF {
				r.late += n
				return n, err
			}
		}
		if r.emptied == nil || !r.emptied() {
			return 0, err
		}
		r.late = 0
	}
}

// take reads what is there, without waiting. Any error but io.EOF means that nothing is.
func (r *pipeReader) take(p []byte) (n int, err error) {
	conn, err := r.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var rerr error
	if err := conn.Control(func(fd uintptr) { n, rerr = unix.Read(int(fd), p) }); err != nil || rerr != nil {
		return 0, cmp.Or(err, rerr)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// kernelOOMKills returns how many processes the kernel has killed for lack of memory, or 0 where it does not tell.
func kernelOOMKills() int {
	stat, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(stat) {
		if count, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			n, _ := strconv.Atoi(string(bytes.TrimSpace(count)))
			return n
		}
	}
	return 0
}
