package workerproc

import (
	"bytes"
	"sync"
)

// offers keeps what a READY said. The forks of a zygote all send the same bytes, and with the schemas of a large app those take
// longer to decode than a fork takes to be ready; so it is done for the first of them.
type offers struct {
	mu    sync.Mutex // guards the fields below
	body  []byte     // of the last READY that was decoded
	ready Ready
}

// decode reads the body of a READY. Workers that send the same share what it returns, and must not change it.
func (o *offers) decode(f Frame) (Ready, error) {
	if o == nil {
		return decodeReady(f)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.body != nil && bytes.Equal(o.body, f.Body) {
		return o.ready, nil
	}
	ready, err := decodeReady(f)
	if err == nil {
		o.body, o.ready = f.Body, ready
	}
	return ready, err
}

func decodeReady(f Frame) (Ready, error) {
	ready, err := decodeBody[Ready](f)
	ready.dropMisshapenSchemas()
	return ready, err
}
