package workerproc

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// onThrowawayThread runs f on a thread that ends with it, so that what f changes of the thread is inherited by the
// processes that f starts, and by nothing else: the runtime makes no threads from a locked one.
func onThrowawayThread(f func() error) error {
	done := make(chan error, 1)
	go func() { // ends with f, and its thread with it, because it does not unlock
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the first thread never ends: hold it, so that another one is taken
			defer runtime.UnlockOSThread()
			done <- onThrowawayThread(f)
			return
		}
		done <- f()
	}()
	return <-done
}

// prepareThread gives the calling thread what a process that it starts shall inherit.
func (c Confinement) prepareThread() error {
	if len(c.CPUs) > 0 {
		var want, got unix.CPUSet
		for _, cpu := range c.CPUs {
			want.Set(cpu)
		}
		// The kernel leaves out what it does not have without a word, unless nothing is left.
		err := unix.SchedSetaffinity(0, &want)
		if err == nil {
			err = unix.SchedGetaffinity(0, &got)
		}
		if err != nil {
			return fmt.Errorf("processors %v: %w", c.CPUs, err)
		}
		if got != want {
			return fmt.Errorf("processors %v: not all of them are there or allowed, only %d are", c.CPUs, got.Count())
		}
	}
	if c.Nice != 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, c.Nice); err != nil { // of this thread, on Linux
			return fmt.Errorf("nice %d: %w", c.Nice, err)
		}
	}
	if c.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no new privileges: %w", err)
		}
	}
	return nil
}

// mayBecomeOthers returns an error unless this process can start workers of another user, and end them.
func mayBecomeOthers() error {
	if !capable(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_CHOWN, unix.CAP_KILL) {
		return errors.New("a worker user needs root, or the capabilities SETUID, SETGID, CHOWN and KILL")
	}
	return nil
}

// mayLimit returns an error unless this process can set limits of a worker from outside.
func mayLimit(id *identity) error {
	if id != nil && !capable(unix.CAP_SYS_RESOURCE) {
		return errors.New("limits of a worker command that has a user of its own need the capability SYS_RESOURCE")
	}
	return nil
}

// capable reports whether this process has all of the capabilities.
func capable(capabilities ...int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	for _, c := range capabilities {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}

// apply sets the limits of another process, which has run for an instant without them.
func (l Limits) apply(pid int) error {
	for _, r := range l.rlimits() {
		if err := unix.Prlimit(pid, r.resource, &unix.Rlimit{Cur: r.soft, Max: r.hard}, nil); err != nil {
			return fmt.Errorf("%s of process %d: %w", r.name, pid, err)
		}
	}
	return nil
}

// cpuTime returns the processor time that a process has used, in nanoseconds, also when it is dead but not reaped; 0 if that
// cannot be had. It is the clock by which the kernel enforces RLIMIT_CPU. Source: clock_getcpuclockid(3) of the C library.
func cpuTime(pid int) int64 {
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3), &used); err != nil {
		return 0
	}
	return used.Nano()
}
