package workerproc

import (
	"encoding/binary"
	"net"
	"time"
)

// The kinds of packets on a worker's control socket. Layout: docs/protocol.md, section 9.
const (
	packetCancel = 0x02
	packetCredit = 0x05
	packetSize   = 9
)

// packetTime bounds how long a packet waits for room: a worker that uses the socket empties it at each signal, and before
// it waits for credit.
const packetTime = time.Second

// control is the pool's end of a worker's control socket; nil where the system has none.
type control struct{ conn *net.UnixConn }

// openControl makes the socket, of which theirs goes to the worker. Where the system has no such sockets there is none.
func (p *pipes) openControl() error {
	ours, theirs, err := controlPair()
	if err == errNoPackets {
		return nil
	}
	if err != nil {
		return err
	}
	defer closeAll(ours) // FileConn has a copy
	conn, err := net.FileConn(ours)
	if err != nil {
		closeAll(theirs)
		return err
	}
	p.control, p.theirs.control = &control{conn.(*net.UnixConn)}, theirs
	return nil
}

// send sends one packet. An error means that the worker is dead, or does not read.
func (c *control) send(kind byte, id, n uint32) error {
	var packet [packetSize]byte
	packet[0] = kind
	binary.BigEndian.PutUint32(packet[1:], id)
	binary.BigEndian.PutUint32(packet[5:], n)
	if err := c.conn.SetWriteDeadline(time.Now().Add(packetTime)); err != nil {
		return err
	}
	_, err := c.conn.Write(packet[:])
	return err
}

// close closes the socket, if there is one.
func (c *control) close() {
	if c != nil {
		_ = c.conn.Close() // nothing waits in it that matters to anybody
	}
}
