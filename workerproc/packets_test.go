package workerproc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// TestAPipeThatHoldsNoWholeFramesEndsItsWorker since a guest has read from it, and nobody knows what.
func TestAPipeThatHoldsNoWholeFramesEndsItsWorker(t *testing.T) {
	for name, torn := range map[string][]byte{"cut off": {0, 0, 1}, "without a header": make([]byte, 9), "too long": {255, 255, 255, 255, 1, 0, 0, 0, 9}} {
		t.Run(name, func(t *testing.T) {
			l := newLine(t, unchanged)
			calls := l.send(context.Background(), 0, 1)
			l.begins()
			if _, err := l.in.Write(torn); err != nil {
				t.Fatal(err)
			}
			l.Withdraw()
			var broke *ProtocolError
			if err := receive(t, calls[0], "the first answer"); !errors.As(err, &broke) || !broke.Started {
				t.Errorf("the call that ran: %v", err)
			}
			if err := receive(t, calls[1], "the answer behind"); err != ErrWithdrawn {
				t.Errorf("the call behind: %v", err)
			}
		})
	}
}

// TestNoPacketStandsBehindALargeFrame of which a read could end in the midst of the packet.
func TestNoPacketStandsBehindALargeFrame(t *testing.T) {
	l := newLine(t, unchanged)
	l.prepare()
	stopWorker(l.t, l.Worker)
	first := l.send(context.Background(), 1)
	large := l.ahead(2)
	large.RequestID = string(slices.Repeat([]byte("x"), 2*maxPacket))
	answered := make(chan error, 1)
	go func() { // ends with the call
		_, err := l.Call(context.Background(), large)
		answered <- err
	}()
	l.await("the large one is in the pipe", func() bool { return len(l.openIDs()) == 2 })
	last := l.send(context.Background(), 3)
	for _, open := range l.openIDs() {
		if want := open.request.RequestID == "r-1"; open.packet != want {
			t.Errorf("call %.4s is a packet: %t", open.request.RequestID, open.packet)
		}
	}
	signalWorker(l.t, l.Worker, syscall.SIGCONT)
	if err := errors.Join(receive(t, first[0], "the first answer"), receive(t, answered, "the large one's"), receive(t, last[0], "the last")); err != nil {
		t.Error(err)
	}
	l.wantBegun("[9,1,2,3]")
}

func TestLargeAndSmallFramesPassThroughOnePipe(t *testing.T) {
	l := newLine(t, unchanged)
	var all sync.WaitGroup
	for n := range 40 {
		all.Go(func() {
			c := l.ahead(n + 1)
			if n%3 == 0 { // too large for a packet
				c.RequestID = "r-" + string(slices.Repeat([]byte("x"), 5000*(n+1)))
			}
			reply, err := l.Call(context.Background(), c)
			if err != nil || string(reply.Result) != fmt.Sprint(n+1) {
				t.Errorf("call %d: %s, %v", n+1, reply.Result, err)
			}
		})
	}
	all.Wait()
}
