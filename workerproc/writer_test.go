package workerproc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
)

func addFrame(w *frameWriter, f Frame) int64 {
	return w.queue(func(dst []byte) []byte { return AppendFrame(dst, f) })
}

func TestFramesOfManyCallersArriveWholeAndInOrder(t *testing.T) {
	const callers, each = 32, 100
	r, out := io.Pipe()
	w := &frameWriter{out: out}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				size := i * 40
				if i%50 == 49 {
					size = 3 * maxSpare
				}
				end := addFrame(w, Frame{Kind: KindCall, ID: uint32(c<<16 | i), Body: bytes.Repeat([]byte{byte(c)}, size)})
				if err := w.flush(); err != nil {
					t.Errorf("caller %d: %v", c, err)
				}
				_ = w.reached(end) // for the race detector
			}
		})
	}
	go func() { // ends when all callers are through
		wg.Wait()
		_ = out.Close()
	}()

	next := make([]int, callers)
	buffered := bufio.NewReader(r)
	for {
		f, err := ReadFrame(buffered, testLimit)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		c, i := int(f.ID>>16), int(f.ID&0xFFFF)
		if i != next[c] {
			t.Fatalf("caller %d: frame %d came when %d was due", c, i, next[c])
		}
		next[c]++
		if bytes.Count(f.Body, []byte{byte(c)}) != len(f.Body) {
			t.Fatalf("caller %d: the body of frame %d holds bytes of others", c, i)
		}
	}
	for c, n := range next {
		if n != each {
			t.Errorf("caller %d: %d frames came, want %d", c, n, each)
		}
	}
	if w.written != w.queued || !w.reached(w.queued) {
		t.Errorf("written %d of %d bytes", w.written, w.queued)
	}
}

// gateWriter lets the test see each write and decide when it returns.
type gateWriter struct {
	writes chan []byte
	open   chan struct{}
}

func (g gateWriter) Write(p []byte) (int, error) {
	g.writes <- bytes.Clone(p)
	<-g.open
	return len(p), nil
}

func TestFramesThatCameDuringAWriteShareTheNextOne(t *testing.T) {
	g := gateWriter{writes: make(chan []byte), open: make(chan struct{})}
	w := &frameWriter{out: g}
	addFrame(w, Frame{Kind: KindCall, ID: 1})
	first := make(chan error, 1)
	go func() { first <- w.flush() }()
	if got := <-g.writes; !bytes.Equal(got, AppendFrame(nil, Frame{Kind: KindCall, ID: 1})) {
		t.Errorf("first write = %q", got)
	}

	var want []byte
	var ends []int64
	for id := range uint32(3) {
		ends = append(ends, addFrame(w, Frame{Kind: KindCall, ID: 2 + id}))
		want = AppendFrame(want, Frame{Kind: KindCall, ID: 2 + id})
		if err := w.flush(); err != nil { // returns at once: another caller writes
			t.Fatal(err)
		}
		if w.reached(ends[0]) {
			t.Error("a frame that waits has reached the pipe")
		}
	}
	g.open <- struct{}{}
	if got := <-g.writes; !bytes.Equal(got, want) {
		t.Errorf("second write = %q, want the three frames that waited", got)
	}
	g.open <- struct{}{}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	for i, end := range ends {
		if !w.reached(end) {
			t.Errorf("frame %d has not reached the pipe", i)
		}
	}
}

// brokenWriter takes room bytes in all and then fails, as a pipe does whose reader has gone.
type brokenWriter struct {
	room   int
	writes int
}

var errBroken = errors.New("broken pipe")

func (b *brokenWriter) Write(p []byte) (int, error) {
	b.writes++
	n := min(b.room, len(p))
	b.room -= n
	if n < len(p) {
		return n, errBroken
	}
	return n, nil
}

func TestReachedIsExactWhereverThePipeBreaks(t *testing.T) {
	const frames, size = 4, prefixSize + headerSize + 3
	for room := range frames*size + 1 {
		for _, together := range []bool{true, false} {
			t.Run(fmt.Sprint(room, together), func(t *testing.T) {
				w := &frameWriter{out: &brokenWriter{room: room}}
				var ends []int64
				var err error
				for id := range uint32(frames) {
					ends = append(ends, addFrame(w, Frame{Kind: KindCall, ID: id, Body: []byte("abc")}))
					if !together {
						err = w.flush()
					}
				}
				if together {
					err = w.flush()
				}
				if failed := room < frames*size; failed != (err == errBroken) {
					t.Errorf("error = %v", err)
				}
				for i, end := range ends {
					if got, want := w.reached(end), (i+1)*size <= room; got != want {
						t.Errorf("frame %d reached = %t, want %t", i, got, want)
					}
				}
			})
		}
	}
}

func TestNothingIsWrittenBehindAFailure(t *testing.T) {
	out := &brokenWriter{room: 3}
	w := &frameWriter{out: out}
	addFrame(w, Frame{Kind: KindCall, ID: 1})
	if err := w.flush(); err != errBroken {
		t.Fatalf("error = %v, want that of the pipe", err)
	}
	out.room = 1000
	end := addFrame(w, Frame{Kind: KindCall, ID: 2})
	if err := w.flush(); err != errBroken {
		t.Errorf("error of the next frame = %v, want the first failure", err)
	}
	if w.reached(end) || out.writes != 1 {
		t.Errorf("reached = %t after %d writes, want nothing written behind a failure", w.reached(end), out.writes)
	}
}

func TestBufferOfALargeFrameIsNotKept(t *testing.T) {
	w := &frameWriter{out: io.Discard}
	for _, size := range []int{10, 16 << 20, 10, 10} {
		addFrame(w, Frame{Kind: KindCall, Body: make([]byte, size)})
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if got := cap(w.next) + cap(w.spare); got > 2*maxSpare {
		t.Errorf("keeps %d bytes between writes, want at most %d", got, 2*maxSpare)
	}
}
