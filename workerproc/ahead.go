package workerproc

import (
	"encoding/binary"
	"errors"
)

// Calls of a command that runs alone can be sent ahead to a worker that is busy, where they wait in its pipe for their turn.
// Each such frame is a packet of the pipe: one read takes one of them, so those that nobody has read are known not to have
// begun, and can be taken back. All other frames are a stream of bytes.

// MaxAhead is the most bytes of arguments that a call may have to be sent ahead: its frame must be one packet.
const MaxAhead = 3000

// maxPacket is the largest frame that is a packet: PIPE_BUF.
const maxPacket = 4096

// pipeRoom is the size of the pipe of a worker that is sent calls ahead, in which each packet takes a page.
const pipeRoom = 256 << 10

// ErrWithdrawn means that a call was sent ahead and taken back before the worker had begun to read it.
var ErrWithdrawn = errors.New("the call was withdrawn before it began")

// TakesAhead reports whether calls can be sent to the worker ahead of their turn.
func (w *Worker) TakesAhead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hello.Packets && !w.noPackets
}

// aheadLocked has frames be packets from now on, if that can be.
func (w *Worker) aheadLocked() {
	if w.packets != nil || w.noPackets || !w.hello.Packets {
		return
	}
	packets, err := openPackets(w.in)
	if err != nil {
		w.noPackets = true
		return
	}
	w.packets = packets
	w.frames.sendPackets(packets)
}

// onlyPacketsLocked reports whether no open call is anything but a packet. No packet may stand behind a frame of another kind: a
// read that asks for the rest of such a frame and gets it with the beginning of a packet loses the rest of that.
func (w *Worker) onlyPacketsLocked() bool {
	for _, open := range w.calls {
		if !open.packet {
			return false
		}
	}
	return true
}

// Withdraw takes back the calls that the worker has not begun to read, but for the one whose turn it is. Their Call returns
// ErrWithdrawn.
func (w *Worker) Withdraw() {
	w.mu.Lock()
	sound := w.withdrawLocked()
	w.mu.Unlock()
	if !sound {
		w.child.killGroup()
	}
}

// withdrawLocked is Withdraw, unless it returns false: then the worker has read part of a frame, and must be killed. It holds
// Worker.mu over I/O, none of which waits: the pipe has room for all calls that are sent ahead.
func (w *Worker) withdrawLocked() (sound bool) {
	if w.packets == nil || w.dead || len(w.calls) < 2 || !w.onlyPacketsLocked() {
		return true
	}
	sound = true
	var head *openCall
	end := w.frames.alone(func() (packet, others []byte) {
		for data := takeUnread(w.in); len(data) > 0; {
			var frame []byte
			if frame, data = firstFrame(data); frame == nil {
				sound = false
				return packet, others
			}
			open := w.calls[binary.BigEndian.Uint32(frame[prefixSize+1:])]
			switch {
			case Kind(frame[prefixSize]) != KindCall || open == nil:
				others = append(others, frame...)
			case head == nil && open == w.headLocked():
				head, packet = open, frame
			default:
				delete(w.calls, open.id)
				open.err = ErrWithdrawn
				close(open.done)
			}
		}
		return packet, others
	})
	if head != nil {
		head.end = end
	}
	if !sound && (w.cause == "" || w.cause == CauseStopped || w.cause == CauseExiting) {
		w.cause, w.detail = CauseProtocol, "it read part of a call"
	}
	return sound
}

// firstFrame splits data behind its first frame. It returns nil if data begins with none that is whole.
func firstFrame(data []byte) (frame, rest []byte) {
	if len(data) < prefixSize+headerSize {
		return nil, nil
	}
	size := prefixSize + uint64(binary.BigEndian.Uint32(data))
	if size < prefixSize+headerSize || size > uint64(len(data)) {
		return nil, nil
	}
	return data[:size], data[size:]
}

// headLocked returns the open call whose turn it is, or nil if they run side by side or there is none.
func (w *Worker) headLocked() *openCall {
	var head *openCall
	for _, open := range w.calls {
		if len(w.calls) > 1 && !open.packet {
			return nil
		}
		if head == nil || open.id < head.id {
			head = open
		}
	}
	return head
}
