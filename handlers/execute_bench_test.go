package handlers

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// cannedConn is a connection in memory whose client has sent the same request left times, and reads every answer at once.
type cannedConn struct {
	request []byte
	left    int
	at      int // in request
	mu      sync.Mutex
	right   int // answers with 200
	closed  func()
}

func (c *cannedConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.request[c.at:])
	if c.at += n; c.at == len(c.request) {
		c.at = 0
		c.left--
	}
	return n, nil
}

func (c *cannedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.right += bytes.Count(p, []byte("HTTP/1.1 200 OK"))
	return len(p), nil
}

func (c *cannedConn) Close() error                   { c.closed(); return nil }
func (*cannedConn) SetDeadline(time.Time) error      { return nil }
func (*cannedConn) SetReadDeadline(time.Time) error  { return nil }
func (*cannedConn) SetWriteDeadline(time.Time) error { return nil }
func (*cannedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*cannedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// One call is all that net/http, the handlers and the pool do for it, without a socket and without a process.
func BenchmarkExecute(b *testing.B) {
	body := `{"command":"any","args":{"value":"` + strings.Repeat("x", 100) + `"}}`
	request := fmt.Appendf(nil, "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for _, connections := range []int{1, 10} {
		b.Run(fmt.Sprint("connections=", connections), func(b *testing.B) {
			s := newTestServer(b, io.Discard, withVaried(nil))
			newChecked(b, s).answer(b, "POST", "/execute", body) // waits for the first worker
			listener := &pipeListener{conns: make(chan net.Conn, connections), ended: make(chan struct{})}
			var open sync.WaitGroup
			var conns []*cannedConn
			for i := range connections {
				open.Add(1)
				conn := &cannedConn{request: request, left: (b.N + i) / connections, closed: sync.OnceFunc(open.Done)}
				conns = append(conns, conn)
				listener.conns <- conn
			}
			server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute}
			b.ReportAllocs()
			b.ResetTimer()
			var accepting sync.WaitGroup
			accepting.Go(func() { // ends with the server
				if err := server.Serve(listener); err != http.ErrServerClosed {
					b.Error(err)
				}
			})
			open.Wait()
			b.StopTimer()
			if err := server.Close(); err != nil {
				b.Error(err)
			}
			accepting.Wait()
			right := 0
			for _, conn := range conns {
				right += conn.right
			}
			if right != b.N {
				b.Errorf("%d of %d calls were answered", right, b.N)
			}
		})
	}
}
