package workerproc

import (
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Family tells the processes that were started here and not yet reaped from those that fell to this process because it
// is a subreaper: what a dead worker has left behind, in whatever group or session that put itself. Its zero value is
// ready for use. There is to be one in a process, for a second would take the children of the first for strangers.
type Family struct {
	mu   sync.Mutex // guards pids, and is held while a process is started, so that a new one is never taken for a stranger
	pids map[int]int
}

// start runs cmd and knows its process from its first moment on.
func (f *Family) start(cmd *exec.Cmd) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	f.addLocked(cmd.Process.Pid)
	return nil
}

// add makes a process known that a zygote has forked.
func (f *Family) add(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addLocked(pid)
}

func (f *Family) addLocked(pid int) {
	if f.pids == nil {
		f.pids = map[int]int{}
	}
	f.pids[pid]++ // 2 for a moment if the system gives the number to a new process before remove
}

// remove forgets a process that has been reaped.
func (f *Family) remove(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pids[pid]--; f.pids[pid] == 0 {
		delete(f.pids, pid)
	}
}

// endStrangers kills and reaps the children of this process that nobody here has started, and those of theirs that come
// here as they die. A child in the process group of the service itself is left alone: no worker's is. One that takes its
// time to die is reaped at the next call. The kernel's list can lack one when another child is reaped while it is read, so
// each look is two.
func (f *Family) endStrangers() {
	for delay := time.Millisecond; delay < 100*time.Millisecond; delay *= 2 {
		first, second := f.killStrangers(), f.killStrangers()
		if !first && !second {
			return
		}
		time.Sleep(delay)
	}
}

// killStrangers kills all strangers, reaps those that are dead, and reports whether there were any.
func (f *Family) killStrangers() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := false
	for _, pid := range childrenOutsideGroup() {
		if f.pids[pid] == 0 {
			found = true
			_ = syscall.Kill(pid, syscall.SIGKILL) // it is a child not yet reaped, so the number is still its own
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
	return found
}
