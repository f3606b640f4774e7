package load

import (
	"fmt"
	"sync"
	"time"
)

// Streams keeps n connections reading one stream after the other for length. A stream is right if its status is 200 and mark is
// in it exactly items times. The first result has the time of whole streams, the second that until the first mark of each.
func Streams(address string, n int, length time.Duration, request *Request, mark string, items int) (whole, first Result) {
	wholes, firsts := make([]Result, n), make([]Result, n)
	began := time.Now()
	until := began.Add(length)
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() { // ends at until, or patience later
			c := NewConn(address, until.Add(patience))
			for time.Now().Before(until) {
				sent := time.Now()
				after, err := c.readStream(request, mark, items)
				if err != nil {
					wholes[i].wrong(err)
					time.Sleep(pause)
					continue
				}
				wholes[i].right(time.Since(sent))
				firsts[i].right(after)
			}
			_ = c.Close() // it has said all
		})
	}
	clients.Wait()
	took := time.Since(began)
	return merge(wholes, took), merge(firsts, took)
}

// readStream reads one stream and returns the time until its first mark.
func (c *Conn) readStream(request *Request, mark string, items int) (time.Duration, error) {
	sent := time.Now()
	var first time.Duration
	count := counter{mark: mark}
	answer, err := c.Stream(request, func(piece []byte) {
		count.add(piece)
		if first == 0 && count.seen > 0 {
			first = time.Since(sent)
		}
	})
	if err == nil && (answer.Status != 200 || count.seen != items) {
		err = fmt.Errorf("wrong stream: %d with %d of %d items", answer.Status, count.seen, items)
	}
	return first, err
}

// counter counts how often a mark is in a text that comes in pieces. It is for marks such as "i", with the quotes: after a whole
// one it starts anew, so the marks of a text must not overlap.
type counter struct {
	mark string
	at   int // bytes of the mark that the text ends with
	seen int
}

func (c *counter) add(piece []byte) {
	for _, b := range piece {
		switch {
		case b == c.mark[c.at]:
			if c.at++; c.at == len(c.mark) {
				c.seen++
				c.at = 0
			}
		case b == c.mark[0]:
			c.at = 1
		default:
			c.at = 0
		}
	}
}
