package workerproc

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ends are one side's ends of the pipes of a worker.
type ends struct {
	calls, replies, stdout, stderr, stack *os.File
	control                               *os.File // the worker's alone; nil where the system has none
}

// A frame larger than largeFrame has its pipe widened to widePipe, which is what a system allows everybody by default.
const (
	largeFrame = 64 << 10
	widePipe   = 1 << 20
)

// pipes are the pipes of one worker.
type pipes struct {
	ours, theirs ends
	control      *control // ours; nil where the system has none
}

// open makes all pipes, or none. Those that a worker can open anew by their names belong to user, unless that is nil.
func (p *pipes) open(user *identity) error {
	var errs []error
	for _, row := range []struct {
		ours, theirs **os.File
		toChild      bool
	}{
		{&p.ours.calls, &p.theirs.calls, true}, {&p.ours.replies, &p.theirs.replies, false},
		{&p.ours.stdout, &p.theirs.stdout, false}, {&p.ours.stderr, &p.theirs.stderr, false}, {&p.ours.stack, &p.theirs.stack, false},
	} {
		var err error
		*row.ours, *row.theirs, err = pipe(row.toChild)
		errs = append(errs, err)
	}
	errs = append(errs, user.own(p.theirs.stdout, p.theirs.stderr))
	errs = append(errs, p.openControl())
	if err := errors.Join(errs...); err != nil {
		p.closeOurs()
		p.theirs.close()
		return err
	}
	return nil
}

func (e *ends) close() { closeAll(e.calls, e.replies, e.stdout, e.stderr, e.stack, e.control) }

func (p *pipes) closeOurs() {
	p.ours.close()
	p.control.close()
}

// pipe makes a pipe whose one end stays here, in the poller, and whose other end goes to the child in blocking mode.
// Both are close-on-exec. toChild says which end goes to the child: its read end or its write end.
func pipe(toChild bool) (ours, theirs *os.File, err error) {
	var fds [2]int
	syscall.ForkLock.RLock()
	err = unix.Pipe(fds[:])
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	if toChild {
		fds[0], fds[1] = fds[1], fds[0]
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}

// closeAll closes files, of which some may be nil.
func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close() // nothing was written that a failure could lose
	}
}
