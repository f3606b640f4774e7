package workerproc

import "sync"

// streamCredit is how many bytes of chunks a worker may have sent that nobody has taken.
const streamCredit = 64 << 10

// maxLogEvents bounds the log events that wait to be taken. Further ones are in the log alone.
const maxLogEvents = 1000

// Event is what a call says before its answer. One of the fields is set.
type Event struct {
	Chunk    []byte // one item of a stream, JSON
	Progress *Progress
	Log      *Line
}

// Progress is how far a call is, as it says itself.
type Progress struct {
	Fraction *float64 `json:"fraction"` // 0 to 1, or nil
	Message  string   `json:"message"`
}

// Feed hands what a call says before its answer to one reader, who may be slower than the worker, and may still be reading
// when the call has its answer and the worker is free. Its zero value is not usable.
type Feed struct {
	wake chan struct{} // has room for one value

	mu     sync.Mutex // guards the fields below
	events []Event
	logs   int         // of events
	taken  int         // bytes of chunks that the reader has, and the worker has no new credit for
	credit int         // bytes of chunks that may still come, below 0 if it was overdrawn
	grant  func(n int) // tells the worker; nil unless a call has it
	over   bool        // nothing more comes
}

// NewFeed returns the feed of one call.
func NewFeed() *Feed { return &Feed{wake: make(chan struct{}, 1)} }

// Next waits for events, and returns all there are: none once the feed has ended. It also says that the reader is done with
// those before, so that as many bytes may come anew.
func (f *Feed) Next() []Event {
	for {
		f.mu.Lock()
		events, over := f.events, f.over
		f.events, f.logs = nil, 0
		granted, grant := f.renewLocked(), f.grant
		for _, e := range events {
			f.taken += len(e.Chunk)
		}
		f.mu.Unlock()
		if grant != nil && granted > 0 {
			grant(granted)
		}
		if over || len(events) > 0 {
			return events
		}
		<-f.wake
	}
}

// End says that nothing more comes. The one who made the call says it when that has its answer.
func (f *Feed) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.wakeLocked()
}

// open begins a call, which has all its credit.
func (f *Feed) open(grant func(n int)) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grant, f.credit, f.taken = grant, streamCredit, 0
}

// close ends the call. What has come of it can still be read.
func (f *Feed) close() {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grant = nil
}

// renewLocked turns what was taken into new credit, once it is worth a word to the worker.
func (f *Feed) renewLocked() int {
	n := f.taken
	if f.grant == nil || n < streamCredit/2 {
		return 0
	}
	f.taken, f.credit = 0, f.credit+n
	return n
}

// chunk takes one item of a stream. The answer is false if the worker has no credit for it.
func (f *Feed) chunk(body []byte) bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.credit <= 0 {
		return false
	}
	f.credit -= len(body)
	f.addLocked(Event{Chunk: body})
	return true
}

// progress takes what a call says of its progress: the last word counts.
func (f *Feed) progress(p *Progress) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.events) - 1; i >= 0 && f.events[i].Chunk == nil; i-- {
		if f.events[i].Progress != nil {
			f.events[i].Progress = p
			return
		}
	}
	f.addLocked(Event{Progress: p})
}

// log takes a line for the caller.
func (f *Feed) log(line Line) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.logs < maxLogEvents {
		f.logs++
		f.addLocked(Event{Log: &line})
	}
}

func (f *Feed) addLocked(e Event) {
	f.events = append(f.events, e)
	f.wakeLocked()
}

func (f *Feed) wakeLocked() {
	select {
	case f.wake <- struct{}{}:
	default: // the reader will look anyway
	}
}

// grant lets a stream go on. A worker that does not take the word for it would wait for ever, and is killed.
func (w *Worker) grant(open *openCall, n int) {
	if w.control == nil || open.settled() || w.control.send(packetCredit, open.id, uint32(n)) == nil || open.settled() {
		return
	}
	w.kill(CauseProtocol, "does not read its control socket")
}
