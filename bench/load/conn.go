package load

import (
	"bufio"
	"errors"
	"net"
	"time"
)

// Conn is a connection to a server, made when it is needed and kept as long as the server keeps it.
type Conn struct {
	address string
	until   time.Time // when reads and writes fail
	conn    net.Conn  // nil while there is none
	in      *bufio.Reader
	body    []byte
}

// NewConn makes a Conn whose exchanges fail at a point in time.
func NewConn(address string, until time.Time) *Conn {
	return &Conn{address: address, until: until, in: bufio.NewReaderSize(nil, 16<<10)}
}

// Until changes when reads and writes fail.
func (c *Conn) Until(t time.Time) {
	c.until = t
	if c.conn != nil {
		_ = c.conn.SetDeadline(t) // fails if it is broken, which the next exchange sees
	}
}

// Do sends a request and returns its answer, the body of which is valid until the next call. After an error the next
// exchange takes a new connection; a wrong answer is no error.
func (c *Conn) Do(r *Request) (Answer, error) {
	c.body = c.body[:0]
	answer, err := c.Stream(r, func(piece []byte) { c.body = append(c.body, piece...) })
	answer.Body = c.body
	return answer, err
}

// Stream is Do that hands over the body piece by piece, as it comes. A piece is valid until each returns.
func (c *Conn) Stream(r *Request, each func(piece []byte)) (Answer, error) {
	if err := c.Send(r); err != nil {
		return Answer{}, err
	}
	answer, err := readAnswer(c.in, each)
	if err != nil || answer.last {
		err = errors.Join(err, c.Close())
	}
	return answer, err
}

// Send sends a request, on a new connection if there is none. Its answer has to be read, or the connection closed.
func (c *Conn) Send(r *Request) error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, max(time.Millisecond, time.Until(c.until)))
		if err != nil {
			return err
		}
		if err := conn.SetDeadline(c.until); err != nil {
			return errors.Join(err, conn.Close())
		}
		c.conn = conn
		c.in.Reset(conn)
	}
	if _, err := c.conn.Write(r.raw); err != nil {
		return errors.Join(err, c.Close())
	}
	return nil
}

// Close ends the connection if there is one. The next exchange makes a new one.
func (c *Conn) Close() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn = nil
	return err
}
