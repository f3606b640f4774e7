package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Poll is Only in one thread that waits for all connections at once, which costs about half of what a goroutine for each
// does. It is for small requests: one must fit into the buffer of a socket.
func Poll(address string, n int, length time.Duration, request *Request) (Result, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return Result{}, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return Result{}, os.NewSyscallError("epoll_create1", err)
	}
	began := time.Now()
	p := &poller{epoll: epoll, to: &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, request: request,
		until: began.Add(length), conns: map[int]*pollConn{}, in: bufio.NewReaderSize(nil, 64<<10), open: n}
	for range n {
		p.send(&pollConn{fd: -1})
	}
	err = p.run()
	for _, c := range p.conns {
		_ = unix.Close(c.fd) // it has said all
	}
	_ = unix.Close(epoll)
	return merge([]Result{p.result}, time.Since(began)), err
}

// poller is the state of Poll.
type poller struct {
	epoll   int
	to      *unix.SockaddrInet4
	request *Request
	until   time.Time
	conns   map[int]*pollConn // by descriptor
	open    int               // connections that have an answer to wait for, or a pause
	pausing []*pollConn
	in      *bufio.Reader
	text    bytes.Reader // of in
	body    []byte       // of the last answer
	result  Result
}

// pollConn is one connection.
type pollConn struct {
	fd   int    // -1 while there is none
	buf  []byte // what has come of the answer
	sent time.Time
	wake time.Time // end of the pause
}

func (p *poller) run() error {
	events := make([]unix.EpollEvent, 256)
	for p.open > 0 {
		wait := time.Second
		if len(p.pausing) > 0 {
			wait = pause
		}
		n, err := unix.EpollWait(p.epoll, events, int(wait.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, e := range events[:max(n, 0)] {
			p.receive(p.conns[int(e.Fd)])
		}
		if n > 0 && len(p.pausing) == 0 {
			continue
		}
		if time.Since(p.until) > patience {
			return fmt.Errorf("%d connections without an answer %s after the end", p.open, patience)
		}
		p.resume()
	}
	return nil
}

// resume has the connections send again whose pause is over.
func (p *poller) resume() {
	pausing := p.pausing
	p.pausing = nil
	for _, c := range pausing {
		if time.Now().Before(c.wake) {
			p.pausing = append(p.pausing, c)
		} else {
			p.send(c)
		}
	}
}

// send sends the request, or ends the connection's work if the time is over.
func (p *poller) send(c *pollConn) {
	c.sent = time.Now()
	if !c.sent.Before(p.until) {
		p.open--
		return
	}
	c.buf = c.buf[:0]
	err := p.connect(c)
	if err == nil {
		var n int
		if n, err = unix.Write(c.fd, p.request.raw); err == nil && n < len(p.request.raw) {
			err = fmt.Errorf("%d of %d bytes fit into the socket", n, len(p.request.raw))
		}
	}
	if err != nil {
		p.failed(c, err)
	}
}

// connect makes a connection unless there is one.
func (p *poller) connect(c *pollConn) error {
	if c.fd >= 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	c.fd = fd
	p.conns[fd] = c
	if err := unix.Connect(fd, p.to); err != nil { // on loopback at once, so that it may block
		return os.NewSyscallError("connect", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

// receive reads what has come, and goes on with the next request if that is the rest of an answer.
func (p *poller) receive(c *pollConn) {
	if cap(c.buf)-len(c.buf) < 4<<10 {
		c.buf = append(make([]byte, 0, 2*cap(c.buf)+8<<10), c.buf...)
	}
	n, err := unix.Read(c.fd, c.buf[len(c.buf):cap(c.buf)])
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err != nil {
		p.failed(c, os.NewSyscallError("read", err))
		return
	}
	c.buf = c.buf[:len(c.buf)+n]
	p.text.Reset(c.buf)
	p.in.Reset(&p.text)
	p.body = p.body[:0]
	answer, err := readAnswer(p.in, func(piece []byte) { p.body = append(p.body, piece...) })
	switch unfinished := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || answer.toEnd; {
	case unfinished && n > 0:
		return
	case err != nil:
		p.failed(c, err)
		return
	}
	answer.Body = p.body
	if err := p.request.Check(answer); err != nil {
		p.failed(c, err)
		return
	}
	p.result.right(time.Since(c.sent))
	if answer.last {
		p.drop(c)
	}
	p.send(c)
}

// failed notes a request without a right answer. The connection makes a pause and begins anew.
func (p *poller) failed(c *pollConn, err error) {
	p.result.wrong(err)
	p.drop(c)
	c.wake = time.Now().Add(pause)
	p.pausing = append(p.pausing, c)
}

// drop closes a connection, which also takes it out of the poll.
func (p *poller) drop(c *pollConn) {
	if c.fd >= 0 {
		_ = unix.Close(c.fd) // it is not used any more
		delete(p.conns, c.fd)
		c.fd = -1
	}
}
