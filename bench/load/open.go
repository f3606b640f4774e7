package load

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Outcome is what became of one request of an open loop.
type Outcome struct {
	Status int           // 0 if no answer came in time
	Right  bool          // it is the answer that the request expects
	After  time.Duration // since the request was to be sent, whenever it was
	Late   time.Duration // that it was sent after it was to be
}

// maxOpen is how many requests an open loop has in flight at most. Those that are due beyond it are sent later, and it counts as
// time that they took.
const maxOpen = 4000

// Open sends requests for length at a mean rate, at random times that do not depend on the answers (a Poisson process, the same
// every time), and gives up on each after giveUp. Latencies count from the time at which a request was to be sent, so that
// requests which wait for others do not hide that they did (coordinated omission).
func Open(address string, rate float64, length, giveUp time.Duration, request *Request) []Outcome {
	o := opener{address: address, giveUp: giveUp, request: request, places: make(chan struct{}, maxOpen)}
	random := rand.New(rand.NewPCG(1, 2))
	began := time.Now()
	for due := time.Duration(0); ; {
		due += time.Duration(random.ExpFloat64() / rate * float64(time.Second))
		if due > length {
			break
		}
		time.Sleep(due - time.Since(began))
		o.places <- struct{}{}
		o.clients.Go(func() { o.send(began.Add(due)) }) // ends after giveUp
	}
	o.clients.Wait()
	for _, c := range o.idle {
		_ = c.Close() // it has said all
	}
	return o.outcomes
}

// opener is the state of Open.
type opener struct {
	address string
	giveUp  time.Duration
	request *Request
	places  chan struct{} // one for each request in flight
	clients sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	idle     []*Conn
	outcomes []Outcome
}

func (o *opener) send(due time.Time) {
	c := o.conn()
	c.Until(due.Add(o.giveUp))
	out := Outcome{Late: time.Since(due)}
	if answer, err := c.Do(o.request); err == nil {
		out.Status, out.Right = answer.Status, o.request.Check(answer) == nil
	}
	out.After = time.Since(due)
	<-o.places
	o.mu.Lock()
	defer o.mu.Unlock()
	o.outcomes = append(o.outcomes, out)
	o.idle = append(o.idle, c)
}

// conn takes the connection that was used last, or a new one.
func (o *opener) conn() *Conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.idle); n > 0 {
		c := o.idle[n-1]
		o.idle = slices.Delete(o.idle, n-1, n)
		return c
	}
	return NewConn(o.address, time.Time{})
}
