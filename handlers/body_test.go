package handlers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// unfinished sends the head of a request whose body does not come, and returns the reply.
func unfinished(t *testing.T, address, head, begun string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(bodyTime / 2)); err != nil { // before the server gives the body up
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "%s\r\nHost: x\r\nContent-Length: 100\r\n\r\n%s", head, begun); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s: %v", head, err)
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestARefusalDoesNotWaitForABodyThatDoesNotCome(t *testing.T) {
	server := httptest.NewServer(newTestServer(t, io.Discard))
	defer server.Close()
	address := server.Listener.Addr().String()
	for head, status := range map[string]int{
		"POST /execute HTTP/1.1\r\nContent-Type: text/plain": http.StatusUnsupportedMediaType,
		"POST /nope HTTP/1.1":                                http.StatusNotFound,
		"PUT /execute HTTP/1.1":                              http.StatusMethodNotAllowed,
		"GET /health/live HTTP/1.1":                          http.StatusOK,
		"DELETE /checkout/x HTTP/1.1":                        http.StatusNotFound,
		"POST /checkout/x/y HTTP/1.1":                        http.StatusNotFound,
		"DELETE /sessions/a HTTP/1.1":                        http.StatusNotFound,
		"POST /workers/9/recycle HTTP/1.1":                   http.StatusNotFound,
	} {
		for _, begun := range []string{"", "{"} {
			if r := unfinished(t, address, head, begun); r.StatusCode != status || !r.Close {
				t.Errorf("%s: %d, connection closed: %v; want %d, true", head, r.StatusCode, r.Close, status)
			}
		}
	}
}

// pipeListener accepts the server's end of one connection in memory, and then none.
type pipeListener struct {
	conns chan net.Conn
	ended chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { close(l.ended); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// inMemory serves one connection, in virtual time, and returns the client's end.
func inMemory(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn, 1), ended: make(chan struct{})}
	server := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	ours, theirs := net.Pipe()
	l.conns <- theirs
	t.Cleanup(func() {
		_ = ours.Close() // that of a pipe in memory cannot fail
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return ours
}

func TestABodyThatStallsIsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := inMemory(t, newTestServer(t, io.Discard))
		begun := time.Now()
		if _, err := fmt.Fprintf(conn, "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); r.StatusCode != http.StatusBadRequest || !r.Close || took != bodyTime {
			t.Errorf("%d after %s, connection closed: %v", r.StatusCode, took, r.Close)
		}
	})
}

func TestAClientThatTakesNoReplyIsGivenUpInTime(t *testing.T) {
	for name, handle := range map[string]func(*testing.T, http.ResponseWriter){
		"with a body":    func(_ *testing.T, w http.ResponseWriter) { send(w, http.StatusOK, jsonMediaType, []byte("{}")) },
		"without a body": func(_ *testing.T, w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
		"of which the head goes first": func(t *testing.T, w http.ResponseWriter) {
			w.WriteHeader(http.StatusOK)
			if err := http.NewResponseController(w).Flush(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the head went out, or failed otherwise: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestServer(t, io.Discard)
				conn := inMemory(t, s.observe(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { handle(t, w) })))
				if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				if err := conn.SetReadDeadline(time.Now().Add(writeTime + 2*time.Second)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(writeTime + time.Second) // of virtual time, in which the client reads nothing
				if reply, err := io.ReadAll(conn); len(reply) > 0 || err != nil {
					t.Errorf("after %s there is still %q, %v", writeTime, reply, err)
				}
			})
		})
	}
}
