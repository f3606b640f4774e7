package workerproc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Kind is the type of a frame. Values: docs/protocol.md, section 2.
type Kind uint8

// The kinds of frames. The high bit marks those that the worker sends.
const (
	KindCall     Kind = 0x01
	KindPing     Kind = 0x03
	KindStop     Kind = 0x04
	KindHello    Kind = 0x81
	KindProgress Kind = 0x82
	KindReady    Kind = 0x83
	KindResult   Kind = 0x84
	KindChunk    Kind = 0x85
	KindError    Kind = 0x86
	KindLog      Kind = 0x87
	KindPong     Kind = 0x88
)

var kindNames = map[Kind]string{
	KindCall: "CALL", KindPing: "PING", KindStop: "STOP",
	KindHello: "HELLO", KindProgress: "PROGRESS", KindReady: "READY", KindResult: "RESULT",
	KindChunk: "CHUNK", KindError: "ERROR", KindLog: "LOG", KindPong: "PONG",
}

// String returns the name in docs/protocol.md, or the number in hexadecimal of an unknown kind.
func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("0x%02x", uint8(k))
}

// A frame begins with a prefix of 4 bytes, which is not counted by its length, and a header of 5, which is.
const (
	prefixSize = 4
	headerSize = 5
	// eagerBody is the largest body allocated on the strength of its length alone. Larger ones grow as bytes come, by eagerGrowth.
	eagerBody   = 1 << 20
	eagerGrowth = 16
)

// ErrFrameLength means that a length is under 5 or over the limit. The stream is out of step from there.
var ErrFrameLength = errors.New("frame length out of bounds")

// Frame is one unit on the pipe. Body is empty or one JSON text.
type Frame struct {
	Kind Kind
	ID   uint32
	Body []byte
}

// AppendFrame appends f to dst in the layout of docs/protocol.md, section 2.
func AppendFrame(dst []byte, f Frame) []byte {
	dst = beginFrame(dst, f.Kind, f.ID)
	start := len(dst)
	return endFrame(append(dst, f.Body...), start)
}

// beginFrame appends prefix and header with the length left open; endFrame fills it in for the body that starts at
// start, which is len(dst) as beginFrame returned it.
func beginFrame(dst []byte, kind Kind, id uint32) []byte {
	dst = append(dst, 0, 0, 0, 0, byte(kind))
	return binary.BigEndian.AppendUint32(dst, id)
}

func endFrame(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start-headerSize-prefixSize:], uint32(len(dst)-start+headerSize))
	return dst
}

// ReadFrame reads one frame whose length is at most limit bytes. It returns io.EOF when r ends between frames,
// io.ErrUnexpectedEOF when r ends inside one, and an error that wraps ErrFrameLength, without reading or allocating the
// body, for a length out of bounds. After the last two the stream must not be read again. The body is newly allocated.
func ReadFrame(r *bufio.Reader, limit int) (Frame, error) {
	var head [prefixSize + headerSize]byte
	if _, err := io.ReadFull(r, head[:prefixSize]); err != nil {
		return Frame{}, err
	}
	length := binary.BigEndian.Uint32(head[:prefixSize])
	if length < headerSize || uint64(length) > uint64(limit) {
		return Frame{}, fmt.Errorf("%w: %d, allowed are %d to %d", ErrFrameLength, length, headerSize, limit)
	}
	if _, err := io.ReadFull(r, head[prefixSize:]); err != nil {
		return Frame{}, noEOF(err)
	}
	f := Frame{Kind: Kind(head[prefixSize]), ID: binary.BigEndian.Uint32(head[prefixSize+1:])}
	var err error
	f.Body, err = readBody(r, int(length)-headerSize)
	return f, err
}

func readBody(r io.Reader, size int) ([]byte, error) {
	body := make([]byte, min(size, eagerBody))
	n, err := io.ReadFull(r, body)
	for err == nil && n < size {
		body = append(make([]byte, 0, min(size, eagerGrowth*n)), body...)
		body = body[:cap(body)]
		var more int
		more, err = io.ReadFull(r, body[n:])
		n += more
	}
	return body[:n], noEOF(err)
}

// noEOF turns the end of input inside a frame into io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// frameWriter writes whole frames to a worker. Frames of callers that arrive while one of them writes are combined
// into its next write, so that nobody waits for a lock during I/O.
type frameWriter struct {
	out io.Writer

	mu      sync.Mutex // guards the fields below
	packets io.Writer  // the same pipe, for packets, each in a write of its own; nil if out takes all
	next    []byte     // frames that wait for the writing caller
	leading int        // bytes at the beginning of next that are packets
	spare   []byte     // the buffer written last, for reuse
	writing bool
	idle    sync.Cond // tells of the end of writing; its lock is set by whoever waits
	queued  int64     // bytes ever queued
	written int64     // bytes that the pipe has taken
	err     error     // first failure; nothing is written after it
}

// maxSpare bounds the buffer kept between writes.
const maxSpare = 64 << 10

// queue appends one frame made by build and returns its end, a position in the stream of bytes. The caller must then
// call flush. The frame has reached the worker in full only if written reaches that position.
func (w *frameWriter) queue(build func([]byte) []byte) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queueLocked(build)
}

func (w *frameWriter) queueLocked(build func([]byte) []byte) int64 {
	before := len(w.next)
	w.next = build(w.next)
	w.queued += int64(len(w.next) - before)
	return w.queued
}

// queuePacket is queue for a frame that is to be a packet, and tells whether it is one: not if it is larger than maxPacket, nor
// if frames of another kind wait before it.
func (w *frameWriter) queuePacket(build func([]byte) []byte) (end int64, packet bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	start := len(w.next)
	end = w.queueLocked(build)
	if packet = w.packets != nil && start == w.leading && len(w.next)-start <= maxPacket; packet {
		w.leading = len(w.next)
	}
	return end, packet
}

// flush writes what is queued unless another caller is doing so already. It returns the first failure of the pipe.
func (w *frameWriter) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing {
		return w.err
	}
	w.writing = true
	w.drainLocked()
	w.writing = false
	w.idle.Broadcast()
	return w.err
}

// drainLocked writes what is queued, for the one who has set writing.
func (w *frameWriter) drainLocked() {
	for len(w.next) > 0 && w.err == nil {
		batch, leading, packets := w.next, w.leading, w.packets
		w.next, w.leading, w.spare = w.spare[:0], 0, nil
		w.mu.Unlock()
		n, err := w.write(batch, leading, packets)
		w.mu.Lock()
		w.written += int64(n)
		w.err = err
		if cap(batch) <= maxSpare {
			w.spare = batch[:0]
		}
	}
}

// write writes whole frames: those in the leading bytes one by one, as packets.
func (w *frameWriter) write(batch []byte, leading int, packets io.Writer) (n int, err error) {
	for n < leading {
		size := prefixSize + int(binary.BigEndian.Uint32(batch[n:]))
		wrote, err := packets.Write(batch[n : n+size])
		if n += wrote; err != nil {
			return n, err
		}
	}
	if n < len(batch) {
		var wrote int
		wrote, err = w.out.Write(batch[n:])
		n += wrote
	}
	return n, err
}

// sendPackets gives packets a way of their own from now on.
func (w *frameWriter) sendPackets(packets io.Writer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packets = packets
}

// alone calls do when all that was queued is written, and while nobody writes. It writes what do returns, a packet or nothing and
// other frames, before what has been queued since, and returns the position in the stream at which the packet ends.
func (w *frameWriter) alone(do func() (packet, others []byte)) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awaitIdleLocked()
	w.writing = true
	w.drainLocked()
	w.mu.Unlock()
	packet, others := do()
	w.mu.Lock()
	end := w.written + int64(len(packet))
	if len(packet)+len(others) > 0 {
		w.leading = len(packet) // a packet since then would be behind others
		w.next = slices.Concat(packet, others, w.next)
		w.queued += int64(len(packet) + len(others))
	}
	w.drainLocked()
	w.writing = false
	w.idle.Broadcast()
	return end
}

// settle returns when nobody writes any more. The pipe must have been closed, so that nobody writes for long.
func (w *frameWriter) settle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awaitIdleLocked()
}

func (w *frameWriter) awaitIdleLocked() {
	w.idle.L = &w.mu
	for w.writing {
		w.idle.Wait()
	}
}

// discount takes back that n bytes at the end were written: they are still in the pipe, and nobody will read them.
func (w *frameWriter) discount(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written -= n
}

// reached reports whether the pipe has taken all bytes up to end.
func (w *frameWriter) reached(end int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written >= end
}
