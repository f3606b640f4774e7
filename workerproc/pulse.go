package workerproc

import (
	"fmt"
	"sync"
	"time"
)

// pulse looks whether a worker that runs calls side by side still answers: one call that holds up its loop holds up all.
type pulse struct {
	mu     sync.Mutex    // guards the fields below
	calls  int           // that run side by side
	stop   chan struct{} // ends the goroutine that looks; nil if there is none
	sent   uint32        // id of the last PING
	pongs  chan struct{} // has room for one value
	stalls int64
}

// watch has w looked after until the function that it returns is called.
func (p *pulse) watch(w *Worker) func() {
	if w.loopStall <= 0 {
		return func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls++; p.calls == 1 {
		p.stop, p.pongs = make(chan struct{}), make(chan struct{}, 1)
		go p.look(w, p.stop, p.pongs) // ends with the last of the calls
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.calls--; p.calls == 0 {
			close(p.stop)
			p.stop = nil
		}
	}
}

// look sends a PING every now and then, and reports each time that none comes back.
func (p *pulse) look(w *Worker, stop, pongs chan struct{}) {
	timer := time.NewTimer(w.loopStall)
	defer timer.Stop()
	for waiting := false; ; {
		select {
		case <-stop:
			return
		case <-pongs:
			waiting = false
			continue
		case <-timer.C:
		}
		if waiting {
			w.reportStall()
			select {
			case <-stop:
				return
			case <-pongs:
			}
		}
		waiting = true
		p.ping(w)
		timer.Reset(w.loopStall)
	}
}

func (p *pulse) ping(w *Worker) {
	p.mu.Lock()
	p.sent++
	id := p.sent
	p.mu.Unlock()
	w.frames.queue(func(dst []byte) []byte { return AppendFrame(dst, Frame{Kind: KindPing, ID: id}) })
	_ = w.frames.flush() // a worker that cannot be told is dead or will be killed
}

// pong takes the answer to the last PING. One to an earlier goroutine's is late, and of no interest.
func (p *pulse) pong(f Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.ID == 0 || f.ID > p.sent {
		return fmt.Errorf("PONG with id %d, the last PING had %d", f.ID, p.sent)
	}
	if f.ID == p.sent && p.pongs != nil {
		select {
		case p.pongs <- struct{}{}:
		default: // it was answered twice
		}
	}
	return nil
}

// reportStall tells where a worker is whose loop does not turn.
func (w *Worker) reportStall() {
	w.pulse.mu.Lock()
	w.pulse.stalls++
	w.pulse.mu.Unlock()
	w.output.log.Warn("the loop of a worker is blocked: no call in it goes on", "for_ms", w.loopStall.Milliseconds(), "stack", w.Stack())
}

// Stalls returns how often the worker's loop was found blocked.
func (w *Worker) Stalls() int64 {
	w.pulse.mu.Lock()
	defer w.pulse.mu.Unlock()
	return w.pulse.stalls
}
