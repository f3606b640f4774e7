package handlers

import (
	"io"
	"net/http"
	"time"
)

// bodyTime is how long a client may take to send a body. It is not the server's ReadTimeout, which would go on to end the
// request while the command runs.
const bodyTime = 30 * time.Second

// timedBody is a request body that must arrive within bodyTime of the headers.
type timedBody struct {
	io.ReadCloser
	conn  *http.ResponseController
	ended bool // it has come in full
}

// limitBodyTime has the body of r arrive in time, if there is one. net/http reads what the handler leaves unread, within
// the same deadline.
func limitBodyTime(conn *http.ResponseController, r *http.Request) *timedBody {
	if r.ContentLength == 0 {
		return nil
	}
	body := &timedBody{ReadCloser: r.Body, conn: conn}
	body.setDeadline(time.Now().Add(bodyTime))
	r.Body = body
	return body
}

// Read lifts the deadline at the end of the body.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && !b.ended {
		b.ended = true
		b.setDeadline(time.Time{})
	}
	return n, err
}

// setDeadline ignores the error: a connection without deadlines, in tests, needs none.
func (b *timedBody) setDeadline(t time.Time) { _ = b.conn.SetReadDeadline(t) }
