package load

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAnswersAreReadInEveryFraming(t *testing.T) {
	for name, test := range map[string]struct {
		text, body string
		last       bool
	}{
		"length":            {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", false},
		"lower case":        {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: Close\r\n\r\nhello", "hello", true},
		"chunks":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", "hello", false},
		"chunks, trailer":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n", "hello", false},
		"end of connection": {"HTTP/1.1 200 OK\r\n\r\nhello", "hello", true},
		"HTTP/1.0":          {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true},
	} {
		in := bufio.NewReader(strings.NewReader(test.text))
		var body strings.Builder
		answer, err := readAnswer(in, func(piece []byte) { body.Write(piece) })
		if err != nil || answer.Status != 200 || body.String() != test.body || answer.last != test.last || in.Buffered() > 0 {
			t.Errorf("%s: %+v, %q, %v, %d bytes left", name, answer, body.String(), err, in.Buffered())
		}
	}
}

func TestAnswersThatAreCutOrBrokenAreErrors(t *testing.T) {
	whole := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	for n := 1; n < len(whole); n++ {
		_, err := readAnswer(bufio.NewReader(strings.NewReader(whole[:n])), func([]byte) {})
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	for _, text := range []string{"nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n"} {
		if _, err := readAnswer(bufio.NewReader(strings.NewReader(text)), func([]byte) {}); err == nil {
			t.Errorf("%q passed", text)
		}
	}
}

// everyThird answers two of three requests right: the third has the wrong body, the wrong status, or none.
func everyThird(t *testing.T) (address string, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch asked.Add(1) % 9 {
		case 0:
			_, _ = io.WriteString(w, "wrong")
		case 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 6:
			panic(http.ErrAbortHandler)
		default:
			_, _ = io.WriteString(w, "right")
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), asked
}

func TestNothingButRightAnswersCounts(t *testing.T) {
	request := NewRequest("/", "", []byte("{}"))
	request.Expect([]byte("right"), true)
	for name, run := range map[string]func(string) (Result, error){
		"Only": func(address string) (Result, error) {
			return Only(address, 4, time.Second/2, request), nil
		},
		"Poll": func(address string) (Result, error) { return Poll(address, 4, time.Second/2, request) },
	} {
		address, asked := everyThird(t)
		r, err := run(address)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		n := int(asked.Load())
		if right := len(r.Latencies); n < 9 || right+r.Failed != n || r.Failed != n/3 || r.Failure == nil {
			t.Errorf("%s: %d right and %d failed of %d: %v", name, right, r.Failed, n, r.Failure)
		}
	}
}

func TestAnOpenLoopCountsFromWhenARequestWasDue(t *testing.T) {
	const stall = 100 * time.Millisecond
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(stall) }))
	t.Cleanup(server.Close)
	outcomes := Open(server.Listener.Addr().String(), 200, 500*time.Millisecond, 5*time.Second, NewRequest("/", "", []byte("{}")))
	if len(outcomes) < 50 || len(outcomes) > 200 {
		t.Errorf("%d requests in half a second at 200 a second", len(outcomes))
	}
	for _, o := range outcomes {
		if !o.Right || o.After < stall || o.After < o.Late {
			t.Fatalf("outcome %+v", o)
		}
	}
}

func TestAnOpenLoopGivesUp(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	outcomes := Open(silent.Addr().String(), 100, 100*time.Millisecond, 50*time.Millisecond, NewRequest("/", "", []byte("{}")))
	for _, o := range outcomes {
		if o.Right || o.Status != 0 || o.After < 50*time.Millisecond {
			t.Errorf("outcome %+v", o)
		}
	}
	if len(outcomes) == 0 {
		t.Error("no requests")
	}
}

func TestMarksAreCountedAcrossPieces(t *testing.T) {
	text := `{"i":1}{"i":2}{"id":3}""i"`
	for size := 1; size <= len(text); size++ {
		c := counter{mark: `"i"`}
		for at := 0; at < len(text); at += size {
			c.add([]byte(text[at:min(len(text), at+size)]))
		}
		if c.seen != 3 {
			t.Errorf("pieces of %d bytes: %d marks, want 3", size, c.seen)
		}
	}
}
