package workerproc

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAZygotesAnswerInTheSocketWinsOverTheTimer(t *testing.T) {
	ours, theirs, err := controlPair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.FileConn(ours)
	closeAll(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer theirs.Close()
	z := &zygote{control: conn.(*net.UnixConn)}
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if err := unix.Sendmsg(int(theirs.Fd()), []byte(`{"kind":"forked","pid":7}`), unix.UnixRights(pidfd), nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := z.control.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	m, fds, err := z.receive(make([]byte, maxAnswer))
	defer closeAll(fds...)
	if err != nil || m.Kind != "forked" || m.PID != 7 || len(fds) != 1 {
		t.Errorf("%+v with %d descriptors, %v; want the answer with one", m, len(fds), err)
	}
	if _, _, err := z.receive(make([]byte, maxAnswer)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error = %v with nothing there, want ErrDeadlineExceeded", err)
	}
}
