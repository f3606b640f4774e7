package handlers

import (
	"io"
	"net/http"
	"time"
)

// bodyTime is how long a client may take to send a body. It is not the server's ReadTimeout, which would go on to end the
// request while the command runs.
const bodyTime = 30 * time.Second

// timedBody is a request body that must arrive within bodyTime.
type timedBody struct {
	io.ReadCloser
	conn  *http.ResponseController
	timed bool
}

// limitBodyTime has the body of r arrive in time, if there is one.
func limitBodyTime(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		r.Body = &timedBody{ReadCloser: r.Body, conn: http.NewResponseController(w)}
	}
}

// Read sets the deadline before the first byte and lifts it at the end.
func (b *timedBody) Read(p []byte) (int, error) {
	if !b.timed {
		b.timed = true
		b.setDeadline(time.Now().Add(bodyTime))
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.setDeadline(time.Time{})
	}
	return n, err
}

// setDeadline ignores the error: a connection without deadlines, in tests, needs none.
func (b *timedBody) setDeadline(t time.Time) { _ = b.conn.SetReadDeadline(t) }
